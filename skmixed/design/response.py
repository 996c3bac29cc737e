"""The response of a model: its name, and the functions that were applied to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmixed.design.computation import ComputedVariable
from skmixed.design.functions import FittedFunction, learn_function
from skmixed.design.table import Table
from skmixed.spec import Variable

FloatArray = npt.NDArray[np.float64]

_LINEAR = ("scale", "center")
_CURVED = ("log", "log1p", "sqrt")


@dataclass(frozen=True)
class Response:
    """What the left-hand side of a model says.

    Attributes
    ----------
    variable : Variable
        The column and its functions, ``log(y)``.
    functions : tuple of FittedFunction
        The functions with what they learnt, innermost first.
    computed : ComputedVariable or None
        A response that is more than functions of one column, with what it learnt.
    is_trials : bool
        Whether rows are successes out of trials; y then has two columns, successes and failures.
    n_sets : float
        Number of sets of trials, by case weight.
    log_coefficients : float
        Logarithm of the product of their binomial coefficients.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.design.response import Response
    >>> from skmixed.spec import Variable
    >>> response, values = Response.learn(Variable("y", ("log",)), np.array([1.0, np.e]))
    >>> values.tolist(), response.label
    ([0.0, 1.0], 'log(y)')
    """

    variable: Variable
    functions: tuple[FittedFunction, ...] = ()
    computed: ComputedVariable | None = None
    is_trials: bool = False
    n_sets: float = 0.0
    log_coefficients: float = 0.0

    @classmethod
    def learn(cls, variable: Variable, values: Any) -> tuple[Response, FloatArray]:
        """Learn the functions, and apply them.

        Parameters
        ----------
        variable : Variable
            As the formula has it.
        values : ndarray (n,) or DataFrame
            The column as it is, finite; where there are several, a frame that has them.

        Returns
        -------
        response : Response
        values : ndarray (n,)
            What is modelled.
        """
        if variable.steps:
            table = _table(variable, values)
            computed = ComputedVariable.learn(variable, table)
            return cls(variable, computed=computed), computed.columns(table, full=False)[0]
        functions = []
        for name in variable.functions:
            function = learn_function(name, values, variable.name)
            functions.append(function)
            values = function.apply(values, variable.name)
        return cls(variable, tuple(functions)), values

    @property
    def label(self) -> str:
        """The response as it is written: ``"log(y)"``."""
        return self.variable.label

    @property
    def is_transformed(self) -> bool:
        """Whether what is modelled is a function of the column."""
        return bool(self.functions) or self.computed is not None

    def transform(self, values: Any) -> FloatArray:
        """Apply the functions to values of the column, (n,), or to a frame of several.

        An array for a response of several columns is the response itself.
        """
        if self.computed is not None:
            if isinstance(values, np.ndarray) and len(self.variable.columns) > 1:
                return values
            return self.computed.columns(_table(self.variable, values), full=False)[0]
        for function in self.functions:
            values = function.apply(values, self.variable.name)
        return values

    def moments(self, mean: FloatArray, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the column where its function is normal.

        Parameters
        ----------
        mean, variance : ndarray (n,)
            Of what is modelled, noise included.

        Returns
        -------
        mean, std : ndarray (n,)
            For the logarithm those of the log-normal distribution; for the square root
            those of the square of a normal number.

        Raises
        ------
        ValueError
            If there is no inverse with known moments.
        """
        steps = self._back()
        with np.errstate(over="ignore"):
            for function in steps:
                if function.name in _LINEAR:
                    mean = mean * function.divisor + function.shift
                    variance = variance * function.divisor**2
                elif function.name == "sqrt":
                    mean, variance = (
                        mean**2 + variance,
                        2.0 * variance**2 + 4.0 * mean**2 * variance,
                    )
                else:
                    expected = np.exp(mean + 0.5 * variance)
                    variance = np.expm1(variance) * expected**2
                    mean = expected - (function.name == "log1p")
            return mean, np.sqrt(variance)

    def quantiles(self, values: FloatArray) -> FloatArray:
        """The column at quantiles of what is modelled; functions that have an inverse grow."""
        with np.errstate(over="ignore"):
            for function in self._back():
                if function.name in _LINEAR:
                    values = values * function.divisor + function.shift
                elif function.name == "sqrt":
                    values = np.maximum(values, 0.0) ** 2
                else:
                    values = np.exp(values) if function.name == "log" else np.expm1(values)
        return values

    def _back(self) -> tuple[FittedFunction, ...]:
        """The functions from the outermost to the innermost, if they can be inverted."""
        curved = [f.name for f in self.functions if f.name not in _LINEAR]
        if self.computed is not None or len(curved) > 1 or not set(curved) <= set(_CURVED):
            raise ValueError(
                f"type='response' cannot transform the mean of {self.label!r} back (it can for "
                "log, log1p, sqrt, scale and center); predict without it, and transform the draws "
                "of sample_y."
            )
        return self.functions[::-1]


def _table(variable: Variable, values: Any) -> Table:
    """The columns of a response."""
    if isinstance(values, np.ndarray):
        values = pd.DataFrame({variable.name: values})
    return Table.from_input(values)


def name_of(y: Any) -> str:
    """The name that a response carries, else ``"y"``."""
    name = getattr(y, "name", None)
    return name if isinstance(name, str) and name else "y"
