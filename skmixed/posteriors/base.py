"""What the inference loop asks of a variational family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from skmixed.covariances.parameters import CovarianceParameters
from skmixed.solvers.base import System
from skmixed.sums.working_rows import WorkingRows


@dataclass(frozen=True)
class Place:
    """Where a posterior is asked about itself.

    Attributes
    ----------
    system : System
        The mixed-model equations at `theta`.
    parameters : CovarianceParameters
    theta : ndarray
    integrate_fixed : bool
        Whether the fixed effects have a posterior or are a point.
    """

    system: System
    parameters: CovarianceParameters
    theta: np.ndarray
    integrate_fixed: bool


@dataclass(frozen=True)
class PosteriorCovariance:
    """Covariances of a posterior relative to the noise variance.

    Attributes
    ----------
    levels : tuple of ndarray (levels, q, q)
        Of each level's effects, one array a grouping factor.
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


class Posterior(Protocol):
    """A family of Gaussian posteriors.

    At the optimal posterior of the family the ELBO of a Gaussian model is

        -2 ELBO = log_det + n log(2 pi noise) + penalised_rss / noise

    (n less the number of fixed effects when they are integrated out), so a
    family is known by its `log_det` and what follows from it.
    """

    rotates_bases: bool
    """Whether the family is unchanged by a rotation of a factor's basis."""

    needs_determinant: bool
    """Whether the system's log determinant and covariance are asked for."""

    def log_det(self, place: Place) -> float:
        """The log determinant that enters the ELBO."""
        ...

    def log_det_derivatives(
        self, place: Place, average_information: np.ndarray, coarse: bool
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Gradient and Hessian by theta, and derivatives by each factor's Omega.

        `average_information` may stand in for the part of the Hessian that is
        costly; six digits suffice where `coarse`.
        """
        ...

    def hessian_correction(self, place: Place, average_information: np.ndarray) -> np.ndarray:
        """An estimate of what that Hessian is short of; steers steps near the optimum."""
        ...

    def row_variances(self, place: Place, rows: WorkingRows, coarse: bool) -> np.ndarray:
        """Variance of every row's linear predictor, (n,); six digits suffice where `coarse`."""
        ...

    def row_variance_errors(self, place: Place, rows: WorkingRows) -> np.ndarray:
        """Squared standard errors of those that random vectors estimate, (n,)."""
        ...

    def covariance(self, place: Place, joint_limit: int) -> PosteriorCovariance:
        """The covariance; `joint` of at most `joint_limit` numbers."""
        ...
