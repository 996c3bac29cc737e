"""Maximise the likelihood itself, by quadrature, from where a variational fit ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from skmixed.fit.collapsed_fit import LARGEST_TAIL, fit_collapsed
from skmixed.fit.corrected_objective import CorrectedObjective
from skmixed.fit.corrected_result import VariationalFit, publish_corrected
from skmixed.fit.identification import remove_unidentified, settle_boundary
from skmixed.fit.marginal_likelihood import MarginalLikelihood
from skmixed.fit.newton import NewtonState, minimise
from skmixed.fit.objective import Point
from skmixed.fit.outer import FitOptions
from skmixed.fit.quadrature_plan import (
    MOST_EFFECTS,
    NotIntegrableError,
    QuadraturePlan,
    plan_of,
)
from skmixed.fit.restricted_objective import RestrictedObjective
from skmixed.fit.result import FitResult
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.memory import available_memory
from skmixed.sums.cross_products import dense_tail_bytes
from skmixed.sums.working_rows import WorkingRows

CorrectedFit = Callable[[VariationalFit, FitOptions], FitResult]
"""Goes on from a variational fit to the maximum of the likelihood."""


def corrected_way(rows: WorkingRows, names: tuple[str, ...], options: FitOptions) -> CorrectedFit:
    """How the likelihood of a model is maximised: by quadrature alone, or with draws of the tail.

    Parameters
    ----------
    rows : WorkingRows
    names : tuple of str
        Of the grouping factors.
    options : FitOptions

    Raises
    ------
    ValueError
        When there is no way, with advice.
    """
    try:
        plan = plan_of(rows, names)
    except NotIntegrableError as reason:
        refusal = _no_draws(rows, names, options)
        if not refusal:
            return fit_collapsed
        raise ValueError(
            f"approximation='corrected' does not support this model: {refusal or reason}. It "
            "integrates over the effects of the largest grouping factor and samples the others. "
            "Use approximation='variational', and call diagnose(X, y) to see how close it is."
        ) from None
    return partial(fit_corrected, plan=plan)


def _no_draws(rows: WorkingRows, names: tuple[str, ...], options: FitOptions) -> str:
    """Why effects of the tail cannot be drawn, or those of the largest factor not be integrated."""
    if rows.related:
        related = ", ".join(repr(names[position]) for position in sorted(rows.related))
        return f"the levels of {related} are related by a known covariance"
    if options.variance_prior is not None:
        return "no draws are made with variance_prior="
    cross = rows.arrangement
    assert cross.eliminated is not None
    largest = cross.eliminated
    if largest.n_effects > MOST_EFFECTS:
        return (
            f"{names[largest.position]!r} has {largest.n_effects} effects per level, more than "
            f"{MOST_EFFECTS}"
        )
    if cross.n_tail > LARGEST_TAIL:
        return f"the other factors have {cross.n_tail:,} effects, more than {LARGEST_TAIL:,}"
    needed, available = dense_tail_bytes(cross.n_tail + cross.n_fixed + 1), available_memory()
    if available is not None and needed > 0.8 * available:
        return (
            f"the covariance of the other factors' {cross.n_tail:,} effects needs {needed:,} "
            f"bytes, but only {available:,} are available"
        )
    if options.solver == "iterative":
        return "solver='iterative' cannot draw the effects of other factors (solver='auto' can)"
    return ""


def corrected_objective(
    objective: VariationalObjective, point: Point, plan: QuadraturePlan, n_threads: int
) -> tuple[CorrectedObjective, np.ndarray]:
    """The likelihood of the model of a variational fit, and the parameters of its point."""
    marginal = MarginalLikelihood(
        objective.responses, objective.likelihood, objective.prior, plan, n_threads,
        objective.penalty,
    )  # fmt: skip
    start = np.concatenate([point.theta, point.system.fixed_effects])
    if objective.integrate_fixed:
        return RestrictedObjective(marginal, point.solved, start), point.theta
    return CorrectedObjective(marginal, point.solved), start


def fit_corrected(before: VariationalFit, options: FitOptions, plan: QuadraturePlan) -> FitResult:
    """Maximise the likelihood from a variational optimum.

    With REML it is the likelihood integrated over the coefficients, by Laplace's method: these
    are the parameters in which it is closest to normal.

    Parameters
    ----------
    before : VariationalFit
    options : FitOptions
    plan : QuadraturePlan
    """
    corrected, start = corrected_objective(
        before.objective, before.state.point, plan, options.n_threads
    )

    def report(state: NewtonState) -> bool:
        n_iter = before.state.n_iter + state.n_iter
        # the start was reported, and callbacks expect `max_iter` steps in all
        if options.report is None or state.n_iter == 0 or n_iter >= options.max_iter:
            return False
        return options.report(
            n_iter,
            before.units.elbo(state.deviances[-1]),
            state.scaled_gradient,
            lambda: publish_corrected(corrected, state, before),
            "quadrature",
        )

    state = minimise(corrected, start, tol=options.tol, max_iter=options.max_iter, report=report)
    state = settle_boundary(corrected, state)
    state, unidentified = remove_unidentified(corrected, state)
    everything = tuple(sorted({*before.doubts.unidentified, *unidentified}))
    before = replace(before, doubts=replace(before.doubts, unidentified=everything))
    return publish_corrected(corrected, state, before)
