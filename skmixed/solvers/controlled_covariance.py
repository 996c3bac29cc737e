"""The posterior covariance from probes, with polynomials of a sparse system as control.

A polynomial next to the inverse of the system has entries that are known wherever the system has
them. They take the place of the inverse; probes estimate the difference.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from skmixed._kernels.reduced_cells import level_forms
from skmixed.solvers.controls import DEGREE, PolynomialControl, at
from skmixed.solvers.probed_covariance import ProbedCovariance
from skmixed.sums.cross_products import FactorLayout
from skmixed.sums.working_rows import Loadings, WorkingRows

if TYPE_CHECKING:
    from skmixed.solvers.conjugate_gradients import Solution
    from skmixed.solvers.iterative import IterativeSystem

_AT_ONCE = 4
"""Pairs of columns that all levels are multiplied with at a time."""


class ControlledCovariance(ProbedCovariance):
    """Covariances of the posterior relative to the noise variance; intercepts only.

    With p next to the inverse, S p(S'HS) S' = Q + L M' with Q of the pattern of the system and few
    columns L, M.

    Parameters
    ----------
    system : IterativeSystem
    probes : Solution
        Of the probes.
    control : PolynomialControl
    """

    def __init__(
        self, system: IterativeSystem, probes: Solution, control: PolynomialControl
    ) -> None:
        super().__init__(system, probes)
        self._control = control
        self._fitted = control.fit(probes.runs, DEGREE - 1, True)

    @cached_property
    def _entries(self) -> np.ndarray:
        """Q: entries of the polynomial of the sparse part, of scaled effects."""
        control, pattern, (b0, b1, b2, b3) = self._control, self._control.pattern, self._fitted
        second, third, _ = control.powers
        entries = b1 * control.entries + b2 * second + b3 * third
        entries[pattern.diagonal] += b0
        entries *= np.repeat(control.sizes, np.diff(pattern.start))
        entries *= control.sizes[pattern.columns]
        return np.asarray(entries)

    @cached_property
    def _low_rank(self) -> tuple[np.ndarray, np.ndarray]:
        """L and M, of scaled effects, (N, c) each."""
        control = self._control
        left, right = control.krylov
        W, there, sizes = control.change.directions, control.change.there, control.sizes
        ours, theirs = [], []
        for b in range(DEGREE - 1):
            ours.append(sum(self._fitted[a + b + 1] * left[a] for a in range(DEGREE - 1 - b)))
            theirs.append(right[b])
        # B p B = p + W there (p W)' + p W there W' + W there (W'p W) there W'
        moved = self._fitted[-1] * W
        for coefficient in self._fitted[-2::-1]:
            moved = control.multiply_system(moved) + coefficient * W
        half = moved @ there + W @ (0.5 * there @ (W.T @ moved) @ there)
        ours += [W, half]
        theirs += [half, W]
        return sizes[:, None] * np.hstack(ours), sizes[:, None] * np.hstack(theirs)

    @cached_property
    def _rest(self) -> np.ndarray:
        """S (H^-1 - p(H)) z of the probes, scaled effects (N, m)."""
        return self.system.coordinates.to_scaled(self.system.rest)

    @cached_property
    def _known(self) -> np.ndarray:
        """Diagonal of Q + L M', (N,)."""
        left, right = self._low_rank
        own = self._entries[self._control.pattern.diagonal]
        return np.asarray(own + np.einsum("ij,ij->i", left, right))

    def _summed_inverse(self, factor: FactorLayout) -> np.ndarray:
        here = factor.columns
        rest = np.einsum("im,im->", self._rest[here], self._pairs[0][here]) / self._n
        return np.array([[self._known[here].sum() + rest]])

    def information(self, factor: FactorLayout) -> np.ndarray:
        """sum_l Z_l' P Z_l of a factor (Q, Q); V^-1 for P when beta is a point."""
        system = self.system
        if factor is not system.cross.eliminated:
            return super().information(factor)
        shrink, tail = system.levels.shrink[:, 0, 0], system.tail
        weights = (shrink**2)[:, None, None]
        # sum of forms = tr(A Cov) with A = sum_l shrink_l^2 b_l b_l', b_l the loading of a level
        pattern, scale = self._control.pattern, system.coordinates.scale
        A = np.zeros(len(pattern.columns))
        pattern.subtract_pairs(tail, -weights, A)
        entries = pattern.mixed(self._entries, *[self._transposed_scales] * 2)
        dense = tail.eliminated_dense[:, :, : len(self._root)] @ self._root
        with_dense = tail.scatter(weights * dense)[0]
        inner = dense[:, 0].T @ (weights[:, :, 0] * dense[:, 0])
        through = scale(self._multiply_known(system.coordinates.scale_transposed(self._half)))
        total = A @ entries - 2.0 * np.vdot(through, with_dense)
        total += np.vdot(self._half.T @ through, inner)
        left, right = (scale(part) for part in self._low_rank)
        # and what the probes say of the rest
        left = np.hstack([left, scale(self._pairs[0]) / self._n])
        right = np.hstack([right, scale(self._rest)])
        loaded = pattern.multiply(A, left, tail.n_threads)
        explained = self._half.T @ left
        loaded -= with_dense @ explained + self._half @ (with_dense.T @ left - inner @ explained)
        total += np.vdot(loaded, right)
        total += float(self._given_large.sum())
        return np.array([[system.levels.precision_shrunk.sum() - total]])

    @property
    def _transposed_scales(self) -> list[np.ndarray | None]:
        system = self.system
        return [system.scales[factor.position].matrix.T for factor in system.tail.large]

    def _multiply_known(self, vectors: np.ndarray) -> np.ndarray:
        """Q times vectors; not its pattern's entries but the polynomial itself, (N, m)."""
        control = self._control
        scaled = control.sizes[:, None] * vectors
        out = self._fitted[-1] * scaled
        for coefficient in self._fitted[-2::-1]:
            out = control.multiply(out) + coefficient * scaled
        return np.asarray(control.sizes[:, None] * out)

    def level_covariances(self, factor: FactorLayout) -> np.ndarray:
        """Posterior covariance of each level's effects, (L, Q, Q)."""
        system = self.system
        if factor in system.tail.small:
            return super().level_covariances(factor)
        omega = system.scales[factor.position].omega
        if factor in system.tail.large:
            here, coordinates = factor.columns, system.coordinates
            number = system.tail.large.index(factor)
            rest = np.einsum("im,im->i", self._rest[here], self._pairs[0][here]) / self._n
            # given all other effects it is smaller
            least = 1.0 / coordinates.own_blocks(number, self._half)[:, 0, 0]
            found = np.maximum(self._known[here] + rest, least)
            return omega * found[:, None, None]
        forms = self._known_forms + self._given_large
        signs, rest = np.split(system.gathered, 2, axis=2)
        forms = forms + np.einsum("lqm,lqm->l", rest, signs)[:, None, None] / self._n
        return system.levels.omega_shrunk + omega * np.maximum(forms, self._given_large) * omega

    def _level_spreads(self, factor: FactorLayout) -> np.ndarray:
        omega = self.system.scales[factor.position].omega
        if factor is self.system.cross.eliminated:
            signs, rest = np.split(self.system.gathered[:, 0], 2, axis=1)
            return np.asarray(omega**2 * (rest * signs).std(axis=1, ddof=1)[:, None])
        here = factor.columns
        products = self._rest[here] * self._pairs[0][here]
        return np.asarray(omega * products.std(axis=1, ddof=1)[:, None])

    @cached_property
    def _known_forms(self) -> np.ndarray:
        """reduced_l (Q + L M') reduced_l' of every eliminated level, (L, 1, 1)."""
        system, tail = self.system, self.system.tail
        entries = self._control.pattern.mixed(self._entries, *[self._transposed_scales] * 2)
        forms = np.empty_like(system.cross.own)
        level_forms(tail.start, tail.values, self._control.pattern.pairs, entries, forms)
        forms *= system.levels.shrink**2
        scale = system.coordinates.scale
        half = system.coordinates.scale_transposed(self._half)
        through = scale(self._multiply_known(half))
        inner = self._half.T @ through
        n_dense = len(self._root)
        dense = system.gather(
            np.zeros((tail.n_large, self._root.shape[1])), self._root
        )[:, 0]  # fmt: skip
        gathered = system.gather(through, np.zeros((n_dense, through.shape[1])))[:, 0]
        forms[:, 0, 0] += np.einsum("lp,lp->l", dense @ inner - 2.0 * gathered, dense)
        left, right = (scale(part) for part in self._low_rank)
        # an array of a few numbers a level is large where there are millions of levels
        for first in range(0, left.shape[1], _AT_ONCE):
            here = slice(first, first + _AT_ONCE)
            both = np.hstack([left[:, here], right[:, here]])
            gathered = system.gather(both, system.follow(both))[:, 0]
            forms[:, 0, 0] += np.einsum("lc,lc->l", *np.split(gathered, 2, axis=1))
        return forms

    # Rows ---------------------------------------------------------------------------

    def row_variances(self, rows: WorkingRows) -> np.ndarray:
        """Variance of every row's linear predictor (n,), by the polynomial for the inverse."""
        fixed, levels, own = self._given_large_factors()
        given = rows.loaded_variances(Loadings(fixed, tuple(levels), tuple(own)))
        large = np.zeros(rows.n_rows)
        nothing = tuple(np.zeros_like(block) for block in own)
        for sign, columns in zip((1.0, -1.0), self._signed_columns, strict=True):
            loaded = Loadings(*self._loaded(*columns), nothing)
            large += sign * rows.loaded_variances(loaded)
        self._add_sparse(rows, large)
        self._large_rows = np.maximum(large, 0.0)
        return np.asarray(given + self._large_rows)

    def row_variance_errors(self, rows: WorkingRows) -> np.ndarray:
        """Squared errors (n,): the polynomial's relative to the inverse, over the spectrum."""
        off = [
            run.quadratic_form(lambda v: (1.0 - v * at(self._fitted, v)) ** 2) / run.size**2
            for run in self._probes.runs
            if run.size
        ]
        return np.asarray(np.mean(off) * self._large_rows**2 if off else 0.0 * self._large_rows)

    @cached_property
    def _signed_columns(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Columns over large factors and dense part whose squares count, and count negatively.

        With R the root of the dense part, which follows u by -R half'u, the part of the known
        covariance that is not Q itself: Q with the dense part, and L M'.
        """
        system, scale = self.system, self.system.coordinates.scale
        half, (left, right) = self._half, (scale(part) for part in self._low_rank)
        through = scale(self._multiply_known(system.coordinates.scale_transposed(half)))
        p, c, n_dense = half.shape[1], left.shape[1], len(self._root)
        large = np.hstack([through, np.zeros_like(through), left, right])
        dense = np.hstack(
            [np.zeros((n_dense, p)), -self._root, system.follow(left), system.follow(right)]
        )
        middle = np.zeros((2 * (p + c), 2 * (p + c)))
        middle[:p, p : 2 * p] = middle[p : 2 * p, :p] = np.eye(p)
        middle[p : 2 * p, p : 2 * p] = half.T @ through
        middle[2 * p : 2 * p + c, 2 * p + c :] = middle[2 * p + c :, 2 * p : 2 * p + c] = (
            0.5 * np.eye(c)
        )
        # most of the columns depend on the others
        basis, upper = np.linalg.qr(np.vstack([large, dense]))
        values, vectors = np.linalg.eigh(upper @ middle @ upper.T)
        found = []
        for sign in (1.0, -1.0):
            used = sign * values > 1e-10 * np.abs(values).max(initial=0.0)
            columns = basis @ (vectors[:, used] * np.sqrt(np.abs(values[used])))
            found.append((columns[: len(large)], columns[len(large) :]))
        return tuple(found)

    def _loaded(
        self, large: np.ndarray, dense: np.ndarray
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Fixed effects (p, J) and effects of all levels of columns of the tail, as `Loadings`."""
        system, tail = self.system, self.system.tail
        levels = []
        for factor in system.cross.factors:
            if factor is system.cross.eliminated:
                omega = system.scales[factor.position].omega
                columns = -np.matmul(omega, system.gather(large, dense))
            elif factor in tail.large:
                columns = large[factor.columns]
            else:
                columns = dense[tail.dense_columns(factor)]
            levels.append(columns.reshape(factor.n_levels, factor.n_effects, -1))
        return dense[tail.n_small :], tuple(levels)

    def _add_sparse(self, rows: WorkingRows, out: np.ndarray) -> None:
        """Add what Q makes of the variance of every row."""
        entries = self._control.pattern.mixed(self._entries, *[self._transposed_scales] * 2)
        self._control.pattern.add_row_variances(self.system, rows, entries, out)
