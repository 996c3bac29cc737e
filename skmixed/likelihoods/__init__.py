"""Response distributions; a new one is a file here and a line in the registry."""

from skmixed.likelihoods.gaussian import Gaussian

FAMILIES = {"gaussian": Gaussian()}
"""The values of the regressor's ``family`` parameter."""

__all__ = ["FAMILIES", "Gaussian"]
