"""Terms of a fitted model by name, to decide whether one model is nested in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skmixed.covariances import STRUCTURES
from skmixed.fitted_model import FittedModel

_NOT_SEEN = "they are not seen to be nested"

_SHOWN = 8
"""Fixed effects that a description names."""


@dataclass(frozen=True)
class ModelBlock:
    """Effects of a group that share a covariance matrix.

    Attributes
    ----------
    group : str
    columns : frozenset of str
        Of the group.
    effects : tuple of str
    structure : str
        Key of `skmixed.covariances.STRUCTURES`; any matrix of one effect is unstructured.
    """

    group: str
    columns: frozenset[Any]
    effects: tuple[str, ...]
    structure: str

    def includes(self, smaller: ModelBlock) -> bool:
        """Whether the covariances of the other block are special cases, by their names."""
        mine, theirs = set(map(_parts, self.effects)), set(map(_parts, smaller.effects))
        if self.columns != smaller.columns or not theirs <= mine:
            return False
        structure = STRUCTURES[self.structure]
        if structure.includes_all or smaller.structure == self.structure:
            return True
        return mine == theirs and smaller.structure in structure.includes

    def written(self, effects: Sequence[str]) -> str:
        """The block as a bar term with the names of its effects."""
        word = STRUCTURES[self.structure].formula_words[0]
        return f"{'' if word == 'us' else word}({' + '.join(effects)} | {self.group})"


@dataclass(frozen=True)
class ModelStructure:
    """The parts of a fitted model.

    Attributes
    ----------
    fixed_names : tuple of str
        Fixed effects that were estimated, the intercept included, in order.
    spanned : frozenset of tuple of str
        All fixed effects, those included that others determine, by the parts of their names.
    blocks : tuple of ModelBlock
        Covariance blocks of the groups.
    strata : str or None
        The column whose labels have a noise variance each.
    noise_scale : float or None
        Where the noise is held; None is estimated, or there is none.
    settings : tuple of (str, object)
        What has to be equal for one model to be nested in another.
    """

    fixed_names: tuple[str, ...]
    spanned: frozenset[tuple[str, ...]]
    blocks: tuple[ModelBlock, ...]
    strata: str | None
    noise_scale: float | None
    settings: tuple[tuple[str, Any], ...]

    @property
    def fixed(self) -> frozenset[str]:
        """The fixed effects as a set."""
        return frozenset(self.fixed_names)

    @property
    def n_variances(self) -> int:
        """Variances of random effects."""
        return sum(len(block.effects) for block in self.blocks)

    def differs_from(self, larger: ModelStructure) -> str:
        """The setting that keeps this model from being nested in `larger`; empty if none does."""
        for (name, mine), (_, yours) in zip(self.settings, larger.settings, strict=True):
            if mine != yours:
                return f"{name} is {mine!r} in the one and {yours!r} in the other"
        if larger.noise_scale not in (None, self.noise_scale):
            return "the model with more parameters has a fixed noise_scale"
        if self.strata not in (None, larger.strata):
            return f"dispersion is {self.strata!r} in the one and {larger.strata!r} in the other"
        return ""

    def not_nested_in(self, larger: ModelStructure) -> str:
        """The term that keeps this model from being nested, by name, in `larger`; else empty."""
        missing = [name for name in self.fixed_names if _parts(name) not in larger.spanned]
        if missing:
            named = ", ".join(map(repr, missing))
            return f"by their names {_NOT_SEEN}, only the smaller one has the fixed effects {named}"
        for block in self.blocks:
            if not any(other.includes(block) for other in larger.blocks):
                return (
                    f"by their names {_NOT_SEEN}, only the smaller one has the random term "
                    f"{block.written(block.effects)}"
                )
        return ""

    def describe(self) -> str:
        """The model in the manner of a formula, long ones shortened."""
        fixed = ["1" if name == "Intercept" else name for name in self.fixed_names]
        if len(fixed) > _SHOWN:
            fixed = [*fixed[:_SHOWN], f"... ({len(fixed) - _SHOWN} more)"]
        terms = [
            block.written(["1" if e == "Intercept" else e for e in block.effects])
            for block in self.blocks
        ]
        return " + ".join([*fixed, *terms]) or "0"


def formula_of(model: FittedModel) -> str:
    """A fitted model as a formula with its response: ``"log(y) ~ days + (1 | subject)"``.

    Parameters
    ----------
    model : FittedModel

    Returns
    -------
    str
        The right side as the user wrote it, else by the names of its effects.
    """
    formula = model.settings.formula
    right = structure_of(model).describe() if formula is None else formula.split("~", 1)[-1]
    return f"{model.response.label} ~ {' '.join(right.split())}"


def modelled_class(model: FittedModel) -> str:
    """The class that positive coefficients favour, in words; empty for families of numbers."""
    if model.classes is None:
        return ""
    if model.response.is_trials:
        return "P(success)"
    name, labels = model.response.label, [repr(label) for label in model.classes.tolist()]
    if not model.likelihood.is_ordered:
        return f"P({name} = {labels[-1]})"
    if len(labels) > _SHOWN:
        labels = [labels[0], labels[1], "...", labels[-1]]
    return f"{name}, {' < '.join(labels)}"


def what_is_modelled(model: FittedModel) -> str:
    """One line on a fitted model: its formula, and of classes which one is modelled."""
    chosen = modelled_class(model)
    return f"{formula_of(model)}{f'; modelled: {chosen}' if chosen else ''}"


def _parts(name: str) -> tuple[str, ...]:
    """The parts of an interaction in one order: a[p]:b[u] is b[u]:a[p]."""
    return tuple(sorted(name.split(":")))


def structure_of(model: FittedModel) -> ModelStructure:
    """The parts of a fitted model, by name.

    Parameters
    ----------
    model : FittedModel

    Returns
    -------
    ModelStructure
    """
    encoder, result, settings = model.encoder, model.result, model.settings
    dropped = set(result.dropped.tolist())
    blocks = tuple(
        ModelBlock(
            factor.name,
            frozenset(factor.levels.columns),
            tuple(factor.term_names[begin:stop]),
            structure if stop - begin > 1 else "unstructured",
        )
        for factor in encoder.factors
        for (begin, stop), structure in zip(factor.blocks, factor.block_structures, strict=True)
    )
    related = tuple(map(str, settings.relations or ()))
    return ModelStructure(
        fixed_names=tuple(name for j, name in enumerate(encoder.fixed.names) if j not in dropped),
        spanned=frozenset(map(_parts, encoder.fixed.names)),
        blocks=blocks,
        strata=None if encoder.strata is None else encoder.strata.name,
        noise_scale=None if settings.noise_scale is None else float(settings.noise_scale),
        settings=(
            ("link", model.likelihood.link),
            ("posterior", settings.posterior),
            ("offset", encoder.offset_label),
            ("precision_weights", encoder.precision_weights),
            ("relations", related),
        ),
    )
