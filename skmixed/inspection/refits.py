"""The model of a fit on other rows, without some columns, or by another likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skmixed.design import Design
from skmixed.design.factors import Factor
from skmixed.fit.engine import fit_rows
from skmixed.fit.outer import FitOptions, Start
from skmixed.fit.repeated_fit import RepeatedFit
from skmixed.fit.result import FitResult
from skmixed.fitted_model import FittedModel, TrainingData
from skmixed.threads import restrained_blas


@dataclass(frozen=True)
class Refit:
    """Encoded rows and options, from which a fit is made.

    Attributes
    ----------
    design : Design
    response, weights : ndarray (n,)
    likelihood : Likelihood
    options : FitOptions
    """

    design: Design
    response: np.ndarray
    weights: np.ndarray
    likelihood: Any
    options: FitOptions

    @classmethod
    def of(cls, model: FittedModel, data: TrainingData) -> Refit:
        """The rows and options of a fit, which starts from its estimates."""
        rows = model.observe(data)
        plain = cls.of_rows(model, rows.design)
        return replace(plain, response=rows.response, weights=rows.weights)

    @classmethod
    def of_rows(cls, model: FittedModel, design: Design) -> Refit:
        """Rows of weight 1 whose responses are yet to come."""
        options = model.settings.options(model.encoder, Start.of_result(model.result))
        n = len(design.fixed)
        return cls(design, np.zeros(n), np.ones(n), model.likelihood, options)

    def fit(self) -> FitResult:
        """Fit the rows."""
        with restrained_blas(self.options.n_threads):
            result, _ = fit_rows(
                self.design, self.response, self.weights, self.likelihood, self.options
            )
        return result

    def repeated(self) -> RepeatedFit | None:
        """The fit prepared for many responses; None where it has to see the rows each time."""
        if not self.likelihood.is_quadratic:
            return None
        with restrained_blas(self.options.n_threads):
            return RepeatedFit.of(self.design, self.weights, self.options)

    def by_maximum_likelihood(self) -> Refit:
        """The same with coefficients that are not integrated out."""
        return replace(self, options=replace(self.options, integrate_fixed=False))

    def without_columns(self, columns: np.ndarray) -> Refit:
        """The same without some fixed effects, by their numbers."""
        design = self.design
        kept = np.setdiff1d(np.arange(design.fixed.shape[1]), columns)
        return replace(
            self,
            design=replace(
                design,
                fixed=np.ascontiguousarray(design.fixed[:, kept]),
                fixed_names=tuple(design.fixed_names[k] for k in kept),
                has_intercept=design.has_intercept and 0 in kept,
            ),
        )

    def without_effects(self, position: int, effects: range) -> Refit:
        """The same without some effects of a factor, and without the factor if these are all."""
        factors = list(self.design.factors)
        factor = factors[position]
        kept = [q for q in range(len(factor.term_names)) if q not in effects]
        across = list(self.options.across)
        if kept:
            factors[position] = _with_effects(factor, kept)
        else:
            del factors[position]
            if across:
                del across[position]
        structures = tuple(f.block_structures for f in factors)
        options = replace(self.options, structures=structures, across=tuple(across), start=None)
        return replace(self, design=replace(self.design, factors=tuple(factors)), options=options)

    def without_rows(self, left_out: np.ndarray) -> Refit:
        """The same without the rows of a mask (n,), and without levels that have no others."""
        kept = np.flatnonzero(~left_out)
        design = self.design.take(kept)
        factors = []
        for factor in design.factors:
            levels, codes = np.unique(factor.codes, return_inverse=True)
            factors.append(replace(factor, codes=codes.astype(np.int32), n_levels=len(levels)))
        return replace(
            self,
            design=replace(design, factors=tuple(factors)),
            response=self.response[kept],
            weights=self.weights[kept],
        )


def _with_effects(factor: Factor, kept: list[int]) -> Factor:
    """A factor with some of its effects; blocks that lose all of theirs go."""
    blocks, structures, begin = [], [], 0
    for (first, stop), structure in zip(factor.blocks, factor.block_structures, strict=True):
        size = sum(first <= q < stop for q in kept)
        if size:
            blocks.append((begin, begin + size))
            structures.append(structure)
            begin += size
    basis = factor.loadings()[:, kept]
    return replace(
        factor,
        basis=None if basis.shape[1] == 1 and (basis == 1.0).all() else basis,
        term_names=tuple(factor.term_names[q] for q in kept),
        blocks=tuple(blocks),
        block_structures=tuple(structures),
    )
