"""The prior of the random effects: their covariance as a function of the variance parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from skmixed.covariances import STRUCTURES, LevelCovariance, Scale
from skmixed.sums.cross_products import FactorLayout


@dataclass(frozen=True)
class Block:
    """Effects of a factor that share a covariance of some structure.

    Attributes
    ----------
    factor : FactorLayout
    effects : slice
        Which effects of the factor.
    parameters : slice
        Their parameters in the theta of the model.
    covariance : LevelCovariance
    """

    factor: FactorLayout
    effects: slice
    parameters: slice
    covariance: LevelCovariance


@dataclass(frozen=True)
class EffectsPrior:
    """The covariance of all random effects as a function of theta (m,).

    Attributes
    ----------
    factors : tuple of FactorLayout
        In design order.
    blocks : tuple of Block
        Those that have parameters, in the order of theta. Effects outside of them have
        variance 0.
    across : tuple of ndarray (L, L) or None
        By factor, a root of how its levels are related; None where they are independent.
    """

    factors: tuple[FactorLayout, ...]
    blocks: tuple[Block, ...]
    across: tuple[np.ndarray | None, ...] = field(default=())

    @classmethod
    def of(
        cls,
        factors: tuple[FactorLayout, ...],
        structures: tuple[tuple[str, ...], ...] = (),
        absent: frozenset[int] = frozenset(),
        across: tuple[np.ndarray | None, ...] = (),
    ) -> EffectsPrior:
        """The parameters of factors whose blocks have the given structures.

        Parameters
        ----------
        factors : tuple of FactorLayout
        structures : tuple of tuple of str
            Keys of `STRUCTURES` by factor and block; empty where all are unstructured.
        absent : frozenset of int
            Positions of factors without parameters: their variance is 0.
        across : tuple of ndarray (L, L) or None
            By factor; empty where levels of all factors are independent.
        """
        blocks: list[Block] = []
        structures = structures or tuple(("unstructured",) * len(f.blocks) for f in factors)
        n = 0
        for factor, of_factor in zip(factors, structures, strict=True):
            if factor.position in absent:
                continue
            for (begin, stop), structure in zip(factor.blocks, of_factor, strict=True):
                covariance = STRUCTURES[structure](stop - begin)
                here = slice(n, n + covariance.n_parameters)
                blocks.append(Block(factor, slice(begin, stop), here, covariance))
                n = here.stop
        return cls(factors, tuple(blocks), across or (None,) * len(factors))

    @cached_property
    def n_parameters(self) -> int:
        """Length of theta."""
        return self.blocks[-1].parameters.stop if self.blocks else 0

    @cached_property
    def factor_of(self) -> np.ndarray:
        """Position of the factor that each parameter belongs to, (m,)."""
        counts = [block.covariance.n_parameters for block in self.blocks]
        return np.repeat([block.factor.position for block in self.blocks], counts).astype(int)

    @cached_property
    def reflects(self) -> np.ndarray:
        """Which parameters mean the same with the other sign, (m,)."""
        return np.concatenate([np.zeros(0, bool), *(b.covariance.reflects for b in self.blocks)])

    def scales(self, theta: np.ndarray) -> list[Scale]:
        """The scales of all factors, in design order."""
        matrices = [np.zeros((factor.n_effects, factor.n_effects)) for factor in self.factors]
        for block in self.blocks:
            matrix = matrices[block.factor.position]
            matrix[block.effects, block.effects] = block.covariance.scale(theta[block.parameters])
        return [Scale(*both) for both in zip(matrices, self.across, strict=True)]

    def nearest(self, covariances: list[np.ndarray]) -> np.ndarray:
        """theta of relative covariances (q, q) of independent levels, one per factor."""
        theta = np.empty(self.n_parameters)
        for block in self.blocks:
            omega = covariances[block.factor.position][block.effects, block.effects]
            theta[block.parameters] = block.covariance.nearest(omega)
        return theta

    def canonical(self, theta: np.ndarray) -> np.ndarray:
        """The equivalent theta of nonnegative standard deviations."""
        out = np.empty(len(theta))
        for block in self.blocks:
            out[block.parameters] = block.covariance.canonical(theta[block.parameters])
        return out

    def gradient(self, theta: np.ndarray, by_omega: list[np.ndarray]) -> np.ndarray:
        """Derivative by theta (m,) from symmetric derivatives (q, q) by each factor's Omega."""
        out = np.empty(len(theta))
        for block in self.blocks:
            derivative = by_omega[block.factor.position][block.effects, block.effects]
            out[block.parameters] = block.covariance.gradient(theta[block.parameters], derivative)
        return out

    def curvature(self, theta: np.ndarray, by_omega: list[np.ndarray]) -> np.ndarray:
        """Part (m, m) of a second derivative by theta that comes from the bend of Omega."""
        out = np.zeros((len(theta), len(theta)))
        for block in self.blocks:
            here, derivative = block.parameters, by_omega[block.factor.position]
            out[here, here] = block.covariance.curvature(
                theta[here], derivative[block.effects, block.effects]
            )
        return out

    def of_factors(self, function: Callable[[FactorLayout], np.ndarray]) -> list[np.ndarray]:
        """A function's matrix (q, q) of every factor that has parameters; zero for the others."""
        out = [np.zeros((factor.n_effects, factor.n_effects)) for factor in self.factors]
        for factor in {block.factor.position: block.factor for block in self.blocks}.values():
            out[factor.position] = function(factor)
        return out

    def tangents(self, theta: np.ndarray) -> list[tuple[FactorLayout, np.ndarray]]:
        """Derivative of Omega (q, q) by each parameter, with the factor it belongs to."""
        out = []
        for block in self.blocks:
            q = block.factor.n_effects
            for part in block.covariance.tangents(theta[block.parameters]):
                tangent = np.zeros((q, q))
                tangent[block.effects, block.effects] = part
                out.append((block.factor, tangent))
        return out

    def moves(self, theta: np.ndarray) -> np.ndarray:
        """Which parameters are inside their range, (m,)."""
        parts = [block.covariance.moves(theta[block.parameters]) for block in self.blocks]
        return np.concatenate([np.zeros(0, bool), *parts])

    def ends(self, theta: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
        """Sets of parameters next to an end of their range: positions in theta, and the end."""
        for block in self.blocks:
            for positions, end in block.covariance.ends(theta[block.parameters]):
                yield block.parameters.start + positions, end
