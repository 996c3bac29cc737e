"""The posterior covariance from probes, with an approximate factor as control.

With S S' = M^-1 of an approximate factor M, draws S w of many random signs w cost next to nothing
beside solves. They tell what M^-1 is; the probes, which were solved for, the difference.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skmixed.solvers.probed_covariance import ProbedCovariance
from skmixed.sums.cross_products import FactorLayout

_FEW_DRAWS, _MANY_DRAWS = 64, 256
"""Draws of M^-1 for sums over levels, and for single levels."""

_AT_ONCE = 16
"""Draws that are held at a time."""


class SampledCovariance(ProbedCovariance):
    """Covariances of the posterior relative to the noise variance.

    The expectation of S w w' S' is M^-1, that of S (H^-1 z - z) z' S' what is missing.
    """

    def _signs_of_draws(self, n_draws: int) -> Iterator[np.ndarray]:
        """Random signs w over the square root of the draws, (N, `_AT_ONCE`) each."""
        signs = np.random.default_rng(1)
        shape = (self.system.tail.n_large, _AT_ONCE)
        for _ in range(n_draws // _AT_ONCE):
            yield signs.choice([-1.0, 1.0], size=shape) / np.sqrt(n_draws)

    def _draws_of_factor(self, n_draws: int) -> Iterator[np.ndarray]:
        """S w, scaled effects (N, `_AT_ONCE`)."""
        for signs in self._signs_of_draws(n_draws):
            yield self.system.coordinates.to_scaled(signs)

    def information(self, factor: FactorLayout) -> np.ndarray:
        """sum_l Z_l' P Z_l of a factor (Q, Q); V^-1 for P when beta is a point."""
        system = self.system
        if factor is not system.cross.eliminated:
            return super().information(factor)
        z, x = np.split(system.gathered[:, :, 1:], 2, axis=2)
        sums = self._given_large.sum(axis=0) + np.einsum("lqm,lsm->qs", x - z, z) / self._n
        for draws in self._draws_of_factor(_FEW_DRAWS):
            large = system.coordinates.scale(draws)
            gathered = system.gather(large, system.follow(large))
            sums = sums + np.einsum("lqm,lsm->qs", gathered, gathered)
        return system.levels.precision_shrunk.sum(axis=0) - 0.5 * (sums + sums.T)

    def _summed_inverse(self, factor: FactorLayout) -> np.ndarray:
        shape = (factor.n_levels, factor.n_effects, -1)
        z, x = (v[factor.columns].reshape(shape) for v in self._pairs)
        out = np.einsum("lqm,lsm->qs", x - z, z) / self._n
        for draws in self._draws_of_factor(_FEW_DRAWS):
            here = draws[factor.columns].reshape(shape)
            out += np.einsum("lqm,lsm->qs", here, here)
        return np.asarray(0.5 * (out + out.T))

    def level_covariances(self, factor: FactorLayout) -> np.ndarray:
        """Posterior covariance of each level's effects, (L, Q, Q)."""
        system = self.system
        if factor is not system.cross.eliminated:
            return super().level_covariances(factor)
        omega = system.scales[factor.position].omega
        forms = np.zeros_like(system.levels.omega_shrunk)
        for draws in self._draws_of_factor(_MANY_DRAWS):
            large = system.coordinates.scale(draws)
            gathered = system.gather(large, system.follow(large))
            forms += np.matmul(gathered, np.swapaxes(gathered, 1, 2))
        z, x = np.split(system.gathered[:, :, 1:], 2, axis=2)
        rest = np.matmul(x - z, np.swapaxes(z, 1, 2)) / self._n
        forms = np.maximum(forms + 0.5 * (rest + np.swapaxes(rest, 1, 2)), 0.0)
        forms += self._given_large
        return system.levels.omega_shrunk + omega @ forms @ omega

    def level_error(self, factor: FactorLayout) -> float:
        """That of as many draws as there are of the factor, whose errors prevail."""
        if factor in self.system.tail.small:
            return super().level_error(factor)
        # a variance that is a mean of squares, less what is known of it
        return float(1.0 / np.sqrt(2.0 * _MANY_DRAWS))

    def _large_covariances(self, factor: FactorLayout) -> np.ndarray:
        """Given all other effects exactly, plus squares of conditional means; intercepts."""
        system = self.system
        to_scaled, pull = system.coordinates.to_scaled, system.coordinates.transposed_inverse
        number, here = system.tail.large.index(factor), factor.columns
        scale = system.scales[factor.position].matrix[0, 0]
        own = scale**2 * system.reduced_blocks[number][:, 0, 0] + 1.0
        own -= ((scale * self._half[here]) ** 2).sum(axis=1)

        def squares(draws: np.ndarray, pulled: np.ndarray) -> np.ndarray:
            means = draws[here] - pulled[here] / own[:, None]
            return np.asarray((means**2).sum(axis=1))

        z = system.probes
        rest = squares(self._draws, pull(self._apply(np.sqrt))) - squares(self._pairs[0], pull(z))
        rest /= self._n
        for signs in self._signs_of_draws(_MANY_DRAWS):
            rest += squares(to_scaled(signs), pull(signs))
        return np.asarray(scale**2 * (1.0 / own + np.maximum(rest, 0.0))[:, None, None])
