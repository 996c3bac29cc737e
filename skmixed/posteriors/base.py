"""Variational families: what every one provides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from skmixed.covariances import STRUCTURES, BasisChange, narrower
from skmixed.posteriors.prior import EffectsPrior
from skmixed.solvers.base import Covariance, System
from skmixed.sums.cross_products import FactorLayout
from skmixed.sums.working_rows import WorkingRows


@dataclass(frozen=True)
class Solved:
    """The solved system and the parameters at which a posterior is evaluated.

    Attributes
    ----------
    system : System
        The mixed-model equations at `theta`.
    prior : EffectsPrior
        Covariance of the random effects.
    theta : ndarray
    integrate_fixed : bool
        Whether the fixed effects have a posterior or are a point.
    """

    system: System
    prior: EffectsPrior
    theta: np.ndarray
    integrate_fixed: bool
    _made: dict[bool, Covariance] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def tangents(self) -> list[tuple[FactorLayout, np.ndarray]]:
        """Derivative of Omega (q, q) by each parameter, with the factor it belongs to."""
        return self.prior.tangents(self.theta)

    def covariance(self, coarse: bool = False) -> Covariance:
        """The posterior covariance of the system, made once; exact where `coarse` would do."""
        coarse = coarse and self.system.rounds and False not in self._made
        if coarse not in self._made:
            self._made[coarse] = self.system.covariance(self.integrate_fixed, coarse)
        return self._made[coarse]


@dataclass(frozen=True)
class PosteriorCovariance:
    """Covariances of a posterior relative to the noise variance.

    Attributes
    ----------
    levels : tuple of ndarray (levels, q, q)
        Of each level's effects, one array per grouping factor.
    level_errors : tuple of float
        By factor, the Monte Carlo standard error of standard deviations in `levels`, relative
        to these, root mean square over levels.
    fixed : ndarray (p, p)
        Of the fixed effects: of their posterior, or, where they are a point,
        of the sampling distribution of the estimate.
    joint_factors : tuple of int
        Factors whose covariance with everything is kept in `joint`.
    joint : ndarray (j, p + n_effects)
        Covariance of the fixed effects and of the effects of `joint_factors`
        (the rows, in this order) with the fixed effects and all effects in
        design order (the columns). Zero where the fixed effects are a point.
    """

    levels: tuple[np.ndarray, ...]
    fixed: np.ndarray
    joint_factors: tuple[int, ...]
    joint: np.ndarray
    level_errors: tuple[float, ...]


class WithBlocks(Protocol):
    """A grouping factor whose blocks of effects have a structure each."""

    @property
    def block_structures(self) -> tuple[str, ...]:
        """Keys of `STRUCTURES`, one per block."""
        ...


def basis_changes(
    posterior: Posterior, factors: Sequence[WithBlocks]
) -> tuple[tuple[BasisChange, ...], ...]:
    """Allowed changes of the basis of factors, by factor and block, in a family of posteriors."""
    return tuple(
        tuple(
            narrower(posterior.basis_may, STRUCTURES[structure].basis_may)
            for structure in factor.block_structures
        )
        for factor in factors
    )


class Posterior(Protocol):
    """A family of Gaussian posteriors.

    At the optimal posterior of the family the ELBO of a Gaussian model is

        -2 ELBO = log_det + n log(2 pi noise) + penalised_rss / noise

    (n less the number of fixed effects when they are integrated out), so a
    family is known by its `log_det` and what follows from it.
    """

    basis_may: BasisChange
    """Changes of a factor's basis under which the family stays the same."""

    needs_determinant: bool
    """Whether the system's log determinant and covariance are asked for."""

    def log_det(self, at: Solved) -> float:
        """The log determinant that enters the ELBO."""
        ...

    def log_det_derivatives(
        self, at: Solved, average_information: np.ndarray, coarse: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (m,) and Hessian (m, m) by theta.

        `average_information` may stand in for the part of the Hessian that is
        costly; six digits suffice where `coarse`.
        """
        ...

    def hessian_correction(self, at: Solved, average_information: np.ndarray) -> np.ndarray:
        """An estimate of what that Hessian is short of; steers steps near the optimum."""
        ...

    def row_variances(self, at: Solved, rows: WorkingRows, coarse: bool) -> np.ndarray:
        """Variance of every row's linear predictor, (n,); six digits suffice where `coarse`."""
        ...

    def row_variance_errors(self, at: Solved, rows: WorkingRows) -> np.ndarray:
        """Squared standard errors of those that random vectors estimate, (n,)."""
        ...

    def covariance(self, at: Solved, joint_limit: int) -> PosteriorCovariance:
        """The covariance; `joint` of at most `joint_limit` numbers."""
        ...
