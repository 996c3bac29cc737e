"""Maximise the likelihood itself, by quadrature, from where a variational fit ended."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skmixed.fit.corrected_objective import CorrectedObjective
from skmixed.fit.corrected_result import VariationalFit, publish_corrected
from skmixed.fit.identification import remove_unidentified, settle_boundary
from skmixed.fit.marginal_likelihood import MarginalLikelihood
from skmixed.fit.newton import NewtonState, minimise
from skmixed.fit.outer import FitOptions
from skmixed.fit.quadrature_plan import NotIntegrableError, QuadraturePlan, plan_of
from skmixed.fit.restricted_objective import RestrictedObjective
from skmixed.fit.result import FitResult
from skmixed.sums.working_rows import WorkingRows


def integrable_plan(rows: WorkingRows, names: tuple[str, ...]) -> QuadraturePlan:
    """The integrals of a model; ValueError with advice where there are none.

    Parameters
    ----------
    rows : WorkingRows
    names : tuple of str
        Of the grouping factors.
    """
    try:
        return plan_of(rows, names)
    except NotIntegrableError as reason:
        raise ValueError(
            "approximation='corrected' integrates over the effects of the levels of one grouping "
            "factor, of two of which one is nested in the other, or of two of which one has three "
            f"levels at most; of this model {reason}. Use approximation='variational', and "
            "diagnose(X, y) to see how close it is."
        ) from None


def fit_corrected(before: VariationalFit, plan: QuadraturePlan, options: FitOptions) -> FitResult:
    """Maximise the likelihood from a variational optimum.

    With REML it is the likelihood integrated over the coefficients, by Laplace's method: these
    are the parameters in which it is closest to normal.

    Parameters
    ----------
    before : VariationalFit
    plan : QuadraturePlan
    options : FitOptions
    """
    point, objective = before.state.point, before.objective
    marginal = MarginalLikelihood(
        objective.responses,
        objective.likelihood,
        objective.prior,
        plan,
        options.n_threads,
        objective.penalty,
    )
    corrected: CorrectedObjective
    start = np.concatenate([point.theta, point.system.fixed_effects])
    if options.integrate_fixed:
        corrected = RestrictedObjective(marginal, point.solved, start)
        start = point.theta
    else:
        corrected = CorrectedObjective(marginal, point.solved)

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
