"""Random rows and cells for the kernels, with the dense matrices that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True)
class Rows:
    """Rows with two grouping factors whose effects are constants or slopes.

    Attributes
    ----------
    codes : tuple of ndarray (n,), int32
    n_levels : tuple of int
    effects : tuple of ndarray (Q,)
        Column of `slopes` that each effect multiplies, -1 for a constant.
    slopes : ndarray (n, m)
    weights, linear : ndarray (n,)
    dense : ndarray (n, P)
    uniform : float
        The weight of all rows, 0 where they differ.
    """

    codes: tuple[np.ndarray, np.ndarray]
    n_levels: tuple[int, int]
    effects: tuple[np.ndarray, np.ndarray]
    slopes: np.ndarray
    weights: np.ndarray
    linear: np.ndarray
    dense: np.ndarray
    uniform: float

    def basis(self, factor: int) -> np.ndarray:
        """What multiplies the effects, (n, Q)."""
        padded = np.column_stack([self.slopes, np.ones(len(self.weights))])
        return np.ascontiguousarray(padded[:, self.effects[factor]])

    def Z(self, factor: int) -> np.ndarray:
        """Design of all effects, level after level, (n, L Q)."""
        levels = np.eye(self.n_levels[factor])[self.codes[factor]]
        return np.einsum("il,iq->ilq", levels, self.basis(factor)).reshape(
            len(levels), self.n_levels[factor] * len(self.effects[factor])
        )


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    """Up to 40 rows, none included; levels without rows included."""
    n, m = draw(st.integers(0, 40)), draw(st.integers(0, 2))
    n_levels = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    # an effect is alone, or one for every column and perhaps a constant
    choices = [np.array([-1]), np.arange(m), np.arange(-1, m)]
    choices = [choice for choice in choices if len(choice)]
    effects = tuple(draw(st.sampled_from(choices)).astype(np.int64) for _ in range(2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    uniform = draw(st.sampled_from([0.0, 1.0, 2.5]))
    weights = np.full(n, uniform) if uniform else np.exp(rng.standard_normal(n))
    return Rows(
        tuple(rng.integers(levels, size=n).astype(np.int32) for levels in n_levels),
        n_levels, effects, rng.standard_normal((n, m)), weights, rng.standard_normal(n),
        rng.standard_normal((n, draw(st.integers(0, 3)))), uniform,
    )  # fmt: skip


@dataclass(frozen=True)
class Cells:
    """An eliminated factor, and a tail that its levels meet in some cells.

    Attributes
    ----------
    start, columns, values : ndarray (L + 1,), (n_cells,), (n_cells, Q)
        Compressed by level.
    with_dense : ndarray (L, Q, P)
    full : ndarray (L, Q, T + P)
        All of it, with zeros where there is no cell.
    own : ndarray (L, Q, Q)
        D, positive semidefinite.
    scale : ndarray (Q, Q)
        T of the eliminated factor's covariance, sometimes singular.
    effect, n_siblings : ndarray (T,)
        Every column's number within its level of the tail factor, and the effects there.
    """

    start: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    with_dense: np.ndarray
    full: np.ndarray
    own: np.ndarray
    scale: np.ndarray
    effect: np.ndarray
    n_siblings: np.ndarray

    @property
    def n_levels(self) -> int:
        return len(self.own)

    @property
    def n_tail(self) -> int:
        return len(self.effect)

    @property
    def compressed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.start, self.columns, self.values

    @property
    def omega(self) -> np.ndarray:
        return self.scale @ self.scale.T

    @property
    def shrink(self) -> np.ndarray:
        """(I + D Omega)^-1 of every level."""
        return np.linalg.inv(np.eye(len(self.scale)) + self.own @ self.omega)

    @property
    def middle(self) -> np.ndarray:
        """Omega (I + D Omega)^-1 of every level."""
        return self.omega @ self.shrink

    @property
    def reduced(self) -> np.ndarray:
        """(I + D Omega)^-1 C of every level, (L, Q, T + P)."""
        return self.shrink @ self.full


@st.composite
def cells(draw: st.DrawFn) -> Cells:
    """Up to 6 levels with 1 to 3 effects, one or two tail factors, up to 3 dense columns."""
    L, Q, P = draw(st.integers(0, 6)), draw(st.integers(1, 3)), draw(st.integers(0, 3))
    tail = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 2)), min_size=0, max_size=2))
    share = draw(st.sampled_from([0.0, 0.5, 1.0]))
    rank = draw(st.integers(0, Q))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    met = [np.repeat(rng.random((L, levels)) < share, q, axis=1) for levels, q in tail]
    meets = np.hstack([np.zeros((L, 0), bool), *met])
    full = rng.standard_normal((L, Q, meets.shape[1] + P))
    full[:, :, : meets.shape[1]] *= meets[:, None, :]
    roots = rng.standard_normal((L, Q, Q))
    scale = np.tril(rng.standard_normal((Q, Q)))
    scale[:, rank:] = 0.0
    level, column = np.nonzero(meets)
    effect = [np.tile(np.arange(q), levels) for levels, q in tail]
    siblings = [np.full(levels * q, q) for levels, q in tail]
    nothing = np.zeros(0, np.int64)
    return Cells(
        np.concatenate([[0], np.cumsum(meets.sum(axis=1))]).astype(np.int64),
        column.astype(np.int32),
        np.ascontiguousarray(full[level, :, column].reshape(-1, Q)),
        np.ascontiguousarray(full[:, :, meets.shape[1] :]),
        full, roots @ roots.transpose(0, 2, 1), scale,
        np.concatenate([nothing, *effect]), np.concatenate([nothing, *siblings]),
    )  # fmt: skip
