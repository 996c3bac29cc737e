"""Arrays that go together into kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LevelCells(NamedTuple):
    """Cells of the eliminated levels with the tail, compressed by level.

    Attributes
    ----------
    start : (L + 1,)
        First cell of every level.
    columns : (n_cells,)
        Columns of the tail, ascending within a level.
    values : (n_cells, Q)
        Cross-products.
    with_dense : (L, Q, P)
        Cross-products of every level with the dense columns.
    """

    start: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    with_dense: np.ndarray


class FactorCells(NamedTuple):
    """Cells of two factors, compressed by level of the first: see `PairCells`."""

    start: np.ndarray
    levels: np.ndarray
    values: np.ndarray


class LevelRows(NamedTuple):
    """Rows of a model of one factor.

    Attributes
    ----------
    codes : (n,)
        Level of every row.
    basis : (n, q)
        What multiplies the effects of the level.
    fixed : (n, p)
        What multiplies the coefficients.
    """

    codes: np.ndarray
    basis: np.ndarray
    fixed: np.ndarray


class LevelTerms(NamedTuple):
    """Expected derivatives of every row's log density, weighted, (n,) each.

    Attributes
    ----------
    gradient, precision, third, fourth : (n,)
        The first, minus the second, the third and the fourth.
    """

    gradient: np.ndarray
    precision: np.ndarray
    third: np.ndarray
    fourth: np.ndarray


class OneFactorModel(NamedTuple):
    """A normal model of one factor.

    Attributes
    ----------
    own : (L, Q, Q)
        Cross-products of every level with itself.
    with_dense : (L, Q, P + 1)
        With the fixed effects and the response.
    dense : (P + 1, P + 1)
        Of these.
    places : (m, 2)
        Row and column in T of every parameter.
    df : float
        Degrees of freedom of the noise.
    noise : float
        Its variance; 0 where it is estimated.
    integrate_fixed : bool
        True for REML.
    """

    own: np.ndarray
    with_dense: np.ndarray
    dense: np.ndarray
    places: np.ndarray
    df: float
    noise: float
    integrate_fixed: bool


class LevelInverses(NamedTuple):
    """Inverses of every level, see `EliminatedLevels`, and Omega, which is one for all."""

    shrink: np.ndarray
    omega: np.ndarray
    omega_shrunk: np.ndarray


class RowPlaces(NamedTuple):
    """Rows by level of the eliminated factor, with places of their tail effects.

    Attributes
    ----------
    row_start : (L + 1,)
        First row of every eliminated level.
    places : (n, K)
        Where, among its level's cells, the effects of each tail factor begin.
    slopes : (n, m)
        All basis columns; `level_effects` (Q,) and `tail_effects` (K, Q) point into it,
        -1 for an intercept.
    level_effects : (Q,)
    tail_effects : (K, Q)
    tail_sizes : (K,)
        Effects per level of every tail factor.
    """

    row_start: np.ndarray
    places: np.ndarray
    slopes: np.ndarray
    level_effects: np.ndarray
    tail_effects: np.ndarray
    tail_sizes: np.ndarray


class TailColumns(NamedTuple):
    """Every column's number within its level, and the effects of that level, (N,) each."""

    effect: np.ndarray
    n_siblings: np.ndarray


class PairCovariance(NamedTuple):
    """A covariance of the columns that share an eliminated level.

    Attributes
    ----------
    pair_start : (L + 1,)
        First pair of cells of every level.
    pairs : (n_pairs,)
        Place of every ordered pair among the entries.
    entries : (n_entries,)
    """

    pair_start: np.ndarray
    pairs: np.ndarray
    entries: np.ndarray
