"""Simulated quantile residuals: whether a model makes data like those that it was fitted to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, ks_1samp, uniform
from sklearn.utils import check_random_state

from skmixed.design.sources import take_rows
from skmixed.fitted_model import FittedModel, ObservedRows, TrainingData, fitted_model
from skmixed.inspection.answer import Answer
from skmixed.inspection.displays.drawing import axes_and_figure, point_style, reference_style
from skmixed.inspection.simulation import ResponseSimulator
from skmixed.validation import check_choice

EFFECTS = ("new", "fitted")
_FEWEST_SAMPLES = 20
_BAND = 1.358
"""The 95 % point of the Kolmogorov distribution: half the width of the band, times sqrt(n)."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ResidualChecks(Answer):
    """Tests of simulated residuals.

    Attributes
    ----------
    residuals : ndarray (n,)
        Residuals of the rows with positive weight, in (0, 1): uniform if the model is true.
    """

    residuals: np.ndarray

    def plot(self, ax: Any = None) -> Any:
        """Draw the residuals against the quantiles of a uniform distribution.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.

        Returns
        -------
        ax : matplotlib Axes
            With a band that contains the whole line for 95 % of true models.
        """
        ax, _ = axes_and_figure(ax)
        n = len(self.residuals)
        expected = (np.arange(n) + 0.5) / n
        band = _BAND / np.sqrt(n)
        ax.fill_between([0.0, 1.0], [-band, 1.0 - band], [band, 1.0 + band], color="C0", alpha=0.15)
        ax.plot([0.0, 1.0], [0.0, 1.0], **reference_style(None))
        ax.scatter(expected, np.sort(self.residuals), **point_style(n, None))
        ax.set(
            xlabel="Uniform quantile", ylabel="Simulated residual", xlim=(0.0, 1.0), ylim=(0.0, 1.0)
        )
        return ax


def check_residuals(
    model: Any,
    X: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    effects: str = "new",
    n_samples: int = 1000,
    random_state: Any = None,
) -> ResidualChecks:
    """Compare the responses with responses simulated from the model for the same rows.

    The residual of a row is the share of simulated responses below the observed one, with ties
    broken at random. If the model is true, it is uniform between 0 and 1, for all families [1]_.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        A fitted model.
    X, y, sample_weight : array-like, default=None
        The data of the fit, if the model did not keep them.
    effects : {"new", "fitted"}, default="new"
        "new": every draw has new random effects. This checks the whole model; residuals within a
        group are then correlated. "fitted": all draws have the fitted effects. This checks the rows
        given their groups; residuals are slightly too uniform, because the effects were fitted to
        the rows.
    n_samples : int, default=1000
        Number of draws. Each needs a pass over the rows.
    random_state : int, RandomState instance or None, default=None
        Seed; equal seeds give equal results.

    Returns
    -------
    checks : ResidualChecks
        Prints as text, shows as HTML, and has ``.to_frame()``, ``.residuals`` and ``.plot()``.
        Rows: uniformity (Kolmogorov-Smirnov test), dispersion (mean squared distance of the
        responses from their expectation, divided by that of the draws), outliers (rows beyond all
        draws), zeros (number of zeros, divided by that in the draws).

    Raises
    ------
    ValueError
        If the data are missing or not those of the fit.

    References
    ----------
    .. [1] Dunn and Smyth (1996), "Randomized quantile residuals", J. Computational and
       Graphical Statistics 5; by simulation as in R's DHARMa.

    Examples
    --------
    >>> from skmixed import check_residuals, mixed
    >>> from skmixed.datasets import load_sleepstudy
    >>> model = mixed("Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame)
    >>> checks = check_residuals(model, n_samples=200, random_state=0)
    >>> checks.to_frame().index.tolist()
    ['uniformity', 'dispersion', 'outliers', 'zeros']
    """
    check_choice("effects", effects, EFFECTS)
    if n_samples < _FEWEST_SAMPLES:
        raise ValueError(f"n_samples={n_samples} is too small; draw {_FEWEST_SAMPLES} or more.")
    fitted = fitted_model(model)
    if fitted.response.is_trials:
        raise ValueError(
            "check_residuals() needs one response per row, but this model has sets of trials. "
            "Fit it to single trials."
        )
    data = fitted.training_data(X, y, sample_weight, "check_residuals()")
    rows = fitted.observe(data)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    rng = np.random.default_rng(seed)
    draw = _drawing(fitted, data, rows, effects)
    expected = _expected(fitted, rows, effects)
    counts = _Counts.of(rows.response, expected, draw, n_samples, rng)
    table = pd.DataFrame(
        [*counts.tests()],
        index=["uniformity", "dispersion", "outliers", "zeros"],
        columns=["statistic", "p_value"],
    )
    facts = {
        "Random effects": effects,
        "Draws": f"{n_samples:,}",
        "Rows": f"{len(rows.response):,}",
    }
    return ResidualChecks("Simulated residuals", table, facts, residuals=counts.residuals)


def _drawing(
    model: FittedModel, data: TrainingData, rows: ObservedRows, effects: str
) -> Callable[[np.random.Generator], np.ndarray]:
    """A function that draws a response of every row."""
    if effects == "new":
        used = data.used
        return ResponseSimulator(model, take_rows(data.X, used)).draw_numbers
    mean, parameters = rows.mean(), rows.parameters

    def draw(rng: np.random.Generator) -> np.ndarray:
        drawn: np.ndarray = model.likelihood.sample(mean, parameters, rng)
        return drawn

    return draw


def _expected(model: FittedModel, rows: ObservedRows, effects: str) -> np.ndarray:
    """Where responses are expected about, (n,): a place from which distances are compared."""
    mean = rows.mean()
    if effects == "new":
        bare = rows
        for position in list(rows.positions):
            bare = bare.without(position)  # type: ignore[assignment]
        mean = bare.mean()
    return model.likelihood.expected_response(mean, np.zeros(len(mean)), model.result.parameters)


@dataclass(frozen=True)
class _Counts:
    """What many draws say about the responses.

    Attributes
    ----------
    residuals : ndarray (n,)
    beyond : int
        Responses below or above all draws.
    expected_beyond : float
        Probability of that, of each row.
    distances, zeros : ndarray (1 + s,)
        Mean squared distance from the expectation, and number of zeros: observed, then drawn.
    """

    residuals: np.ndarray
    beyond: int
    expected_beyond: float
    distances: np.ndarray
    zeros: np.ndarray

    @classmethod
    def of(
        cls,
        response: np.ndarray,
        expected: np.ndarray,
        draw: Callable[[np.random.Generator], np.ndarray],
        n_samples: int,
        rng: np.random.Generator,
    ) -> _Counts:
        """Draw `n_samples` times; only counts are kept."""
        below, equal = np.zeros(len(response)), np.zeros(len(response))
        distances, zeros = np.empty(n_samples + 1), np.empty(n_samples + 1)
        distances[0] = np.mean((response - expected) ** 2)
        zeros[0] = np.count_nonzero(response == 0.0)
        for number in range(1, n_samples + 1):
            drawn = draw(rng)
            below += drawn < response
            equal += drawn == response
            distances[number] = np.mean((drawn - expected) ** 2)
            zeros[number] = np.count_nonzero(drawn == 0.0)
        shares = rng.random(len(response))
        # a response is one of n_samples + 1 draws of a true model
        residuals = (below + shares * (equal + 1.0)) / (n_samples + 1.0)
        alone = equal == 0.0
        beyond = int((alone & ((below == 0.0) | (below == n_samples))).sum())
        return cls(residuals, beyond, 2.0 / (n_samples + 1.0), distances, zeros)

    def tests(self) -> list[tuple[float, float]]:
        """Statistics and p-values of uniformity, dispersion, outliers and zeros."""
        uniformity = ks_1samp(self.residuals, uniform.cdf)
        n = len(self.residuals)
        outliers = binomtest(self.beyond, n, self.expected_beyond)
        return [
            (float(uniformity.statistic), float(uniformity.pvalue)),
            _ratio(self.distances),
            (self.beyond / n, float(outliers.pvalue)),
            _ratio(self.zeros),
        ]


def _ratio(values: np.ndarray) -> tuple[float, float]:
    """The first value over the mean of the others, and the two-sided share of those as far out."""
    observed, drawn = values[0], values[1:]
    mean = drawn.mean()
    above, below = np.mean(drawn >= observed), np.mean(drawn <= observed)
    statistic = observed / mean if mean > 0.0 else np.nan
    return float(statistic), float(min(1.0, 2.0 * min(above, below)))
