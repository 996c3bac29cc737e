"""Mixed models in dense matrices: slow, short and obviously right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import block_diag

from skmixed.covariances import Scale
from skmixed.posteriors import EffectsPrior
from skmixed.solvers.direct import DirectSystem
from skmixed.sums.cell_sums import CellSums, FactorShape, accumulate
from skmixed.sums.cross_products import CrossProducts


@dataclass(frozen=True)
class DenseModel:
    """A whitened mixed model: the noise of every row has variance one.

    `scales` holds T of every factor, `n` the number of rows; the other names are
    those of `skmixed.sums.cell_sums.accumulate`.
    """

    codes: tuple[np.ndarray, ...]
    n_levels: tuple[int, ...]
    bases: tuple[np.ndarray | None, ...]
    blocks: tuple[tuple[tuple[int, int], ...], ...]
    fixed: np.ndarray
    response: np.ndarray
    weights: np.ndarray
    scales: tuple[np.ndarray, ...]

    @property
    def n(self) -> int:
        return len(self.response)

    def cross(self) -> CrossProducts:
        return CrossProducts.of(self.sums())

    def sums(self) -> CellSums:
        shapes = [
            FactorShape(levels, 1 if basis is None else basis.shape[1], blocks)
            for levels, basis, blocks in zip(self.n_levels, self.bases, self.blocks, strict=True)
        ]
        dense = np.vstack([self.fixed.T, self.response])
        return accumulate(
            self.codes,
            tuple(shapes),
            self.bases,
            lambda rows: np.ascontiguousarray(dense[:, rows]),
            self.weights,
        )

    def system(self) -> DirectSystem:
        return DirectSystem(self.cross(), scales_of(self.scales))

    def permuted(self, order: np.ndarray) -> DenseModel:
        """The same model with its rows in another order."""
        return replace(
            self,
            codes=tuple(code[order] for code in self.codes),
            bases=tuple(None if basis is None else basis[order] for basis in self.bases),
            fixed=self.fixed[order],
            response=self.response[order],
            weights=self.weights[order],
        )

    @cached_property
    def root(self) -> np.ndarray:
        return np.sqrt(self.weights)[:, None]

    @cached_property
    def Z(self) -> list[np.ndarray]:
        """Design of every factor's effects, level after level, whitened."""
        out = []
        for code, levels, basis in zip(self.codes, self.n_levels, self.bases, strict=True):
            basis = np.ones((self.n, 1)) if basis is None else basis
            design = np.zeros((self.n, levels, basis.shape[1]))
            design[np.arange(self.n), code] = basis
            out.append(design.reshape(self.n, -1) * self.root)
        return out

    @cached_property
    def Omega(self) -> list[np.ndarray]:
        """Covariance of all effects of every factor."""
        return [
            np.kron(np.eye(levels), scale @ scale.T)
            for levels, scale in zip(self.n_levels, self.scales, strict=True)
        ]

    @cached_property
    def X(self) -> np.ndarray:
        return self.fixed * self.root

    @cached_property
    def y(self) -> np.ndarray:
        return self.response * self.root[:, 0]

    @cached_property
    def V(self) -> np.ndarray:
        V = np.eye(self.n)
        for Z, omega in zip(self.Z, self.Omega, strict=True):
            V = V + Z @ omega @ Z.T
        return V

    @cached_property
    def V_inverse(self) -> np.ndarray:
        return np.linalg.inv(self.V)

    @cached_property
    def fixed_covariance(self) -> np.ndarray:
        return np.linalg.inv(self.X.T @ self.V_inverse @ self.X)

    @cached_property
    def P(self) -> np.ndarray:
        VX = self.V_inverse @ self.X
        return self.V_inverse - VX @ self.fixed_covariance @ VX.T

    def projector(self, integrate_fixed: bool) -> np.ndarray:
        return self.P if integrate_fixed else self.V_inverse

    @cached_property
    def beta(self) -> np.ndarray:
        return self.fixed_covariance @ self.X.T @ self.V_inverse @ self.y

    @property
    def log_det(self) -> float:
        return float(np.linalg.slogdet(self.V)[1])

    @property
    def log_det_fixed(self) -> float:
        return float(np.linalg.slogdet(self.X.T @ self.V_inverse @ self.X)[1])

    @property
    def rss(self) -> float:
        return float(self.y @ self.P @ self.y)

    @cached_property
    def random_effects(self) -> list[np.ndarray]:
        return [
            (omega @ Z.T @ self.P @ self.y).reshape(levels, -1)
            for Z, omega, levels in zip(self.Z, self.Omega, self.n_levels, strict=True)
        ]

    def posterior_covariance(self, integrate_fixed: bool) -> np.ndarray:
        """Of the fixed effects and all random effects in design order."""
        p = self.X.shape[1]
        Z = np.column_stack([np.zeros((self.n, 0)), *self.Z])
        omega = block_diag(*self.Omega) if self.Omega else np.zeros((0, 0))
        ZO = Z @ omega
        size = p + Z.shape[1]
        covariance = np.zeros((size, size))
        covariance[p:, p:] = omega - ZO.T @ self.projector(integrate_fixed) @ ZO
        if integrate_fixed:
            covariance[:p, :p] = self.fixed_covariance
            covariance[:p, p:] = -self.fixed_covariance @ self.X.T @ self.V_inverse @ ZO
            covariance[p:, :p] = covariance[:p, p:].T
        return covariance

    def effects_slice(self, position: int) -> slice:
        """Where a factor stands in `posterior_covariance`."""
        sizes = [Z.shape[1] for Z in self.Z]
        start = self.X.shape[1] + sum(sizes[:position])
        return slice(start, start + sizes[position])


def level_blocks(matrix: np.ndarray, n_effects: int) -> np.ndarray:
    """Diagonal blocks of a square matrix, (levels, q, q)."""
    q = n_effects
    levels = matrix.shape[0] // q
    return np.array([matrix[l * q : (l + 1) * q, l * q : (l + 1) * q] for l in range(levels)])


INTERCEPT = ((0, 1),)
DESIGNS = {
    # levels, effects (None: an intercept alone), covariance blocks
    "no_factor": [],
    "one_factor": [(6, None, INTERCEPT)],
    "crossed": [(4, None, INTERCEPT), (7, None, INTERCEPT), (3, None, INTERCEPT)],
    "equal_sizes": [(5, None, INTERCEPT), (5, None, INTERCEPT)],
    "nested": [(3, None, INTERCEPT), (9, None, INTERCEPT)],
    "correlated_slopes": [(8, 2, ((0, 2),))],
    "slopes_eliminated": [(3, None, INTERCEPT), (7, 3, ((0, 2), (2, 3)))],
    "slopes_in_tail": [(12, None, INTERCEPT), (4, 2, ((0, 2),)), (3, 3, ((0, 3),))],
    "uncorrelated": [(6, 2, ((0, 1), (1, 2))), (4, 2, ((0, 1), (1, 2)))],
}
"""Grouping factors of small models, by what they have in common."""


def make_model(
    name: str,
    *,
    seed: int = 0,
    n: int = 48,
    p: int = 2,
    size: float = 0.8,
    weighted: bool = True,
    rank: int | None = None,
) -> DenseModel:
    """A random model of one of the `DESIGNS`.

    `size` is that of the entries of T; `rank` keeps only so many of its columns.
    """
    rng = np.random.default_rng(seed)
    codes, bases, scales = [], [], []
    for levels, effects, blocks in DESIGNS[name]:
        code = np.concatenate([np.arange(levels), rng.integers(levels, size=n - levels)])
        codes.append(rng.permutation(code).astype(np.int32))
        q = effects or 1
        basis = rng.standard_normal((n, q))
        basis[:, 0] = 1.0
        bases.append(basis if effects else None)
        T = np.zeros((q, q))
        for begin, stop in blocks:
            width = stop - begin
            block = np.tril(rng.uniform(-0.5, 0.5, (width, width)))
            np.fill_diagonal(block, rng.uniform(0.5, 1.0, width))
            T[begin:stop, begin:stop] = block
        T *= size
        if rank is not None:
            T[:, rank:] = 0.0
        scales.append(T)
    if name == "nested":
        codes[0] = (codes[1] // 3).astype(np.int32)
    fixed = rng.standard_normal((n, p))
    fixed[:, :1] = 1.0
    weights = rng.uniform(0.5, 2.0, n) if weighted else np.ones(n)
    response = rng.standard_normal(n)
    for code, levels in zip(codes, [levels for levels, _, _ in DESIGNS[name]], strict=True):
        response = response + rng.standard_normal(levels)[code]
    return DenseModel(
        tuple(codes),
        tuple(levels for levels, _, _ in DESIGNS[name]),
        tuple(bases),
        tuple(blocks for _, _, blocks in DESIGNS[name]),
        fixed,
        response,
        weights,
        tuple(scales),
    )


def scales_of(matrices) -> list[Scale]:
    """The scales of factors of independent levels, from T of each."""
    return [Scale(matrix) for matrix in matrices]


def theta_of(prior: EffectsPrior, matrices) -> np.ndarray:
    """The entries of T of all factors, as a prior of unstructured covariances has them."""
    theta = np.empty(prior.n_parameters)
    for block in prior.blocks:
        here = matrices[block.factor.position][block.effects, block.effects]
        theta[block.parameters] = here[block.covariance.entries]
    return theta
