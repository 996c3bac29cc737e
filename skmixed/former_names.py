"""Names that modules had when older models were stored.

A pickle names the module of every class. Importing a former name gives the module of
today, so that models stored by earlier versions load; nothing else uses these names.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

FORMER_NAMES = {
    "skmixed.inference": "skmixed.fit",
    "skmixed.inference.partial": "skmixed.sums.partial_sums",
    "skmixed.inference.result": "skmixed.fit.result",
    "skmixed.likelihoods": "skmixed.families",
    "skmixed.likelihoods.bernoulli": "skmixed.families.bernoulli",
    "skmixed.likelihoods.gamma": "skmixed.families.gamma",
    "skmixed.likelihoods.gaussian": "skmixed.families.gaussian",
    "skmixed.likelihoods.negative_binomial": "skmixed.families.negative_binomial",
    "skmixed.likelihoods.ordinal": "skmixed.families.ordinal",
    "skmixed.likelihoods.poisson": "skmixed.families.poisson",
    "skmixed.linalg": "skmixed.sums",
    "skmixed.linalg.cellsums": "skmixed.sums.cell_sums",
}
"""Modules whose classes stored models hold, by the name that they had."""


class _FormerNames(MetaPathFinder, Loader):
    """Import a module of today under its former name."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        """A spec for former names; None for all others."""
        if fullname not in FORMER_NAMES:
            return None
        return ModuleSpec(fullname, self, is_package=fullname.count(".") == 1)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """An empty module, which `exec_module` replaces."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of today in its place."""
        sys.modules[module.__name__] = importlib.import_module(FORMER_NAMES[module.__name__])


def install() -> None:
    """Let former names be imported, once per process."""
    if not any(isinstance(finder, _FormerNames) for finder in sys.meta_path):
        # first: a module of today that lies where a former one lay would be found instead
        sys.meta_path.insert(0, _FormerNames())
