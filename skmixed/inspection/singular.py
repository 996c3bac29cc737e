"""Variances and correlations that were estimated at the end of their range."""

from __future__ import annotations

import numpy as np

from skmixed.design import DesignEncoder
from skmixed.inference.result import FitResult

_NO_VARIANCE = 1e-8
"""Mean variance of a term, relative to the noise, that counts as none (lme4's ``isSingular``)."""

_NO_RANK = 1e-6
"""Smallest eigenvalue of a correlation matrix that counts as singular."""


def singular_terms(result: FitResult, encoder: DesignEncoder) -> list[str]:
    """Say which variances are 0 and which correlations are 1 or -1.

    Terms that the data do not determine are left out: a warning of its own names them.

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
    for position, (factor, fitted) in enumerate(zip(encoder.factors, result.factors, strict=True)):
        if position in result.doubts.unidentified:
            continue
        dependent = result.doubts.dependent[position : position + 1]
        settled = set(dependent[0]) if dependent else set()
        shares = np.diagonal(fitted.covariance) * np.diagonal(fitted.moments)
        is_zero = shares <= _NO_VARIANCE * result.residual_variance
        for begin, stop in factor.blocks:
            for j in range(begin, stop):
                if is_zero[j] and j not in settled:
                    name = factor.term_names[j]
                    slope = "" if name == "Intercept" else f"{name!r} by "
                    found.append(f"the variance of {slope}{factor.name!r} is 0")
            found += _correlations(fitted.covariance, factor.name, factor.term_names, [
                j for j in range(begin, stop) if not is_zero[j] and j not in settled
            ])  # fmt: skip
    return found


def _correlations(
    covariance: np.ndarray, group: str, names: tuple[str, ...], effects: list[int]
) -> list[str]:
    """The correlation of two effects at its end, or that several are linearly dependent."""
    if len(effects) < 2:
        return []
    block = covariance[np.ix_(effects, effects)]
    sds = np.sqrt(np.diagonal(block))
    correlation = block / np.outer(sds, sds)
    if np.linalg.eigvalsh(correlation)[0] > _NO_RANK:
        return []
    if len(effects) == 2:
        first, second = (names[j] for j in effects)
        return [
            f"the correlation of {first!r} and {second!r} by {group!r} is "
            f"{'1' if correlation[0, 1] > 0 else '-1'}"
        ]
    return [f"the {len(effects)} effects by {group!r} are linearly dependent"]


def singular_note(terms: list[str]) -> str:
    """What a singular fit means, and what to do."""
    return (
        f"Singular fit: {', '.join(terms)}. The estimate is at the end of its range, because "
        "noise explains what the data show of this term. The other estimates hold. Leave the "
        "term out or simplify it (|| for |), or keep it and filter "
        "skmixed.exceptions.SingularFitWarning."
    )
