"""Whether the posterior of a fit is close to the exact one, from the training data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skmixed.design import Design
from skmixed.fit.generalized_fit import Arranged, arrange
from skmixed.fit.outer import FitOptions, Start
from skmixed.fit.result import FitResult
from skmixed.fit.sites import VariationalPoint
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.results.parameter_moves import (
    LikelihoodStep,
    Reopened,
    Tell,
    has_step,
    likelihood_step,
    say_nothing,
)
from skmixed.results.same_data import (
    refuse_other_coefficients,
    refuse_other_elbo,
    refuse_other_rows,
)
from skmixed.results.sampling import SampledLikelihood, judge_levels, sample_likelihood
from skmixed.solvers.choice import make_solver

_SETTLED = 1e-6
"""Distance from the best posterior, in standard deviations, that is near enough."""

_MOST_STEPS = 300

_MOST_WORK = 4e7
"""Rows times draws beyond which draws that have slopes, and far fewer, take their place."""

_LARGEST_TAIL = 8000
"""Effects and coefficients, but those of the largest factor, that are drawn from their joint
covariance."""


@dataclass(frozen=True)
class Examination:
    """A posterior examined.

    Attributes
    ----------
    elbo : float
        Of the posterior at the fitted parameters, from the data.
    log_likelihood, log_likelihood_std : float
        At the same parameters, and its Monte Carlo standard error.
    shape, effective_share : float
        Pareto shape of the importance weights, and effective draws over draws: of all effects
        but those of the largest factor, whose levels are integrated out, or of all where
        there is no other factor.
    mean_shifts, sd_ratios : ndarray (L,)
        Of every level of the largest factor, the other effects at their means: distance of
        the exact mean in posterior standard deviations, and exact standard deviation over
        the posterior's.
    largest : int or None
        Position of that factor.
    is_exact : bool
        Whether theory says so, and nothing was sampled.
    step : LikelihoodStep or None
        Where the likelihood has its maximum, nearly; None where that is not known.
    n_draws : int
        Draws that the log likelihood is from. Where they are fewer than were asked for, `shape`
        is NaN. Where there are none, so is `effective_share`; and `log_likelihood` as well where
        it is not known.
    """

    elbo: float
    log_likelihood: float
    log_likelihood_std: float
    shape: float
    effective_share: float
    mean_shifts: np.ndarray
    sd_ratios: np.ndarray
    largest: int | None
    is_exact: bool = False
    step: LikelihoodStep | None = None
    n_draws: int = 0


def examine(
    design: Design,
    response: np.ndarray,
    case_weights: np.ndarray,
    result: FitResult,
    options: FitOptions,
    n_draws: int,
    rng: np.random.Generator,
    tell: Tell = say_nothing,
) -> Examination:
    """Sample the posterior of a fit and weigh the draws.

    Parameters
    ----------
    design : Design
        Of the rows of the fit.
    response, case_weights : ndarray (n,)
    result : FitResult
    options : FitOptions
        Those of the fit.
    n_draws : int
    rng : numpy.random.Generator
    tell : callable, optional
        Called with what is done next, in words.

    Raises
    ------
    ValueError
        If the data are not those of the fit.
    """
    refuse_other_rows(design, case_weights, result)
    if result.approximation == "corrected":
        return _exact(result)
    independent = not options.posterior.needs_determinant
    likelihood, noise, own = result.likelihood, 1.0, result.parameters
    if not likelihood.is_quadratic:
        model = arrange(design, response, case_weights, options)
    elif not independent:
        return _exact(result)
    else:
        # responses are measured in standard deviations of the noise
        noise, own = result.noise_variance, np.ones(1)
        model = _gaussian_model(design, response, case_weights, options, noise)
    at_size = not independent and _takes_long(model, design, options, n_draws)
    objective = _objective(model, likelihood, options, independent or at_size)
    units = model.units
    covariances = [factor.covariance for factor in result.factors]
    theta = Start(covariances, noise, own).theta(objective.prior, units)
    theta = np.concatenate([theta, own])
    point = settled(objective, theta, tell)
    elbo = float(units.elbo(point.deviance))
    refuse_other_elbo(elbo, result)
    coefficients = units.fixed.to_centred() @ point.system.fixed_effects
    refuse_other_coefficients(units.response_scale * coefficients, result)
    if at_size:
        levels, sampled = judge_levels(objective, point, independent, rng), None
    else:
        sampled = sample_likelihood(objective, point, independent, n_draws, rng)
    step = None
    if design.factors and not independent:
        fit = Reopened(objective, point, units, design, result, options)
        step = likelihood_step(fit, int(rng.integers(2**31)), tell)
    if sampled is None:
        sampled, n_draws = _from_step(levels, step)
    eliminated = point.system.cross.eliminated
    return Examination(
        elbo,
        float(units.elbo(-2.0 * sampled.log_likelihood)),
        sampled.std,
        sampled.shape,
        sampled.effective_share,
        sampled.mean_shifts,
        sampled.sd_ratios,
        None if eliminated is None else eliminated.position,
        step=step,
        n_draws=n_draws,
    )


def settled(
    objective: VariationalObjective, theta: np.ndarray, tell: Tell = say_nothing
) -> VariationalPoint:
    """The best posterior at given variances and own parameters.

    Parameters
    ----------
    objective : VariationalObjective
    theta : ndarray
    tell : callable, optional

    Raises
    ------
    ValueError
        If the ELBO is not finite there.
    """
    point = objective.at(theta)
    if point is None:
        raise ValueError(
            "The ELBO of these data at the fitted parameters is not finite; pass the rows that "
            "the model was fitted on."
        )
    for number in range(_MOST_STEPS):
        tell(f"posterior, step {number + 1}: {point.distance:.1e} standard deviations to go")
        following = objective.at(theta, point)
        if following is None:
            break
        improves = point.is_coarse or following.deviance < point.deviance
        if improves or following.distance < point.distance:
            point = following
        if not improves or (point.distance < _SETTLED and not point.is_coarse):
            break
    return point


def _takes_long(model: Arranged, design: Design, options: FitOptions, n_draws: int) -> bool:
    """Whether few draws, or none, are to take the place of `n_draws`."""
    rows = model.responses.rows
    if rows.arrangement.n_tail + rows.arrangement.n_fixed > _LARGEST_TAIL:
        return True
    names = tuple(factor.name for factor in design.factors)
    return bool(names) and rows.n_rows * n_draws > _MOST_WORK and has_step(rows, names, options)


def _from_step(
    levels: tuple[np.ndarray, np.ndarray], step: LikelihoodStep | None
) -> tuple[SampledLikelihood, int]:
    """The log likelihood that came with a step, and the number of draws that told it."""
    if step is None:
        return SampledLikelihood(np.nan, np.nan, np.nan, np.nan, *levels), 0
    n_draws, share = len(step.log_weights), np.nan
    if n_draws:
        # of weights whose logarithms are normal, as sums of many small terms are
        share = float(np.exp(-step.log_weights.var(ddof=1)))
    return SampledLikelihood(step.log_likelihood, step.std, np.nan, share, *levels), n_draws


def _objective(
    model: Arranged, likelihood: Any, options: FitOptions, independent: bool
) -> VariationalObjective:
    """The objective of the fit; determinants and draws of one Gaussian need a factorised tail."""
    solver_options = options.solver_options
    if not independent:
        solver_options = replace(solver_options, name="direct")
    arrangement = model.responses.rows.arrangement
    return VariationalObjective(
        model.responses,
        likelihood,
        options.prior(arrangement),
        options.posterior,
        options.integrate_fixed,
        make_solver(arrangement, solver_options),
        options.n_threads,
    )


# Normal responses ------------------------------------------------------------------------


def _exact(result: FitResult) -> Examination:
    """The likelihood itself was maximised: of normal responses, or by quadrature."""
    nothing, elbo = np.empty(0), float(result.elbo)
    std = float(result.elbo_std)
    return Examination(elbo, elbo, std, 0.0, 1.0, nothing, nothing, None, True)


def _gaussian_model(
    design: Design,
    response: np.ndarray,
    case_weights: np.ndarray,
    options: FitOptions,
    noise: float,
) -> Arranged:
    """Rows whose response is measured in standard deviations of the noise."""
    if design.precision_weights is not None:
        raise ValueError(
            "diagnose cannot sample the posterior of a model with precision_weights; fit it with "
            "posterior='full', which is exact for a normal response and needs no diagnosis."
        )
    unit = float(np.sqrt(noise))
    offset = None if design.offset is None else design.offset / unit
    model = arrange(replace(design, offset=offset), response / unit, case_weights, options)
    units = model.units
    df = units.n_observations - (units.fixed.rank if units.integrate_fixed else 0)
    return replace(model, units=replace(units, response_scale=unit, degrees_of_freedom=df))
