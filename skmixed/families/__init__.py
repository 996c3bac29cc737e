"""Response distributions; a new one is a file here and a line in the registry."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from skmixed.families.base import Likelihood
from skmixed.families.bernoulli import Bernoulli
from skmixed.families.gamma import Gamma
from skmixed.families.gaussian import Gaussian
from skmixed.families.negative_binomial import NegativeBinomial
from skmixed.families.ordinal import Ordinal
from skmixed.families.poisson import Poisson

FAMILIES: dict[str, type[Likelihood]] = {
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


def traits(name: Any) -> type[Likelihood]:
    """The class of a family, whose attributes say what it is.

    Parameters
    ----------
    name : object
        Value of the parameter ``family``, perhaps none; then the defaults of all families.
    """
    return FAMILIES[name] if isinstance(name, str) and name in FAMILIES else Likelihood


def family_names(is_classifier: bool) -> tuple[str, ...]:
    """Families for classes, or for numbers."""
    return tuple(name for name, family in FAMILIES.items() if family.is_classifier == is_classifier)


def known_as(name: Any) -> str | None:
    """The value of ``family`` that a name stands for, however it is written.

    Parameters
    ----------
    name : object
        What a user typed: ``"nb"``, ``"Poisson"``.

    Returns
    -------
    str or None
        A key of `FAMILIES`; None for names that no family has.
    """
    if not isinstance(name, str):
        return None
    written = name.lower().replace("-", "_").replace(".", "_").replace(" ", "_")
    for key, family in FAMILIES.items():
        if written == key or written in family.aliases:
            return key
    return None


def check_family(name: Any, is_classifier: bool) -> None:
    """Raise ValueError unless `name` is a family of this kind of estimator.

    Parameters
    ----------
    name : object
        Value of the parameter ``family``.
    is_classifier : bool
        Whether the estimator models classes.
    """
    allowed = family_names(is_classifier)
    if isinstance(name, str) and name in allowed:
        return
    key = known_as(name)
    advice = ""
    if key in allowed:
        advice = f" Write family={key!r}."
    elif key is not None:
        other = "MixedEffectsVIRegressor" if is_classifier else "MixedEffectsVIClassifier"
        advice = f" Use {other}(family={key!r}), or mixed(formula, data, family={name!r})."
    lists = [", ".join(map(repr, family_names(kind))) for kind in (False, True)]
    raise ValueError(
        f"family={name!r} is not known; choose one of {', '.join(map(repr, allowed))}.{advice} "
        f"Families of MixedEffectsVIRegressor: {lists[0]}; of MixedEffectsVIClassifier: "
        f"{lists[1]}."
    )


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
        If the family or the link is not known.
    """
    if name not in FAMILIES:
        raise ValueError(f"family={name!r} is not known; choose one of {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    if link is not None and link not in family.links:
        choices = ", ".join(map(repr, family.links))
        raise ValueError(f"link={link!r} is not known for family={name!r}; choose one of {choices}")
    options = {"link": link or family.links[0], "n_classes": n_classes}
    taken = {field.name for field in fields(family)}  # type: ignore[arg-type]
    return family(**{key: value for key, value in options.items() if key in taken})


__all__ = [
    "FAMILIES",
    "Bernoulli",
    "Gamma",
    "Gaussian",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "check_family",
    "family_names",
    "known_as",
    "make_family",
    "traits",
]
