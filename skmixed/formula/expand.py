"""Syntax tree to `ModelSpec`: the algebra of Wilkinson and Rogers (1973), as R has it.

Every distinct variable of a formula gets a bit, a term is a set of bits, and an
interaction is their union; ``a:b`` and ``b:a`` are then one number. Beside the set, a term
keeps its variables as they were first written, because that names its coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from skmixed.formula.errors import FormulaError, formula_error, printable, quoted
from skmixed.formula.syntax import (
    Bar,
    Chain,
    Column,
    Constant,
    Formula,
    Node,
    Offset,
    Power,
    Sum,
)
from skmixed.spec import ColumnKey, ModelSpec, RandomTerm, Step, Term, TermList, Variable, written

MAX_TERMS = 1_000
# Pairs of terms multiplied, and columns copied for it, in one formula: that is the work also
# where duplicates keep the number of terms small.
MAX_WORK = 300_000

_Terms = dict[int, tuple[int, ...]]


@dataclass(frozen=True)
class _Part:
    """What a piece of a formula amounts to.

    Attributes
    ----------
    intercept : bool or None
        What the piece says of the intercept; None when it says nothing.
    terms : dict
        Set of variables (as bits) -> their numbers in order of writing.
    bars : tuple of Bar
        Bar terms, not yet expanded.
    offsets : tuple of Offset
    """

    intercept: bool | None = None
    terms: _Terms = field(default_factory=dict)
    bars: tuple[Bar, ...] = ()
    offsets: tuple[Offset, ...] = ()


class Expander:
    """Expands the syntax tree of one formula; a fresh object for each.

    Parameters
    ----------
    text : str
        The formula, for messages.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._numbers: dict[Variable, int] = {}
        self._variables: list[Variable] = []
        self._first_positions: list[int] = []
        self._work = 0
        self._kept_terms = 0

    def model(self, formula: Formula) -> ModelSpec:
        """Expand a whole formula."""
        part = self._part(formula.right)
        spec = ModelSpec(
            self._term_list(part, formula.right.position),
            self._random(part.bars),
            offsets=tuple(dict.fromkeys(offset.variable for offset in part.offsets)),
        )
        if not (spec.fixed.intercept or spec.fixed.terms or spec.random):
            raise self._error(
                formula.right.position,
                "nothing is left to estimate: no intercept, no column, no bar term",
                "Add a column, a bar term such as (1 | g), or 1 for the intercept.",
            )
        if formula.response is not None:
            self._check_response(formula.response)
        return replace(spec, response=formula.response)

    def random_terms(self, node: Node) -> tuple[RandomTerm, ...]:
        """Expand bar terms that stand without fixed effects."""
        part = self._part(node)
        if part.terms or part.intercept is not None or part.offsets or not part.bars:
            raise self._error(
                node.position,
                "random effects must be bar terms",
                "Write for example (1 | g) or (1 | a) + (x | b), or pass the name of a grouping "
                "column; all other columns are fixed effects. A whole right-hand side goes "
                "into formula=.",
            )
        return self._random(part.bars)

    # Bar terms.

    def _random(self, bars: tuple[Bar, ...]) -> tuple[RandomTerm, ...]:
        terms: list[RandomTerm] = []
        seen: set[tuple[bool, frozenset[int], int]] = set()
        for bar in bars:
            part = self._part(bar.effects)
            if part.bars:
                raise self._error(
                    part.bars[0].position,
                    "a bar term cannot stand inside another",
                    "Write nested groups as (1 | a/b), separate ones as (1 | a) + (1 | b).",
                )
            self._refuse_offsets(part, "vary between the levels of a group")
            effects = self._term_list(part, bar.position)
            if not (effects.intercept or effects.terms):
                raise self._error(
                    bar.position,
                    "this bar term has no effects",
                    "Write (1 | g) for an intercept or (0 + x | g) for a slope alone.",
                )
            varying = {v.name for effect in effects.terms for v in effect if not v.steps}
            effects_key = frozenset(part.terms)
            groups = self._groups(bar.group)
            self._keep(len(groups), bar.position)
            for columns, numbers in sorted(groups.items(), key=_degree):
                group = tuple(self._variables[number].name for number in numbers)
                term = RandomTerm(effects, group, bar.structure)
                self._check_varies_within(term, varying, bar)
                key = (effects.intercept, effects_key, columns)
                if key in seen:
                    raise self._error(
                        bar.position,
                        f"the bar term {_written(term)} occurs twice; two copies cannot be told "
                        "apart",
                        "Leave one out; (1 | a/b) stands for (1 | a) + (1 | a:b).",
                    )
                seen.add(key)
                terms.append(term)
        return tuple(terms)

    def _groups(self, node: Node) -> _Terms:
        """Expand the right side of a bar: columns joined by ``:``, ``/`` or ``*``."""
        self._check_group(node)
        return self._part(_without_marks(node)).terms

    def _check_group(self, node: Node) -> None:
        match node:
            case Column(variable=variable):
                if variable.functions or variable.steps:
                    raise self._error(
                        node.position,
                        f"{quoted(variable.label)} cannot group rows",
                        "Compute the grouping column first and use its name.",
                    )
            case Chain(first=first, rest=rest):
                self._check_group(first)
                for _, operand in rest:
                    self._check_group(operand)
            case Sum():
                raise self._error(
                    node.position,
                    "groups cannot be added or removed inside one bar term",
                    "Write one term per group, as in (1 | a) + (1 | b).",
                )
            case _:
                raise self._error(
                    node.position,
                    "the right side of a bar must name grouping columns",
                    "Write (1 | g), (1 | a:b) or (1 | a/b).",
                )

    def _check_varies_within(self, term: RandomTerm, varying: set[ColumnKey], bar: Bar) -> None:
        if varying.issuperset(term.group):
            raise self._error(
                bar.position,
                f"column {quoted(str(term.group[0]))} is both an effect and a group of the same "
                "bar term: such an effect has a single level, so its variance cannot be estimated",
                "Remove it from one side of the bar.",
            )

    def _check_response(self, response: Variable) -> None:
        """Refuse a response that is used to explain itself.

        Where it is computed from several columns, one of them may explain: I(after - before)
        depends on before.
        """
        if len(response.columns) > 1:
            return
        for variable, position in zip(self._variables, self._first_positions, strict=True):
            if response.name in variable.columns:
                raise self._error(
                    position,
                    f"the response {quoted(str(response.name))} also stands on the right of '~'",
                    "Remove it from the right side.",
                )

    # The algebra.

    def _part(self, node: Node) -> _Part:
        # The kinds of nodes are a closed set, so one place that lists them all is easier to
        # check against R than a method on each.
        match node:
            case Column(variable=variable):
                number = self._number(variable, node.position)
                return _Part(terms={1 << number: (number,)})
            case Constant(present=present):
                return _Part(intercept=present)
            case Bar():
                return _Part(bars=(node,))
            case Offset():
                return _Part(offsets=(node,))
            case Sum():
                return self._sum(node)
            case Chain(first=first, rest=rest):
                terms = self._operand(first)
                for operator, operand in rest:
                    terms = self._combine(operator, terms, self._operand(operand), node.position)
                return _Part(terms=terms)
            case Power(base=base, exponent=exponent):
                terms = factor = self._operand(base)
                if len(factor) == 1 and exponent > 1:
                    raise self._error(
                        node.position,
                        "'^' crosses terms; it does not raise a column to a power",
                        f"Write {self._power_inside(factor, exponent)} for the power of a column.",
                    )
                for _ in range(exponent - 1):
                    terms = self._multiply(factor, terms, node.position)
                return _Part(terms=terms)

    def _power_inside(self, factor: _Terms, exponent: int) -> str:
        """The power of a single term as arithmetic, of one column by its name."""
        ((number, *more),) = factor.values()
        variable = self._variables[number]
        if more or variable.categorical:
            return f"I(x^{exponent})"
        if variable.steps[-1:] == (Step("I", 1),):
            variable = replace(variable, steps=variable.steps[:-1])
        steps = variable.steps or (
            Step("column", value=variable.name),
            *(Step(function, 1) for function in variable.functions),
        )
        power = (*steps, Step("number", value=exponent), Step("^", 2), Step("I", 1))
        return printable(written(power))

    def _sum(self, node: Sum) -> _Part:
        intercept: bool | None = None
        terms: _Terms = {}
        bars: list[Bar] = []
        offsets: list[Offset] = []
        for sign, item in node.items:
            part = self._part(item)
            self._add_work(len(part.terms), item.position)
            if sign == "+":
                for columns, numbers in part.terms.items():
                    terms.setdefault(columns, numbers)
                intercept = part.intercept if part.intercept is not None else intercept
                bars.extend(part.bars)
                offsets.extend(part.offsets)
                self._check_size(len(terms) + len(bars), item.position)
                continue
            if part.bars:
                raise self._error(
                    part.bars[0].position, "a bar term cannot be subtracted", "Leave it out."
                )
            self._refuse_offsets(part, "be subtracted")
            for columns in part.terms:
                terms.pop(columns, None)
            # As in R, taking "no intercept" away brings the intercept back.
            intercept = not part.intercept if part.intercept is not None else intercept
        return _Part(intercept, terms, tuple(bars), tuple(offsets))

    def _operand(self, node: Node) -> _Terms:
        """The terms of something that is about to be multiplied."""
        part = self._part(node)
        if part.bars:
            raise self._error(
                part.bars[0].position,
                "a bar term can only be added, not combined with ':', '*', '/' or '^'",
                "Write y ~ x + (1 | g).",
            )
        self._refuse_offsets(part, "be part of an interaction")
        if part.intercept is not None:
            raise self._error(
                node.position,
                "0 and 1 stand for the intercept and cannot be part of an interaction",
                "Add them outside it, as in 0 + a:b.",
            )
        if not part.terms:
            raise self._error(
                node.position, "this operand is empty", "Leave it out or name a column."
            )
        return part.terms

    def _refuse_offsets(self, part: _Part, what: str) -> None:
        if part.offsets:
            raise self._error(
                part.offsets[0].position,
                f"an offset cannot {what}",
                "Add it as a term, as in y ~ x + offset(log(t)).",
            )

    def _combine(self, operator: str, left: _Terms, right: _Terms, position: int) -> _Terms:
        if operator == ":":
            return self._multiply(left, right, position)
        if operator == "*":
            return self._union(
                left, right, self._multiply(left, right, position), position=position
            )
        # a/b is a + a:b, and (a + b)/c is a + b + a:b:c: everything on the left at once.
        within: dict[int, None] = {}
        columns = 0
        for key, numbers in left.items():
            self._add_work(len(numbers), position)
            columns |= key
            within.update(dict.fromkeys(numbers))
        nested = self._multiply({columns: tuple(within)}, right, position)
        return self._union(left, nested, position=position)

    def _multiply(self, left: _Terms, right: _Terms, position: int) -> _Terms:
        self._add_work(len(left) * len(right), position)
        product: _Terms = {}
        for columns, numbers in left.items():
            for other_columns, other_numbers in right.items():
                union = columns | other_columns
                if union not in product:
                    self._add_work(len(numbers) + len(other_numbers), position)
                    new = tuple(number for number in other_numbers if not columns >> number & 1)
                    product[union] = numbers + new
                    self._check_size(len(product), position)
        return product

    def _union(self, *parts: _Terms, position: int) -> _Terms:
        """All terms, each as it was written first."""
        union: _Terms = {}
        for terms in parts:
            for columns, numbers in terms.items():
                union.setdefault(columns, numbers)
        self._check_size(len(union), position)
        return union

    def _number(self, variable: Variable, position: int) -> int:
        if variable not in self._numbers:
            self._numbers[variable] = len(self._variables)
            self._variables.append(variable)
            self._first_positions.append(position)
        return self._numbers[variable]

    def _term_list(self, part: _Part, position: int) -> TermList:
        """Sort as R does, by degree and then by writing; an intercept unless removed."""
        self._keep(len(part.terms), position)
        terms: list[Term] = [
            tuple(self._variables[number] for number in numbers)
            for _, numbers in sorted(part.terms.items(), key=_degree)
        ]
        return TermList(
            part.intercept is not False, tuple(terms), intercept_written=part.intercept is True
        )

    # Limits: a short text can ask for astronomically many terms.

    def _keep(self, count: int, position: int) -> None:
        self._kept_terms += count
        self._check_size(self._kept_terms, position)

    def _add_work(self, amount: int, position: int) -> None:
        self._work += amount
        if self._work > MAX_WORK:
            raise self._too_large(position)

    def _check_size(self, count: int, position: int) -> None:
        if count > MAX_TERMS:
            raise self._too_large(position)

    def _too_large(self, position: int) -> FormulaError:
        return self._error(
            position,
            f"the formula expands to more than {MAX_TERMS} terms, or to endless interactions",
            "Name fewer interactions, or pass the columns as X without a formula.",
        )

    def _error(self, position: int, problem: str, advice: str) -> FormulaError:
        return formula_error(self._text, position, problem, advice)


def _degree(item: tuple[int, tuple[int, ...]]) -> int:
    return len(item[1])


def _without_marks(node: Node) -> Node:
    """Drop ``C()`` inside a group, where every column is categorical anyway."""
    match node:
        case Column(position=position, variable=variable):
            return Column(position, Variable(variable.name))
        case Chain(position=position, first=first, rest=rest):
            operands = tuple((operator, _without_marks(operand)) for operator, operand in rest)
            return Chain(position, _without_marks(first), operands)
        case _:
            return node


def _written(term: RandomTerm) -> str:
    """A bar term the way it would be typed, shortened for a message."""
    effects = ["1" if term.effects.intercept else "0"]
    effects += [":".join(variable.label for variable in effect) for effect in term.effects.terms]
    bar = "||" if term.structure == "diagonal" else "|"
    return quoted(f"({' + '.join(effects)} {bar} {term.group_label})")
