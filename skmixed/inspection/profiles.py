"""Likelihood profiles of coefficients, standard deviations and correlations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from skmixed.fit.result import FitResult
from skmixed.fitted_model import FittedModel, fitted_model
from skmixed.inspection.answer import Answer
from skmixed.inspection.attributes import coefficients_of
from skmixed.inspection.displays.drawing import load_pyplot, reference_style
from skmixed.inspection.fixed_effects import refuse_structures, refuse_variance_prior, why_no_t_test
from skmixed.inspection.refits import Refit
from skmixed.results.profiling import Held, HeldCoefficient, HeldVariance, find_end
from skmixed.results.reopened import ReopenedFit
from skmixed.threads import restrained_blas
from skmixed.validation import check_level

_DRAWN = 2.5
"""Signed roots up to which a plot goes."""


@dataclass
class Profile:
    """Profiles of the parameters of a model, computed on demand.

    Attributes
    ----------
    parameters : dict of {str: Held}
    n_threads : int
    """

    parameters: dict[str, Held]
    n_threads: int

    def __post_init__(self) -> None:
        self._seen: dict[str, dict[float, float]] = {name: {} for name in self.parameters}

    def _end(self, name: str, target: float, sign: int) -> float:
        held = self.parameters[name]
        with np.errstate(all="ignore"), restrained_blas(self.n_threads):
            return find_end(held, target, sign, self._seen[name])

    def intervals(self, level: float = 0.95) -> Answer:
        """Profile likelihood intervals.

        Parameters
        ----------
        level : float, default=0.95
            Probability of the intervals.

        Returns
        -------
        answer : Answer
            Prints as text, shows as HTML, and has ``.to_frame()``: estimate, lower and upper by
            parameter. The limit of a standard deviation can be 0, that of a correlation -1 or 1;
            NaN if there is no limit.
        """
        check_level(level)
        target = float(ndtri(0.5 + 0.5 * level))
        rows = [
            (held.estimate, self._end(name, target, -1), self._end(name, target, 1))
            for name, held in self.parameters.items()
        ]
        table = pd.DataFrame(
            rows, index=list(self.parameters), columns=["estimate", "lower", "upper"]
        )
        facts = {"Likelihood": "maximum", "Interval": f"{level:.0%}"}
        return Answer("Profile likelihood intervals", table, facts)

    def plot(self, axes: Any = None) -> Any:
        """Draw the signed root of the deviance by each parameter: a straight line if the estimate
        is normal.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            One per parameter; None: a new figure.

        Returns
        -------
        axes : ndarray of matplotlib Axes
        """
        names = list(self.parameters)
        if axes is None:
            n_rows = -(-len(names) // 3)
            figure, grid = load_pyplot().subplots(
                n_rows, min(len(names), 3), layout="constrained", squeeze=False,
                figsize=(3.2 * min(len(names), 3), 2.6 * n_rows),
            )  # fmt: skip
            axes = grid.ravel()
            for spare in axes[len(names) :]:
                figure.delaxes(spare)
        for name, ax in zip(names, axes, strict=False):
            for target in np.linspace(0.5, _DRAWN, 5):
                self._end(name, float(target), -1)
                self._end(name, float(target), 1)
            estimate = self.parameters[name].estimate
            values = np.array([estimate, *self._seen[name]])
            roots = np.array([0.0, *self._seen[name].values()]) * np.sign(values - estimate)
            order = np.argsort(values)
            shown = order[np.abs(roots[order]) <= _DRAWN + 0.1]
            ax.axhline(0.0, **reference_style(None))
            ax.plot(values[shown], roots[shown], color="C0")
            ax.set(xlabel=name, ylabel="Signed root of deviance")
        return axes


def profile(
    model: Any,
    X: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    parameters: Any = "all",
) -> Profile:
    """Profile the likelihood in each parameter, maximised over all others.

    Profile intervals are also valid if the distribution of an estimate is skewed, like that of a
    standard deviation with few levels. As in lme4 they always use maximum likelihood.

    Parameters
    ----------
    model : MixedEffectsVIRegressor
        A fitted model of a normal response with ``posterior="full"``.
    X, y, sample_weight : array-like, default=None
        The data of the fit, if the model did not keep them.
    parameters : "all" or list of str, default="all"
        Names: coefficients; ``"sd[Subject, Days]"``, ``"corr[Subject, Intercept, Days]"``,
        ``"sd[Residual]"``.

    Returns
    -------
    profile : Profile
        With ``.intervals(level)`` and ``.plot()``.

    Raises
    ------
    ValueError
        If the model is not supported, a covariance has a structure, a name is unknown, or
        data are missing.

    Examples
    --------
    >>> from skmixed import mixed, profile
    >>> from skmixed.datasets import load_sleepstudy
    >>> model = mixed("Reaction ~ Days + (1 | Subject)", load_sleepstudy().frame)
    >>> table = profile(model, parameters=["sd[Residual]"]).intervals().to_frame()
    >>> table.round(2).loc["sd[Residual]"].tolist()
    [30.9, 27.81, 34.59]
    """
    fitted = fitted_model(model)
    if reason := why_no_t_test(fitted, "profile()"):
        raise ValueError(reason)
    refuse_structures(fitted, "profile()", "variance_intervals() or parametric_bootstrap")
    refuse_variance_prior(fitted, "profile()")
    data = fitted.training_data(X, y, sample_weight, "profile()")
    refit = Refit.of(fitted, data).by_maximum_likelihood()
    result = fitted.result if fitted.settings.method == "ml" else refit.fit()
    at_best = replace(fitted, result=result)
    n_threads = refit.options.n_threads
    with restrained_blas(n_threads):
        fit = ReopenedFit.of(refit.design, refit.response, refit.weights, result, refit.options)
    held = {**_variances(at_best, fit), **_coefficients(at_best, refit)}
    if not (isinstance(parameters, str) and parameters == "all"):
        asked = [parameters] if isinstance(parameters, str) else list(parameters)
        unknown = [name for name in asked if name not in held]
        if unknown:
            known = ", ".join(map(repr, held))
            raise ValueError(f"parameters= names {unknown[0]!r}, which is not one of {known}.")
        held = {name: held[name] for name in asked}
    return Profile(held, n_threads)


def _variances(model: FittedModel, fit: ReopenedFit) -> dict[str, Held]:
    """Standard deviations and correlations by name, with about their standard errors."""
    found: list[HeldVariance] = []
    n = model.result.n_observations
    for block in fit.objective.prior.blocks:
        position, effects = block.factor.position, block.effects
        factor = model.encoder.factors[position]
        sigma = model.result.factors[position].covariance[effects, effects]
        sds = np.sqrt(np.maximum(np.diagonal(sigma), 0.0))
        names = factor.term_names[effects]
        place = (effects.start, effects.stop)
        width = 1.0 / np.sqrt(2.0 * factor.levels.n_levels)
        for k, name in enumerate(names):
            unit = max(width * sds[k], 1e-3 * np.sqrt(model.result.noise_variance))
            label = f"sd[{factor.name}, {name}]"
            found.append(HeldVariance(fit, label, float(sds[k]), unit, position, place, (k,)))
        for i in range(len(names)):
            for j in range(i + 1, len(names)):
                both = sds[i] * sds[j]
                estimate = float(sigma[i, j] / both) if both > 0.0 else 0.0
                label = f"corr[{factor.name}, {names[i]}, {names[j]}]"
                found.append(
                    HeldVariance(fit, label, estimate, width, position, place, (i, j), -1.0, 1.0)
                )
    if fit.noise_is_free:
        sd = float(np.sqrt(model.result.noise_variance))
        found.append(HeldVariance(fit, "sd[Residual]", sd, sd / np.sqrt(2.0 * n)))
    return {held.name: held for held in found}


def _coefficients(model: FittedModel, refit: Refit) -> dict[str, Held]:
    """Fixed effects by name; those that others span have none."""
    fixed, dropped = coefficients_of(model), set(model.result.dropped.tolist())
    errors = np.sqrt(np.maximum(np.diagonal(fixed.covariance), 0.0))
    out: dict[str, Held] = {}
    for k, name in enumerate(fixed.names):
        if k in dropped:
            continue
        out[name] = HeldCoefficient(
            name,
            float(fixed.estimates[k]),
            float(errors[k]),
            -2.0 * float(model.result.elbo),
            _Without(refit, k),
        )
    return out


@dataclass(frozen=True)
class _Without:
    """The deviance of a model whose coefficient k is held."""

    refit: Refit
    column: int

    def __call__(self, value: float) -> float:
        """-2 log likelihood at the best of all other parameters."""
        refit, columns = self.refit, np.array([self.column])
        response = refit.response - value * refit.design.fixed[:, self.column]
        part = replace(refit.without_columns(columns), response=response)
        found: FitResult = part.fit()
        return -2.0 * float(found.elbo)
