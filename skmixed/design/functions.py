"""The fixed table of functions a formula may apply to a column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from skmixed.spec import Variable, written

FloatArray = npt.NDArray[np.float64]

_PLAIN: dict[str, Callable[[FloatArray], FloatArray]] = {
    "log": np.log,
    "log1p": np.log1p,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "log10": np.log10,
    "log2": np.log2,
    "expm1": np.expm1,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "tanh": np.tanh,
    "round": np.round,
    "floor": np.floor,
    "ceiling": np.ceil,
    "sign": np.sign,
}
_LEARNING = ("scale", "center")
_LEARNING_STEPS = (*_LEARNING, "ave", "poly")


@dataclass(frozen=True)
class FittedFunction:
    """A function with everything it learnt from the training data.

    Attributes
    ----------
    name : str
        A name of the fixed table.
    shift, divisor : float
        For ``center`` and ``scale``: the training mean, and the training
        standard deviation with n - 1 in the denominator as R's ``scale`` has it.
    """

    name: str
    shift: float = 0.0
    divisor: float = 1.0

    def __call__(self, values: FloatArray) -> FloatArray:
        """The values of the function, finite or not."""
        with np.errstate(all="ignore"):
            if self.name in _PLAIN:
                return np.asarray(_PLAIN[self.name](values))
            return (values - self.shift) / self.divisor

    def apply(self, values: FloatArray, column: Any) -> FloatArray:
        """Transform values of the column.

        Parameters
        ----------
        values : ndarray of shape (n_rows,)
            Finite values.
        column : str or int
            Name for errors.

        Returns
        -------
        ndarray of shape (n_rows,)
            The transformed values.

        Raises
        ------
        ValueError
            If a result is not finite, naming the column, the function and the value.
        """
        result = self(values)
        bad = ~np.isfinite(result)
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(
                f"{self.name}() of column {column!r} is {result[row]} in row {row}, "
                f"where the value is {values[row]}; correct or drop such rows, or use another "
                "function."
            )
        return result


def learn_function(name: str, values: FloatArray, column: Any) -> FittedFunction:
    """Learn what a function needs from the training data.

    Parameters
    ----------
    name : str
        One of the table.
    values : ndarray of shape (n_rows,)
        Finite training values.
    column : str or int
        Name for errors.

    Returns
    -------
    FittedFunction
        The function, to be used on any data.

    Raises
    ------
    ValueError
        If the function is not in the table, or a constant column is to be scaled.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.design.functions import learn_function
    >>> center = learn_function("center", np.array([1.0, 3.0]), "x")
    >>> center.apply(np.array([5.0]), "x")
    array([3.])
    """
    if name in _PLAIN:
        return FittedFunction(name)
    if name not in _LEARNING:
        known = ", ".join([*_PLAIN, *_LEARNING])
        raise ValueError(
            f"Function {name!r} on column {column!r} is not known; use one of {known}, or "
            "compute the column before the fit."
        )
    with np.errstate(all="ignore"):
        shift, divisor = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if name == "center":
        divisor = 1.0
    # Rounding gives a constant column a tiny standard deviation; compare the values instead.
    elif values.min() == values.max():
        raise ValueError(
            f"scale() of column {column!r}: all values are {values[0]}, so their standard "
            "deviation is 0; drop the column or write it without scale()."
        )
    if not (np.isfinite(shift) and 0.0 < divisor < np.inf):
        raise ValueError(
            f"{name}() of column {column!r} has mean {shift:.3g} and standard deviation "
            f"{divisor:.3g}, which double precision cannot hold; change the unit of the column."
        )
    return FittedFunction(name, shift, divisor)


def learnt_functions(variable: Variable) -> tuple[str, ...]:
    """Functions of a variable that need to see all the data before they can be applied.

    Parameters
    ----------
    variable : Variable
        The variable asked for.

    Returns
    -------
    tuple of str
        As they are written in the formula, innermost first.

    Examples
    --------
    >>> from skmixed.design.functions import learnt_functions
    >>> from skmixed.spec import Variable, written
    >>> learnt_functions(Variable("x", ("log", "scale", "abs")))
    ('scale(log(x))',)
    """
    if variable.steps:
        return tuple(
            written(variable.steps[: position + 1])
            for position, step in enumerate(variable.steps)
            if step.name in _LEARNING_STEPS
        )
    return tuple(
        replace(variable, functions=variable.functions[: position + 1]).label
        for position, name in enumerate(variable.functions)
        if name in _LEARNING
    )
