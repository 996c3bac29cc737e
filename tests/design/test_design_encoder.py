"""Whole designs: merged factors, blocks, prediction."""

import pickle

import numpy as np
import pandas as pd
import pytest

from skmixed.design import DesignEncoder, Table
from skmixed.spec import ModelSpec, RandomEffect, RandomTerm, TermList, Variable

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "x": RNG.normal(size=12),
        "w": np.arange(1.0, 13.0),
        "f": list("uvw" * 4),
        "g": np.repeat([5, 7, 9, 11], 3),
        "h": list("aabb") * 3,
    }
)
TABLE = Table.from_input(FRAME)
ONE = TermList(True)


def part(*names, intercept=True):
    return TermList(intercept, tuple(tuple(Variable(v) for v in name.split(":")) for name in names))


def learn(*random, fixed=ONE, table=TABLE, **columns):
    return DesignEncoder.learn(ModelSpec(fixed, random), table, **columns)


def test_a_design_in_arrays():
    encoder, design = learn(
        RandomTerm(ONE, ("h",)), RandomTerm(part("x"), ("g",)), fixed=part("x", "f")
    )
    assert design.fixed_names == ("Intercept", "x", "f[v]", "f[w]")
    assert design.has_intercept
    h, g = design.factors
    assert (h.name, h.n_levels, h.basis, h.term_names, h.blocks) == (
        "h", 2, None, ("Intercept",), ((0, 1),),
    )  # fmt: skip
    assert (g.name, g.n_levels, g.term_names, g.blocks) == (
        "g", 4, ("Intercept", "x"), ((0, 2),),
    )  # fmt: skip
    np.testing.assert_array_equal(g.basis, np.column_stack([np.ones(12), FRAME["x"]]))
    assert g.codes.dtype == np.int32
    assert g.codes.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert (design.offset, design.precision_weights) == (None, None)
    assert encoder.factor_names == ("h", "g")


def test_terms_on_one_factor_are_merged():
    _, design = learn(
        RandomTerm(ONE, ("g",)),
        RandomTerm(ONE, ("h",)),
        RandomTerm(part("x", intercept=False), ("g",)),
    )
    g, h = design.factors
    assert (g.name, g.term_names, g.blocks) == ("g", ("Intercept", "x"), ((0, 1), (1, 2)))
    np.testing.assert_array_equal(g.basis, np.column_stack([np.ones(12), FRAME["x"]]))
    assert h.name == "h"


def test_uncorrelated_effects_have_blocks_of_their_own():
    _, design = learn(RandomTerm(part("x", "f", "f:x"), ("g",), structure="diagonal"))
    (g,) = design.factors
    assert g.term_names == ("Intercept", "x", "f[v]", "f[w]", "f[v]:x", "f[w]:x")
    assert g.blocks == ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6))


def test_blocks_of_merged_terms_follow_each_other():
    _, design = learn(RandomTerm(part("x"), ("g",)), RandomTerm(part("f", intercept=False), ("g",)))
    assert design.factors[0].term_names == ("Intercept", "x", "f[u]", "f[v]", "f[w]")
    assert design.factors[0].blocks == ((0, 2), (2, 5))


def test_interactions_in_either_order_are_one_factor():
    _, design = learn(
        RandomTerm(ONE, ("g", "h")), RandomTerm(part("x", intercept=False), ("h", "g"))
    )
    assert [factor.name for factor in design.factors] == ["g:h"]
    assert design.factors[0].term_names == ("Intercept", "x")


def test_effects_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ValueError, match=r"'Intercept' varies by 'g' in two terms"):
        learn(RandomTerm(ONE, ("g",)), RandomTerm(part("x"), ("g",)))
    with pytest.raises(ValueError, match=r"'x' varies by 'g' in two terms"):
        learn(RandomTerm(part("x"), ("g",)), RandomTerm(part("x", intercept=False), ("g",)))


def test_a_column_on_both_sides_of_a_bar_is_refused():
    with pytest.raises(ValueError, match=r"'g' is both an effect and the group of"):
        learn(RandomEffect("g", slopes=["g"]).to_term())
    with pytest.raises(ValueError, match=r"'g' is both an effect and the group.*'g:h'"):
        learn(RandomEffect(("g", "h"), slopes=["h", "g"]).to_term())
    _, design = learn(RandomTerm(part("h", intercept=False), ("g", "h"), structure="diagonal"))
    assert [factor.name for factor in design.factors] == ["g:h"]
    _, design = learn(RandomTerm(ONE, ("h",)), fixed=part("h"))
    assert design.fixed_names == ("Intercept", "h[b]")


def test_groups_are_refused_when_written_oddly():
    with pytest.raises(ValueError, match=r"'g:g' lists a column twice"):
        learn(RandomTerm(ONE, ("g", "g")))
    table = Table.from_input(FRAME.rename(columns={"x": "g:h"}).assign(**{"g:h": FRAME["g"]}))
    with pytest.raises(ValueError, match=r"both be called 'g:h'"):
        learn(RandomTerm(ONE, ("g:h",)), RandomTerm(ONE, ("g", "h")), table=table)


def test_no_fixed_effects_at_all():
    _, design = learn(RandomTerm(ONE, ("g",)), fixed=TermList(False))
    assert design.fixed.shape == (12, 0)
    assert (design.fixed_names, design.has_intercept) == ((), False)


def test_transform_of_training_data_is_the_training_design():
    encoder, design = learn(
        RandomTerm(part("x", "f"), ("g",)), RandomTerm(ONE, ("g", "h")),
        fixed=part("x", "f"), offset="x", precision_weights="w",
    )  # fmt: skip
    again = pickle.loads(pickle.dumps(encoder)).transform(TABLE, with_weights=True)
    np.testing.assert_array_equal(again.fixed, design.fixed)
    np.testing.assert_array_equal(again.offset, FRAME["x"])
    np.testing.assert_array_equal(again.precision_weights, FRAME["w"])
    for new, old in zip(again.factors, design.factors, strict=True):
        np.testing.assert_array_equal(new.codes, old.codes)
        assert (new.name, new.term_names, new.blocks) == (old.name, old.term_names, old.blocks)
    np.testing.assert_array_equal(again.factors[0].basis, design.factors[0].basis)


def test_new_data_may_hold_unknown_and_missing_labels():
    encoder, _ = learn(RandomTerm(ONE, ("g",)), RandomTerm(ONE, ("g", "h")), fixed=part("x"))
    new = pd.DataFrame({"h": ["a", None, "b"], "g": [9, 5, 6], "x": [1.0, 2.0, 3.0]})
    design = encoder.transform(Table.from_input(new))
    assert design.factors[0].codes.tolist() == [2, 0, -1]
    assert design.factors[1].codes.tolist() == [4, -1, -1]
    assert [factor.n_levels for factor in design.factors] == [4, 8]


def test_only_what_is_asked_for_is_read():
    encoder, _ = learn(
        RandomTerm(ONE, ("g",)), RandomTerm(part("w"), ("h",)), fixed=part("x"),
        precision_weights="w",
    )  # fmt: skip
    only_x = Table.from_input(FRAME[["x"]])
    assert encoder.transform(only_x, factors=()).factors == ()
    assert encoder.transform(only_x, factors=()).precision_weights is None
    chosen = encoder.transform(Table.from_input(FRAME[["g", "x"]]), factors=["g"])
    assert [factor.name for factor in chosen.factors] == ["g"]
    assert [f.name for f in encoder.transform(TABLE, factors="h").factors] == ["h"]
    assert [f.name for f in encoder.transform(TABLE, factors=["h", "g"]).factors] == ["g", "h"]
    with pytest.raises(ValueError, match=r"Group 'k' is not in the model.*'g', 'h'"):
        encoder.transform(TABLE, factors=["k"])
    with pytest.raises(ValueError, match="'w' is not in X"):
        encoder.transform(only_x, factors=(), with_weights=True)


def test_columns_nobody_uses_may_hold_anything():
    spec = (RandomTerm(ONE, ("g",)),)
    _, clean = learn(*spec, fixed=part("x"))
    broken = FRAME.assign(w=np.nan, f=None, h=[{}] * 12)
    _, design = learn(*spec, fixed=part("x"), table=Table.from_input(broken))
    np.testing.assert_array_equal(design.fixed, clean.fixed)
    np.testing.assert_array_equal(design.factors[0].codes, clean.factors[0].codes)


@pytest.mark.parametrize("value", [0.0, -1.5])
def test_weights_must_be_positive(value):
    frame = FRAME.assign(w=[1.0, 1.0, value] + [1.0] * 9)
    with pytest.raises(ValueError, match=f"column 'w' holds {value} in row 2"):
        learn(precision_weights="w", table=Table.from_input(frame))


def test_offsets_and_weights_must_be_finite_numbers():
    frame = FRAME.assign(x=[np.nan] + [1.0] * 11)
    with pytest.raises(ValueError, match="NaN in column 'x'"):
        learn(offset="x", table=Table.from_input(frame))
    with pytest.raises(ValueError, match="NaN in column 'x'"):
        learn(precision_weights="x", table=Table.from_input(frame))
    with pytest.raises(ValueError, match="'f' cannot be read as numbers: row 0 holds 'u'"):
        learn(offset="f")


def test_rows_in_pieces_equal_all_rows_at_once():
    encoder, design = learn(RandomTerm(part("x"), ("g",)), fixed=part("x", "f"), offset="w")
    pieces = [
        encoder.transform(Table.from_input(FRAME.iloc[start : start + 5])) for start in (0, 5, 10)
    ]
    np.testing.assert_array_equal(np.vstack([piece.fixed for piece in pieces]), design.fixed)
    codes = np.concatenate([piece.factors[0].codes for piece in pieces])
    np.testing.assert_array_equal(codes, design.factors[0].codes)


def test_permuted_rows_give_the_permuted_design():
    order = np.random.default_rng(3).permutation(12)
    spec = (RandomTerm(part("x"), ("g",)), RandomTerm(ONE, ("h",)))
    _, design = learn(*spec, fixed=part("f", "x"))
    _, permuted = learn(*spec, fixed=part("f", "x"), table=Table.from_input(FRAME.iloc[order]))
    np.testing.assert_array_equal(permuted.fixed, design.fixed[order])
    for new, old in zip(permuted.factors, design.factors, strict=True):
        np.testing.assert_array_equal(new.codes, old.codes[order])


def test_pickles_do_not_hold_the_data():
    n = 50_000
    frame = pd.DataFrame(
        {"x": np.arange(n) / n, "g": np.arange(n) // 5, "f": ["u", "v"] * (n // 2)}
    )
    encoder, _ = learn(RandomTerm(ONE, ("g",)), fixed=part("x", "f"), table=Table.from_input(frame))
    assert len(pickle.dumps(encoder)) < 5000
