"""The printed account of how good a posterior is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from skmixed.fitted_model import FittedModel, TrainingData
from skmixed.inspection.estimate_moves import estimate_moves, furthest
from skmixed.inspection.report import Account, Report
from skmixed.results.examination import Examination, examine
from skmixed.results.parameter_moves import Tell, say_nothing
from skmixed.threads import restrained_blas
from skmixed.validation import check_integer

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

_GAP_LARGE, _GAP_PER_LEVEL = 3.0, 0.005
"""Gap of all levels, and per level of the largest group, from which estimates are off.

The importance weights say how good the posterior is *given* the variances. A bound that is loose
moves the variances, and the posterior at variances that are too small is close to normal. In
binary models with exact estimates, 0.003 per level goes with standard deviations that are 4 %
short and 0.009 with 7 %, and a gap of 3 with estimates that are off by about half a standard
error.
"""

_GOOD_MOVE, _ACCEPTABLE_MOVE = (0.1, 0.02), (0.5, 0.1)
"""Moves of estimates, in standard errors and as a ratio of standard deviations, up to which the
bound is good, and acceptable."""

_MOVES_SHOWN = 8
"""Rows of the printed table of moves."""

_GAP_LEAST = 0.5
"""Gap below which a few levels are no evidence."""


@dataclass(frozen=True, repr=False, eq=False)
class Diagnosis(Report):
    """Accuracy of a posterior; prints as text, shows as HTML in notebooks.

    Attributes
    ----------
    pareto_k : float
        Shape of the tail of the importance weights. Up to 0.5 the posterior is close to the exact
        one at the estimated variances and coefficients; up to 0.7 it is usable. It does not show
        whether these estimates are right: see `gap`. The weights are for all effects except those
        of the largest group, whose levels are integrated out; with a single group, for all effects
        together. 0 if the posterior is exact.
    effective_share : float
        Effective draws divided by draws, between 0 and 1; NaN without draws. Above 0.9 the weights
        are nearly equal and the posterior is close to the exact one; then ignore `pareto_k`,
        because the tail of nearly equal weights can have any shape.
    log_likelihood : float
        (Restricted) log likelihood at the fitted parameters, by importance sampling.
    log_likelihood_std : float
        Its standard error; with several groups not reliable if `pareto_k` is above 0.7.
    elbo : float
        The lower bound of it that the fit maximised.
    gap : float
        ``log_likelihood - elbo``. A gap above 3, or above 0.005 per level of the largest group,
        means that variances and coefficients are off, for any `pareto_k`.
    share_of_levels_off : float
        Share of the levels of the largest group whose exact posterior, given the other
        effects and the estimated variances, has a mean more than 0.25 standard deviations away,
        or a standard deviation that differs by more than 10 %.
    advice : str
        The verdict, and what to do.
    moves : DataFrame
        One Newton step from the estimates towards the maximum of the likelihood, the largest move
        first. Columns: ``estimate``, ``likelihood`` (the estimate after the step), ``std_errors``
        (the move in standard errors, for a standard deviation on the log scale), ``percent`` (for
        standard deviations, else NaN) and ``mc_error`` (of ``std_errors``; 0 if exact). The index
        has the names: ``sd(term | group)``, parameters of the likelihood, coefficients. Empty if
        the step is not known.
    n_draws : int
        Number of draws for the log likelihood. It is smaller than requested if these would take
        long; `pareto_k` is then NaN. 0 without draws: the log likelihood is then by quadrature, or
        not known (NaN).
    """

    pareto_k: float
    effective_share: float
    log_likelihood: float
    log_likelihood_std: float
    elbo: float
    gap: float
    share_of_levels_off: float
    advice: str
    moves: pd.DataFrame
    n_draws: int

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        mine, theirs = vars(self) | {"moves": None}, vars(other) | {"moves": None}
        return str(mine) == str(theirs) and self.moves.equals(other.moves)

    def _account(self) -> Account:
        likelihood = f"{self.log_likelihood:.4f} (std. error {self.log_likelihood_std:.2g})"
        facts = {
            "Pareto k": f"{self.pareto_k:.2f}",
            "Effective draws": f"{100.0 * self.effective_share:.3g} %",
            "Log likelihood": likelihood,
            "ELBO": f"{self.elbo:.4f}",
            "Gap": f"{self.gap:.4f}",
            "Levels off": f"{100.0 * self.share_of_levels_off:.3g} % (given the estimates)",
        }
        if np.isnan(self.pareto_k):
            few = f" from {self.n_draws} draws" if self.n_draws else ""
            facts["Pareto k"] = f"not known{few}"
        if np.isnan(self.effective_share):
            del facts["Effective draws"]
        if np.isnan(self.log_likelihood):
            facts["Log likelihood"] = facts["Gap"] = "not known"
        tables = []
        if len(self.moves):
            shown = self.moves.head(_MOVES_SHOWN).map(lambda x: "" if np.isnan(x) else f"{x:.3g}")
            more = len(self.moves) - len(shown)
            rest = f" (the {len(shown)} furthest of {len(self.moves)})" if more else ""
            tables = [(f"Estimates, and one Newton step on the likelihood{rest}", shown)]
        return Account("Diagnosis of the posterior", facts, tables, notes=self.advice.splitlines())


def diagnose(
    model: FittedModel,
    data: TrainingData,
    n_draws: int,
    random_state: Any,
    tell: Tell = say_nothing,
) -> Diagnosis:
    """The quality of the posterior of a fit, from its training data.

    Parameters
    ----------
    model : FittedModel
    data : TrainingData
    n_draws : int
    random_state : int, RandomState instance or None
    tell : callable, optional
        Called with what is done next, in words.
    """
    check_integer("n_draws", n_draws, 100)
    rows, options = model.observe(data), model.settings.options(model.encoder)
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1, size=4))
    with restrained_blas(options.n_threads):
        found = examine(
            rows.design, rows.response, rows.weights, model.result, options, n_draws, rng, tell
        )
    constant = model.response.log_coefficients
    found = replace(
        found, elbo=found.elbo + constant, log_likelihood=found.log_likelihood + constant
    )
    return diagnosis_of(found, model)


def diagnosis_of(found: Examination, model: FittedModel) -> Diagnosis:
    """The examination of a fit in words.

    Parameters
    ----------
    found : Examination
    model : FittedModel
    """
    gap = found.log_likelihood - found.elbo
    share = share_of_levels_off(found)
    moves = estimate_moves(model, found.step)
    if found.is_exact and model.approximation == "corrected":
        within = ""
        if found.log_likelihood_std > 0.0:
            within = f" within a Monte Carlo error of {found.log_likelihood_std:.2g}"
        advice = (
            f"Exact{within}: the fit maximised the likelihood itself, and means and standard "
            "deviations of effects are those of the exact posterior at the estimates. There is "
            "nothing to correct; posteriors of single effects may be skewed."
        )
    elif found.is_exact:
        advice = "Exact: the posterior of a normal response is normal. There is nothing to correct."
    else:
        group = None if found.largest is None else model.encoder.factors[found.largest].name
        sentences = [
            _verdict(gap, found, model, moves),
            _about_draws(found),
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
        moves=moves,
        n_draws=found.n_draws,
    )


def share_of_levels_off(found: Examination) -> float:
    """Share of the largest group's levels whose mean or standard deviation is off."""
    off = (found.mean_shifts > _MEAN_OFF) | (np.abs(found.sd_ratios - 1.0) > _SD_OFF)
    return float(off.mean()) if len(off) else 0.0


def _verdict(gap: float, found: Examination, model: FittedModel, moves: pd.DataFrame) -> str:
    """The verdict from the moves of the estimates; if they are not known, from gap and weights."""
    n_levels = max(len(found.mean_shifts), 1)
    certain = gap > 2.0 * found.log_likelihood_std
    well_behaved = found.shape <= USABLE or found.effective_share > NEARLY_EQUAL
    if len(moves):
        largest = furthest(moves)
        if _within(moves, *_GOOD_MOVE):
            return _GOOD + f" {largest}"
        if _within(moves, *_ACCEPTABLE_MOVE):
            return (
                "Acceptable: the estimates are near the maximum of the likelihood, but the bound "
                f"has moved them. {largest} approximation='corrected' maximises the likelihood "
                "itself."
            )
        short = f"The bound is short here. {largest} {_remedy(model)}"
        if found.shape > USABLE and found.effective_share <= NEARLY_EQUAL:
            return f"{_NOT_CLOSE} {short}"
        return f"{_off(gap, n_levels, model)} {short}"
    if np.isnan(gap):
        return _NOT_JUDGED
    large = gap > _GAP_LARGE or (gap > _GAP_LEAST and gap > _GAP_PER_LEVEL * n_levels)
    if certain and large and well_behaved:
        return f"{_off(gap, n_levels, model)} {_remedy(model)}"
    return _about_weights(found, model, certain and gap > _GAP_MATTERS)


def _within(moves: pd.DataFrame, std_errors: float, ratio: float) -> bool:
    """Whether all moves are below bounds, those by percent of standard deviations alone."""
    far = moves["std_errors"].abs() >= std_errors
    return not (far | (moves["percent"].abs() >= 100.0 * ratio)).any()


_GOOD = (
    "Good: at the estimated variances and coefficients the Gaussian posterior is close to "
    "the exact one, and the ELBO is close to the log likelihood. Means, standard "
    "deviations and intervals of effects can be used as they are."
)

_NOT_JUDGED = (
    "Not judged: there are too many effects outside the largest group to draw them, so the "
    "likelihood is not known. Only the levels of the largest group were examined, given all other "
    "effects. To know more, fit and diagnose the same model on a subset: all rows of a sample of "
    "the levels of the second-largest group."
)

_NOT_CLOSE = (
    "Not close: a few draws dominate the importance weights. Means and standard deviations of "
    "single effects may still be useful, but variances are probably too small."
)


def _off(gap: float, n_levels: int, model: FittedModel) -> str:
    coefficients = "" if model.likelihood.is_quadratic else ", and coefficients too close to 0"
    return (
        f"Estimates off: the log likelihood exceeds the ELBO by {gap:.3g}, {gap / n_levels:.2g} "
        "per level of the largest group. The fit maximised the ELBO, so variances are probably "
        f"too small{coefficients}. Effects and their standard deviations depend on these "
        "estimates."
    )


def _about_draws(found: Examination) -> str:
    """A sentence where the draws are fewer than were asked for; else empty."""
    if not np.isnan(found.shape) or np.isnan(found.log_likelihood):
        return ""
    if not found.n_draws:
        return "The log likelihood is by quadrature, because draws would take long."
    return (
        f"The log likelihood is from {found.n_draws} draws with derivatives; more would take "
        f"long (standard error {found.log_likelihood_std:.2g}); too few for Pareto's k."
    )


def _about_weights(found: Examination, model: FittedModel, gap_matters: bool) -> str:
    """The verdict from the importance weights; it is not "good" if the gap matters."""
    if (found.shape < GOOD or found.effective_share > NEARLY_EQUAL) and not gap_matters:
        return _GOOD
    if found.shape <= USABLE or found.effective_share > NEARLY_EQUAL:
        return (
            "Usable: at the estimated variances and coefficients the Gaussian posterior is close "
            "to the exact one. Means and standard deviations are fine; be careful with tail "
            "probabilities, and repeat diagnose with more n_draws if a decision depends on them."
        )
    # the levels of a single group are integrated, not drawn
    several = len(model.encoder.factors) > 1
    rough = "The log likelihood above and its error are rough. " if several else ""
    return f"{_NOT_CLOSE} {rough}{_remedy(model)}"


def _remedy(model: FittedModel) -> str:
    if model.settings.posterior == "mean_field":
        return (
            "Fit with posterior='full', which keeps the correlations of the effects, and diagnose "
            "again."
        )
    return (
        "Fit with approximation='corrected', which maximises the likelihood itself; with more than "
        "three effects per level of the largest group, compare with MCMC. "
        "The bias is largest with few rows of two classes per level."
    )


def _about_gap(gap: float, found: Examination) -> str:
    noise = 2.0 * found.log_likelihood_std
    if np.isnan(gap):
        return ""
    if gap > max(_GAP_MATTERS, noise):
        return (
            f"The log likelihood exceeds the ELBO by {gap:.3g}: comparisons of models by elbo_ can "
            "be off by that much. Compare log_likelihood of their diagnoses instead."
        )
    if noise > _GAP_MATTERS:
        return (
            f"The standard error of the log likelihood ({found.log_likelihood_std:.2g}) is too "
            "large to determine the gap to the ELBO; raise n_draws."
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
