"""Warnings about a fit that did not converge or is not determined by the data."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skmixed.design import DesignEncoder
from skmixed.exceptions import ApproximationWarning, SingularFitWarning, warn_user
from skmixed.fit.result import FitResult
from skmixed.fitted_model import FitSettings, FittedModel
from skmixed.inspection.singular import singular_note, singular_terms

_FEWEST_PROBES = 4
"""Random vectors from which on their spread is a measure of the error.

With m vectors the error over `elbo_std_` is Student's t with m - 1 degrees of freedom, which has
no variance up to 2.
"""

_LEAST_MEAN_WEIGHT = 0.5
"""Mean case weight of rows below which weights are hardly meant to count rows."""

_SHORT, _CERTAIN = 0.05, 0.1
"""Move of a standard deviation, as a ratio and in standard errors, from which the bound is short.

In binary models with exact estimates a move of 5 % goes with standard deviations 4 % short.
"""


def warn_about_fit(model: FittedModel, n_rows: int) -> None:
    """Warn, once for each cause, about a fit that did not converge or is not determined.

    Parameters
    ----------
    model : FittedModel
        Whose settings the remedies name.
    n_rows : int
        Rows of the training data.
    """
    result, encoder, settings = model.result, model.encoder, model.settings
    for message in [_relative_weights(model, n_rows), *_undetermined(result, encoder, n_rows)]:
        if message:
            warn_user(message, UserWarning)
    short = _short_bound(result, encoder)
    if short:
        warn_user(short, ApproximationWarning)
    alone = settings.method == "ml" and [len(f.term_names) for f in encoder.factors] == [1]
    if settings.posterior == "mean_field" and not alone:
        # the effects of one factor are independent: the posterior is exact
        _warn_of_collapse(result, encoder)
    if settings.posterior != "mean_field" and (singular := singular_terms(result, encoder)):
        warn_user(singular_note(singular), SingularFitWarning)
    if result.elbo_std > 0.0 and settings.n_probes != "auto":
        _warn_of_few_probes(result, settings.n_probes)
    if not result.converged and not result.doubts.separated:
        warn_user(_not_converged(result, settings), ConvergenceWarning)


def _relative_weights(model: FittedModel, n_rows: int) -> str:
    """A warning if the case weights sum to far less than the number of rows; else empty."""
    total = model.result.n_observations
    if total / n_rows >= _LEAST_MEAN_WEIGHT:
        return ""
    if model.settings.class_weight is not None:
        return (
            f"The case weights sum to {total:.4g} for {n_rows} rows, class_weight "
            f"{model.settings.class_weight!r} included. The model is fitted as if there were that "
            "many rows: variances of random effects can vanish, and standard errors are too large. "
            "Multiply the weights of all classes by one number, so that their mean is 1; "
            "class_weight='balanced' does so."
        )
    remedy = (
        "If they give the precision of rows, name their column in precision_weights instead; if "
        "they are importances, scale"
        if model.likelihood.has_noise
        else "If they are importances, scale"
    )
    return (
        f"sample_weight counts rows (weight 2 is the row twice), and these weights sum to "
        f"{total:.4g} for {n_rows} rows. The model is fitted as if there were that many rows: "
        "variances of random effects can vanish, and standard errors are too large. "
        f"{remedy} them to mean 1: sample_weight / sample_weight.mean()."
    )


def _undetermined(result: FitResult, encoder: DesignEncoder, n_rows: int) -> list[str]:
    """One message per cause that a part of the model is not determined."""
    return [
        *_about_fixed_effects(result, encoder),
        *_about_variances(result, encoder),
        *_about_numbers_of_levels(result, encoder, n_rows),
    ]


def _about_fixed_effects(result: FitResult, encoder: DesignEncoder) -> list[str]:
    messages = []
    if result.interpolates and any(f.covariance.any() for f in result.factors):
        messages.append(
            "Fixed and random effects reproduce the response without error (a response that is "
            "constant within groups, or as many effects as rows): the likelihood grows without "
            "bound as the noise goes to 0. The noise variance is estimated as 0, the ELBO is "
            "infinite, and variances of random effects are their limits. Check y, fit one row per "
            "level, or use fewer random effects."
        )
    elif result.interpolates:
        messages.append(
            "The fixed effects reproduce the response without error (a constant y, or as many "
            "coefficients as rows): noise and random effects are estimated as 0 and the ELBO "
            "is infinite. Check y, or use fewer fixed effects."
        )
    if len(result.dropped):
        names = ", ".join(repr(encoder.fixed.names[j]) for j in result.dropped)
        messages.append(
            f"Fixed-effect columns that depend on other columns were left out: {names}. Their "
            "coefficient is 0; predictions are those of the model without them. Drop them from "
            "X to silence this."
        )
    if result.doubts.separated:
        names = ", ".join(repr(encoder.fixed.names[j]) for j in result.doubts.separated)
        messages.append(
            f"Fixed-effect columns predict a part of the responses without error: {names}. Their "
            "coefficients grow without bound (complete separation), and only their sign is "
            "meaningful; the other coefficients are valid. Leave these columns out, merge "
            "categories, or get rows that contradict the pattern."
        )
    return messages


def _about_variances(result: FitResult, encoder: DesignEncoder) -> list[str]:
    messages = []
    for position in result.doubts.unidentified:
        name = encoder.factors[position].name
        messages.append(
            f"The data do not determine the variance of {name!r}: it cannot be told apart from "
            "the noise or the fixed effects (one row per level, or the same column among the fixed "
            f"effects). It was set to 0; remove {name!r} from the random effects."
        )
    for encoded, effects in zip(encoder.factors, result.doubts.dependent, strict=False):
        for j in effects:
            messages.append(
                f"The random slope {encoded.term_names[j]!r} of group {encoded.name!r} is zero or "
                "a combination of the term's other effects, so its variance cannot be estimated: "
                "it was set to 0. Remove it from the random effects."
            )
    if result.doubts.confounded:
        names = " and ".join(repr(encoder.factors[p].name) for p in result.doubts.confounded)
        messages.append(
            f"The data determine only the sum of the variances of {names} (the factors group the "
            "rows in the same way); its division is arbitrary. Remove one of them."
        )
    for factor in encoder.factors:
        for term, contrasts in factor.lone_contrasts.items():
            messages.append(_depends_on_the_base(term, contrasts, factor.name))
        for term in factor.never_together:
            messages.append(
                f"Every level of group {factor.name!r} has only one of the random effects of "
                f"{term!r}, so the data do not determine their correlations: their covariances are "
                f"arbitrary, their variances are not. Write (0 + {term} || {factor.name}), without "
                "correlations."
            )
    return messages


def _about_numbers_of_levels(result: FitResult, encoder: DesignEncoder, n_rows: int) -> list[str]:
    messages = []
    one_each = max(n_rows, result.n_observations)
    for factor in encoder.factors:
        n_effects, n_levels = len(factor.term_names), factor.levels.n_levels
        if not result.interpolates and n_effects > 1 and n_levels * n_effects >= n_rows:
            messages.append(
                f"Group {factor.name!r} has {n_levels} levels with {n_effects} effects "
                f"each, at least as many as there are rows ({n_rows}): its variances "
                "cannot be told apart from the noise. Use fewer slopes."
            )
        elif result.likelihood.is_classifier and n_levels >= one_each:
            messages.append(
                f"Every row has its own level of {factor.name!r}. One class says very little about "
                "its level, so the variance is almost arbitrary, and "
                f"the coefficients grow with it. Remove {factor.name!r} from the random effects."
            )
    return messages


def _depends_on_the_base(term: str, effects: tuple[str, ...], group: str) -> str:
    return (
        f"The random effects {', '.join(map(repr, effects))} of group {group!r} are differences "
        f"from the base level of {term!r} and independent of all others, so the model depends "
        f"on which level is the base. ({term} | {group}) does not; nor does (0 + {term} || "
        f"{group}), one independent effect per level. lme4 reads (1 + {term} || {group}) as "
        f"(1 | {group}) + (0 + {term} | {group}), with correlated effects of the levels."
    )


def _short_bound(result: FitResult, encoder: DesignEncoder) -> str:
    """A warning if the maximum of the likelihood is far from that of the bound; else empty."""
    moves = result.bound_moves
    if moves is None or result.doubts.separated:
        return ""
    covariance = result.estimate_covariance
    assert covariance is not None
    errors = np.sqrt(np.diagonal(covariance)[: len(moves)])
    names = [f"{term} | {f.name}" for f in encoder.factors for term in f.term_names]
    found = [
        f"sd({name}) by some {100.0 * np.expm1(move):.2g} %"
        for name, move, error in zip(names, moves, errors, strict=True)
        if np.expm1(move) > _SHORT and move > _CERTAIN * error
    ]
    if not found:
        return ""
    coefficients = ", and coefficients further from 0" if result.likelihood.is_classifier else ""
    return (
        "The variational approximation is rough here: at the maximum of the likelihood these "
        f"standard deviations are larger, {', '.join(found)}{coefficients}. Levels have few "
        "informative rows, or differ much. Fit with approximation='corrected', "
        "which maximises the likelihood itself, or call diagnose(X, y), which measures how far "
        "estimates are off."
    )


def _warn_of_collapse(result: FitResult, encoder: DesignEncoder) -> None:
    collapsed = [
        factor.name
        for factor, fitted in zip(encoder.factors, result.factors, strict=True)
        if not result.interpolates
        and (fitted.covariance.diagonal() <= 1e-12 * result.noise_variance).any()
    ]
    if collapsed:
        warn_user(
            f"The mean-field posterior estimates a variance of {', '.join(map(repr, collapsed))} "
            "as 0. With crossed or nested factors, the mean-field approximation can set a real "
            "variance to 0; compare with posterior='full'.",
            UserWarning,
        )


def _warn_of_few_probes(result: FitResult, n_probes: int | str) -> None:
    if isinstance(n_probes, Integral) and n_probes < _FEWEST_PROBES:
        warn_user(
            f"The ELBO and the variances were estimated with n_probes={n_probes} random vectors, "
            f"too few to know their error: elbo_std_ ({result.elbo_std:.2g}) can be several times "
            f"too small. Use n_probes={_FEWEST_PROBES} or more, or leave it at 'auto'.",
            UserWarning,
        )


def _not_converged(result: FitResult, settings: FitSettings) -> str:
    reached = (
        f"The variance parameters did not converge: scaled gradient "
        f"{result.gradient_path[-1]:.1e} after {result.n_iter} iterations (tol={settings.tol:g})."
    )
    if result.n_iter >= settings.max_iter:
        return f"{reached} Raise max_iter, or continue from here with warm_start=True."
    return (
        f"{reached} No further step improved the ELBO: the random effects may reproduce the "
        "response without noise, or a covariance is close to singular. Simplify the random "
        "effects, or rescale columns whose sizes differ by many orders of magnitude."
    )
