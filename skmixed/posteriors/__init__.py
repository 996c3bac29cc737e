"""Variational families; a new one is a file here and a line in the registry."""

from skmixed.posteriors.base import Posterior, PosteriorCovariance, Solved, basis_changes
from skmixed.posteriors.full import FullPosterior
from skmixed.posteriors.mean_field import MeanFieldPosterior
from skmixed.posteriors.prior import EffectsPrior

POSTERIORS: dict[str, Posterior] = {
    "full": FullPosterior(),
    "mean_field": MeanFieldPosterior(),
}
"""The values of the estimators' ``posterior`` parameter."""

__all__ = [
    "POSTERIORS",
    "EffectsPrior",
    "Posterior",
    "PosteriorCovariance",
    "Solved",
    "basis_changes",
]
