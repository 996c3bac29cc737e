"""Random formulas that are well formed, and what they mean by plain set algebra.

A formula is drawn as a tree of tuples. `write` makes text of it, `meaning` expands it with
sets of names, without regard to speed; the package has to agree with both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import pi
from random import Random
from typing import Any

from skmixed.spec import Contrast, ModelSpec, RandomTerm, Step, TermList, Variable

FUNCTIONS = (
    "log", "log1p", "exp", "sqrt", "abs", "scale", "center", "log10", "log2", "expm1", "sin", "cos",
    "tan", "tanh", "round", "floor", "ceiling", "sign",
)  # fmt: skip
_WORD = re.compile(r"(?!\.?[0-9])[A-Za-z_.][A-Za-z0-9_.]*")
_SPACES = ("", "", "", " ", " ", "  ", "\t", "\n", "\u00a0")
_SMALL = 200

Tree = tuple[Any, ...]
Terms = dict[frozenset[Variable], tuple[Variable, ...]]


class Refused(Exception):
    """The formula is well formed but asks for what no model can have."""


class Unfollowed(Exception):
    """The formula expands to more terms than plain sets are fit for."""


# Trees: ("name", column, functions, marked), ("marked", text, variable), ("computed", tree),
# ("offset", tree), ("constant", present), ("sum", ((sign, tree), ...)),
# ("chain", operator, trees), ("power", tree, exponent), ("bar", effects, group, bar).


def draw_formula(random: Random, columns: list[str]) -> Tree:
    """A whole right-hand side."""
    items = []
    for _ in range(random.randint(1, 5)):
        kind = random.random()
        if kind < 0.15:
            items.append(("+" if random.random() < 0.6 else "-", _constant(random)))
        elif kind < 0.45:
            items.append(("+", draw_bar(random, columns)))
        elif kind < 0.5:
            items.append(("+", ("offset", _arithmetic(random, columns, 2))))
        else:
            sign = "-" if random.random() < 0.1 else "+"
            items.append((sign, _expression(random, columns, 3)))
    return ("sum", tuple(items))


def draw_bar(random: Random, columns: list[str]) -> Tree:
    """A bar term."""
    items = [("+", _constant(random))] if random.random() < 0.7 else []
    for _ in range(random.randint(0 if items else 1, 2)):
        items.append(("+", _expression(random, columns, 1)))
    group: Tree = ("name", random.choice(columns), (), random.random() < 0.1)
    if random.random() < 0.4:
        others = tuple(("name", random.choice(columns), (), False) for _ in range(2))
        group = ("chain", random.choice(":/*"), (group, *others[: random.randint(1, 2)]))
    return ("bar", ("sum", tuple(items)), group, random.choice(("|", "||")))


def _constant(random: Random) -> Tree:
    return ("constant", random.random() < 0.5)


def _expression(random: Random, columns: list[str], depth: int) -> Tree:
    kind = random.random()
    if depth == 0 or kind < 0.5:
        return _name(random, columns)
    operands = [_expression(random, columns, depth - 1) for _ in range(random.randint(2, 3))]
    if kind < 0.8:
        return ("chain", random.choice(":*/"), tuple(operands))
    signed = tuple(("-" if random.random() < 0.1 else "+", operand) for operand in operands)
    if kind < 0.9:
        return ("sum", signed)
    return ("power", ("sum", signed), random.randint(1, 3))


def _name(random: Random, columns: list[str]) -> Tree:
    column, kind = random.choice(columns), random.random()
    if kind < 0.6:
        return ("name", column, (), False)
    if kind < 0.7:
        return ("computed", _computation(random, columns))
    if kind < 0.75:
        return _marked(random, column)
    if kind < 0.85:
        return ("name", column, (), True)
    functions = tuple(random.choice(FUNCTIONS) for _ in range(random.randint(1, 3)))
    return ("name", column, functions, False)


# Arithmetic: ("column", name), ("number", text), ("sign", operand),
# ("operator", sign, left, right), ("call", name, operands, further text, value).

_OPERATORS = {"<": 1, ">": 1, "<=": 1, ">=": 1, "==": 1, "!=": 1, "+": 2, "-": 2, "*": 3, "/": 3,
              "^": 5}  # fmt: skip
_NUMBERS = ("0", "1", "2", "0.5", ".25", "3.", "1e3", "2.5E-2", "10", "pi")


def _arithmetic(random: Random, columns: list[str], depth: int) -> Tree:
    """Arithmetic with a column in it."""
    kind = random.random()
    if depth == 0 or kind < 0.3:
        return ("column", random.choice(columns))
    if kind < 0.4:
        return ("sign", _arithmetic(random, columns, depth - 1))
    if kind < 0.55:
        return _computation(random, columns, depth - 1)
    left: Tree = _arithmetic(random, columns, depth - 1)
    right: Tree = ("number", random.choice(_NUMBERS))
    if random.random() < 0.5:
        right = _arithmetic(random, columns, depth - 1)
    if random.random() < 0.5:
        left, right = right, left
    return ("operator", random.choice(tuple(_OPERATORS)), left, right)


def _computation(random: Random, columns: list[str], depth: int | None = None) -> Tree:
    """A call; of ``poly`` only where it is a term of its own, at no depth."""
    inside, kind = 2 if depth is None else max(depth, 0), random.random()
    first = _arithmetic(random, columns, inside)
    if kind < 0.4:
        return ("call", "I", (first,), "", None)
    if kind < 0.6:
        return ("call", random.choice(FUNCTIONS), (first,), "", None)
    if kind < 0.75:
        others = [_arithmetic(random, columns, inside) for _ in range(random.randint(0, 2))]
        return ("call", random.choice(("pmin", "pmax")), (first, *others), "", None)
    if kind < 0.9 or depth is not None:
        group = random.choice(columns)
        return ("call", "ave", (first,), f", {quote(group)}", group)
    degree = random.randint(1, 20)
    is_raw = random.random() < 0.3
    raw = random.choice((", raw=TRUE", ", raw = T") if is_raw else ("", ", raw=FALSE"))
    return ("call", "poly_raw" if is_raw else "poly", (first,), f", {degree}{raw}", degree)


def _marked(random: Random, column: str) -> Tree:
    """A categorical column in one of the ways to say so."""
    mark = random.choice(("factor", "as.factor", "as.character"))
    ways: list[tuple[str, Contrast | None]] = [
        (f"{mark}({quote(column)})", None),
        (f"C({quote(column)}, Treatment)", None),
        (f"C({quote(column)}, Sum)", Contrast("sum")),
        (f"C({quote(column)},contr.sum)", Contrast("sum")),
        (f"C({quote(column)}, Treatment('1'))", Contrast("treatment", "1")),
        (f"C({quote(column)}, contr.treatment(base = 2))", Contrast("treatment", 2.0)),
        (f'relevel({quote(column)}, ref="2.5")', Contrast("treatment", "2.5")),
    ]
    text, contrast = random.choice(ways)
    return ("marked", text, Variable(column, categorical=True, contrast=contrast))


def _steps(tree: Tree) -> tuple[Step, ...]:
    """The steps of arithmetic, operands first."""
    kind = tree[0]
    if kind == "column":
        return (Step("column", value=tree[1]),)
    if kind == "number":
        return (Step("number", value=pi if tree[1] == "pi" else float(tree[1])),)
    if kind == "sign":
        return (*_steps(tree[1]), Step("-", 1))
    if kind == "operator":
        return (*_steps(tree[2]), *_steps(tree[3]), Step(tree[1], 2))
    operands = tuple(step for operand in tree[2] for step in _steps(operand))
    return (*operands, Step(tree[1], len(tree[2]), tree[4]))


def _variable(tree: Tree) -> Variable:
    """What arithmetic stands for: functions of one column have a form of their own."""
    steps = _steps(tree)
    columns = [step.value for step in steps if step.name == "column"]
    functions = tuple(step.name for step in steps[1:])
    if steps[0].name == "column" and all(name in FUNCTIONS for name in functions):
        return Variable(steps[0].value, functions)
    return Variable(columns[0], steps=steps)


def _written_arithmetic(random: Random, tree: Tree) -> str:
    """Arithmetic with more parentheses than it needs, or as few as R's rules allow."""
    kind = tree[0]
    if kind == "column":
        return _written_name(random, ("name", tree[1], (), False), reserved=("pi",))
    if kind == "number":
        return tree[1]
    if kind == "sign":
        return f"-{_space(random)}{_operand_text(random, tree[1], 4)}"
    if kind == "operator":
        own = _OPERATORS[tree[1]]
        left = _operand_text(random, tree[2], 6 if tree[1] == "^" else own + (own == 1))
        right = _operand_text(random, tree[3], 4 if tree[1] == "^" else own + 1)
        sign = "**" if tree[1] == "^" and random.random() < 0.2 else tree[1]
        return f"{left}{_space(random)}{sign}{_space(random)}{right}"
    name = "poly" if tree[1] == "poly_raw" else tree[1]
    operands = ", ".join(_written_arithmetic(random, operand) for operand in tree[2])
    return f"{name}({_space(random)}{operands}{tree[3]}{_space(random)})"


def _operand_text(random: Random, tree: Tree, binding: int) -> str:
    text = _written_arithmetic(random, tree)
    own = {"sign": 4, "operator": _OPERATORS.get(tree[1], 0)}.get(tree[0], 6)
    return f"({text})" if own < binding or random.random() < 0.1 else text


# Text.


def write(random: Random, tree: Tree) -> str:
    """The tree as text, with spaces and needless parentheses here and there."""
    return _write(random, tree, 0)


def _space(random: Random) -> str:
    return random.choice(_SPACES)


def _write(random: Random, tree: Tree, binding: int) -> str:
    """Text that may stand as an operand of an operator of that binding."""
    kind, inside = tree[0], _space(random)
    if kind == "name":
        text = _written_name(random, tree)
    elif kind == "marked":
        text = tree[1]
    elif kind == "computed":
        text = _written_arithmetic(random, tree[1])
    elif kind == "offset":
        return f"offset({_written_arithmetic(random, tree[1])})"
    elif kind == "constant":
        text = "1" if tree[1] else "0"
    elif kind == "bar":
        return f"({inside}{_write(random, tree[1], 0)}{tree[3]}{_write(random, tree[2], 0)})"
    else:
        own = {"sum": 1, "chain": 2 + (tree[1] == ":"), "power": 4}[kind]
        text = _joined(random, tree, own)
        if binding >= own:
            return f"({inside}{text}{_space(random)})"
    if binding and random.random() < 0.05:
        return f"({text})"
    return text


def _joined(random: Random, tree: Tree, own: int) -> str:
    if tree[0] == "power":
        return f"{_write(random, tree[1], own)}{_space(random)}^{_space(random)}{tree[2]}"
    if tree[0] == "chain":
        joint = f"{_space(random)}{tree[1]}{_space(random)}"
        return joint.join(_write(random, operand, own) for operand in tree[2])
    pieces = []
    for index, (sign, operand) in enumerate(tree[1]):
        shown = "" if index == 0 and sign == "+" and random.random() < 0.8 else sign
        pieces.append(f"{shown}{_space(random)}{_write(random, operand, own)}{_space(random)}")
    return "".join(pieces)


def _written_name(random: Random, tree: Tree, reserved: tuple[str, ...] = ()) -> str:
    _, column, functions, marked = tree
    text = quote(column)
    plain = _WORD.fullmatch(column) and column.strip(".") and ".__" not in column
    if plain and column not in ("lambda", *reserved) and random.random() < 0.8:
        text = column
    for function in ("C",) if marked else functions:
        text = f"{function}{_space(random)}({_space(random)}{text}{_space(random)})"
    return text


def quote(column: str) -> str:
    """A column name in backticks."""
    return "`" + column.replace("`", "``") + "`"


# Meaning.


@dataclass
class _Part:
    intercept: bool | None
    terms: Terms
    bars: list[Tree]
    offsets: tuple[Variable, ...] = ()


def meaning(tree: Tree) -> ModelSpec:
    """What the formula stands for; raises `Refused` where that is nothing sensible."""
    part = _part(tree)
    spec = ModelSpec(_term_list(part), _bars(part.bars), offsets=part.offsets)
    if not (spec.fixed.intercept or spec.fixed.terms or spec.random):
        raise Refused("empty model")
    return spec


def _part(tree: Tree) -> _Part:
    kind = tree[0]
    if kind == "name":
        variable = Variable(tree[1], tree[2], tree[3])
        return _Part(None, {frozenset([variable]): (variable,)}, [])
    if kind in ("marked", "computed"):
        variable = tree[2] if kind == "marked" else _variable(tree[1])
        return _Part(None, {frozenset([variable]): (variable,)}, [])
    if kind == "offset":
        return _Part(None, {}, [], (_variable(tree[1]),))
    if kind == "constant":
        return _Part(tree[1], {}, [])
    if kind == "bar":
        return _Part(None, {}, [tree])
    if kind == "sum":
        return _sum(tree)
    if kind == "power":
        base = _operand(tree[1])
        if len(base) == 1 and tree[2] > 1:
            raise Refused("power of a single term")
        terms = base
        for _ in range(tree[2] - 1):
            terms = _product(base, terms)
        return _Part(None, terms, [])
    operator, operands = tree[1], [_operand(operand) for operand in tree[2]]
    terms = operands[0]
    for operand in operands[1:]:
        if operator == ":":
            terms = _product(terms, operand)
        elif operator == "*":
            terms = (
                terms
                | {k: v for k, v in operand.items() if k not in terms}
                | {
                    k: v
                    for k, v in _product(terms, operand).items()
                    if k not in terms and k not in operand
                }
            )
        else:
            everything: dict[Variable, None] = {}
            for term in terms.values():
                everything.update(dict.fromkeys(term))
            whole = {frozenset(everything): tuple(everything)}
            nested = _product(whole, operand)
            terms = terms | {k: v for k, v in nested.items() if k not in terms}
    return _Part(None, terms, [])


def _sum(tree: Tree) -> _Part:
    whole = _Part(None, {}, [])
    for sign, operand in tree[1]:
        part = _part(operand)
        if sign == "-" and part.bars:
            raise Refused("a bar term is subtracted")
        if part.intercept is not None:
            whole.intercept = part.intercept if sign == "+" else not part.intercept
        for key, term in part.terms.items():
            if sign == "+":
                whole.terms.setdefault(key, term)
            else:
                whole.terms.pop(key, None)
        whole.bars += part.bars
        whole.offsets = tuple(dict.fromkeys((*whole.offsets, *part.offsets)))
    return whole


def _operand(tree: Tree) -> Terms:
    part = _part(tree)
    if part.bars or part.intercept is not None or not part.terms:
        raise Refused("an operand that cannot be multiplied")
    return part.terms


def _product(left: Terms, right: Terms) -> Terms:
    product: Terms = {}
    for term in left.values():
        for other in right.values():
            joined = tuple(dict.fromkeys(term + other))
            product.setdefault(frozenset(joined), joined)
    if len(product) > _SMALL:
        raise Unfollowed
    return product


def _term_list(part: _Part) -> TermList:
    if len(part.terms) > _SMALL:
        raise Unfollowed
    terms = sorted(part.terms.values(), key=len)
    return TermList(part.intercept is not False, tuple(terms))


def _bars(bars: list[Tree]) -> tuple[RandomTerm, ...]:
    terms: list[RandomTerm] = []
    seen: list[tuple[bool, frozenset[Any], frozenset[Any]]] = []
    for _, effects_tree, group_tree, bar in bars:
        part = _part(effects_tree)
        if part.bars:
            raise Refused("a bar inside a bar")
        effects = _term_list(part)
        if not (effects.intercept or effects.terms):
            raise Refused("nothing varies")
        varying = {v.name for term in effects.terms for v in term if not v.steps}
        groups = sorted(_part(_unmarked(group_tree)).terms.values(), key=len)
        for group in groups:
            names = tuple(variable.name for variable in group)
            if varying >= set(names):
                raise Refused("a column is both effect and group")
            key = (effects.intercept, frozenset(part.terms), frozenset(names))
            if key in seen:
                raise Refused("a bar term twice")
            seen.append(key)
            structure = "unstructured" if bar == "|" else "diagonal"
            terms.append(RandomTerm(effects, names, structure))
    return tuple(terms)


def _unmarked(tree: Tree) -> Tree:
    if tree[0] == "chain":
        return ("chain", tree[1], tuple(_unmarked(operand) for operand in tree[2]))
    return ("name", tree[1], (), False)


# Printing a spec, so that it can be read again.


def printed(spec: ModelSpec) -> str:
    """A formula in a normal form."""
    bars = [
        f"({_printed_terms(bar.effects)} {'||' if bar.structure == 'diagonal' else '|'} "
        f"{':'.join(quote(str(name)) for name in bar.group)})"
        for bar in spec.random
    ]
    offsets = [f"offset({_printed_variable(variable)})" for variable in spec.offsets]
    return " + ".join([_printed_terms(spec.fixed), *bars, *offsets])


def _printed_terms(terms: TermList) -> str:
    written = [":".join(_printed_variable(v) for v in term) for term in terms.terms]
    return " + ".join(["1" if terms.intercept else "0", *written])


def _printed_variable(variable: Variable) -> str:
    if variable.steps or variable.contrast:
        contrast = variable.contrast
        if contrast:
            return f"C({quote(str(variable.name))}, {contrast.label})"
        return variable.label
    text = quote(str(variable.name))
    for function in ("C",) if variable.categorical else variable.functions:
        text = f"{function}({text})"
    return text
