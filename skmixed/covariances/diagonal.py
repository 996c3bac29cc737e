"""Independent effects, each with a variance of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from skmixed.covariances.unstructured import Unstructured


@dataclass(frozen=True)
class Diagonal(Unstructured):
    """A 1 x 1 covariance for every effect of a term."""

    name: ClassVar[str] = "diagonal"
    formula_words: ClassVar[tuple[str, ...]] = ("diag",)
    is_one_block: ClassVar[bool] = False
    homogeneous: ClassVar[str | None] = "isotropic"
