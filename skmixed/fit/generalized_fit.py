"""Fit a mixed model of a response that is not normal."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skmixed.design import Design
from skmixed.families.base import Likelihood
from skmixed.fit.bound_moves import bound_moves
from skmixed.fit.corrected_fit import corrected_way
from skmixed.fit.corrected_result import VariationalFit
from skmixed.fit.identification import spanned_by_fixed, typical_steps
from skmixed.fit.implicit import uncertainty_at
from skmixed.fit.joint_objective import JointObjective
from skmixed.fit.level_steps import lead_to
from skmixed.fit.outer import FitOptions, optimise
from skmixed.fit.publish import publish
from skmixed.fit.result import FitResult
from skmixed.fit.sites import Responses, VariationalPoint
from skmixed.fit.starting import moment_estimates
from skmixed.fit.uncertainty import Uncertainty, of_held_variances
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.solvers.choice import make_solver
from skmixed.sums.cross_products import CrossProducts
from skmixed.sums.row_sums import factor_shapes, loading_sds, refuse_too_few
from skmixed.sums.standard_units import (
    BasisTransform,
    FixedTransform,
    Units,
    learn_fixed_transform,
    transform_basis,
)
from skmixed.sums.working_rows import WorkingRows, first_rows, merge_equal_rows

_LEAST_START = 0.25
"""Start no lower: from too small a variance Newton needs more steps than from too large a one."""


def fit_generalized(
    design: Design,
    response: np.ndarray,
    case_weights: np.ndarray,
    likelihood: Likelihood,
    options: FitOptions,
) -> FitResult:
    """Maximise the ELBO of a generalized linear mixed model.

    Parameters
    ----------
    design : Design
    response : ndarray (n,)
    case_weights : ndarray (n,)
        Weight 2 counts as the row twice; positive.
    likelihood : Likelihood
    options : FitOptions
    """
    # 1. Merge equal rows, bring columns to unit scale, put rows in order.
    model = arrange(design, response, case_weights, options)
    responses, units = model.responses, model.units
    go_on = None
    if options.approximation == "corrected" and design.factors:
        names = tuple(factor.name for factor in design.factors)
        go_on = corrected_way(responses.rows, names, options)

    # 2. Start from moments of the working model, or from where an earlier fit stopped.
    own = likelihood.start_parameters(responses.as_family_rows())
    cross = _first_working_model(responses, likelihood, own)
    absent = spanned_by_fixed(cross)
    prior = options.prior(cross, absent)
    joint = len(own) > 1 and options.posterior.needs_determinant
    kind = JointObjective if joint else VariationalObjective
    objective = kind(
        responses, likelihood, prior, options.posterior, options.integrate_fixed,
        make_solver(cross, options.solver_options), options.n_threads,
        options.penalty(prior, units, predictor_scales(design)),
    )  # fmt: skip
    theta = moment_estimates(cross, prior, None, units.n_observations, _LEAST_START)
    if options.start is not None:
        theta = options.start.theta_to_leave(prior, units, theta)
        own = options.start.parameters

    # 3. Steps on variances and posterior together, and on the likelihood itself where asked.
    theta = np.concatenate([theta, own])
    with np.errstate(all="ignore"):
        # a step too far gives infinity, and is shortened
        judge = uncertainty_at if go_on is None else _at_held_variances
        lead = lead_to(objective, theta, options)
        state, doubts = optimise(
            objective, theta, units, options, absent, model.dependent, judge, lead
        )
        result = publish(objective, state, units, judge, doubts)
        if go_on is None:
            assert isinstance(state.point, VariationalPoint)
            moves = bound_moves(objective, state.point, units, result)
            result = replace(result, bound_moves=moves)
        else:
            before = VariationalFit(objective, state, doubts, result, units)
            result = go_on(before, options)

    # 4. The mean response, which rows tell and a result does not.
    if likelihood.is_classifier:
        return result
    return replace(result, log_exposure=_log_exposure(result, design, case_weights))


def predictor_scales(design: Design) -> list[np.ndarray]:
    """By factor, 1 over the standard deviation of what multiplies each effect, (q,)."""
    return [1.0 / sds for sds in loading_sds(design)]


def _at_held_variances(
    objective: VariationalObjective, point: VariationalPoint, posterior_fixed: np.ndarray
) -> Uncertainty:
    """The uncertainty of a fit that another one follows."""
    return of_held_variances(point.system, posterior_fixed, objective.integrate_fixed)


def _log_exposure(result: FitResult, design: Design, case_weights: np.ndarray) -> float:
    """See `FitResult`: from the mean of exp(eta) over rows and the distribution of effects."""
    predictor = (design.fixed - result.center) @ result.coefficients
    if design.offset is not None:
        predictor = predictor + design.offset
    spread = result.fixed_variance
    for factor, fitted in zip(design.factors, result.factors, strict=True):
        covariance = fitted.covariance
        basis = factor.loadings()
        # E exp(z'u) for u ~ N(0, Sigma)
        predictor = predictor + 0.5 * ((basis @ covariance) * basis).sum(axis=1)
        spread += float(np.einsum("jk,kj->", covariance, fitted.moments))
    # SciPy's logsumexp takes as long as a Newton step of a small model
    largest = float(predictor.max())
    log_mean = largest + np.log(case_weights @ np.exp(predictor - largest) / case_weights.sum())
    return float(log_mean) - result.fixed_mean - 0.5 * spread


@dataclass(frozen=True)
class Arranged:
    """Rows of a model in standard units.

    Attributes
    ----------
    responses : Responses
    units : Units
    dependent : tuple of tuple of int
        By factor, effects that others of their covariance block determine.
    """

    responses: Responses
    units: Units
    dependent: tuple[tuple[int, ...], ...]


def arrange(
    design: Design, response: np.ndarray, case_weights: np.ndarray, options: FitOptions
) -> Arranged:
    """Merge equal rows, standardise columns and order the rows for the engine."""
    kept, weights = _merge(design, response, case_weights)
    n_observations = float(weights.sum())
    columns = design.fixed[kept]
    fixed = learn_fixed_transform(columns, design.has_intercept, weights)
    refuse_too_few(n_observations, fixed.rank, len(response))
    bases = [
        transform_basis(
            None if factor.basis is None else factor.basis[kept],
            factor.blocks, weights, may,
        )
        for factor, may in zip(design.factors, options.basis_may(design.factors), strict=True)
    ]  # fmt: skip
    rows = WorkingRows.of(
        tuple(factor.codes[kept] for factor in design.factors),
        factor_shapes(design),
        tuple(transform.basis for transform in bases),
        fixed.apply(columns),
        response[kept],
        weights,
        options.n_threads,
        options.related,
    )
    offset = 0.0 if design.offset is None else design.offset[kept][rows.order]
    responses = Responses(
        rows,
        response[kept][rows.order],
        weights[rows.order],
        offset,
        typical_steps(columns)[:, None] * fixed.to_centred(),
    )
    units = _units(fixed, bases, n_observations, options.integrate_fixed)
    return Arranged(responses, units, tuple(transform.dependent for transform in bases))


def _merge(
    design: Design, response: np.ndarray, case_weights: np.ndarray
) -> tuple[np.ndarray | slice, np.ndarray]:
    """One row of every group of equal ones, and the sums of their weights."""
    groups = merge_equal_rows([response, *design.predictor_columns()])
    first = first_rows(groups)
    if len(first) == len(groups):
        return slice(None), case_weights
    return first, np.bincount(groups, case_weights, len(first))


def _units(
    fixed: FixedTransform,
    bases: list[BasisTransform],
    n_observations: float,
    integrate_fixed: bool,
) -> Units:
    """Units of a model whose response stays as it is."""
    return Units(
        fixed=fixed,
        bases=tuple(transform.matrix for transform in bases),
        moments=tuple(transform.moments for transform in bases),
        least_squares=np.zeros(fixed.rank),
        response_center=0.0,
        response_scale=1.0,
        weight_scale=1.0,
        log_weights=0.0,
        n_observations=n_observations,
        degrees_of_freedom=n_observations,
        integrate_fixed=integrate_fixed,
    )


def _first_working_model(
    responses: Responses, likelihood: Likelihood, own: np.ndarray
) -> CrossProducts:
    """Cross-products of what rows suggest alone, the fixed effects taken off."""
    rows = responses.rows
    predictor, precision = likelihood.start(responses.as_family_rows(), own)
    weights = responses.weights * precision
    rest = predictor - responses.offset
    gram = rows.fixed.T @ (rows.fixed * weights[:, None])
    right = rows.fixed.T @ (weights * rest)
    try:
        coefficients = np.linalg.solve(gram, right)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"y runs from {responses.y.min():.3g} to {responses.y.max():.3g}, a range that "
            "makes the equations singular in double precision; check the largest responses."
        ) from None
    rest = rest - rows.fixed @ coefficients
    return rows.cross_products(weights, weights * rest)
