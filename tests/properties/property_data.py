"""Random models with data that identify them, and what it means that two fits are the same.

Hypothesis draws the structure of a model and a seed; the numbers come from the seed. The
properties hold for every model, so that what is drawn matters less than that it varies.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, event, reject, settings
from hypothesis import strategies as st

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, RandomEffect

_PROFILE = os.environ.get("SKMIXED_HYPOTHESIS_PROFILE", "ci")
_EXAMPLES = {"ci": 1, "thorough": 16}
"""How many times the examples of a property; `ci` has the same ones in every run."""


def examples(number: int) -> settings:
    """Settings of a property that is tried on `number` models."""
    quick = _PROFILE == "ci"
    return settings(
        max_examples=number * _EXAMPLES[_PROFILE],
        derandomize=quick,
        deadline=None,
        database=None,
        print_blob=not quick,
        # to shrink an example repeats fits by the hundred: a failure says enough without
        phases=(Phase.explicit, Phase.generate),
        # models that data do not identify are drawn again, how often depends on the property
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
        ],
    )


FAMILIES = (
    "gaussian", "poisson", "negative_binomial", "gamma", "bernoulli-logit", "bernoulli-probit",
    "ordinal-logit", "ordinal-probit",
)  # fmt: skip
COVARIATES = ("x", "z")
TOLERANCE = 1e-9
"""Of the fits: so small that what is left of the way to the optimum does not show."""


@dataclass(frozen=True)
class Problem:
    """A model with its data.

    Attributes
    ----------
    family : str
        By ``family-link``.
    frame : DataFrame
        X: the `COVARIATES`, groups, "o" where there is an offset, "w" where there are
        precision weights.
    y : ndarray (n,)
    terms : tuple of RandomEffect
    options : dict
        Parameters of the estimator.
    """

    family: str
    frame: pd.DataFrame
    y: np.ndarray
    terms: tuple[RandomEffect, ...]
    options: dict[str, Any]

    @property
    def groups(self) -> list[str]:
        """Names of the grouping columns."""
        return [str(term.group) for term in self.terms]

    @property
    def is_gaussian(self) -> bool:
        return self.family == "gaussian"

    @property
    def n(self) -> int:
        return len(self.y)

    def estimator(self, **changes: Any) -> Any:
        """The estimator, with other options where given."""
        name, _, link = self.family.partition("-")
        options = {"family": name, "tol": TOLERANCE, **self.options, **changes}
        if link:
            return MixedEffectsVIClassifier(list(self.terms), link=link, **options)
        return MixedEffectsVIRegressor(list(self.terms), **options)

    def rows(self, rows: np.ndarray) -> Problem:
        """The same model on a choice of rows."""
        return replace(self, frame=self.frame.iloc[rows], y=self.y[rows])

    def fit(self, sample_weight: Any = None, **changes: Any) -> Any:
        """The fitted estimator; a model that the data do not determine is no example."""
        model, doubts = self.attempt(sample_weight, **changes)
        for doubt in doubts:
            event(f"refused: {doubt[:60]}")
            reject()
        assert model.converged_
        return model

    def refit(self, sample_weight: Any = None, **changes: Any) -> Any:
        """The fitted estimator of a model that is known to be determined in other words."""
        model, doubts = self.attempt(sample_weight, **changes)
        assert not doubts, doubts
        assert model.converged_
        return model

    def attempt(self, sample_weight: Any = None, **changes: Any) -> tuple[Any, list[str]]:
        """The fitted estimator, whether it converged or not, and what is not determined."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = self.estimator(**changes).fit(self.frame, self.y, sample_weight)
        return model, doubts_of(caught)


def doubts_of(caught: list[warnings.WarningMessage]) -> list[str]:
    """What the library says that the data do not determine.

    That independent normals collapse a variance is no such case: the optimum is there. That
    a fit did not converge is none either: `converged_` tells.
    """
    others = ("The mean-field posterior estimates", "The variance parameters did not converge")
    messages = [str(warning.message) for warning in caught]
    return [message for message in messages if not message.startswith(others)]


# Models -------------------------------------------------------------------------------------


@st.composite
def problems(
    draw: st.DrawFn,
    families: tuple[str, ...] = FAMILIES,
    posteriors: tuple[str, ...] = ("full", "mean_field"),
    methods: tuple[str, ...] = ("reml", "ml"),
    max_groups: int = 3,
    shapes: tuple[str, ...] = ("intercept", "correlated", "diagonal", "slope"),
) -> Problem:
    """A model with 1 to `max_groups` factors, crossed or nested, and its data.

    Every level has rows enough, every variance is well above zero and no predictor is
    extreme, so that nearly all of these models have one clear optimum.
    """
    family = draw(st.sampled_from(families))
    n = draw(st.integers(50, 130)) if family == "gaussian" else draw(st.integers(100, 180))
    n_groups = draw(st.integers(1, max_groups))
    sizes = draw(st.lists(st.integers(5, n // 10), min_size=n_groups, max_size=n_groups))
    is_nested = n_groups > 1 and draw(st.booleans())
    terms = []
    for number in range(n_groups):
        # slopes of one factor, or two: more would leave too few rows for each variance
        shape = draw(st.sampled_from(shapes)) if number < 2 else "intercept"
        terms.append(_term("ghk"[number], shape, COVARIATES[number % 2]))
    options: dict[str, Any] = {
        "posterior": draw(st.sampled_from(posteriors)),
        "method": draw(st.sampled_from(methods)),
    }
    if not family.startswith("ordinal"):
        options["fit_intercept"] = draw(st.sampled_from([True, True, False]))
    if draw(st.booleans()):
        options["offset"] = "o"
    if family == "gaussian":
        options["precision_weights"] = draw(st.sampled_from([None, "w"]))
        options["noise_scale"] = draw(st.sampled_from([None, None, 0.8]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frame = _columns(rng, n, sizes, is_nested, options)
    y = _responses(rng, family, frame, terms, options)
    return Problem(family, frame, y, tuple(terms), options)


def _term(group: str, shape: str, slope: str) -> RandomEffect:
    if shape == "intercept":
        return RandomEffect(group)
    covariance = "diagonal" if shape == "diagonal" else "unstructured"
    return RandomEffect(group, slope, intercept=shape != "slope", covariance=covariance)


def _columns(
    rng: np.random.Generator, n: int, sizes: list[int], is_nested: bool, options: dict[str, Any]
) -> pd.DataFrame:
    columns: dict[str, np.ndarray] = {"x": rng.standard_normal(n), "z": rng.uniform(-1.5, 1.5, n)}
    for name, levels in zip("ghk", sizes, strict=False):
        columns[name] = rng.permutation(np.arange(n) % levels)
    if is_nested:
        # two to four levels of the inner factor in every level of the outer one
        columns["h"] = columns["g"] // max(2, min(4, sizes[0] // 3))
    if options.get("offset"):
        columns["o"] = 0.4 * rng.standard_normal(n)
    if options.get("precision_weights"):
        columns["w"] = rng.uniform(0.4, 2.5, n)
    return pd.DataFrame(columns)


def linear_predictor(
    rng: np.random.Generator, frame: pd.DataFrame, terms: list[RandomEffect], size: float
) -> np.ndarray:
    """Fixed part, offset and random effects whose standard deviations are around `size`."""
    eta = 0.4 * frame["x"].to_numpy() - 0.3 * frame["z"].to_numpy()
    if "o" in frame:
        eta = eta + frame["o"].to_numpy()
    for term in terms:
        codes = frame[term.group].to_numpy()
        for column in [None] * term.intercept + list(term.slopes):
            effects = size * rng.uniform(0.8, 1.4) * rng.standard_normal(codes.max() + 1)
            eta = eta + effects[codes] * (1.0 if column is None else frame[column].to_numpy())
    return eta


def _responses(
    rng: np.random.Generator,
    family: str,
    frame: pd.DataFrame,
    terms: list[RandomEffect],
    options: dict[str, Any],
) -> np.ndarray:
    n = len(frame)
    eta = linear_predictor(rng, frame, terms, 0.8 if family == "gaussian" else 0.6)
    name, _, link = family.partition("-")
    if name == "gaussian":
        weights = frame["w"].to_numpy() if "w" in frame else 1.0
        return eta + 0.8 * rng.standard_normal(n) / np.sqrt(weights)
    noise = rng.logistic(size=n) if link == "logit" else rng.standard_normal(n)
    if name == "bernoulli":
        return (eta + noise > 0.0).astype(int)
    if name == "ordinal":
        return np.digitize(eta + noise, [-1.0, 0.0, 1.0])
    mean = np.exp(np.clip(0.5 + eta, -4.0, 4.0))
    if name == "poisson":
        return rng.poisson(mean)
    rates = rng.gamma(2.0, mean / 2.0)
    return rates if name == "gamma" else rng.poisson(rates)


# Estimates ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimates:
    """What a fit says, by name, hence free of the order of columns, terms and levels.

    `distance` is the scaled gradient where the fit stopped: about how many standard
    errors of the variance parameters it is from the optimum.
    """

    elbo: float
    coefficients: pd.Series
    coefficient_covariance: pd.DataFrame
    effects: dict[str, pd.DataFrame]
    deviations: dict[str, pd.DataFrame]
    covariances: dict[str, pd.DataFrame]
    own: np.ndarray
    noise_variance: float
    distance: float


def estimates(model: Any) -> Estimates:
    """The estimates of a fitted model."""
    names = list(model.coef_names_)
    coefficients = list(model.coef_)
    if len(model.coef_cov_) > len(names):
        names, coefficients = ["Intercept", *names], [model.intercept_, *coefficients]
    return Estimates(
        model.elbo_,
        pd.Series(coefficients, names, float),
        pd.DataFrame(model.coef_cov_, names, names),
        dict(model.random_effects_),
        dict(model.random_effects_std_),
        dict(model.random_effects_cov_),
        model.fit_result_.parameters,
        getattr(model, "noise_variance_", 1.0),
        float(model.gradient_path_[-1]),
    )


def assert_same(found: Estimates, expected: Estimates) -> None:
    """Both are the same optimum, as far as either has come.

    A fit that stops `distance` standard errors from the optimum has an ELBO that is
    distance^2 / 2 below the largest, and estimates that are off by about `distance` of
    their own standard errors. A variance below 1e-8 of the noise may have become 0.
    """
    distance = found.distance + expected.distance
    slack = 1e-6 + 10.0 * distance
    rounding = 1e-7 + 1e-10 * abs(expected.elbo)
    assert abs(found.elbo - expected.elbo) <= rounding + distance**2
    names = expected.coefficients.index
    errors = np.sqrt(np.diagonal(expected.coefficient_covariance))
    close(found.coefficients[names], expected.coefficients, slack * errors)
    covariance = found.coefficient_covariance.loc[names, names]
    close(covariance, expected.coefficient_covariance, slack * np.outer(errors, errors))
    close(found.own, expected.own, slack)
    close(found.noise_variance, expected.noise_variance, slack * expected.noise_variance)
    assert set(found.effects) == set(expected.effects)
    for group, covariance in expected.covariances.items():
        terms = covariance.index
        # a prior standard deviation, or where that is zero a standard error of one observation
        sizes = np.sqrt(np.maximum(np.diagonal(covariance), expected.noise_variance))
        allowed = slack * np.outer(sizes, sizes)
        close(found.covariances[group].loc[terms, terms], covariance, allowed)
        for one, other in (
            (found.effects[group], expected.effects[group]),
            (found.deviations[group], expected.deviations[group]),
        ):
            assert len(one) == len(other)
            allowed = slack * pd.Series(sizes, terms)[other.columns].to_numpy()
            close(one.loc[other.index, other.columns], other, allowed)


def close(found: Any, expected: Any, allowed: Any) -> None:
    """No number is further from the one expected than is allowed."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape
    excess = np.abs(found - expected) - allowed
    assert (excess <= 0.0).all(), f"{found} is not {expected}: too far by {excess.max()}"
