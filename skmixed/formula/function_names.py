"""The fixed table of function names; nothing outside it can be called in a formula."""

from __future__ import annotations

FUNCTIONS: tuple[str, ...] = (
    "log", "log1p", "exp", "sqrt", "abs", "scale", "center",
    "log10", "log2", "expm1", "sin", "cos", "tan", "tanh", "round", "floor", "ceiling", "sign",
)  # fmt: skip
"""Functions of one argument."""

EXTREMES = ("pmin", "pmax")
"""Functions of any number of arguments."""

SPECIAL = ("I", *EXTREMES, "ave", "poly")
"""Functions with arguments of their own."""

CATEGORICAL_MARK = "C"
CATEGORICAL_MARKS = (CATEGORICAL_MARK, "factor", "as.factor", "as.character", "relevel")
"""``C(x)`` and what it is called in R."""

CONTRASTS = {
    "Treatment": "treatment", "contr.treatment": "treatment", "Sum": "sum", "contr.sum": "sum",
}  # fmt: skip

RESPONSES = ("cbind",)
"""Functions of the left side alone."""

_COMPUTE_BEFORE = "Compute the column first and use its name"

# What R users reach for, and where it is found here.
_ELSEWHERE = {
    "as.integer": "Name the column alone: numbers are read as numbers",
    "as.numeric": "Name the column alone: numbers are read as numbers",
    "cbind": "It stands on the left side: cbind(successes, failures) ~ x",
    "max": "Write pmax(x, z) for the larger value per row",
    "mean": "Write ave(x, g) for the mean per group",
    "min": "Write pmin(x, z) for the smaller value per row",
    "ordered": "Write C(x) for a categorical column",
    "weights": "Pass the name of the column as the parameter precision_weights",
}


def advice_for_call(name: str) -> str:
    """The next step for someone who called a function that is not in the table."""
    known = ", ".join((*FUNCTIONS, *SPECIAL, "offset"))
    return (
        f"{_ELSEWHERE.get(name, _COMPUTE_BEFORE)}. The functions of a formula are "
        f"{known} and {CATEGORICAL_MARK}."
    )
