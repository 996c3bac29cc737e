"""The printed account of how good a posterior is."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from skmixed.inference.examination import Examination
from skmixed.inspection.tables import facts_html

GOOD, USABLE = 0.5, 0.7
"""Pareto shapes up to which weights have a variance, and can be smoothed with success."""

NEARLY_EQUAL = 0.9
"""Effective share of the draws from which weights need no tail to be judged by."""

_MEAN_OFF, _SD_OFF = 0.25, 0.1
"""Shift of a mean (in standard deviations), and relative error of a standard deviation,
from which a level's posterior counts as off."""

_MANY_OFF = 0.01
"""Share of such levels that is worth a word."""

_GAP_MATTERS = 1.0
"""Difference of log likelihoods that changes which of two models is preferred."""


@dataclass(frozen=True)
class Diagnosis:
    """How close a posterior is to the exact one; prints as text, shows as HTML in notebooks.

    Attributes
    ----------
    pareto_k : float
        Shape of the tail of the importance weights. Up to 0.5 the posterior is close to the
        exact one, up to 0.7 it is usable. The weights are those of all effects but the ones
        of the largest group, whose levels are integrated out; where there is no other group,
        those of all effects together. 0 where the posterior is exact.
    effective_share : float
        Effective draws over draws, between 0 and 1. Where it is above 0.9 the weights are
        nearly equal, the posterior is close to the exact one, and `pareto_k` says little:
        the tail of nearly equal weights can have any shape.
    log_likelihood : float
        (Restricted) log likelihood at the fitted parameters, by importance sampling.
    log_likelihood_std : float
        Its standard error; with several groups not to be trusted where `pareto_k` is above 0.7.
    elbo : float
        The lower bound of it that the fit maximised.
    gap : float
        ``log_likelihood - elbo``.
    share_of_levels_off : float
        Share of the levels of the largest group whose exact posterior, given the other
        effects, has a mean more than 0.25 standard deviations away, or a standard deviation
        that differs by more than 10 %.
    advice : str
        What this means, and what to do.
    """

    pareto_k: float
    effective_share: float
    log_likelihood: float
    log_likelihood_std: float
    elbo: float
    gap: float
    share_of_levels_off: float
    advice: str

    def _facts(self) -> dict[str, str]:
        likelihood = f"{self.log_likelihood:.4f} (std. error {self.log_likelihood_std:.2g})"
        return {
            "Pareto k": f"{self.pareto_k:.2f}",
            "Effective draws": f"{100.0 * self.effective_share:.3g} %",
            "Log likelihood": likelihood,
            "ELBO": f"{self.elbo:.4f}",
            "Gap": f"{self.gap:.4f}",
            "Levels off": f"{100.0 * self.share_of_levels_off:.3g} %",
        }

    def __str__(self) -> str:
        title = "Diagnosis of the posterior"
        lines = [title, "=" * len(title)]
        lines += [f"{name + ':':<16} {value}" for name, value in self._facts().items()]
        return "\n".join([*lines, "", self.advice])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        facts = facts_html(self._facts())
        advice = "".join(f"<p>{escape(line)}</p>" for line in self.advice.splitlines())
        return f"<div><h3>Diagnosis of the posterior</h3>{facts}{advice}</div>"


def diagnosis_of(found: Examination, model: Any) -> Diagnosis:
    """Put an examination of a fitted estimator into words.

    Parameters
    ----------
    found : Examination
    model : estimator
    """
    gap = found.log_likelihood - found.elbo
    share = share_of_levels_off(found)
    if found.is_exact:
        advice = "Exact: the posterior of a normal response is normal. There is nothing to correct."
    else:
        group = None if found.largest is None else model.design_encoder_.factors[found.largest].name
        sentences = [
            _about_weights(found, model.posterior, len(model.design_encoder_.factors)),
            _about_gap(gap, found),
            _about_levels(share, group, found),
        ]
        advice = "\n".join(sentence for sentence in sentences if sentence)
    return Diagnosis(
        pareto_k=found.shape,
        effective_share=found.effective_share,
        log_likelihood=found.log_likelihood,
        log_likelihood_std=found.log_likelihood_std,
        elbo=found.elbo,
        gap=gap,
        share_of_levels_off=share,
        advice=advice,
    )


def share_of_levels_off(found: Examination) -> float:
    """Share of the largest group's levels whose mean or standard deviation is off."""
    off = (found.mean_shifts > _MEAN_OFF) | (np.abs(found.sd_ratios - 1.0) > _SD_OFF)
    return float(off.mean()) if len(off) else 0.0


def _about_weights(found: Examination, posterior: str, n_groups: int) -> str:
    if found.shape < GOOD or found.effective_share > NEARLY_EQUAL:
        return (
            "Good: the Gaussian posterior is close to the exact one. Means, standard deviations "
            "and intervals can be used as they are."
        )
    if found.shape <= USABLE:
        return (
            "Usable: the Gaussian posterior is near the exact one, with thinner tails. Means and "
            "standard deviations are fine; take probabilities far out in the tails with care, "
            "and repeat diagnose with more n_draws if a decision hangs on it."
        )
    if posterior == "mean_field":
        remedy = (
            "Fit with posterior='full', which keeps the correlations of the effects, and diagnose "
            "again."
        )
    else:
        remedy = (
            "Compare variances and intervals with a method that samples (MCMC) or integrates "
            "(adaptive quadrature), on a subset if need be, or use fewer random effects. The bias "
            "is largest with few rows of two classes per level."
        )
    # the levels of a single group are integrated, not drawn
    rough = "The log likelihood above and its error are rough. " if n_groups > 1 else ""
    return (
        "Not close: a few draws dominate the importance weights. Means and standard deviations of "
        "single effects may still be useful, but variances are likely too small. "
        f"{rough}{remedy}"
    )


def _about_gap(gap: float, found: Examination) -> str:
    noise = 2.0 * found.log_likelihood_std
    if gap > max(_GAP_MATTERS, noise):
        return (
            f"The log likelihood exceeds the ELBO by {gap:.3g}: comparisons of models by elbo_ can "
            "be off by that much. Compare log_likelihood of their diagnoses instead."
        )
    if noise > _GAP_MATTERS:
        return (
            f"The standard error of the log likelihood ({found.log_likelihood_std:.2g}) is too "
            "large to tell how far the ELBO is below it; raise n_draws."
        )
    return "The ELBO is within 1 of the log likelihood: models can be compared by elbo_."


def _about_levels(share: float, group: str | None, found: Examination) -> str:
    if share <= _MANY_OFF:
        return ""
    ratio = float(np.median(found.sd_ratios))
    return (
        f"{100.0 * share:.3g} % of the levels of {group!r} have an exact posterior that differs "
        f"noticeably; their exact standard deviation is {ratio:.3g} times ours in the median. "
        "Multiply intervals of single levels accordingly, or give levels more rows."
    )
