"""Response distributions; a new one is a file here and a line in the registry."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from skmixed.likelihoods.bernoulli import Bernoulli
from skmixed.likelihoods.gamma import Gamma
from skmixed.likelihoods.gaussian import Gaussian
from skmixed.likelihoods.negative_binomial import NegativeBinomial
from skmixed.likelihoods.ordinal import Ordinal
from skmixed.likelihoods.poisson import Poisson

FAMILIES: dict[str, Any] = {
    family.name: family
    for family in (
        Gaussian,
        Bernoulli,
        Ordinal,
        Poisson,
        NegativeBinomial,
        Gamma,
    )
}
"""Classes by the value of the estimators' ``family`` parameter."""


def family_names(is_classifier: bool) -> tuple[str, ...]:
    """Families for classes, or for numbers."""
    return tuple(name for name, family in FAMILIES.items() if family.is_classifier == is_classifier)


def make_family(name: str, link: str | None = None, n_classes: int | None = None) -> Any:
    """A response distribution.

    Parameters
    ----------
    name : str
        A key of `FAMILIES`.
    link : str, optional
        One of the family's `links`; None is the first of them.
    n_classes : int, optional
        For families of classes in an order; others ignore it.

    Returns
    -------
    Likelihood

    Raises
    ------
    ValueError
        When the family or the link is not known.
    """
    if name not in FAMILIES:
        raise ValueError(f"family={name!r} is not known; choose one of {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    if link is not None and link not in family.links:
        known = ", ".join(repr(known) for known in family.links)
        raise ValueError(f"link={link!r} is not known for family={name!r}; choose one of {known}")
    options = {"link": link or family.links[0], "n_classes": n_classes}
    taken = {field.name for field in fields(family)}
    return family(**{key: value for key, value in options.items() if key in taken})


__all__ = [
    "FAMILIES",
    "Bernoulli",
    "Gamma",
    "Gaussian",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "family_names",
    "make_family",
]
