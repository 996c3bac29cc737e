"""New responses from a fitted model: random effects and noise are drawn afresh."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from skmixed._kernels.row_effects import add_effects
from skmixed.covariances import Scale
from skmixed.fitted_model import FittedModel
from skmixed.results.prediction import predict_mean, roots


class ResponseSimulator:
    """Draws responses of given rows, fixed effects and variances as the fit has them.

    Every draw has new effects of all levels, from their estimated normal distribution: those
    of lme4's ``simulate`` with ``use.u = FALSE``.

    Parameters
    ----------
    model : FittedModel
    X : DataFrame or array-like of shape (n_rows, n_features)
        Rows to draw for. Rows of one level share its effects, whether or not the fit has
        seen it; a row without a label has effects of its own.
    """

    def __init__(self, model: FittedModel, X: Any) -> None:
        rows = model.encode(X, number_unknown=True)
        design = rows.design
        self._fixed = predict_mean(model.result, replace(design, factors=()), ())
        fits = model.result.factors
        of_levels = [roots(fitted.covariance[None])[0] for fitted in fits]
        relations = model.settings.options(model.encoder).across or (None,) * len(fits)
        self._factors = [
            (factor.codes, factor.loadings(), Scale(root, across))
            for factor, root, across in zip(design.factors, of_levels, relations, strict=True)
        ]
        self._parameters = rows.parameters
        self._likelihood = model.likelihood
        self.classes = model.classes

    def draw(self, rng: np.random.Generator) -> Any:
        """Draw one response a row.

        Parameters
        ----------
        rng : Generator

        Returns
        -------
        ndarray or Series (n_rows,)
            What `fit` takes: numbers, or a categorical that declares the classes in the order
            of the model.

        Raises
        ------
        ValueError
            If a class does not occur in the draw, so that no model of it can be fitted.
        """
        return self.labelled(self.draw_numbers(rng))

    def draw_numbers(self, rng: np.random.Generator) -> np.ndarray:
        """As `draw`, with classes by their codes, (n_rows,)."""
        predictor = self._fixed.copy()
        for codes, basis, scale in self._factors:
            n_known = 0 if scale.across is None else len(scale.across)
            n_levels = max(int(codes.max(initial=-1)) + 1, n_known)
            effects = rng.standard_normal((n_levels, len(scale.matrix))) @ scale.matrix.T
            effects[:n_known] = scale.to_effects(effects[:n_known])
            add_effects(codes, basis, effects, predictor)
        drawn: np.ndarray = self._likelihood.sample(predictor, self._parameters, rng)
        return drawn

    def labelled(self, response: np.ndarray) -> Any:
        """What `fit` takes, from numbers as `draw_numbers` returns them; raises as `draw`."""
        if self.classes is None:
            return response
        codes = response.astype(np.int64)
        absent = np.flatnonzero(np.bincount(codes, minlength=len(self.classes)) == 0)
        if len(absent):
            label = self.classes[absent[:1]].tolist()[0]
            raise ValueError(
                f"class {label!r} does not occur among {len(codes)} simulated responses"
            )
        categories, ordered = pd.Index(self.classes), self._likelihood.is_ordered
        return pd.Series(pd.Categorical.from_codes(codes, categories, ordered=ordered))
