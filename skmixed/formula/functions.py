"""The fixed table of function names; nothing outside it can be called in a formula."""

from __future__ import annotations

FUNCTIONS: tuple[str, ...] = ("log", "log1p", "exp", "sqrt", "abs", "scale", "center")

CATEGORICAL_MARK = "C"

_COMPUTE_BEFORE = "Compute the column before and name it"

# What R users reach for, and where it is found here.
_ELSEWHERE = {
    "as.factor": "Write C(x) for a categorical column",
    "cbind": "Name one response column",
    "factor": "Write C(x) for a categorical column",
    "offset": "Pass the name of the column as the parameter offset",
    "weights": "Pass the name of the column as the parameter precision_weights",
}


def advice_for_call(name: str) -> str:
    """The next step for someone who called a function that is not in the table."""
    return (
        f"{_ELSEWHERE.get(name, _COMPUTE_BEFORE)}. The functions of a formula are "
        f"{', '.join(FUNCTIONS)} and {CATEGORICAL_MARK}."
    )
