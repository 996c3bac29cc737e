"""Trial sets: rows of two classes that share covariates and groups, with one residual."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import bdtr

from skmixed.fitted_model import FittedModel, ObservedRows
from skmixed.inspection.displays.common import NODES, SHARES
from skmixed.sums.working_rows import first_rows, merge_equal_rows


@dataclass(frozen=True, eq=False)
class TrialSets:
    """Rows of two classes, pooled where they share covariates and groups.

    Attributes
    ----------
    first : ndarray of int (m,)
        A row of each set.
    successes, trials : ndarray (m,)
        Case weights of the second class, and of both.
    """

    first: np.ndarray
    successes: np.ndarray
    trials: np.ndarray

    @classmethod
    def of(cls, rows: ObservedRows) -> TrialSets:
        """Pool rows that are equal in all but their class."""
        columns = rows.design.predictor_columns() or [np.zeros(len(rows.response))]
        groups = merge_equal_rows(columns)
        first = first_rows(groups)
        return cls(
            first,
            np.bincount(groups, rows.weights * rows.response, len(first)),
            np.bincount(groups, rows.weights, len(first)),
        )

    def sample(self, size: int, rng: np.random.Generator) -> TrialSets:
        """Some of the sets, drawn at random."""
        kept = np.sort(rng.choice(len(self.first), size, replace=False))
        parts = {name: getattr(self, name)[kept] for name in ("first", "successes", "trials")}
        return replace(self, **parts)

    def interval(
        self, likelihood: Any, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """P(successes < k) and P(successes <= k), averaged over the linear predictor.

        Parameters
        ----------
        likelihood : ClassLikelihood
            Of two classes.
        mean, variance : ndarray (m,)
            Of the linear predictor of each set.
        parameters : ndarray (k,)
        """
        below, upto = np.zeros(len(mean)), np.zeros(len(mean))
        nodes, shares = (NODES, SHARES) if variance.any() else (np.zeros(1), np.ones(1))
        root, none = np.sqrt(variance), np.zeros(len(mean))
        trials = self.trials.astype(np.int64)
        for node, share in zip(nodes, shares, strict=True):
            predictor = mean + node * root
            success = likelihood.probabilities(predictor, none, parameters)[:, 1]
            upto += share * bdtr(self.successes, trials, success)
            less = bdtr(np.maximum(self.successes - 1.0, 0.0), trials, success)
            below += share * np.where(self.successes > 0, less, 0.0)
        return below, upto


def are_trials(model: FittedModel, weights: np.ndarray) -> bool:
    """Whether rows of two classes stand for several trials each."""
    if model.response.is_trials:
        return True
    two = model.classes is not None and len(model.classes) == 2
    return bool(two and (weights != 1.0).any() and (weights == np.round(weights)).all())
