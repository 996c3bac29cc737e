"""What a user must be told about a fit that is not as asked."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from skmixed.design import DesignEncoder
from skmixed.inference.result import FitResult

_FEWEST_PROBES = 4
"""Random vectors from which on their spread is a measure of the error.

With m vectors the error over `elbo_std_` is Student's t with m - 1 degrees of freedom, which has
no variance up to 2.
"""

_CLASSES = ("bernoulli", "ordinal")
"""Families without a noise that one row could differ by."""


def warn_about_fit(result: FitResult, encoder: DesignEncoder, n_rows: int, estimator: Any) -> None:
    """Warn, once for each cause, about a fit that did not converge or is not determined.

    Parameters
    ----------
    result : FitResult
    encoder : DesignEncoder
    n_rows : int
        Rows of the training data.
    estimator : estimator
        Whose parameters the remedies name.
    """
    for message in _undetermined(result, encoder, n_rows):
        warnings.warn(message, UserWarning, stacklevel=5)
    alone = estimator.method_ == "ml" and [len(f.term_names) for f in encoder.factors] == [1]
    if estimator.posterior == "mean_field" and not alone:
        # the effects of one factor are independent: the posterior is exact
        _warn_of_collapse(result, encoder)
    if result.elbo_std > 0.0 and estimator.n_probes != "auto":
        _warn_of_few_probes(result, estimator.n_probes)
    if not result.converged and not result.doubts.separated:
        warnings.warn(_not_converged(result, estimator), ConvergenceWarning, stacklevel=5)


def _undetermined(result: FitResult, encoder: DesignEncoder, n_rows: int) -> list[str]:
    messages = []
    if result.interpolates:
        messages.append(
            "The fixed effects reproduce the response without error (a constant y, or as many "
            "coefficients as rows): noise and random effects are estimated as 0 and the ELBO "
            "is infinite. Check y, or use fewer fixed effects."
        )
    if len(result.dropped):
        names = ", ".join(repr(encoder.fixed.names[j]) for j in result.dropped)
        messages.append(
            f"Fixed-effect columns that other columns determine were left out: {names}. Their "
            "coefficient is 0; predictions are those of the model without them. Drop them from "
            "X to silence this."
        )
    if result.doubts.separated:
        names = ", ".join(repr(encoder.fixed.names[j]) for j in result.doubts.separated)
        messages.append(
            f"Fixed-effect columns predict a part of the responses without error: {names}. Their "
            "coefficients grow without bound (complete separation), and only their sign means "
            "something; the others are as they should be. Leave these columns out, join "
            "categories, or get rows that contradict the pattern."
        )
    for position in result.doubts.unidentified:
        name = encoder.factors[position].name
        messages.append(
            f"The data do not determine the variance of {name!r}: it cannot be told apart from "
            "the noise or the fixed effects (a level a row, or the same column among the fixed "
            f"effects). It was set to 0; remove {name!r} from the random effects."
        )
    for encoded, effects in zip(encoder.factors, result.doubts.dependent, strict=False):
        for j in effects:
            messages.append(
                f"The random slope {encoded.term_names[j]!r} of group {encoded.name!r} is zero "
                "or a combination of the term's other effects, so it has no variance of its own: "
                "it was set to 0. Remove it from the random effects."
            )
    if result.doubts.confounded:
        names = " and ".join(repr(encoder.factors[p].name) for p in result.doubts.confounded)
        messages.append(
            f"The data determine the variances of {names} only together (the factors group the "
            "rows in the same way): how the total is divided is arbitrary. Remove one of them."
        )
    for factor in encoder.factors:
        n_effects, n_levels = len(factor.term_names), factor.levels.n_levels
        if not result.interpolates and n_effects > 1 and n_levels * n_effects >= n_rows:
            messages.append(
                f"Group {factor.name!r} has {n_levels} levels with {n_effects} effects "
                f"each, at least as many as there are rows ({n_rows}): its variances "
                "cannot be told apart from the noise. Use fewer slopes."
            )
        elif result.likelihood.name in _CLASSES and n_levels >= result.n_observations:
            messages.append(
                f"Every row has a level of {factor.name!r} of its own. One class tells hardly "
                "anything about how its level differs, so the variance is almost arbitrary, and "
                f"the coefficients grow with it. Remove {factor.name!r} from the random effects."
            )
    return messages


def _warn_of_collapse(result: FitResult, encoder: DesignEncoder) -> None:
    collapsed = [
        factor.name
        for factor, fitted in zip(encoder.factors, result.factors, strict=True)
        if not result.interpolates
        and (fitted.covariance.diagonal() <= 1e-12 * result.noise_variance).any()
    ]
    if collapsed:
        warnings.warn(
            f"The mean-field posterior estimates a variance of {', '.join(map(repr, collapsed))} "
            "as 0. Independent normals pay for every crossed or nested factor they keep and can "
            "collapse a real one; compare with posterior='full'.",
            UserWarning,
            stacklevel=6,
        )


def _warn_of_few_probes(result: FitResult, n_probes: int) -> None:
    if n_probes < _FEWEST_PROBES:
        warnings.warn(
            f"The ELBO and the variances were estimated from n_probes={n_probes} random vectors, "
            f"too few to know their error: elbo_std_ ({result.elbo_std:.2g}) can be several times "
            f"too small. Use n_probes={_FEWEST_PROBES} or more, or leave it at 'auto'.",
            UserWarning,
            stacklevel=6,
        )


def _not_converged(result: FitResult, estimator: Any) -> str:
    reached = (
        f"The variance parameters did not converge: scaled gradient "
        f"{result.gradient_path[-1]:.1e} after {result.n_iter} iterations (tol={estimator.tol:g})."
    )
    if result.n_iter >= estimator.max_iter:
        return f"{reached} Raise max_iter, or go on from here with warm_start=True."
    return (
        f"{reached} No step improved the ELBO any more: the random effects may reproduce the "
        "response without noise, or a covariance is close to singular. Simplify the random "
        "effects, or rescale columns whose sizes differ by many orders."
    )
