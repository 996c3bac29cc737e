"""Bundled and simulated data for mixed-effects models."""

from skmixed.datasets.bundled import (
    load_cbpp,
    load_grouseticks,
    load_insteval,
    load_sleepstudy,
)
from skmixed.datasets.simulated import make_mixed_classification, make_mixed_regression

__all__ = [
    "load_cbpp",
    "load_grouseticks",
    "load_insteval",
    "load_sleepstudy",
    "make_mixed_classification",
    "make_mixed_regression",
]
