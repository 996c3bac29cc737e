"""Types of the parameters that are one of a few words, for type checkers and editors.

The registries say what is allowed at run time (`skmixed.families.FAMILIES`, ...). A test compares
both.
"""

from __future__ import annotations

from typing import Literal

NumberFamily = Literal["gaussian", "poisson", "negative_binomial", "gamma"]
ClassFamily = Literal["bernoulli", "ordinal"]
Link = Literal["logit", "probit"]
PosteriorName = Literal["full", "mean_field"]
Method = Literal["auto", "reml", "ml"]
Approximation = Literal["variational", "corrected"]
SolverName = Literal["auto", "direct", "iterative"]
VariancePriorName = Literal["half-cauchy", "half-normal", "exponential", "gamma", "flat"]
HandleUnknown = Literal["population", "warn", "error"]

FamilyOfClasses = Literal[
    "bernoulli", "ordinal", "binomial", "binary", "logistic", "cumulative", "ordered"
]
"""Families of classes as `mixed` takes them, names from elsewhere included."""

FamilyOfNumbers = Literal[
    "gaussian", "poisson", "negative_binomial", "gamma",
    "normal", "norm", "pois", "nb", "nb2", "negbin", "nbinom", "nbinom2",
]  # fmt: skip
"""Families of numbers as `mixed` takes them."""

TargetType = Literal["auto", "continuous", "binary", "poisson"]
Missing = Literal["raise", "drop"]
