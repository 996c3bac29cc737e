"""The mixed-model equations, solved: what every solver provides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from skmixed.covariances import Scale
from skmixed.solvers.eliminated_levels import EliminatedLevels, SingularSystemError
from skmixed.sums.cross_products import CrossProducts, FactorLayout
from skmixed.sums.grouped_rows import GroupedRows
from skmixed.sums.working_rows import WorkingRows

if TYPE_CHECKING:
    from skmixed.solvers.row_covariances import RowCovariances

__all__ = [
    "Covariance",
    "Direction",
    "ExactSystem",
    "SingularSystemError",
    "Solver",
    "System",
]

Direction = tuple[FactorLayout, np.ndarray]
"""A factor and level effects v (levels, effects): the working vector f = Z v."""


class Covariance(Protocol):
    """The posterior covariance relative to the noise variance."""

    def information(self, factor: FactorLayout) -> np.ndarray:
        """sum_l Z_l' P Z_l of a factor (Q, Q); V^-1 for P when beta is a point."""
        ...

    def level_covariances(self, factor: FactorLayout) -> np.ndarray:
        """Posterior covariance of each level's effects, (L, Q, Q)."""
        ...

    def level_error(self, factor: FactorLayout) -> float:
        """Monte Carlo standard error of the standard deviations in `level_covariances`.

        Relative to these, root mean square over levels; 0 where they are exact.
        """
        ...

    def row_variances(self, rows: WorkingRows) -> np.ndarray:
        """Posterior variance of every row's linear predictor, (n,)."""
        ...

    def row_variance_errors(self, rows: WorkingRows) -> np.ndarray:
        """Squared standard errors of `row_variances`, (n,)."""
        ...

    def by_weight(self, part: CrossProducts, noise: float) -> float:
        """Derivative of the log determinant plus `penalised_rss` / noise by a weight of rows.

        `part` has the cross-products of these rows, by the same cells. Exact systems have it.
        """
        ...

    def can_join(self, factor: FactorLayout) -> bool:
        """Whether `joint` can have the factor's rows."""
        ...

    def joint(self, kept: tuple[int, ...]) -> np.ndarray:
        """Covariance of beta and the `kept` factors with all effects.

        Rows: fixed effects, then the effects of the factors at the positions
        `kept`; columns: fixed effects, then the effects of all factors.
        """
        ...


class System(Protocol):
    """The equations at one value of the variance parameters, solved.

    All is relative to the noise variance, V = I + Z Omega Z'.
    """

    name: str
    """Name of the solver."""

    cross: CrossProducts
    scales: list[Scale]
    penalised_rss: float
    n_products: int
    """Products with the system that its solution took; 0 where it was factorised."""

    levels: EliminatedLevels
    """Inverses of the eliminated levels; empty without an eliminated factor."""

    is_exact: bool
    """Whether determinants and traces are exact, or estimated from random vectors."""

    is_coarse: bool
    """Whether the solution has only the digits that a first step needs."""

    @property
    def rounds(self) -> bool:
        """Whether an exact covariance has six digits where these suffice."""
        ...

    @property
    def exact(self) -> ExactSystem | None:
        """The system, where it is exact."""
        ...

    @property
    def log_det_samples(self) -> np.ndarray:
        """Estimate of the log determinant by each random vector; empty where it is exact."""
        ...

    @property
    def log_det_error(self) -> float:
        """Standard error of the log determinant; 0 where it is exact."""
        ...

    @property
    def method(self) -> str:
        """How the equations were solved, where a solver has a choice; else empty."""
        ...

    @property
    def fixed_effects(self) -> np.ndarray:
        """Generalised least squares estimate of beta, (p,)."""
        ...

    @property
    def residual_products(self) -> list[np.ndarray]:
        """Z' V^-1 (y - X beta) of every factor in design order, (levels, effects) each."""
        ...

    @property
    def random_effects(self) -> list[np.ndarray]:
        """Posterior means Omega Z' V^-1 (y - X beta), (levels, effects) each."""
        ...

    def log_det(self, integrate_fixed: bool) -> float:
        """log |V|, plus log |X' V^-1 X| when the fixed effects are integrated out."""
        ...

    def projected_gram(self, directions: list[Direction]) -> np.ndarray:
        """Gram matrix f_j' P f_k of working vectors, (m, m)."""
        ...

    def fixed_products(self) -> list[np.ndarray]:
        """Z' V^-1 X of every factor in design order, (levels, effects, p) each."""
        ...

    def projected_products(
        self, directions: list[Direction], integrate_fixed: bool
    ) -> list[dict[int, np.ndarray]]:
        """Z' P f of every factor for working vectors f, by number of the direction.

        V^-1 takes the place of P without `integrate_fixed`. Of the eliminated factor there may
        be none but for its own directions.
        """
        ...

    def covariance(self, integrate_fixed: bool, coarse: bool = False) -> Covariance:
        """The posterior covariance; six digits suffice where `coarse`."""
        ...

    def fixed_covariance(self) -> np.ndarray:
        """(X' V^-1 X)^-1, (p, p)."""
        ...

    def fixed_with_effects(self) -> np.ndarray:
        """Rows of beta of the inverse of the mixed-model equations, (p, p + n_effects).

        Columns: beta, then the effects of all factors in design order. The covariance of beta
        with everything where it has a flat prior, whether or not it is integrated out.
        """
        ...


class ExactSystem(System, Protocol):
    """A factorised system, which can be asked for more."""

    def expected_information(
        self, tangents: list[Direction], integrate_fixed: bool
    ) -> np.ndarray | None:
        """tr(P V_i P V_j), (m, m), of derivatives (q, q) of Omega; None where that takes long."""
        ...

    def precision_root(self, n_fixed: int) -> np.ndarray:
        """Upper triangle of U, with U'U the precision of whitened tail effects and coefficients."""
        ...

    def trace_products(self, directions: list[Direction]) -> np.ndarray | None:
        """tr(P V_i P V_j) of matrices (q, q) of Omega, exactly, (m, m); None for related levels."""
        ...

    def row_covariances(self, rows: GroupedRows) -> RowCovariances | None:
        """Covariances between rows of a group; None where they would not fit into memory."""
        ...

    def to_effects(self, vectors: np.ndarray) -> np.ndarray:
        """Tail vectors (N, m) of effects from those of independent levels; see `Scale`."""
        ...


class Solver(Protocol):
    """Prepared once for an arrangement of cells; makes systems of sums over these cells."""

    name: str
    cross: CrossProducts

    def system(
        self, scales: list[Scale], cross: CrossProducts | None = None, coarse: bool = False
    ) -> System:
        """The equations at the scale of every factor, in design order.

        Other cross-products of the same cells may take the place of those it was prepared for.
        If `coarse` they need not be solved to more digits than a first step does.
        """
        ...

    def keep(self, scales: list[Scale]) -> None:
        """Prepare for systems of many responses at some scales, where that saves time."""
        ...

    def with_response(self, cross: CrossProducts, seed: Callable[[], int]) -> Solver:
        """The solver of the same cells with another response.

        Random vectors, where it has some, are drawn anew with the seed that `seed` returns.
        """
        ...

    def with_sums(self, cross: CrossProducts) -> Solver:
        """The solver of other sums over the same cells."""
        ...
