"""Which integrals make up a likelihood: levels of one factor, or levels inside larger ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skmixed.posteriors.prior import EffectsPrior
from skmixed.sums.working_rows import WorkingRows

MOST_EFFECTS = 3
"""Effects of a level over which a product of rules integrates."""

_STEP = 1e-3
"""Of differences of fourth order: exact for entries of T, to 1e-12 for smooth functions."""


class NotIntegrableError(ValueError):
    """The likelihood of a model has no integral of few dimensions; the message says why."""


@dataclass(frozen=True)
class FactorPart:
    """A factor's place in an integral.

    Attributes
    ----------
    position : int
        Of the factor, in design order.
    copies : int
        Levels whose effects are integrated together; 1 unless all levels are.
    """

    position: int
    copies: int

    def root(self, matrix: np.ndarray) -> np.ndarray:
        """A root of the covariance of all effects that are integrated together."""
        return matrix if self.copies == 1 else np.kron(np.eye(self.copies), matrix)


@dataclass(frozen=True)
class QuadraturePlan:
    """Rows by level, and the integrals over the effects of the levels.

    Attributes
    ----------
    order : ndarray (n,)
        Rows of the `WorkingRows` in the order of outer, then inner levels.
    row_start : ndarray (M + 1,)
        First row of every inner level.
    inner : FactorPart
    outer : FactorPart or None
        None where levels of one factor are all.
    inner_start : ndarray (L + 1,)
        First inner level of every outer one.
    inner_levels : ndarray (M,)
        Levels of the inner factor in the order of integration.
    """

    order: np.ndarray
    row_start: np.ndarray
    inner: FactorPart
    outer: FactorPart | None
    inner_start: np.ndarray
    inner_levels: np.ndarray

    @property
    def parts(self) -> tuple[FactorPart, ...]:
        """The outer factor, if there is one, and the inner one."""
        return (self.inner,) if self.outer is None else (self.outer, self.inner)

    def basis(self, rows: WorkingRows, part: FactorPart) -> np.ndarray:
        """What multiplies the effects of a part, rows in the order of the plan, (n, q)."""
        basis = rows.basis(part.position)[self.order]
        if part.copies == 1:
            return np.ascontiguousarray(basis)
        codes, q = rows.codes[part.position][self.order], basis.shape[1]
        out = np.zeros((len(basis), part.copies, q))
        out[np.arange(len(basis)), codes] = basis
        return out.reshape(len(basis), part.copies * q)


def plan_of(rows: WorkingRows, names: tuple[str, ...]) -> QuadraturePlan:
    """The integrals of a model with grouping factors.

    Parameters
    ----------
    rows : WorkingRows
    names : tuple of str
        Of the factors, for messages.

    Raises
    ------
    NotIntegrableError
        When the likelihood is no such integral.
    """
    if rows.related:
        related = ", ".join(repr(names[position]) for position in sorted(rows.related))
        raise NotIntegrableError(f"the levels of {related} are related by a known covariance")
    if len(rows.factors) > 2:
        raise NotIntegrableError(
            f"there are {len(rows.factors)} grouping factors, {', '.join(map(repr, names))}"
        )
    for factor, name in zip(rows.factors, names, strict=True):
        if factor.n_effects > MOST_EFFECTS:
            raise NotIntegrableError(
                f"{name!r} has {factor.n_effects} effects per level, more than {MOST_EFFECTS}"
            )
    if len(rows.factors) == 1:
        return _of_levels(rows, FactorPart(0, 1), None, None)
    return _of_two(rows, names)


def _of_two(rows: WorkingRows, names: tuple[str, ...]) -> QuadraturePlan:
    """Nested factors, or a small one crossed with another."""
    inner, outer = sorted((0, 1), key=lambda f: -rows.factors[f].n_levels)
    codes = rows.codes[inner], rows.codes[outer]
    n_outer = rows.factors[outer].n_levels
    pairs = np.unique(codes[0].astype(np.int64) * n_outer + codes[1])
    if len(pairs) == len(np.unique(codes[0])):
        return _of_levels(rows, FactorPart(inner, 1), FactorPart(outer, 1), codes[1])
    if rows.factors[outer].size <= MOST_EFFECTS:
        whole = np.zeros(rows.n_rows, np.int64)
        return _of_levels(rows, FactorPart(inner, 1), FactorPart(outer, n_outer), whole)
    raise NotIntegrableError(
        f"{names[inner]!r} and {names[outer]!r} are crossed: neither is nested in the other"
    )


def _of_levels(
    rows: WorkingRows, inner: FactorPart, outer: FactorPart | None, outer_codes: np.ndarray | None
) -> QuadraturePlan:
    codes = rows.codes[inner.position]
    n_levels = rows.factors[inner.position].n_levels
    counts = np.bincount(codes, minlength=n_levels)
    if outer_codes is None:
        order = np.argsort(codes, kind="stable")
        row_start = np.concatenate([[0], np.cumsum(counts)])
        return QuadraturePlan(order, row_start, inner, None, np.zeros(1, int), np.arange(n_levels))
    # levels without rows stand with the first outer level
    outer_of = np.zeros(n_levels, np.int64)
    outer_of[codes] = outer_codes
    assert outer is not None
    n_outer = rows.factors[outer.position].n_levels if outer.copies == 1 else 1
    inner_levels = np.argsort(outer_of, kind="stable")
    place = np.empty(n_levels, np.int64)
    place[inner_levels] = np.arange(n_levels)
    order = np.argsort(place[codes], kind="stable")
    row_start = np.concatenate([[0], np.cumsum(counts[inner_levels])])
    inner_start = np.concatenate([[0], np.cumsum(np.bincount(outer_of, minlength=n_outer))])
    return QuadraturePlan(order, row_start, inner, outer, inner_start, inner_levels)


@dataclass(frozen=True)
class RootDerivatives:
    """Entries of the roots T of all parts, by rows of T, as functions of the prior's parameters.

    Attributes
    ----------
    roots : list of ndarray (q, q)
    first : ndarray (N, m)
    second : ndarray (N, m, m)
    """

    roots: list[np.ndarray]
    first: np.ndarray
    second: np.ndarray


def root_derivatives(
    prior: EffectsPrior, parts: tuple[FactorPart, ...], theta: np.ndarray
) -> RootDerivatives:
    """Roots of the covariances of the parts with derivatives by theta (m,), by differences."""

    def roots(at: np.ndarray) -> list[np.ndarray]:
        scales = prior.scales(at)
        return [part.root(scales[part.position].matrix) for part in parts]

    def entries(at: np.ndarray) -> np.ndarray:
        return np.concatenate([root.ravel() for root in roots(at)])

    def slopes(at: np.ndarray) -> np.ndarray:
        return differences(entries, at)

    first = slopes(theta)
    linear = all(block.covariance.entries is not None for block in prior.blocks)
    second = np.zeros((*first.shape, len(theta)))
    if not linear:
        second = differences(slopes, theta)
        second = 0.5 * (second + second.swapaxes(1, 2))
    return RootDerivatives(roots(theta), first, second)


def differences(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> np.ndarray:
    """Derivatives (..., m) of a smooth function by differences of fourth order."""
    columns = []
    for step in _STEP * np.eye(len(at)):
        near = function(at + step) - function(at - step)
        far = function(at + 2.0 * step) - function(at - 2.0 * step)
        columns.append((8.0 * near - far) / (12.0 * _STEP))
    if not columns:
        return np.zeros((*function(at).shape, 0))
    return np.stack(columns, axis=-1)
