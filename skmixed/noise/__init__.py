"""How rows vary around their mean; a new noise model is a file here and a line in the registry."""

from skmixed.noise.base import Noise
from skmixed.noise.constant import ConstantNoise
from skmixed.noise.strata import NoiseByStratum

NOISES: dict[str, type[Noise]] = {"constant": ConstantNoise, "strata": NoiseByStratum}
"""Noise models of normal responses, made of the cross-products of all rows and of strata."""

__all__ = ["NOISES", "ConstantNoise", "Noise", "NoiseByStratum"]
