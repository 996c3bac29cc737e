"""What users write about columns, to one ModelSpec."""

import numpy as np
import pandas as pd
import pytest

from skmixed.design import DesignEncoder, Table, resolve_spec
from skmixed.formula import FormulaError
from skmixed.spec import RandomEffect, RandomTerm, TermList, Variable

FRAME = pd.DataFrame(
    {
        "days": [0.0, 1.0, 2.0, 3.0],
        "on": [True, False, True, False],
        "city": pd.Categorical(["a", "b", "a", "b"]),
        "person": ["u", "v", "w", "u"],
        "id": [1, 2, 1, 2],
    }
)
NUMBERS = Table.from_input(FRAME[["days", "on", "id"]])
TABLE = Table.from_input(FRAME)
ONE = TermList(True)


def fixed(spec):
    return [term[0].name for term in spec.fixed.terms]


def groups(spec):
    return [term.group for term in spec.random]


def test_from_dtype_groups_by_categories_and_by_five_labels():
    """Text of fewer labels is a fixed effect."""
    spec = resolve_spec(TABLE)
    assert spec.random == (RandomTerm(ONE, ("city",)),)
    assert fixed(spec) == ["days", "on", "person", "id"]
    assert spec.fixed.intercept
    five = FRAME.loc[[0, 1, 2, 3, 0]].assign(person=list("uvwxy"))
    assert groups(resolve_spec(Table.from_input(five))) == [("city",), ("person",)]


def test_from_dtype_of_plain_floats_has_no_groups():
    spec = resolve_spec(Table.from_input(np.ones((3, 2))), fit_intercept=False)
    assert spec.random == ()
    assert fixed(spec) == [0, 1]
    assert not spec.fixed.intercept


@pytest.mark.parametrize(
    "entry",
    ["id", 2, -1, np.int64(2), ["id"], (2,), np.array(["id"]), RandomEffect("id"), "(1 | id)"],
)
def test_one_random_intercept_in_many_spellings(entry):
    spec = resolve_spec(NUMBERS, random_effects=entry)
    assert spec.random == (RandomTerm(ONE, ("id",)),)
    assert fixed(spec) == ["days", "on"]


def test_none_and_empty_lists_have_only_fixed_effects():
    for random_effects in (None, [], ()):
        spec = resolve_spec(NUMBERS, random_effects=random_effects)
        assert (spec.random, fixed(spec)) == ((), ["days", "on", "id"])


def test_slopes_stay_fixed_effects():
    days = TermList(True, ((Variable("days"),),))
    for entry in ("(1 + days | id)", RandomEffect("id", slopes="days"), RandomEffect(2, [0])):
        spec = resolve_spec(NUMBERS, random_effects=[entry])
        assert spec.random == (RandomTerm(days, ("id",)),)
        assert fixed(spec) == ["days", "on"]
    spec = resolve_spec(NUMBERS, random_effects=["(days || id)"])
    assert spec.random == (RandomTerm(days, ("id",), structure="diagonal"),)


def test_nested_and_combined_groups():
    spec = resolve_spec(TABLE, random_effects="(1 | city/person)")
    assert groups(spec) == [("city",), ("city", "person")]
    assert fixed(spec) == ["days", "on", "id"]
    spec = resolve_spec(TABLE, random_effects=[RandomEffect((2, "person")), "id"])
    assert groups(spec) == [("city", "person"), ("id",)]


def test_bars_join_several_terms():
    spec = resolve_spec(TABLE, random_effects=["(1 | city) + (0 + days | city)", "person"])
    assert groups(spec) == [("city",), ("city",), ("person",)]


def test_offset_and_weights_are_no_fixed_effects():
    frame = FRAME.assign(exposure=1.0, weight=["1", "2", "3", "4"])
    spec = resolve_spec(
        Table.from_input(frame),
        reserved=("exposure", -1),
        random_effects="from_dtype",
    )
    assert fixed(spec) == ["days", "on", "person", "id"]
    assert groups(spec) == [("city",)]


def test_labels_that_nobody_groups_by_are_fixed_effects():
    spec = resolve_spec(TABLE, random_effects=["person"])
    assert (groups(spec), fixed(spec)) == ([("person",)], ["days", "on", "city", "id"])
    assert "city" in fixed(resolve_spec(TABLE, random_effects=None))


def test_fixed_effects_can_be_listed():
    spec = resolve_spec(TABLE, random_effects=["person"], fixed_effects=["on", 0])
    assert (groups(spec), fixed(spec)) == ([("person",)], ["on", "days"])
    assert fixed(resolve_spec(TABLE, random_effects=None, fixed_effects="id")) == ["id"]
    assert fixed(resolve_spec(TABLE, random_effects=["person"], fixed_effects=())) == []
    # what is a fixed effect is no group by its type
    assert groups(resolve_spec(TABLE, fixed_effects=["city"])) == []
    with pytest.raises(ValueError, match="'nope' is not in X"):
        resolve_spec(TABLE, fixed_effects=["nope"])
    for wrong in ({"days"}, {"days": 1}, 1.5):
        with pytest.raises(TypeError, match="list of column names or positions"):
            resolve_spec(TABLE, fixed_effects=wrong)
    with pytest.raises(ValueError, match=r"Both formula=.*and fixed_effects="):
        resolve_spec(TABLE, formula="days", fixed_effects=["on"])


def test_a_group_listed_twice_is_refused():
    for twice in (["id", "id"], ["id", 2], ["id", "(1 + days | id)"], ["id", RandomEffect(-1)]):
        with pytest.raises(ValueError, match="lists 'id' as a grouping factor twice"):
            resolve_spec(NUMBERS, random_effects=twice)


def test_unknown_columns_are_refused_wherever_they_are_named():
    for random_effects in ("idd", ["(1 | idd)"], ["(idd | id)"], [RandomEffect("idd")]):
        with pytest.raises(ValueError, match=r"'idd' is not in X. Did you mean 'id'"):
            resolve_spec(NUMBERS, random_effects=random_effects)
    with pytest.raises(ValueError, match="'nope' is not in X"):
        resolve_spec(NUMBERS, reserved=["nope"])
    with pytest.raises(ValueError, match="'z' is not in X"):
        resolve_spec(NUMBERS, formula="1 + z")


@pytest.mark.parametrize("entry", [1.5, True, ("city", "person"), None, b"id"])
def test_entries_of_other_types_are_refused(entry):
    with pytest.raises(TypeError, match="use column names or positions"):
        resolve_spec(TABLE, random_effects=[entry])


def test_an_empty_group_is_refused():
    with pytest.raises(ValueError, match="empty group"):
        resolve_spec(TABLE, random_effects=[RandomEffect(())])


def test_a_formula_names_its_columns():
    spec = resolve_spec(TABLE, formula="1 + days + city + (1 | person)")
    assert fixed(spec) == ["days", "city"]
    assert groups(spec) == [("person",)]
    for random_effects in (None, "from_dtype"):
        assert resolve_spec(
            TABLE, formula="days + (1 | id)", random_effects=random_effects, fit_intercept=False
        ).fixed == TermList(False, ((Variable("days"),),))


def test_a_formula_may_use_a_group_as_fixed_effect():
    spec = resolve_spec(TABLE, formula="city + (1 | city)")
    assert (fixed(spec), groups(spec)) == (["city"], [("city",)])


def test_a_formula_without_fixed_effects():
    spec = resolve_spec(TABLE, formula="0 + (1 | id)")
    _, design = DesignEncoder.learn(spec, TABLE)
    assert design.fixed.shape == (4, 0)


def test_formula_and_random_effects_exclude_each_other():
    with pytest.raises(ValueError, match=r"Both formula='days' and random_effects=\['id'\]"):
        resolve_spec(TABLE, formula="days", random_effects=["id"])


def test_a_response_in_the_formula_is_refused():
    with pytest.raises(ValueError, match=r"names the response 'y'.*mixed\("):
        resolve_spec(TABLE, formula="y ~ days + (1 | id)")


def test_positions_of_an_array_work_in_formulas_in_backticks():
    X = np.column_stack([np.arange(4.0), [0.0, 1.0, 0.0, 1.0]])
    spec = resolve_spec(Table.from_input(X), formula="`0` + (1 | `1`)")
    assert (fixed(spec), groups(spec)) == ([0], [(1,)])


@pytest.mark.parametrize("name", ["__class__", "a b", "1|g", "x)+(1", "(1 | id)", "días", "`"])
def test_columns_of_hostile_names_are_only_columns(name):
    frame = pd.DataFrame({name: [1, 2, 1], "x": [1.0, 2.0, 4.0]})
    table = Table.from_input(frame)
    spec = resolve_spec(table, random_effects=[name])
    assert (groups(spec), fixed(spec)) == ([(name,)], ["x"])
    quoted = "`" + name.replace("`", "``") + "`"
    spec = resolve_spec(table, formula=f"x + (1 | {quoted})")
    assert groups(spec) == [(name,)]
    _, design = DesignEncoder.learn(spec, table)
    assert design.factors[0].codes.tolist() == [0, 1, 0]


def test_text_that_is_no_bar_term_is_refused():
    with pytest.raises(FormulaError):
        resolve_spec(NUMBERS, random_effects="(1 | open('x'))")


def test_a_fully_random_design_from_an_array_of_objects():
    X = np.array([[1.0, "a"], [2.0, "b"], [3.0, "a"]], dtype=object)
    table = Table.from_input(X)
    encoder, design = DesignEncoder.learn(resolve_spec(table, random_effects=[1]), table)
    assert design.fixed_names == ("Intercept", "0")
    assert design.factors[0].name == "1"
    new = encoder.transform(Table.from_input([[5.0, "b"], [6.0, "c"]]))
    assert new.factors[0].codes.tolist() == [1, -1]
