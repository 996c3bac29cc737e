"""Linear parts: R's columns, functions that remember the training data, clear refusals."""

import pickle

import numpy as np
import pandas as pd
import pytest

from skmixed.design.basis import Basis
from skmixed.design.functions import learn_function
from skmixed.design.table import Table
from skmixed.spec import TermList, Variable

FRAME = pd.DataFrame(
    {
        "x": [1.5, 2, -1, 0.5, 3, 1, 2, 4],
        "z": [1, 0, 2, 1, 3, 1, 0, 2],
        "a": list("pqrpqrpq"),
        "b": list("uvuvvuuv"),
    }
)


def terms(text):
    """Terms of a text such as "0 + x + a:b"."""
    parts = text.replace(" ", "").split("+")
    names = [part for part in parts if part not in ("0", "1")]
    return TermList(
        "0" not in parts,
        tuple(tuple(Variable(name) for name in part.split(":")) for part in names),
    )


def learn(text, frame=FRAME):
    return Basis.learn(terms(text), Table.from_input(frame))


# Column names and sum over i, j of i * j * X[i, j] from R's model.matrix.
R_MATRICES = [
    ("1", "Intercept", 36),
    ("a", "Intercept a[q] a[r]", 93),
    ("0 + a", "a[p] a[q] a[r]", 69),
    ("a + b", "Intercept a[q] a[r] b[v]", 169),
    ("0 + a + b", "a[p] a[q] a[r] b[v]", 145),
    ("0 + x + a", "x a[p] a[q] a[r]", 176.5),
    ("a + b + a:b", "Intercept a[q] a[r] b[v] a[q]:b[v] a[r]:b[v]", 244),
    (
        "a:b",
        "Intercept a[p]:b[u] a[q]:b[u] a[r]:b[u] a[p]:b[v] a[q]:b[v] a[r]:b[v]",
        198,
    ),
    ("0 + a:b", "a[p]:b[u] a[q]:b[u] a[r]:b[u] a[p]:b[v] a[q]:b[v] a[r]:b[v]", 126),
    ("a + a:b", "Intercept a[q] a[r] a[p]:b[v] a[q]:b[v] a[r]:b[v]", 184),
    ("x:a", "Intercept x:a[p] x:a[q] x:a[r]", 236),
    ("x + x:a", "Intercept x x:a[q] x:a[r]", 344),
    ("a + a:x", "Intercept a[q] a[r] a[p]:x a[q]:x a[r]:x", 436),
    ("0 + a + a:x", "a[p] a[q] a[r] a[p]:x a[q]:x a[r]:x", 412),
    (
        "a:x:b",
        "Intercept a[p]:x:b[u] a[q]:x:b[u] a[r]:x:b[u] a[p]:x:b[v] a[q]:x:b[v] a[r]:x:b[v]",
        395,
    ),
    (
        "x + a + b + x:a + x:b + a:b + x:a:b",
        "Intercept x a[q] a[r] b[v] x:a[q] x:a[r] x:b[v] a[q]:b[v] a[r]:b[v] "
        "x:a[q]:b[v] x:a[r]:b[v]",
        1802,
    ),
    ("0 + a + b + a:b", "a[p] a[q] a[r] b[v] a[q]:b[v] a[r]:b[v]", 220),
    ("x:z", "Intercept x:z", 261),
    ("0 + b + x:a", "b[u] b[v] x:a[p] x:a[q] x:a[r]", 326.5),
]


@pytest.mark.parametrize(("text", "names", "checksum"), R_MATRICES)
def test_columns_are_those_of_r(text, names, checksum):
    basis = learn(text)
    matrix = basis.matrix(Table.from_input(FRAME))
    assert " ".join(basis.names) == names
    assert matrix.dtype == np.float64
    assert matrix.flags.c_contiguous
    assert matrix.shape == (8, len(basis.names))
    weights = np.outer(np.arange(1, 9), np.arange(1, matrix.shape[1] + 1))
    assert (matrix * weights).sum() == pytest.approx(checksum, abs=1e-12)
    stops = [stop for _, stop in basis.slices]
    assert [start for start, _ in basis.slices] == [0, *stops[:-1]]
    assert stops[-1] == len(basis.names)


def test_without_an_intercept_the_model_keeps_its_full_rank():
    # R codes `a` in full here although x is in the model, which repeats a column.
    basis = learn("0 + x + x:a")
    matrix = basis.matrix(Table.from_input(FRAME))
    assert basis.names == ("x", "x:a[q]", "x:a[r]")
    assert np.linalg.matrix_rank(matrix) == 3


def test_no_columns_at_all():
    basis = learn("0")
    assert basis.names == ()
    assert basis.matrix(Table.from_input(FRAME)).shape == (8, 0)


@pytest.mark.parametrize("kind", ["array", "float32", "fortran", "frame", "mixed", "list"])
@pytest.mark.parametrize("intercept", [True, False])
def test_plain_columns_are_taken_at_once(kind, intercept):
    X = np.arange(12.0).reshape(4, 3)
    data = {
        "array": X,
        "float32": X.astype(np.float32),
        "fortran": np.asfortranarray(X),
        "frame": pd.DataFrame(X),
        "mixed": pd.DataFrame(X).astype({1: "int64", 2: "Float64"}),
        "list": X.tolist(),
    }[kind]
    table = Table.from_input(data)
    for keys in ((0, 1, 2), (2, 0)):
        spec = TermList(intercept, tuple((Variable(key),) for key in keys))
        basis = Basis.learn(spec, table)
        expected = np.column_stack([np.ones(4), X[:, keys]])[:, 0 if intercept else 1 :]
        matrix = basis.matrix(table)
        np.testing.assert_array_equal(matrix, expected)
        assert matrix.flags.c_contiguous
        assert basis.names == ("Intercept",) * intercept + tuple(map(str, keys))


def test_booleans_are_numbers_and_categories_of_numbers_are_labels():
    frame = pd.DataFrame({"t": [True, False, True], "c": pd.Categorical([2, 1, 2])})
    basis = learn("t + c", frame)
    assert basis.names == ("Intercept", "t", "c[2]")
    np.testing.assert_array_equal(
        basis.matrix(Table.from_input(frame)), [[1, 1, 1], [1, 0, 0], [1, 1, 1]]
    )


def test_numbers_become_labels_where_asked():
    spec = TermList(True, ((Variable("z", categorical=True),),))
    basis = Basis.learn(spec, Table.from_input(FRAME))
    assert basis.names == ("Intercept", "C(z)[1]", "C(z)[2]", "C(z)[3]")
    with pytest.raises(ValueError, match="applies a function to labels"):
        Basis.learn(TermList(True, ((Variable("z", ("log",), True),),)), Table.from_input(FRAME))


def test_category_order_decides_the_reference():
    frame = pd.DataFrame({"a": pd.Categorical(["lo", "hi"], categories=["x", "lo", "hi"])})
    assert learn("a", frame).names == ("Intercept", "a[hi]")


def test_subsets_of_rows_give_the_same_columns():
    basis = learn("x + a + a:x")
    table = Table.from_input(FRAME)
    whole = basis.matrix(table)
    copied = pickle.loads(pickle.dumps(basis))
    for row in range(8):
        np.testing.assert_array_equal(
            copied.matrix(Table.from_input(FRAME.iloc[[row]])), whole[[row]]
        )
    shuffled = FRAME[["b", "a", "z", "x"]].iloc[::-1]
    np.testing.assert_array_equal(basis.matrix(Table.from_input(shuffled)), whole[::-1])


def test_unseen_levels_are_refused_with_the_known_ones():
    new = FRAME.assign(a=["p", "q", "NEW", "p", "q", "r", "p", "q"])
    with pytest.raises(
        ValueError, match=r"'a' holds 'NEW' in row 2.*known levels are 'p', 'q', 'r'"
    ):
        learn("a").matrix(Table.from_input(new))


def test_missing_values_are_refused_only_in_columns_that_are_used():
    broken = FRAME.assign(z=np.nan, b=None)
    np.testing.assert_array_equal(
        learn("x + a", broken).matrix(Table.from_input(broken)),
        learn("x + a").matrix(Table.from_input(FRAME)),
    )
    table = Table.from_input(broken)
    for text in ("x + z", "x:z", "z + a", "0 + z"):
        with pytest.raises(ValueError, match=r"NaN in column 'z'.*0 non-NA cases"):
            learn(text).matrix(table)
    with pytest.raises(ValueError, match=r"NaN in column 'b': 8 missing label"):
        learn("a + b").matrix(table)
    holes = FRAME.assign(a=["p", "q", None, "p", "q", "r", "p", "q"])
    with pytest.raises(
        ValueError, match=r"NaN in column 'a': 1 missing label\(s\), the first in row 2"
    ):
        learn("a", holes)
    with pytest.raises(ValueError, match=r"infinity in column 'x': the first is inf in row 0"):
        learn("x").matrix(Table.from_input(FRAME.assign(x=np.inf)))


def test_single_levels_and_equal_names_are_refused():
    with pytest.raises(ValueError, match=r"'a' has the single level 'p'"):
        learn("a", FRAME.assign(a="p"))
    with pytest.raises(ValueError, match=r"would both be called 'x'"):
        learn("x + x")
    with pytest.raises(ValueError, match=r"would both be called 'Intercept'"):
        learn("Intercept", FRAME.rename(columns={"x": "Intercept"}))


def test_functions_nest_and_remember_the_training_data():
    spec = TermList(
        False,
        (
            (Variable("x", ("abs", "log")),),
            (Variable("x", ("scale",)),),
            (Variable("z", ("log1p", "center")),),
            (Variable("z", ("sqrt",)), Variable("x", ("exp",))),
        ),
    )
    table = Table.from_input(FRAME)
    basis = Basis.learn(spec, table)
    x, z = FRAME["x"], FRAME["z"]
    expected = np.column_stack(
        [
            np.log(np.abs(x)),
            (x - x.mean()) / x.std(),
            np.log1p(z) - np.log1p(z).mean(),
            np.sqrt(z) * np.exp(x),
        ]
    )
    assert basis.names == ("log(abs(x))", "scale(x)", "center(log1p(z))", "sqrt(z):exp(x)")
    np.testing.assert_allclose(basis.matrix(table), expected, rtol=1e-14)
    np.testing.assert_allclose(
        basis.matrix(Table.from_input(FRAME.iloc[2:3])), expected[2:3], rtol=1e-14
    )


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("log", [1.0, 0.0], r"log\(\) of column 'x' is -inf in row 1, where the value is 0.0"),
        ("sqrt", [-4.0, 1.0], r"sqrt\(\) of column 'x' is nan in row 0"),
        ("exp", [1.0, 1000.0], r"exp\(\) of column 'x' is inf in row 1"),
        ("scale", [0.1, 0.1, 0.1], r"scale\(\) of column 'x': all values are 0.1"),
        ("poly", [1.0, 2.0], r"'poly' on column 'x' is not known; use one of log, "),
    ],
)
def test_functions_refuse_what_they_cannot_do(name, values, message):
    spec = TermList(True, ((Variable("x", (name,)),),))
    with pytest.raises(ValueError, match=message):
        Basis.learn(spec, Table.from_input(pd.DataFrame({"x": values})))


def test_functions_refuse_new_values_outside_their_domain():
    function = learn_function("log", np.array([1.0, 2.0]), "x")
    with pytest.raises(ValueError, match="row 1"):
        function.apply(np.array([1.0, -1.0]), "x")
