"""From data frames to arrays; the only place that knows data frames."""

from skmixed.design.checks import require_finite
from skmixed.design.computation import ComputedVariable
from skmixed.design.design import Design, DesignEncoder
from skmixed.design.factors import Factor
from skmixed.design.functions import learnt_functions
from skmixed.design.levels import LevelEncoder
from skmixed.design.resolve import resolve_spec, right_side, strata_column
from skmixed.design.response import Response, name_of
from skmixed.design.sources import (
    add_spare_columns,
    as_vector,
    pick_columns,
    readable,
    take_rows,
)
from skmixed.design.table import Table
from skmixed.design.trials import check_counts, log_coefficients, spread
from skmixed.design.unknown import (
    FEWEST_UNKNOWN,
    kind_of_labels,
    number_unknown_levels,
    refuse_unknown_levels,
    unknown_labels,
)
from skmixed.design.variables import learn_variable

__all__ = [
    "FEWEST_UNKNOWN",
    "ComputedVariable",
    "Design",
    "DesignEncoder",
    "Factor",
    "LevelEncoder",
    "Response",
    "Table",
    "add_spare_columns",
    "as_vector",
    "check_counts",
    "kind_of_labels",
    "learn_variable",
    "learnt_functions",
    "log_coefficients",
    "name_of",
    "number_unknown_levels",
    "pick_columns",
    "readable",
    "refuse_unknown_levels",
    "require_finite",
    "resolve_spec",
    "right_side",
    "spread",
    "strata_column",
    "take_rows",
    "unknown_labels",
]
