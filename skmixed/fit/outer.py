"""The outer loop of a fit, whatever the response: iterate, judge the edge, publish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from skmixed.covariances import BasisChange
from skmixed.design.factors import Factor, FactorEncoder
from skmixed.fit.identification import confounded, remove_unidentified, settle_boundary
from skmixed.fit.newton import Lead, NewtonState, OuterObjective, minimise
from skmixed.fit.publish import Judge, publish
from skmixed.fit.result import Doubts, FitResult
from skmixed.fit.variance_penalty import VariancePenalty
from skmixed.posteriors import Posterior, basis_changes
from skmixed.posteriors.prior import EffectsPrior
from skmixed.solvers.choice import SolverOptions
from skmixed.sums.cross_products import CrossProducts
from skmixed.sums.standard_units import Units

_SMALL_START = 1e-3
"""Variance of effects, over that of the noise, below which a start is next to zero."""

_LARGEST_START = 1e6
"""Variance of effects, over that of the noise, to start from: beyond it the noise is lost."""


@dataclass(frozen=True)
class Start:
    """Estimates of an earlier fit to start from, in the units of the data.

    Attributes
    ----------
    covariances : list of ndarray (q, q)
        Of every factor's effects.
    noise_variance : float
    parameters : ndarray (k,)
        The likelihood's own.
    """

    covariances: list[np.ndarray]
    noise_variance: float
    parameters: np.ndarray = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of_result(cls, result: FitResult) -> Start:
        """The estimates of a fit, for factors in the same order."""
        covariances = [factor.covariance for factor in result.factors]
        return cls(covariances, result.noise_variance, result.parameters)

    def theta(self, prior: EffectsPrior, units: Units) -> np.ndarray:
        """The entries of all T, in the units of the fit."""
        return prior.nearest(self._relative(units))

    def theta_to_leave(self, prior: EffectsPrior, units: Units, cold: np.ndarray) -> np.ndarray:
        """The entries of all T to start iterations from: bounded, and away from zero.

        At a variance of zero the gradient vanishes, and next to it steps can only double. Such
        variances start where they would without an earlier fit.

        Parameters
        ----------
        prior : EffectsPrior
        units : Units
        cold : ndarray
            Entries of all T of a start without an earlier fit.
        """
        relative = []
        for omega, scale in zip(self._relative(units), prior.scales(cold), strict=True):
            variances = np.diagonal(omega)
            lift = np.diagonal(scale.omega) - variances
            lift = np.where(variances < _SMALL_START, np.maximum(lift, 0.0), 0.0)
            relative.append(_bounded(omega + np.diag(lift)))
        return prior.nearest(relative)

    def is_away_from_zero(self, units: Units) -> bool:
        """Whether `theta_to_leave` has no need of a cold start."""
        return all((np.diagonal(omega) >= _SMALL_START).all() for omega in self._relative(units))

    def _relative(self, units: Units) -> list[np.ndarray]:
        """Covariances over the noise variance, in the units of the fit."""
        unit = units.weight_scale / self.noise_variance
        inverses = [np.linalg.pinv(basis) for basis in units.bases]
        return [
            inverse @ covariance @ inverse.T * unit
            for covariance, inverse in zip(self.covariances, inverses, strict=True)
        ]


def _bounded(omega: np.ndarray) -> np.ndarray:
    """A relative covariance none of whose variances is too large to start from."""
    values, vectors = np.linalg.eigh(omega)
    if values[-1] <= _LARGEST_START:
        return omega
    return (vectors * np.clip(values, 0.0, _LARGEST_START)) @ vectors.T


@dataclass(frozen=True)
class FitOptions:
    """Options of a fit.

    Attributes
    ----------
    posterior : Posterior
    integrate_fixed : bool
        True for REML.
    noise_variance : float or None
        None: estimated.
    max_iter : int
    tol : float
    n_threads : int
    solver : {"auto", "direct", "iterative"}
    n_probes : int or "auto"
    seed : int
        Of the random vectors of the iterative solver.
    structures : tuple of tuple of str
        How the effects of a level covary, by factor and block: keys of
        `skmixed.covariances.STRUCTURES`; empty: all unstructured.
    across : tuple of ndarray (L, L) or None
        By factor in the order of its levels, a root of how they are related; empty: all levels
        are independent.
    noise : str
        How rows vary around their mean: a key of `skmixed.noise.NOISES`.
    approximation : {"variational", "corrected"}
        What is maximised where the response is not normal: the bound, or the likelihood itself.
    variance_prior : str or None
        Prior of the standard deviations of effects: a key of `VARIANCE_PRIORS`.
    start : Start or None
        Where to start; None is a start from moments.
    report : callable or None
        Called with a `FitResult` maker before every step; a true answer stops.
    """

    posterior: Posterior
    integrate_fixed: bool
    noise_variance: float | None
    max_iter: int
    tol: float
    n_threads: int = 1
    solver: str = "auto"
    n_probes: int | str = "auto"
    seed: int = 0
    structures: tuple[tuple[str, ...], ...] = ()
    across: tuple[np.ndarray | None, ...] = ()
    noise: str = "constant"
    approximation: str = "variational"
    variance_prior: str | None = None
    start: Start | None = None
    report: Callable[[int, float, float, Callable[[], FitResult], str], bool] | None = None

    def basis_may(
        self, factors: Sequence[Factor | FactorEncoder]
    ) -> tuple[tuple[BasisChange, ...], ...]:
        """Allowed changes of the basis of factors of a design, by factor and block."""
        return basis_changes(self.posterior, factors)

    @property
    def related(self) -> frozenset[int]:
        """Positions of the factors whose levels are related."""
        return frozenset(f for f, root in enumerate(self.across) if root is not None)

    def prior(self, cross: CrossProducts, absent: frozenset[int] = frozenset()) -> EffectsPrior:
        """The covariance of the effects of a model, of whose factors the `absent` have none."""
        across = list(self.across)
        for position in self.related:
            # levels stand in the order of their size
            root, ranks = self.across[position], cross.sums.ranks
            assert root is not None
            if ranks is not None:
                ranked = np.empty_like(root)
                ranked[ranks[position]] = root
                across[position] = ranked
        return EffectsPrior.of(cross.factors, self.structures, absent, tuple(across))

    def penalty(
        self, prior: EffectsPrior, units: Units, scales: Sequence[np.ndarray]
    ) -> VariancePenalty | None:
        """-2 log prior of the standard deviations of effects of these scales; None for none."""
        if self.variance_prior is None:
            return None
        return VariancePenalty.of(self.variance_prior, prior, units, scales)

    @property
    def _direct_for(self) -> str:
        if self.related:
            return "relations"
        return "" if self.noise == "constant" else "dispersion"

    @property
    def solver_options(self) -> SolverOptions:
        """Options of the solver."""
        return SolverOptions(
            self.solver, self.integrate_fixed, self.posterior.needs_determinant,
            self.n_probes, self.seed, self.n_threads, self._direct_for,
        )  # fmt: skip


def iterate(
    objective: OuterObjective,
    theta: np.ndarray,
    units: Units,
    options: FitOptions,
    absent: frozenset[int],
    dependent: tuple[tuple[int, ...], ...],
    judge: Judge,
) -> FitResult:
    """Minimise an objective from `theta` and publish what was found; arguments as `optimise`."""
    state, doubts = optimise(objective, theta, units, options, absent, dependent, judge)
    return publish(objective, state, units, judge, doubts)


def _tell_lead(
    objective: OuterObjective, lead: Lead, tell: Callable[..., bool]
) -> NewtonState | None:
    """Tell of the steps of a lead; the state at which an answer stops the fit."""
    for n_iter, (deviance, gradient) in enumerate(zip(lead.deviances, lead.gradients, strict=True)):
        state = partial(lead.state, objective, n_iter)
        if tell(n_iter, deviance, gradient, state, lead.last.system.method):
            return state()
    return None


def optimise(
    objective: OuterObjective,
    theta: np.ndarray,
    units: Units,
    options: FitOptions,
    absent: frozenset[int],
    dependent: tuple[tuple[int, ...], ...],
    judge: Judge,
    lead: Lead | None = None,
) -> tuple[NewtonState, Doubts]:
    """Minimise an objective from `theta`; return the optimum and what is doubtful about it.

    Parameters
    ----------
    objective : OuterObjective
    theta : ndarray
    units : Units
    options : FitOptions
    absent : frozenset of int
        Factors without a variance of their own.
    dependent : tuple of tuple of int
        By factor, effects that others of their covariance block determine.
    judge : callable
        Tells the uncertainty of the coefficients; see `Judge`.
    lead : Lead, optional
        Steps from `theta` that were taken already.
    """

    # 1. Newton steps on the variance parameters; the posterior follows.
    def tell(
        n_iter: int, deviance: float, gradient: float, state: Callable[[], NewtonState], method: str
    ) -> bool:
        if options.report is None:
            return False
        return options.report(
            n_iter, units.elbo(deviance), gradient,
            lambda: publish(objective, state(), units, judge), method,
        )  # fmt: skip

    def report(state: NewtonState) -> bool:
        return tell(
            state.n_iter, state.deviances[-1], state.scaled_gradient, lambda: state,
            state.point.system.method,
        )  # fmt: skip

    stopped = None if lead is None else _tell_lead(objective, lead, tell)
    state = stopped or minimise(
        objective, theta, tol=options.tol, max_iter=options.max_iter, report=report, lead=lead,
        is_far=options.start is None,
    )  # fmt: skip

    # 2. A variance that only rounding keeps from zero is zero, and so is one that
    #    the data know nothing of.
    state = settle_boundary(objective, state)
    state, unidentified = remove_unidentified(objective, state)
    return state, Doubts(
        tuple(sorted({*unidentified, *absent})),
        confounded(objective, state),
        dependent,
        objective.separated(state.point, units),
    )
