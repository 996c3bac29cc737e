"""Methods that tell the degrees of freedom of tests; a new one is a line in the registry."""

from __future__ import annotations

from collections.abc import Callable

from skmixed.results.coefficient_tests import CoefficientTests
from skmixed.results.kenward_roger import kenward_roger
from skmixed.results.reopened import ReopenedFit
from skmixed.results.satterthwaite import variance_uncertainty

METHODS: dict[str, Callable[[ReopenedFit], CoefficientTests]] = {
    "satterthwaite": variance_uncertainty,
    "kenward-roger": kenward_roger,
}
"""By the value of ``ddf``."""

NEED_FACTORS = ("kenward-roger",)
"""Methods that are exact with a factorised system."""
