"""How random effects covary; a new structure is a file here and a line in the registry."""

from skmixed.covariances.base import BasisChange, LevelCovariance, Relation, narrower
from skmixed.covariances.compound_symmetry import CompoundSymmetry, HomogeneousCompoundSymmetry
from skmixed.covariances.diagonal import Diagonal
from skmixed.covariances.isotropic import Isotropic
from skmixed.covariances.relationship import Relationship
from skmixed.covariances.scale import Scale
from skmixed.covariances.unstructured import Unstructured

STRUCTURES: dict[str, type[LevelCovariance]] = {
    structure.name: structure
    for structure in (
        Unstructured,
        Diagonal,
        Isotropic,
        CompoundSymmetry,
        HomogeneousCompoundSymmetry,
    )
}
"""Structures of the effects of a term, by the value of ``covariance``."""

FORMULA_WORDS = {word: key for key, known in STRUCTURES.items() for word in known.formula_words}
"""Keys of `STRUCTURES` by the function that stands for them in formulas."""

RELATIONS = (Relationship,)
"""What may say how levels are related: values of ``relations``."""

__all__ = [
    "FORMULA_WORDS",
    "RELATIONS",
    "STRUCTURES",
    "BasisChange",
    "LevelCovariance",
    "Relation",
    "Relationship",
    "Scale",
    "narrower",
]
