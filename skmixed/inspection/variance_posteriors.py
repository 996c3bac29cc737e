"""The posterior of the variances, and intervals that know that variances are estimates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr
from sklearn.utils import check_random_state

from skmixed.fit.result import FitResult
from skmixed.fit.uncertainty import root_of
from skmixed.fit.variance_priors import VARIANCE_PRIORS
from skmixed.fitted_model import EncodedRows, FittedModel, fitted_model
from skmixed.inspection.answer import Answer
from skmixed.inspection.attributes import coefficients_of
from skmixed.inspection.fixed_effects import refuse_structures, why_no_t_test
from skmixed.inspection.refits import Refit
from skmixed.results.reopened import ReopenedFit
from skmixed.results.variance_points import Coordinates, WeightedFits, posterior_points
from skmixed.sums.row_sums import loading_sds, weighted_sd
from skmixed.threads import restrained_blas
from skmixed.validation import check_choice, check_level

_FEW_EFFECTIVE = 20.0


@dataclass(frozen=True)
class VariancePosterior:
    """A mixture of fits at points of the posterior of the variances.

    Attributes
    ----------
    model : FittedModel
    fits : WeightedFits
    prior : str
    scales : dict of {str: float}
        Scale of the prior, by standard deviation.
    """

    model: FittedModel
    fits: WeightedFits
    prior: str
    scales: dict[str, float]

    def intervals(self, level: float = 0.95) -> Answer:
        """Central intervals of coefficients, standard deviations and correlations.

        Parameters
        ----------
        level : float, default=0.95
            Probability of the intervals.

        Returns
        -------
        answer : Answer
            Prints as text, shows as HTML, and has ``.to_frame()``: median as estimate, std_error
            (the standard deviation of the posterior), lower and upper, by name.
        """
        check_level(level)
        shares = np.array([0.5, 0.5 - 0.5 * level, 0.5 + 0.5 * level])
        names = coefficients_of(self.model).names
        means, variances = self._coefficients()
        median, lower, upper = normal_mixture_quantiles(
            means, variances, self.fits.weights, shares
        ).T
        rows = dict(
            zip(names, zip(median, self._spread(means, variances), lower, upper, strict=True),
                strict=True)
        )  # fmt: skip
        for name, values in self._variance_parameters().items():
            at = _weighted_quantiles(values, self.fits.weights, shares)
            spread = self._spread(values[:, None], np.zeros((len(values), 1)))[0]
            rows[name] = (at[0], spread, at[1], at[2])
        table = pd.DataFrame.from_dict(
            rows, orient="index", columns=["estimate", "std_error", "lower", "upper"]
        )
        facts = {
            "Prior of standard deviations": self.prior,
            "Points, effective": f"{len(self.fits.weights)}, {self.fits.n_effective:.0f}",
            "Interval": f"{level:.0%}",
        }
        return Answer("Posterior of coefficients and variances", table, facts)

    def effects(self, group: str, level: float = 0.95) -> pd.DataFrame:
        """Random effects of a group with intervals, levels and terms in rows.

        Parameters
        ----------
        group : str
        level : float, default=0.95
            Probability of the intervals.

        Returns
        -------
        effects : DataFrame
            Columns level, term, estimate, std, lower and upper.
        """
        check_level(level)
        names = list(self.model.encoder.factor_names)
        check_choice("group", group, tuple(names))
        position = names.index(group)
        factor = self.model.encoder.factors[position]
        parts = [result.factors[position] for result in self.fits.results]
        means = np.array([part.means.ravel() for part in parts])
        variances = np.array(
            [np.diagonal(part.covariances, axis1=1, axis2=2).ravel() for part in parts]
        )
        ends = normal_mixture_quantiles(
            means, variances, self.fits.weights, np.array([0.5 - 0.5 * level, 0.5 + 0.5 * level])
        )
        labels = np.repeat(np.asarray(factor.levels.labels, dtype=object), len(factor.term_names))
        return pd.DataFrame(
            {
                "level": labels, "term": list(factor.term_names) * len(factor.levels.labels),
                "estimate": self.fits.weights @ means, "std": self._spread(means, variances),
                "lower": ends[:, 0], "upper": ends[:, 1],
            }
        )  # fmt: skip

    def predict_interval(self, X: Any, level: float = 0.95, include: Any = "all") -> np.ndarray:
        """Central intervals of new observations.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to predict; unseen levels have the variance between levels.
        level : float, default=0.95
            Probability of the intervals.
        include : "all", "none" or list of str, default="all"
            Groups whose random effects are used.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2)
        """
        check_level(level)
        rows = self.model.encode(X, include)
        means, variances = [], []
        for result in self.fits.results:
            here = EncodedRows(result, rows.design, rows.positions)
            means.append(here.mean())
            variances.append(here.variance(further=True) + here.parameters)
        return normal_mixture_quantiles(
            np.array(means), np.array(variances), self.fits.weights,
            np.array([0.5 - 0.5 * level, 0.5 + 0.5 * level]),
        )  # fmt: skip

    def sample(self, n_samples: int = 1000, random_state: Any = None) -> pd.DataFrame:
        """Draw coefficients, standard deviations and correlations jointly.

        Parameters
        ----------
        n_samples : int, default=1000
        random_state : int, RandomState instance or None, default=None
            Equal seeds give equal draws.

        Returns
        -------
        draws : DataFrame (n_samples, n_parameters)
        """
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(self.fits.weights), size=n_samples, p=self.fits.weights)
        fixed = [coefficients_of(self._at(result)) for result in self.fits.results]
        roots = [root_of(part.covariance) for part in fixed]
        noise = rng.standard_normal((n_samples, len(fixed[0].estimates)))
        draws = np.array(
            [fixed[k].estimates + roots[k] @ z for k, z in zip(chosen, noise, strict=True)]
        )
        table = pd.DataFrame(draws, columns=fixed[0].names)
        for name, values in self._variance_parameters().items():
            table[name] = values[chosen]
        return table

    def to_inferencedata(self, n_samples: int = 1000, random_state: Any = None) -> Any:
        """Draws for ArviZ (package arviz), as one chain.

        Parameters
        ----------
        n_samples : int, default=1000
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        data : arviz.InferenceData
            A DataTree with arviz 1.0 and later.

        Raises
        ------
        ImportError
            If arviz is not installed.
        """
        try:
            import arviz
        except ImportError as error:
            raise ImportError(
                "to_inferencedata() needs arviz, which is not installed: pip install arviz"
            ) from error
        draws = self.sample(n_samples, random_state)
        posterior = {str(name): draws[name].to_numpy()[None] for name in draws}
        if hasattr(arviz, "InferenceData"):
            return arviz.from_dict(posterior=posterior)
        # from version 1 on groups come in a dict
        return arviz.from_dict({"posterior": posterior})

    def _at(self, result: FitResult) -> FittedModel:
        return replace(self.model, result=result)

    def _coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and variances of the published coefficients at every point, (k, p) each."""
        fixed = [coefficients_of(self._at(result)) for result in self.fits.results]
        means = np.array([part.estimates for part in fixed])
        return means, np.array([np.diagonal(part.covariance) for part in fixed])

    def _spread(self, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
        """Standard deviations of mixtures (k, m), (m,)."""
        weights = self.fits.weights
        centre = weights @ means
        spread: np.ndarray = np.sqrt(weights @ (variances + (means - centre) ** 2))
        return spread

    def _variance_parameters(self) -> dict[str, np.ndarray]:
        """Standard deviations and correlations by name, (k,) each."""
        out: dict[str, list[float]] = {}
        for result in self.fits.results:
            for factor, fit in zip(self.model.encoder.factors, result.factors, strict=True):
                sds = np.sqrt(np.maximum(np.diagonal(fit.covariance), 0.0))
                names = factor.term_names
                for k, name in enumerate(names):
                    out.setdefault(f"sd[{factor.name}, {name}]", []).append(float(sds[k]))
                for begin, stop in factor.blocks:
                    for i in range(begin, stop):
                        for j in range(i + 1, stop):
                            label = f"corr[{factor.name}, {names[i]}, {names[j]}]"
                            both = sds[i] * sds[j]
                            value = fit.covariance[i, j] / both if both > 0.0 else 0.0
                            out.setdefault(label, []).append(float(value))
            out.setdefault("sd[Residual]", []).append(float(np.sqrt(result.noise_variance)))
        return {name: np.array(values) for name, values in out.items()}


def variance_posterior(
    model: Any,
    X: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    prior: str = "half-cauchy",
    n_points: int = 256,
    random_state: Any = None,
) -> VariancePosterior:
    """Average over the posterior of the variances, instead of treating their estimates as known.

    With few levels estimated variances are uncertain, and intervals that treat them as known are
    too short. Here the model is solved at points of the posterior of the variances, and intervals
    are quantiles of the mixture (integrated nested Laplace approximation [1]_; exact given the
    variances, because the response is normal).

    Parameters
    ----------
    model : MixedEffectsVIRegressor
        A fitted model of a normal response with ``posterior="full"``.
    X, y, sample_weight : array-like, default=None
        The data of the fit, if the model did not keep them.
    prior : {"half-cauchy", "half-normal", "exponential", "gamma", "flat"}, default="half-cauchy"
        Prior of the standard deviations of random effects. Its scale is the standard deviation of
        the response, for a slope divided by the standard deviation of its column. Coefficients have
        a flat prior, correlation matrices a uniform one, and the noise one proportional to 1 / sd.
    n_points : int, default=256
        Number of points of the posterior.
    random_state : int, RandomState instance or None, default=None
        Seed of the points; equal seeds give equal results.

    Returns
    -------
    posterior : VariancePosterior
        With ``.intervals()``, ``.effects(group)``, ``.predict_interval(X)``, ``.sample()`` and
        ``.to_inferencedata()``.

    Raises
    ------
    ValueError
        If the model is not supported, a covariance has a structure, or data are missing.

    References
    ----------
    .. [1] Rue, Martino and Chopin (2009), "Approximate Bayesian inference for latent Gaussian
       models by using integrated nested Laplace approximations", J. Royal Statistical Society
       B 71.

    Examples
    --------
    >>> from skmixed import mixed, variance_posterior
    >>> from skmixed.datasets import load_sleepstudy
    >>> model = mixed("Reaction ~ Days + (1 | Subject)", load_sleepstudy().frame)
    >>> posterior = variance_posterior(model, random_state=0)
    >>> table = posterior.intervals().to_frame()
    >>> bool(30.0 < table.loc["sd[Subject, Intercept]", "estimate"] < 45.0)
    True
    """
    check_choice("prior", prior, tuple(VARIANCE_PRIORS))
    fitted = fitted_model(model)
    if reason := why_no_t_test(fitted, "variance_posterior()"):
        raise ValueError(reason)
    refuse_structures(fitted, "variance_posterior()", "parametric_bootstrap")
    data = fitted.training_data(X, y, sample_weight, "variance_posterior()")
    refit = Refit.of(fitted, data)
    options = replace(refit.options, integrate_fixed=True, variance_prior=None)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    with np.errstate(all="ignore"), restrained_blas(options.n_threads):
        fit = ReopenedFit.at_variances(
            refit.design, refit.response, refit.weights, fitted.result, options
        )
        scales = _scales(refit)
        density: Callable[[np.ndarray], np.ndarray] = VARIANCE_PRIORS[prior]
        fits = posterior_points(Coordinates(fit, scales), density, n_points, seed)
    if fits.n_effective < _FEW_EFFECTIVE:
        raise ValueError(
            f"The effective sample size of the posterior is {fits.n_effective:.0f} points, too few "
            "for intervals. Raise n_points, or simplify the random effects."
        )
    named = {
        f"sd[{factor.name}, {name}]": float(scale)
        for factor, of_factor in zip(fitted.encoder.factors, scales, strict=True)
        for name, scale in zip(factor.term_names, of_factor, strict=True)
    }
    return VariancePosterior(fitted, fits, prior, named)


def _scales(refit: Refit) -> list[np.ndarray]:
    """Standard deviation of the response over that of what each effect multiplies, (q,)."""
    spread = weighted_sd(refit.response, refit.weights)
    return [spread / sds for sds in loading_sds(refit.design)]


def normal_mixture_quantiles(
    means: np.ndarray, variances: np.ndarray, weights: np.ndarray, shares: np.ndarray
) -> np.ndarray:
    """Quantiles (m, s) of mixtures of k normal variables, by bisection.

    Parameters
    ----------
    means, variances : ndarray (k, m)
    weights : ndarray (k,)
    shares : ndarray (s,)
    """
    sds = np.sqrt(np.maximum(variances, 1e-300))
    out = np.empty((means.shape[1], len(shares)))
    for s, share in enumerate(shares):
        low, high = (means - 40.0 * sds).min(axis=0), (means + 40.0 * sds).max(axis=0)
        for _ in range(60):
            middle = 0.5 * (low + high)
            below = weights @ ndtr((middle - means) / sds) < share
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        out[:, s] = 0.5 * (low + high)
    return out


def _weighted_quantiles(values: np.ndarray, weights: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Quantiles (s,) of weighted values (k,), interpolated."""
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order]) - 0.5 * weights[order]
    at: np.ndarray = np.interp(shares, cumulated, values[order])
    return at
