"""The posterior covariance from probes, with an approximate factor as control.

With S S' = M^-1 of an approximate factor M and a polynomial r next to H^(-1/2), draws S r(H) w of
many random signs w cost little beside solves. They tell what S r(H)^2 S' is; the probes, which
were solved for, the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial

import numpy as np

from skmixed.solvers.controls import at, fit_polynomial, further_signs, random_signs
from skmixed.solvers.probed_covariance import ProbedCovariance
from skmixed.sums.cross_products import FactorLayout

_OF_SUMS, _OF_LEVELS = (64, 2048, 2e7), (256, 8192, 1e8)
"""Least and most draws for sums over levels and for single levels, and how many entries of the
factor and cells all of them may take."""

_AT_ONCE = 16
"""Draws that are held at a time."""

_HIGHEST_DEGREE = 5
"""Of polynomials for draws."""


class SampledCovariance(ProbedCovariance):
    """Covariances of the posterior relative to the noise variance.

    The expectation of S w w' S' is M^-1, that of S (H^-1 z - z) z' S' what is missing: for sums
    over levels. For single levels r(H) w takes the place of w.
    """

    def _draws_within(self, least: int, most: int, entries: float) -> int:
        """How many draws take as many entries, a multiple of `_AT_ONCE`."""
        system = self.system
        each = system.coordinates.factor.n_entries + len(system.tail.columns)
        return int(np.clip(entries / max(each, 1), least, most)) // _AT_ONCE * _AT_ONCE

    @cached_property
    def _n_draws(self) -> int:
        """Draws for single levels."""
        return self._draws_within(*_OF_LEVELS)

    @cached_property
    def _near_roots(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Polynomials r and q in H - I next to H^(-1/2) and H^(1/2), and what these leave.

        That is the mean square over the spectrum of r(H) H r(H) - I, which the probes estimate.
        The degree is the least with which it adds a quarter at most to the squared errors that
        draws leave in single levels.
        """
        runs = self._probes.runs
        nodes = np.concatenate([run.spectrum()[0] for run in runs])
        shares = np.concatenate([run.spectrum()[1] for run in runs])
        for degree in range(_HIGHEST_DEGREE + 1):
            inverse = fit_polynomial(runs, degree, lambda values: values**-0.5)
            off = (1.0 - nodes * at(inverse, nodes) ** 2) ** 2
            left = float(shares @ off / max(shares.sum(), 1e-300))
            if 4.0 * left <= self._n / self._n_draws:
                break
        return inverse, fit_polynomial(runs, degree, np.sqrt), left

    @property
    def _roots(self) -> tuple[np.ndarray, np.ndarray]:
        """r and q."""
        return self._near_roots[:2]

    def _signs_of_draws(self, n_draws: int) -> Iterator[np.ndarray]:
        """Random signs w over the square root of the draws, (N, `_AT_ONCE`) each."""
        signs = further_signs(self.system.probes)
        shape = (self.system.tail.n_large, _AT_ONCE)
        for _ in range(n_draws // _AT_ONCE):
            yield random_signs(signs, shape) / np.sqrt(n_draws)

    def _drawn_pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """About H^(-1/2) w and H^(1/2) w of the draws for single levels, (N, `_AT_ONCE`) each."""
        inverse, root = self._roots
        for signs in self._signs_of_draws(self._n_draws):
            power, first, second = signs, inverse[0] * signs, root[0] * signs
            for a, b in zip(inverse[1:], root[1:], strict=True):
                power = self.system.multiply_probes(power) - power
                first = first + a * power
                second = second + b * power
            yield first, second

    @cached_property
    def _of_sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean squares of draws S w (N,), and their forms summed over eliminated levels (Q, Q).

        All factors together, as below.
        """
        system = self.system
        squares, forms = np.zeros(system.tail.n_large), np.zeros(system.cross.own.shape[1:])
        for signs in self._signs_of_draws(self._draws_within(*_OF_SUMS)):
            draws = system.coordinates.to_scaled(signs)
            squares += np.einsum("ij,ij->i", draws, draws)
            gathered = self._gather(draws)
            forms += np.einsum("lqm,lsm->qs", gathered, gathered)
        return squares, forms

    def information(self, factor: FactorLayout) -> np.ndarray:
        """sum_l Z_l' P Z_l of a factor (Q, Q); V^-1 for P when beta is a point."""
        system = self.system
        if factor is not system.cross.eliminated:
            return super().information(factor)
        z, x = np.split(system.gathered, 2, axis=2)
        sums = self._given_large.sum(axis=0) + np.einsum("lqm,lsm->qs", x - z, z) / self._n
        sums += self._of_sums[1]
        return system.levels.precision_shrunk.sum(axis=0) - 0.5 * (sums + sums.T)

    def _gather(self, scaled: np.ndarray) -> np.ndarray:
        """reduced_l times scaled effects, which the dense part follows, (L, Q, m)."""
        large = self.system.coordinates.scale(scaled)
        return self.system.gather(large, self.system.follow(large))

    def _summed_inverse(self, factor: FactorLayout) -> np.ndarray:
        z, x = (v[factor.columns] for v in self._pairs)
        rest = np.einsum("im,im->", x - z, z) / self._n
        return np.array([[self._of_sums[0][factor.columns].sum() + rest]])

    @cached_property
    def _given_others(self) -> np.ndarray:
        """Precision of every scaled effect of the large factors given all other effects, (N,)."""
        system = self.system
        out = np.empty(system.tail.n_large)
        for factor, blocks in zip(system.tail.large, system.reduced_blocks, strict=True):
            scale = system.scales[factor.position].matrix[0, 0]
            half = scale * self._half[factor.columns]
            out[factor.columns] = scale**2 * blocks[:, 0, 0] + 1.0 - (half**2).sum(axis=1)
        return out

    def _squares(self, scaled: np.ndarray, pulled: np.ndarray) -> np.ndarray:
        """Sums of squares of conditional means of all scaled effects given the others, (N,)."""
        means = self.system.coordinates.transposed_inverse(pulled)
        means /= -self._given_others[:, None]
        means += scaled
        return np.einsum("ij,ij->i", means, means)

    @cached_property
    def _of_single_levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean squares of conditional means of large factors (N,), and forms of eliminated levels.

        All factors together, since draws take a while.
        """
        system, inverse = self.system, self._roots[0]
        to_scaled, forms = system.coordinates.to_scaled, np.zeros_like(system.levels.omega_shrunk)
        squares = self._squares(self._draws, self._apply(np.sqrt))
        near = [self._apply(partial(at, root)) for root in self._roots]
        squares -= self._squares(to_scaled(near[0]), near[1])
        squares /= self._n
        left = self._apply(lambda values: 1.0 / values - at(inverse, values) ** 2)
        left, z = self._gather(to_scaled(left)), self._gather(self._pairs[0])
        rest = np.matmul(left, np.swapaxes(z, 1, 2)) / self._n
        forms += 0.5 * (rest + np.swapaxes(rest, 1, 2))
        for drawn, pulled in self._drawn_pairs():
            scaled = to_scaled(drawn)
            squares += self._squares(scaled, pulled)
            gathered = self._gather(scaled)
            forms += np.matmul(gathered, np.swapaxes(gathered, 1, 2))
        return np.maximum(squares, 0.0), np.maximum(forms, 0.0)

    def level_covariances(self, factor: FactorLayout) -> np.ndarray:
        """Posterior covariance of each level's effects, (L, Q, Q)."""
        system = self.system
        if factor is not system.cross.eliminated:
            return super().level_covariances(factor)
        omega = system.scales[factor.position].omega
        forms = self._of_single_levels[1] + self._given_large
        return system.levels.omega_shrunk + omega @ forms @ omega

    def level_error(self, factor: FactorLayout) -> float:
        """Of as many draws as there are of the factor, and of what the probes add."""
        if factor in self.system.tail.small:
            return super().level_error(factor)
        # of a variance that is a mean of squares, less what is known of it
        squared = 1.0 / self._n_draws + self._near_roots[2] / self._n
        return float(np.sqrt(0.5 * squared))

    def _large_covariances(self, factor: FactorLayout) -> np.ndarray:
        """Given all other effects exactly, plus squares of conditional means; intercepts."""
        here, scale = factor.columns, self.system.scales[factor.position].matrix[0, 0]
        found = 1.0 / self._given_others[here] + self._of_single_levels[0][here]
        return np.asarray(scale**2 * found[:, None, None])
