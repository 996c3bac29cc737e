"""Designs learnt part by part equal the design of all rows."""

import pickle

import numpy as np
import pandas as pd
import pytest

from skmixed.design import DesignEncoder, Table, learnt_functions
from skmixed.spec import ModelSpec, RandomTerm, TermList, Variable

ONE = TermList(True)


def part(*names, intercept=True):
    return TermList(intercept, tuple((Variable(name),) for name in names))


RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "x": RNG.normal(size=60),
        "w": RNG.uniform(1, 2, 60),
        "f": pd.Categorical(np.sort(RNG.choice(list("uvz"), 60)), categories=list("zuv")),
        "g": RNG.integers(0, 40, 60),
        "h": RNG.choice(["p", "q", "r"], 60),
    }
)
SPEC = ModelSpec(
    part("x", "f"),
    (RandomTerm(part("x"), ("g",)), RandomTerm(ONE, ("h", "g")), RandomTerm(ONE, ("h",))),
)


def rows(frame, start, stop):
    return Table.from_input(frame.iloc[start:stop])


COLUMNS = {"offset": "x", "precision_weights": "w"}


def test_a_design_in_parts_is_the_design_of_all_rows():
    whole, expected = DesignEncoder.learn(SPEC, Table.from_input(FRAME), **COLUMNS)
    table = Table.from_input(FRAME)
    merged, design = DesignEncoder.learn(SPEC, rows(FRAME, 0, 1), complete=False, **COLUMNS)
    designs, codes = [design], [[factor.codes] for factor in design.factors]
    for start, stop in ((1, 20), (20, 41), (41, 60)):
        encoder, design = merged.learn_part(rows(FRAME, start, stop))
        merged, maps = merged.merge(pickle.loads(pickle.dumps(encoder)))
        designs.append(design)
        for found, factor, (here, there) in zip(codes, design.factors, maps, strict=True):
            assert factor.n_levels == len(there)
            found[:] = [*(here[piece] for piece in found), there[factor.codes]]
    merged.refuse_single_levels()
    for name in ("fixed", "offset", "precision_weights"):
        pieces = np.concatenate([getattr(piece, name) for piece in designs])
        np.testing.assert_array_equal(pieces, getattr(expected, name))
    basis = np.concatenate([piece.factors[0].basis for piece in designs])
    np.testing.assert_array_equal(basis, expected.factors[0].basis)
    for found, factor in zip(codes, expected.factors, strict=True):
        np.testing.assert_array_equal(np.concatenate(found), factor.codes)
    again = merged.transform(table, with_weights=True)
    for new, old in zip(again.factors, expected.factors, strict=True):
        np.testing.assert_array_equal(new.codes, old.codes)
        assert (new.name, new.n_levels, new.blocks) == (old.name, old.n_levels, old.blocks)
    assert merged.fixed.names == whole.fixed.names


def test_declared_categories_of_fixed_effects_are_levels_in_parts_only():
    table = Table.from_input(FRAME.iloc[:5])
    spec = ModelSpec(part("f"), (RandomTerm(ONE, ("g",)),))
    encoder, design = DesignEncoder.learn(spec, table, complete=False)
    assert design.fixed_names == ("Intercept", "f[u]", "f[v]")
    np.testing.assert_array_equal(design.fixed[:, 1:], [[1, 0]] * 5)
    _, design = encoder.learn_part(Table.from_input(FRAME.iloc[-2:]))
    np.testing.assert_array_equal(design.fixed, [[1, 0, 0]] * 2)
    with pytest.raises(ValueError, match="'f' has the single level 'u', so it has no effect"):
        DesignEncoder.learn(spec, table)


def test_fixed_effects_cannot_have_new_labels_in_later_parts():
    spec = ModelSpec(part("h"), (RandomTerm(ONE, ("g",)),))
    frame = FRAME.assign(h=["p", "q"] * 30)
    frame.loc[33, "h"] = "new"
    table = Table.from_input(frame)
    encoder, _ = DesignEncoder.learn(spec, rows(frame, 0, 20), complete=False)
    message = (
        r"'h' holds 'new' in row 13, which the first part of the data did not have; its levels "
        r"are 'p', 'q'\. Before the first part, declare the column as a pandas categorical"
    )
    with pytest.raises(ValueError, match=message):
        encoder.learn_part(rows(frame, 20, 60))
    with pytest.raises(ValueError, match=r"row 33, which was not in the training data") as caught:
        encoder.transform(table)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(
        ValueError, match=r"'h' has the single level 'p' in the first part of the data.*declare it"
    ):
        DesignEncoder.learn(spec, rows(frame, 0, 1), complete=False)


def test_labels_missing_in_a_later_part_are_refused_with_their_row():
    frame = FRAME.assign(h=[*FRAME["h"][:44], None, *FRAME["h"][45:]])
    encoder, _ = DesignEncoder.learn(SPEC, rows(frame, 0, 20), complete=False)
    with pytest.raises(ValueError, match=r"'h' contains NaN or None: 1 missing.*first in row 4"):
        encoder.learn_part(rows(frame, 40, 60))


def test_single_levels_are_refused_at_the_end():
    frame = FRAME.assign(h="only")
    spec = ModelSpec(ONE, (RandomTerm(ONE, ("g",)), RandomTerm(ONE, ("h",))))
    encoder, _ = DesignEncoder.learn(spec, rows(frame, 0, 20), complete=False)
    merged, _ = encoder.merge(encoder.learn_part(rows(frame, 20, 60))[0])
    with pytest.raises(ValueError, match=r"'h' has a single level \('only'\) in all rows"):
        merged.refuse_single_levels()


def test_parts_read_as_different_models_are_refused():
    table = Table.from_input(FRAME)
    spec = ModelSpec(part("x"), (RandomTerm(part("x"), ("g",)),))
    encoder, _ = DesignEncoder.learn(spec, table)
    others = [
        (ModelSpec(part("w"), spec.random), {}),
        (ModelSpec(part("x"), (RandomTerm(part("x"), ("h",)),)), {}),
        (spec, {"offset": "w"}),
    ]
    for other, columns in others:
        with pytest.raises(ValueError, match=r"different models.*learn_part"):
            encoder.merge(DesignEncoder.learn(other, table, **columns)[0])
    slopes = ModelSpec(part("x"), (RandomTerm(part("x"), ("g",), structure="diagonal"),))
    with pytest.raises(ValueError, match=r"effects that vary by 'g' differ"):
        encoder.merge(DesignEncoder.learn(slopes, table)[0])


def test_functions_that_learn_are_named():
    scaled = TermList(True, ((Variable("x", ("scale",)),), (Variable("w", ("log", "center")),)))
    slopes = TermList(True, ((Variable("x", ("scale",)),), (Variable("w", ("sqrt",)),)))
    spec = ModelSpec(scaled, (RandomTerm(slopes, ("g",)),))
    table = Table.from_input(FRAME)
    encoder, _ = DesignEncoder.learn(spec, table, complete=False)
    assert encoder.learnt_functions == ("scale(x)", "center(log(w))")
    assert DesignEncoder.learn(SPEC, table)[0].learnt_functions == ()
    assert learnt_functions(Variable("y", ("abs", "scale", "abs"))) == ("scale(abs(y))",)
    # Means of a part are not those of another.
    other, _ = DesignEncoder.learn(spec, rows(FRAME, 0, 30), complete=False)
    with pytest.raises(ValueError, match="different models"):
        encoder.merge(other)
    assert encoder.merge(pickle.loads(pickle.dumps(encoder)))[0].fixed is encoder.fixed
