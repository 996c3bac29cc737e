"""scikit-learn's callbacks: every iteration is reported, and older versions do without."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skmixed.callbacks
from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.callbacks import IterationCallbacks
from skmixed.datasets import make_mixed_classification, make_mixed_regression

HAS_CALLBACKS = importlib.util.find_spec("sklearn.callback") is not None
REGRESSION = make_mixed_regression(n_samples=150, groups=(10, 5), random_state=0)[:2]
COUNTS = make_mixed_regression(
    n_samples=150, groups=(10, 5), family="poisson", random_state=0
)[:2]  # fmt: skip
CLASSES = make_mixed_classification(n_samples=150, groups=(10, 5), random_state=0)[:2]
GROUPS = ["g0", "g1"]
CASES = {
    "gaussian": (MixedEffectsVIRegressor(GROUPS), REGRESSION, "r2"),
    "gaussian, iterative": (MixedEffectsVIRegressor(GROUPS, solver="iterative"), REGRESSION, "r2"),
    "poisson": (MixedEffectsVIRegressor(GROUPS, family="poisson"), COUNTS, "r2"),
    "bernoulli": (MixedEffectsVIClassifier(GROUPS), CLASSES, "neg_log_loss"),
}


class Recorder:
    """The parts of scikit-learn's context that an estimator uses, written down."""

    def __init__(self, calls, name="fit", stop_after=None):
        self.calls, self.name, self.stop_after = calls, name, stop_after

    def subcontext(self, task_name):
        return Recorder(self.calls, task_name, self.stop_after)

    def call_on_fit_task_begin(self, *, estimator, X, y, metadata):
        self.calls.append((self.name, "begin", X, y, metadata, None))

    def call_on_fit_task_end(self, *, estimator, X, y, metadata, reconstruction_attributes):
        attributes = reconstruction_attributes()
        self.calls.append((self.name, "end", X, y, metadata, attributes))
        ended = sum(call[:2] == ("iteration", "end") for call in self.calls)
        return self.stop_after is not None and ended >= self.stop_after


def recorded(estimator, stop_after=None):
    """The estimator with a recording context, on every version of scikit-learn, and its calls."""
    calls, sizes = [], []

    def start(max_subtasks):
        sizes.append(max_subtasks)
        return Recorder(calls, stop_after=stop_after)

    estimator._init_callback_context = start
    return estimator, calls, sizes


@pytest.mark.parametrize("kind", list(CASES))
def test_every_iteration_is_reported(kind):
    """A begin and an end each, inside those of the fit, with a model as it then stands."""
    estimator, (X, y), _ = CASES[kind]
    estimator, calls, sizes = recorded(clone(estimator))
    estimator.fit(X, y)
    iterations = ["iteration"] * 2 * estimator.n_iter_
    assert [call[0] for call in calls] == ["fit", *iterations, "fit"]
    assert [call[1] for call in calls] == [
        "begin", *["begin", "end"] * estimator.n_iter_, "end"
    ]  # fmt: skip
    assert sizes == [estimator.max_iter]
    assert all(call[2] is X and call[3] is y and call[4] == {} for call in calls)
    path = [call[5]["elbo_"] for call in calls if call[:2] == ("iteration", "end")]
    np.testing.assert_allclose(path, estimator.elbo_path_[1:], rtol=1e-12)
    assert set(calls[-1][5]) <= set(vars(estimator))
    assert calls[-1][5]["elbo_"] == estimator.elbo_
    np.testing.assert_array_equal(calls[-1][5]["coef_"], estimator.coef_)


def test_weights_are_handed_on():
    estimator, calls, _ = recorded(MixedEffectsVIRegressor(GROUPS))
    weights = np.ones(150)
    estimator.fit(*REGRESSION, sample_weight=weights)
    assert all(call[4]["sample_weight"] is weights for call in calls)


def test_a_callback_may_stop_the_fit():
    estimator, calls, _ = recorded(MixedEffectsVIRegressor(GROUPS), stop_after=1)
    with pytest.warns(ConvergenceWarning):
        estimator.fit(*REGRESSION)
    assert estimator.n_iter_ == 1
    assert not estimator.converged_
    assert calls[-1][:2] == ("fit", "end")


def test_an_estimator_without_a_context_reports_nothing():
    """What scikit-learn before 1.9 leads to: no context, no stop, no model made."""

    def refuse():
        raise AssertionError("nobody asked for a model")

    callbacks = IterationCallbacks(object(), *REGRESSION, None, max_iter=5)
    assert callbacks.iteration_done(refuse) is False
    assert callbacks.fit_done(refuse) is None


def test_stand_ins_for_versions_without_callbacks(monkeypatch):
    """The module as it is imported where scikit-learn has no callbacks."""
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    spec = importlib.util.spec_from_file_location("older", skmixed.callbacks.__file__)
    older = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(older)

    class Estimator(older.CallbackSupportMixin):
        @older.with_callbacks
        def fit(self, X):
            """Return what was passed."""
            return X

    assert Estimator().fit(3) == 3
    assert Estimator.fit.__doc__ == "Return what was passed."
    assert not hasattr(Estimator(), "set_callbacks")
    assert older.IterationCallbacks(Estimator(), 1, 2, None, 5).iteration_done(dict) is False


@pytest.mark.parametrize("kind", list(CASES))
def test_estimators_follow_the_installed_version(kind):
    estimator = CASES[kind][0]
    assert hasattr(estimator, "set_callbacks") == HAS_CALLBACKS
    version = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
    assert (version >= (1, 9)) == HAS_CALLBACKS


if HAS_CALLBACKS:
    import rich
    from sklearn.callback import ProgressBar, ScoringMonitor

    @pytest.fixture(autouse=True)
    def _wide_terminal(monkeypatch):
        # narrow ones cut names of tasks
        monkeypatch.setenv("COLUMNS", "200")
        # the console is shared, and keeps the width that it was made with
        rich.reconfigure()

    @pytest.mark.parametrize("kind", list(CASES))
    def test_scores_of_every_iteration(kind):
        """The last iteration is the fitted model."""
        estimator, (X, y), scoring = CASES[kind]
        monitor = ScoringMonitor(scoring=scoring)
        estimator = clone(estimator).set_callbacks(monitor).fit(X, y)
        log = monitor.get_logs().data_as_pandas
        iterations = log[log["task_name"] == "iteration"]
        assert iterations["task_id"].tolist() == list(range(estimator.n_iter_))
        final = sklearn.metrics.get_scorer(scoring)(estimator, X, y)
        assert log.loc[log["task_name"] == "fit", scoring].tolist() == [final]
        assert iterations[scoring].iloc[-1] == pytest.approx(final, rel=1e-6)
        assert np.isfinite(iterations[scoring]).all()

    @pytest.mark.parametrize("kind", list(CASES))
    def test_callbacks_do_not_change_a_fit(kind):
        estimator, (X, y), scoring = CASES[kind]
        plain = clone(estimator).fit(X, y)
        watched = clone(estimator).set_callbacks(ScoringMonitor(scoring=scoring)).fit(X, y)
        assert watched.elbo_ == plain.elbo_
        np.testing.assert_array_equal(watched.predict(X), plain.predict(X))
        assert set(vars(watched)) - set(vars(plain)) == {"_skl_callbacks"}

    @pytest.mark.parametrize("kind", ["gaussian", "bernoulli"])
    def test_progress_of_a_fit(kind, capfd):
        estimator, (X, y), _ = CASES[kind]
        clone(estimator).set_callbacks(ProgressBar()).fit(X, y)
        shown = capfd.readouterr().out
        assert f"{type(estimator).__name__} - fit" in shown
        assert "100%" in shown

    def test_a_failed_fit_takes_the_bar_down(capfd):
        estimator = MixedEffectsVIRegressor(["nowhere"]).set_callbacks(ProgressBar())
        with pytest.raises(ValueError, match="nowhere"):
            estimator.fit(*REGRESSION)
        estimator.set_params(random_effects=GROUPS).fit(*REGRESSION)
        assert "100%" in capfd.readouterr().out

    @pytest.mark.parametrize("kind", ["gaussian", "bernoulli"])
    def test_in_a_pipeline(kind, capfd):
        estimator, (X, y), scoring = CASES[kind]
        monitor = ScoringMonitor(scoring=scoring)
        pipeline = make_pipeline(FunctionTransformer(), clone(estimator).set_callbacks(monitor))
        pipeline.set_callbacks(ProgressBar())
        with pytest.warns(UserWarning, match="FunctionTransformer does not support callbacks"):
            pipeline.fit(X, y)
        log = monitor.get_logs().data_as_pandas
        assert (log["task_name"] == "iteration").sum() == pipeline[-1].n_iter_
        shown = capfd.readouterr().out
        assert "Pipeline - fit" in shown
        assert f"{type(estimator).__name__} - fit" in shown

    @pytest.mark.parametrize("kind", ["gaussian", "bernoulli"])
    def test_in_a_grid_search(kind, capfd):
        """Four fits of the search and the last one each have a log and a bar."""
        estimator, (X, y), scoring = CASES[kind]
        monitor = ScoringMonitor(scoring=scoring)
        estimator = clone(estimator).set_callbacks(monitor)
        search = GridSearchCV(estimator, {"method": ["ml", "reml"]}, cv=2, scoring=scoring)
        search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, y)
        log = monitor.get_logs().data_as_pandas
        assert (log["task_name"] == "fit").sum() == 5
        assert log[scoring].notna().all()
        final = log.loc[log["task_name"] == "fit", scoring].iloc[0]
        assert final == sklearn.metrics.get_scorer(scoring)(search.best_estimator_, X, y)
        shown = capfd.readouterr().out
        assert "GridSearchCV - fit" in shown
        assert shown.count(f"| {type(estimator).__name__} - fit") >= 5
