"""Dask data frames against the same rows in memory."""

from __future__ import annotations

import os
import signal
import warnings

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from test_regressor_partial_fit import assert_same_fit

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.datasets import make_mixed_regression

N = 600
COLUMNS = ["x0", "z", "g0", "g1"]
MODEL = MixedEffectsVIRegressor(["(1 + z | g0)", "g1"])


@pytest.fixture(scope="module")
def rows():
    """Sorted by g0, so that most partitions have levels of their own."""
    X, y, _ = make_mixed_regression(n_samples=N, groups=(40, 8), random_state=0)
    rng = np.random.default_rng(1)
    X = X.assign(z=rng.normal(5.0, 2.0, N), y=np.asarray(y), w=rng.integers(0, 3, N) * 1.0)
    return X.sort_values("g0", kind="stable", ignore_index=True).set_index(np.arange(N) * 2)


@pytest.fixture(scope="module")
def expected(rows):
    return clone(MODEL).fit(rows[COLUMNS], rows["y"])


def fit(frame, model=MODEL):
    return clone(model).fit(frame[COLUMNS], frame["y"])


def from_parts(parts):
    """A Dask frame of just these partitions."""
    return dd.from_delayed([dask.delayed(part) for part in parts], meta=parts[0][:0])


# Fits --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
@pytest.mark.parametrize("npartitions", [1, 2, 13])
def test_equals_fit_in_memory(rows, expected, npartitions, scheduler):
    with dask.config.set(scheduler=scheduler):
        assert_same_fit(fit(dd.from_pandas(rows, npartitions=npartitions)), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"formula": "x0 * z + (1 + z | g0) + (1 | g0:g1)"},
        {"random_effects": ["g0", "g1"], "precision_weights": "z", "method": "ml"},
        {"random_effects": ["g0", "g1"], "offset": "x0", "fit_intercept": False},
        {"random_effects": ["g0", "g1"], "posterior": "mean_field"},
        {"random_effects": ["g0", "g1"], "solver": "iterative"},
    ],
)
def test_models(rows, options):
    rows = rows.assign(z=np.abs(rows["z"]) + 0.1)
    model = MixedEffectsVIRegressor(**options)
    found = fit(dd.from_pandas(rows, npartitions=5), model)
    rtol = 1e-7 if found.solver_ == "iterative" else 1e-9
    assert_same_fit(found, clone(model).fit(rows[COLUMNS], rows["y"]), rtol=rtol)
    assert found.feature_names_in_.tolist() == COLUMNS


def test_labels_of_text(rows):
    """Dask makes Arrow strings of them; the levels are the same."""
    rows = rows.assign(g0=rows["g0"].map("level {}".format), g1=rows["g1"].astype("category"))
    model = MixedEffectsVIRegressor()
    found = fit(dd.from_pandas(rows, npartitions=4), model)
    known = clone(model).fit(rows[COLUMNS], rows["y"])
    assert found.elbo_ == pytest.approx(known.elbo_, rel=1e-12)
    for group in ("g0", "g1"):
        effects, reference = found.random_effects_[group], known.random_effects_[group]
        assert effects.index.tolist() == reference.index.tolist()
        np.testing.assert_allclose(effects, reference, rtol=1e-9, atol=1e-9)


def test_labels_by_appearance(rows):
    """Without a common order labels come as in the rows, whatever is merged first."""
    labels = [7, "c", 3, "a", 5, "b", 1, "d"]
    rows = rows.assign(g1=rows["g1"].map(dict(enumerate(labels))).astype(object))
    parts = np.array_split(np.arange(N), 30)
    with dask.config.set({"dataframe.convert-string": False}):
        found = fit(from_parts([rows.iloc[part] for part in parts]))
    assert_same_fit(found, clone(MODEL).fit(rows[COLUMNS], rows["y"]))


@pytest.mark.parametrize("smallest", [1, "1MiB"])
def test_parquet(rows, expected, tmp_path, smallest):
    """Dask joins small files by the columns that are read: X and y must stay together."""
    others = rows.assign(text="some text", number=np.random.default_rng(0).normal(size=N))
    for k, part in enumerate(np.array_split(np.arange(N), 8)):
        others.iloc[part].to_parquet(tmp_path / f"part-{k}.parquet")
    with dask.config.set({"dataframe.parquet.minimum-partition-size": smallest}):
        frame = dd.read_parquet(tmp_path)
        assert frame.npartitions == 8
        assert_same_fit(fit(frame), expected)
        mean = fit(frame).predict(frame[COLUMNS]).compute()
    np.testing.assert_allclose(mean, expected.predict(rows[COLUMNS]), rtol=1e-9)


def test_partitions_are_read_once(rows, expected):
    """X, y and weights together; the first partition once more, for the units."""
    read = []

    def load(k):
        read.append(k)
        return rows[k * 150 : (k + 1) * 150].assign(w=1.0)

    frame = dd.from_map(load, range(4), meta=rows[:0])
    with dask.config.set(scheduler="synchronous"):
        model = clone(MODEL).fit(frame[COLUMNS], frame["y"], sample_weight=frame["w"])
    assert sorted(read) == [0, 0, 1, 2, 3]
    assert_same_fit(model, expected)


@pytest.mark.parametrize("first", [0, 3])
def test_empty_partitions(rows, expected, first):
    parts = [rows[:250], rows[:0], rows[250:251], rows[251:], rows[:0]]
    frame = from_parts([*([rows[:0]] * first), *parts])
    assert_same_fit(fit(frame), expected)
    assert len(expected.predict(rows[COLUMNS])) == len(fit(frame).predict(frame[COLUMNS]))


def test_case_weights(rows):
    """Rows of weight 0 are absent; a partition may have no others."""
    rows = rows.assign(w=np.where(np.arange(N) < 150, 0.0, rows["w"]))
    frame = from_parts([rows[:100], rows[100:300], rows[300:]])
    found = clone(MODEL).fit(frame[COLUMNS], frame["y"], sample_weight=frame["w"])
    assert_same_fit(
        found, clone(MODEL).fit(rows[COLUMNS], rows["y"], sample_weight=rows["w"].to_numpy())
    )


def test_partial_fit_goes_on(rows, expected):
    model = fit(dd.from_pandas(rows[:400], npartitions=3))
    assert model.n_observations_ == 400
    assert_same_fit(model.partial_fit(rows[400:][COLUMNS], rows["y"][400:]), expected)
    # and a fit, of either kind, begins anew
    assert fit(dd.from_pandas(rows[:400], npartitions=3), model).n_observations_ == 400


# Predictions -------------------------------------------------------------------------


@pytest.fixture
def new(rows):
    """Rows to predict, some of unknown levels; the index is not that of the positions."""
    return rows[COLUMNS].assign(g0=rows["g0"].where(np.arange(N) % 3 > 0, 999))


@pytest.mark.parametrize("include", ["all", "none", ["g1"]])
def test_predictions(rows, expected, new, include):
    frame = dd.from_pandas(new, npartitions=4)
    mean = expected.predict(frame, include=include)
    assert isinstance(mean, dd.Series)
    assert mean.npartitions == 4
    known, known_std = expected.predict(new, return_std=True, include=include)
    pd.testing.assert_series_equal(mean.compute(), pd.Series(known, new.index, name="mean"))
    mean, std = expected.predict(frame, return_std=True, include=include)
    np.testing.assert_array_equal(mean.compute(), known)
    np.testing.assert_array_equal(std.compute(), known_std)
    assert std.compute().index.equals(new.index)


def test_predictions_are_lazy_and_of_the_model_as_it_was(rows, expected, new):
    model = clone(MODEL).fit(rows[COLUMNS], rows["y"])
    mean = model.predict(dd.from_pandas(new.assign(x0="text"), npartitions=2))
    with pytest.raises(ValueError, match="x0"):
        mean.compute()
    mean = model.predict(dd.from_pandas(new, npartitions=2))
    model.fit(rows[COLUMNS][:300], rows["y"][:300])
    np.testing.assert_array_equal(mean.compute(), expected.predict(new))


def test_predictions_of_empty_partitions(rows, expected, new):
    mean, std = expected.predict(from_parts([new[:0], new[:7], new[:0]]), return_std=True)
    np.testing.assert_array_equal(mean.compute(), expected.predict(new[:7]))
    assert len(std) == 7


def test_unknown_levels_can_be_refused(rows, expected, new):
    strict = clone(MODEL).set_params(handle_unknown="error").fit(rows[COLUMNS], rows["y"])
    with pytest.raises(ValueError, match="'g0' has the level '999'"):
        strict.predict(dd.from_pandas(new, npartitions=2)).compute()


# Errors ------------------------------------------------------------------------------


def test_errors(rows):
    frame = dd.from_pandas(rows, npartitions=4)
    X = frame[COLUMNS]
    with pytest.raises(ValueError, match="X is a Dask data frame and y a ndarray"):
        clone(MODEL).fit(X, rows["y"].to_numpy())
    with pytest.raises(ValueError, match="and y a NoneType"):
        clone(MODEL).fit(X, None)
    with pytest.raises(ValueError, match="and sample_weight a Series"):
        clone(MODEL).fit(X, frame["y"], sample_weight=rows["w"])
    with pytest.raises(ValueError, match="X has 4 partitions and y has 2"):
        clone(MODEL).fit(X, frame["y"].repartition(npartitions=2))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        clone(MODEL).fit(X, from_parts([rows[:10]] * 4)["y"])
    with pytest.raises(ValueError, match="no rows in any partition"):
        fit(from_parts([rows[:0]] * 2))
    with pytest.raises(ValueError, match="no rows in any partition, or all have weight 0"):
        clone(MODEL).fit(X, frame["y"], sample_weight=0.0 * frame["w"])
    with pytest.raises(ValueError, match="method='m'"):
        fit(frame, MixedEffectsVIRegressor(method="m"))
    with pytest.raises(ValueError, match="'nowhere'"):
        fit(frame, MixedEffectsVIRegressor("nowhere"))
    with pytest.raises(ValueError, match="y contains NaN"):
        clone(MODEL).fit(X, frame["y"].where(frame["y"] > 0))
    with pytest.raises(NotFittedError):
        clone(MODEL).predict(X)


def test_too_little_data(rows):
    for model, parts, message in (
        (MODEL, [rows[:1], rows[1:2]], "g0.*level"),
        (MixedEffectsVIRegressor(None), [rows[:1], rows[:0]], "single row"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(from_parts(parts), model)


def test_labels_that_the_first_partition_does_not_know(rows):
    text = rows.assign(z=np.where(np.arange(N) < 400, np.tile(["a", "b"], N // 2), "c"))
    with pytest.raises(ValueError, match="declare the column as a pandas"):
        fit(from_parts([text[:300], text[300:]]), MixedEffectsVIRegressor(formula="z + (1 | g0)"))


# A cluster ---------------------------------------------------------------------------


class KillAt(SchedulerPlugin):
    """Kills a worker process when so many tasks are done."""

    name = "kill-at"

    def __init__(self, kill_at, victim):
        self.finished = 0
        self.kill_at = kill_at
        self.victim = victim
        self.killed = False

    def transition(self, key, start, finish, *args, **kwargs):
        if (start, finish) != ("processing", "memory"):
            return
        self.finished += 1
        if self.finished == self.kill_at:
            os.kill(self.victim, signal.SIGKILL)
            self.killed = True


@pytest.fixture(scope="module")
def cluster():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
        ) as cluster:
            yield cluster


def test_cluster(rows, expected, cluster):
    """As in memory; and again while one of the two workers is killed."""
    frame = dd.from_pandas(rows, npartitions=20)
    with Client(cluster) as client:
        assert_same_fit(fit(frame), expected)
        mean = expected.predict(frame[COLUMNS]).compute()
        np.testing.assert_array_equal(mean, expected.predict(rows[COLUMNS]))
        watch = KillAt(12, next(iter(client.run(os.getpid).values())))
        cluster.scheduler.add_plugin(watch)
        try:
            found = fit(frame)
        finally:
            cluster.scheduler.remove_plugin(watch.name)
        assert watch.killed
        assert_same_fit(found, expected)


# Intervals, quantiles, probabilities ---------------------------------------------------------


def test_intervals_and_quantiles_are_lazy_and_those_in_memory(rows, expected, new):
    frame = dd.from_pandas(new, npartitions=3)
    interval = expected.predict_interval(frame, level=0.8, include=["g1"])
    assert interval.columns.tolist() == ["lower", "upper"]
    assert not isinstance(interval, pd.DataFrame)
    found = interval.compute()
    assert found.index.equals(new.index)
    in_memory = expected.predict_interval(new, level=0.8, include=["g1"])
    np.testing.assert_allclose(found, in_memory, rtol=1e-12)
    median = expected.predict_quantile(frame, 0.5).compute()
    np.testing.assert_allclose(median, expected.predict_quantile(new, 0.5), rtol=1e-12)
    several = expected.predict_quantile(frame, [0.1, 0.9])
    assert several.columns.tolist() == [0.1, 0.9]
    np.testing.assert_allclose(several.compute(), expected.predict_quantile(new, [0.1, 0.9]))
    # what is wrong is told at the call
    with pytest.raises(ValueError, match="level=2"):
        expected.predict_interval(frame, level=2)
    with pytest.raises(ValueError, match="include names 'g9'"):
        expected.predict_interval(frame, include=["g9"])
    with pytest.raises(NotFittedError):
        clone(MODEL).predict_interval(frame)


def test_intervals_of_empty_partitions(expected, new):
    interval = expected.predict_interval(from_parts([new[:0], new[:7], new[:0]])).compute()
    np.testing.assert_allclose(interval, expected.predict_interval(new[:7]), rtol=1e-12)


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 8], [False, True]])
def test_classes_and_probabilities(rows, new, labels):
    y = np.array(labels)[(rows["y"] > rows["y"].median()).astype(int)]
    model = MixedEffectsVIClassifier(["g0"], keep_data=True).fit(rows[COLUMNS], y)
    frame = from_parts([new[:0], new[:9], new[9:]])
    proba = model.predict_proba(frame, include="none")
    assert proba.columns.tolist() == labels
    expected = model.predict_proba(new, include="none")
    np.testing.assert_allclose(proba.compute(), expected, rtol=1e-12)
    classes = model.predict(frame)
    assert classes.dtype == classes.compute().dtype
    assert classes.compute().tolist() == model.predict(new).tolist()
    link = model.predict(frame, type="link").compute()
    np.testing.assert_allclose(link, model.predict(new, type="link"), rtol=1e-12)
    with pytest.raises(NotFittedError):
        clone(model).predict_proba(frame)
