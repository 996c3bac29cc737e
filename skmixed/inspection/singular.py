"""Variances and correlations that were estimated at the end of their range."""

from __future__ import annotations

import numpy as np

from skmixed.design import DesignEncoder
from skmixed.fit.result import FitResult

_NO_VARIANCE = 1e-10
"""Mean variance of an effect, relative to the noise, that counts as none."""


def singular_terms(result: FitResult, encoder: DesignEncoder) -> list[str]:
    """The variances that are 0 and the correlations that are 1 or -1, in words.

    Terms that the data do not determine are left out: another warning names them.

    Parameters
    ----------
    result : FitResult
    encoder : DesignEncoder

    Returns
    -------
    list of str
        ``"the variance of 'g' is 0"``, ``"the correlation of 'Intercept' and 'x' by 'g' is
        -1"``.
    """
    found: list[str] = []
    if result.interpolates:
        return found
    for position, blocks in enumerate(result.doubts.singular):
        if position in result.doubts.unidentified:
            continue
        factor, fitted = encoder.factors[position], result.factors[position]
        dependent = result.doubts.dependent[position : position + 1]
        settled = set(dependent[0]) if dependent else set()
        shares = np.diagonal(fitted.covariance) * np.diagonal(fitted.moments)
        is_zero = shares <= _NO_VARIANCE * result.residual_variance
        for begin, stop in factor.blocks:
            if begin not in blocks:
                continue
            effects = [j for j in range(begin, stop) if j not in settled]
            for j in effects:
                if is_zero[j]:
                    name = factor.term_names[j]
                    slope = "" if name == "Intercept" else f"{name!r} by "
                    found.append(f"the variance of {slope}{factor.name!r} is 0")
            kept = [j for j in effects if not is_zero[j]]
            if len(kept) == len(effects) > 1:
                names = [factor.term_names[j] for j in kept]
                block = fitted.covariance[np.ix_(kept, kept)]
                found.append(_dependence(block, names, factor.name))
    return found


def _dependence(covariance: np.ndarray, names: list[str], group: str) -> str:
    """The linear dependence of the effects of a group, in words."""
    if len(names) > 2:
        return f"the {len(names)} effects by {group!r} are linearly dependent"
    sign = "1" if covariance[0, 1] > 0 else "-1"
    return f"the correlation of {names[0]!r} and {names[1]!r} by {group!r} is {sign}"


def singular_note(terms: list[str]) -> str:
    """The warning about a singular fit, with advice."""
    return (
        f"Singular fit: {', '.join(terms)}. The estimate is on the boundary of its range, because "
        "noise alone explains the variation of this term. The other estimates are valid. Leave "
        "the term out, simplify it (|| for |), or keep it and filter "
        "skmixed.exceptions.SingularFitWarning."
    )
