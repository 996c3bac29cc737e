"""The syntax tree of a formula: what was written, before any algebra.

Sums and chains hold all their operands side by side. A tree that nested once for each
operator would be as deep as the formula is long, and walking it would exhaust the stack.
"""

from __future__ import annotations

from dataclasses import dataclass

from skmixed.spec import Variable


@dataclass(frozen=True)
class Column:
    """A column, or what is computed of columns."""

    position: int
    variable: Variable


@dataclass(frozen=True)
class Offset:
    """``offset(x)``: added to the linear predictor as it is."""

    position: int
    variable: Variable


@dataclass(frozen=True)
class Constant:
    """``1`` (present=True) or ``0`` (present=False): the intercept or its absence."""

    position: int
    present: bool


@dataclass(frozen=True)
class Sum:
    """Operands joined by ``+`` and ``-``, each with the sign before it."""

    position: int
    items: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Chain:
    """Operands joined by ``:``, ``*`` or ``/``, read from left to right."""

    position: int
    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Power:
    """``(a + b)^2``: the crossing of an operand with itself."""

    position: int
    base: Node
    exponent: int


@dataclass(frozen=True)
class Bar:
    """``(effects | group)`` or ``(effects || group)``; the position is that of the bar."""

    position: int
    effects: Node
    group: Node
    structure: str


Node = Column | Offset | Constant | Sum | Chain | Power | Bar


@dataclass(frozen=True)
class Formula:
    """A whole formula: ``response ~ right`` or ``right`` alone."""

    response: Variable | None
    right: Node
