"""Checks of a stored fit against its encoder, and of the sums that `partial_fit` keeps."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from skmixed.design import Response
from skmixed.persistence.arrays import require, require_array, require_indices, require_number
from skmixed.persistence.encoders import check_computation, check_encoder
from skmixed.persistence.state import PersistentMixin
from skmixed.spec import Variable

if TYPE_CHECKING:
    from skmixed.design import DesignEncoder
    from skmixed.fit.result import FactorResult, FitResult, WithinFactor
    from skmixed.sums.cell_sums import CellSums, PairCells
    from skmixed.sums.partial_sums import Accumulation

_NUMBERS = ("noise_variance", "residual_variance", "elbo", "elbo_std", "n_iter", "n_observations")
_SCALARS_OF_SUMS = ("n_rows", "n_observations", "total_weight", "log_weights", "spread", "size")


class PersistentFitMixin(PersistentMixin):
    """Stores estimators that have a `FitResult`; they make attributes by `_attributes`."""

    _derived = (
        "random_effects_", "random_effects_std_", "random_effects_cov_", "variance_components_"
    )  # fmt: skip
    _fitted_marker = "fit_result_"
    _private_state = ("_seen", "_kept", "_sums")
    _not_stored = ("_kept", "_sums")

    def _restore(self) -> None:
        state = vars(self)
        if "_seen" in state:
            check_accumulation(state["_seen"][0])
        if "fit_result_" in state:
            encoder, result = state["design_encoder_"], state["fit_result_"]
            check_fit(encoder, result)
            _complete(state)
            if state["response_"].computed is not None:
                check_computation("response", state["response_"].computed)
            # fits that were stored before "auto" say by their parameter what they are
            state.setdefault("method_", self._attributes()["method_"])
            for name in self._derived:
                # what cannot be made is damaged
                getattr(self, name)

    @abstractmethod
    def _attributes(self) -> dict[str, Any]:
        """All attributes that a fit sets, by name."""


def _complete(state: dict[str, Any]) -> None:
    """Add what models of earlier versions did not store."""
    state.setdefault("response_", Response(Variable("y")))
    if "classes_" in state and "ordered_classes_" not in state:
        # once one array was both
        state["ordered_classes_"] = state["classes_"]
        state["classes_"] = np.sort(state["classes_"])


def check_fit(encoder: DesignEncoder, result: FitResult) -> None:
    """Raise ValueError unless the estimates are of the sizes that the encoder states.

    Parameters
    ----------
    encoder : DesignEncoder
    result : FitResult
        As they were loaded.

    Raises
    ------
    ValueError
        If an array has another shape or type, or holds NaN.
    """
    check_encoder(encoder)
    parts: tuple[FitResult | FactorResult, ...] = (result, *result.factors)
    for part in parts:
        missing = [field.name for field in fields(part) if not hasattr(part, field.name)]
        require(not missing, "the fit", f"without {missing}", "complete")
    p = len(encoder.fixed.names)
    require_array("coefficients", result.coefficients, (p,))
    require_array("center", result.center, (p,))
    require_array("coefficient_covariance", result.coefficient_covariance, (p, p))
    require_array("parameters", result.parameters, (None,))
    if result.fixed_covariance is not None:
        require_array("fixed_covariance", result.fixed_covariance, (p, p))
    for name in _NUMBERS:
        require_number(name, getattr(result, name))
    require_indices("dropped", np.asarray(result.dropped), p)
    n_factors = len(encoder.factors)
    require(
        len(result.level_errors) in (0, n_factors),
        "level_errors", f"{len(result.level_errors)} numbers", f"{n_factors}, one per group",
    )  # fmt: skip
    for number in result.level_errors:
        require_number("level_errors", number)
    for name, of_groups in (("factors", result.factors), ("coupled", result.coupled)):
        found = f"{len(of_groups)} parts"
        require(len(of_groups) == n_factors, name, found, f"{n_factors}, one per group")
    n_effects = 0
    for encoded, fitted in zip(encoder.factors, result.factors, strict=True):
        levels, q = encoded.levels.n_levels, len(encoded.term_names)
        name = f"group {encoded.name!r}"
        require_array(f"{name}: covariance", fitted.covariance, (q, q))
        require_array(f"{name}: means", fitted.means, (levels, q))
        require_array(f"{name}: covariances", fitted.covariances, (levels, q, q))
        if fitted.thirds is not None:
            require_array(f"{name}: thirds", fitted.thirds, (levels, q, q, q))
        if fitted.within is not None:
            _check_within(name, fitted.within, result.factors, (levels, q))
        n_effects += levels * q
    require_array("coupling", result.coupling, (p + n_effects, None))
    if result.further is not None:
        require_array("further", result.further, (p + n_effects, None))
    n_sds = sum(len(f.term_names) for f in encoder.factors)
    if result.estimate_covariance is not None:
        size = n_sds + len(result.parameters) + p
        require_array("estimate_covariance", result.estimate_covariance, (size, size))
    if result.bound_moves is not None:
        require_array("bound_moves", result.bound_moves, (n_sds,))
    require(
        result.approximation in ("variational", "corrected"),
        "approximation", repr(result.approximation), "'variational' or 'corrected'",
    )  # fmt: skip


def _check_within(
    name: str, within: WithinFactor, factors: tuple[FactorResult, ...], shape: tuple[int, int]
) -> None:
    require_number(f"{name}: outer factor", within.position)
    require_indices(f"{name}: outer factor", np.array([within.position]), len(factors))
    n_outer, r = factors[within.position].means.shape
    require_array(f"{name}: slopes", within.slopes, (*shape, r))
    require_array(f"{name}: outer levels", within.levels, (shape[0],), np.int64)
    require_indices(f"{name}: outer levels", within.levels, n_outer)


def check_accumulation(seen: Accumulation) -> None:
    """Raise ValueError unless sums of parts are of the sizes that their encoder states.

    Parameters
    ----------
    seen : Accumulation
        As it was loaded.

    Raises
    ------
    ValueError
        If an array has another shape or type, or points outside another one.
    """
    encoder, units, sums = seen.encoder, seen.sums.units, seen.sums.sums
    check_encoder(encoder)
    p = len(encoder.fixed.names)
    for name in ("center", "scale", "least_squares"):
        require_array(f"units: {name}", getattr(units, name), (p,))
    for name in ("response_center", "response_scale", "weight_scale"):
        require_number(f"units: {name}", getattr(units, name))
    for name in _SCALARS_OF_SUMS:
        require_number(f"sums: {name}", getattr(seen.sums, name))
    sizes = [(factor.levels.n_levels, len(factor.term_names)) for factor in encoder.factors]
    stated = [(shape.n_levels, shape.n_effects) for shape in sums.factors]
    require(stated == sizes, "sums: sizes of groups", str(stated), str(sizes))
    for encoded, shape in zip(encoder.factors, sums.factors, strict=True):
        require(shape.blocks == encoded.blocks, "sums: blocks", str(shape.blocks), "the encoder's")
    _check_sums(sums, units.bases, sizes, p + 1)


def _check_sums(
    sums: CellSums, bases: tuple[Any, ...], sizes: list[tuple[int, int]], n_dense: int
) -> None:
    require_array("sums: dense", sums.dense, (n_dense, n_dense))
    require(sums.ranks is None, "sums: ranks", "set", "None: levels stand in their place")
    for name, parts in (
        ("units: bases", bases), ("sums: own", sums.own), ("sums: with_dense", sums.with_dense)
    ):  # fmt: skip
        require(len(parts) == len(sizes), name, f"{len(parts)} parts", f"{len(sizes)}")
    for f, (levels, q) in enumerate(sizes):
        require_array("units: bases", bases[f], (q, q))
        require_array("sums: own", sums.own[f], (levels, q, q))
        require_array("sums: with_dense", sums.with_dense[f], (levels, q, n_dense))
    expected = [{a, b} for a in range(len(sizes)) for b in range(a)]
    found = [{pair.first, pair.second} for pair in sums.pairs]
    require(found == expected, "sums: pairs", str(found), str(expected))
    for pair in sums.pairs:
        _check_cells(pair, sizes)


def _check_cells(pair: PairCells, sizes: list[tuple[int, int]]) -> None:
    name = f"sums: cells of groups {pair.first} and {pair.second}"
    (n_first, q_first), (n_second, q_second) = sizes[pair.first], sizes[pair.second]
    require_array(name, pair.start, (n_first + 1,), np.int64)
    n_cells = int(pair.start[-1])
    ascends = pair.start[0] == 0 and bool((np.diff(pair.start) >= 0).all())
    require(ascends, f"{name}, start", "out of order", "ascending from 0")
    require_array(f"{name}, levels", pair.levels, (n_cells,), np.int32)
    require_indices(f"{name}, levels", pair.levels, n_second)
    require_array(f"{name}, values", pair.values, (n_cells, q_first, q_second))
