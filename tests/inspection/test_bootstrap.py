"""The parametric bootstrap, against lme4's `bootMer` and dense moments of its draws."""

import builtins
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skmixed import (
    MixedEffectsVIClassifier,
    MixedEffectsVIRegressor,
    mixed,
    parametric_bootstrap,
)
from skmixed.datasets import load_sleepstudy, make_mixed_classification, make_mixed_regression
from skmixed.fitted_model import fitted_model
from skmixed.inspection.bootstrap_result import BootstrapResult
from skmixed.inspection.simulation import ResponseSimulator


def estimates(model):
    """Coefficients and standard deviations of a model with one random slope."""
    sds = model.variance_components_["sd"].dropna()
    names = ["intercept", "slope", "sd_intercept", "sd_slope", "sd_noise"]
    return dict(zip(names, [model.intercept_, *model.coef_, *sds], strict=True))


@pytest.fixture(scope="module")
def sleep():
    X, y = load_sleepstudy(return_X_y=True)
    return mixed("Reaction ~ Days + (Days|Subject)", X.assign(Reaction=y)), X


@pytest.fixture(scope="module")
def small():
    X, y, _ = make_mixed_regression(120, 1, (12,), random_state=0)
    return MixedEffectsVIRegressor("g0").fit(X, y), X


def test_standard_errors_as_bootmer(sleep):
    model, X = sleep
    result = parametric_bootstrap(model, estimates, X, n_resamples=200, random_state=0)
    # lme4 1.1: apply(bootMer(m, f, nsim = 1000, seed = 1)$t, 2, sd), and the bias
    boot_mer = [6.79185199920, 1.54150078417, 6.02691834581, 1.27250709811, 1.44584278419]
    bias = [-0.1570271302315, 0.0429881379503, -0.6044345948208, -0.1368878594928, 0.0171809125448]
    # 200 fits know a standard error to 5 %, 1000 to 2.2 %: three of both together
    assert result.standard_error.tolist() == pytest.approx(boot_mer, rel=0.165)
    uncertainty = 3.0 * np.array(boot_mer) * np.sqrt(1 / 200 + 1 / 1000)
    assert (np.abs(result.bias - bias) < uncertainty).all()
    asymptotic = np.sqrt(np.diagonal(model.coef_cov_))
    assert result.standard_error.iloc[:2].tolist() == pytest.approx(asymptotic.tolist(), rel=0.15)
    assert (result.n_failed, result.n_unconverged) == (0, 0)


def test_equal_seeds_give_equal_values_whatever_n_jobs(small):
    model, X = small
    options = {"n_resamples": 6, "random_state": 3}
    first = parametric_bootstrap(model, coefficients, X, **options)
    pd.testing.assert_frame_equal(
        parametric_bootstrap(model, coefficients, X, **options).values, first.values
    )
    parallel = parametric_bootstrap(model, coefficients, X, n_jobs=2, **options)
    pd.testing.assert_frame_equal(parallel.values, first.values, check_exact=True)
    more = parametric_bootstrap(model, coefficients, X, n_resamples=8, random_state=3)
    pd.testing.assert_frame_equal(more.values.iloc[:6], first.values, check_exact=True)
    other = parametric_bootstrap(model, coefficients, X, n_resamples=6, random_state=4)
    assert not np.isclose(other.values, first.values).any()


def coefficients(model):
    return {"intercept": model.intercept_, "slope": model.coef_[0]}


def test_the_model_stays_as_it_is(small):
    model, X = small
    before = dict(vars(model))
    parametric_bootstrap(model, coefficients, X, n_resamples=3, random_state=0)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


def test_warm_starts_lead_where_cold_ones_do(small):
    model, X = small
    result = parametric_bootstrap(model, summary_of_fit, X, n_resamples=4, random_state=0)
    simulator = ResponseSimulator(fitted_model(model), X)
    seeds = np.random.SeedSequence(
        np.random.RandomState(0).randint(2**31 - 1, size=4).tolist()
    ).spawn(4)
    for seed, warm in zip(seeds, result.values.to_numpy(), strict=True):
        rng = np.random.default_rng(seed)
        rng.integers(2**31 - 1)
        cold = MixedEffectsVIRegressor("g0").fit(X, simulator.draw(rng))
        assert summary_of_fit(cold).tolist() == pytest.approx(warm.tolist(), rel=1e-5)


def summary_of_fit(model):
    return np.array([model.elbo_, model.coef_[0], model.noise_variance_])


def test_other_models_are_fitted_to_the_same_responses(small):
    model, X = small
    y = np.sin(np.arange(len(X)))
    line = MixedEffectsVIRegressor(formula="x0").fit(X, y)
    twin = MixedEffectsVIRegressor(formula="x0 + (1 | g0)").fit(X, y)
    result = parametric_bootstrap(
        model,
        lambda *models: [each.elbo_ for each in models],
        X,
        others=[line, twin],
        n_resamples=4,
        random_state=0,
    )
    assert result.observed.tolist() == [model.elbo_, line.elbo_, twin.elbo_]
    assert result.values[2].tolist() == pytest.approx(result.values[0].tolist(), abs=1e-6)
    assert (result.values[1] < result.values[0]).all()


# Draws ---------------------------------------------------------------------------------------


def test_draws_have_the_mean_and_covariance_of_the_model():
    X, y, _ = make_mixed_regression(200, 1, (15, 9), n_slopes=(1, 0), random_state=0)
    X = X.assign(w=np.linspace(0.5, 3.0, 200), o=np.linspace(-1.0, 1.0, 200))
    model = MixedEffectsVIRegressor(
        formula="x0 + (x0 | g0) + (1 | g1)", precision_weights="w", offset="o"
    ).fit(X, y)
    # levels that the fit has seen, one that it has not, and rows without a label
    few = X.iloc[:8].assign(
        g0=[0, 0, 1, 99, 99, 1, 0, 99], g1=[0.0, 1.0, 0.0, 1.0, 0.0, np.nan, np.nan, 1.0]
    )
    z = np.column_stack([np.ones(8), few["x0"]])
    same_g0 = np.equal.outer(few["g0"].to_numpy(), few["g0"].to_numpy())
    same_g1 = np.equal.outer(few["g1"].to_numpy(), few["g1"].to_numpy()) | np.eye(8, dtype=bool)
    covariance = (
        same_g0 * (z @ model.random_effects_cov_["g0"].to_numpy() @ z.T)
        + same_g1 * model.random_effects_cov_["g1"].iloc[0, 0]
        + np.diag(model.noise_variance_ / few["w"])
    )
    mean = model.intercept_ + model.coef_[0] * few["x0"] + few["o"]
    simulator, rng = ResponseSimulator(fitted_model(model), few), np.random.default_rng(0)
    draws = np.array([simulator.draw(rng) for _ in range(20_000)])
    sd = np.sqrt(np.diagonal(covariance))
    assert np.abs((draws.mean(axis=0) - mean) / sd).max() < 4.0 / np.sqrt(20_000)
    found = np.cov(draws.T, ddof=0) / np.outer(sd, sd)
    # an entry of a correlation matrix has a standard error of 1.4 / sqrt(draws) at most
    assert np.abs(found - covariance / np.outer(sd, sd)).max() < 4.5 * 1.4 / np.sqrt(20_000)


def test_draws_of_counts_have_the_mean_of_new_levels():
    X, y, _ = make_mixed_regression(300, 1, (30,), family="poisson", random_state=0)
    model = MixedEffectsVIRegressor("g0", family="poisson").fit(X, y)
    few = X.iloc[:5]
    simulator, rng = ResponseSimulator(fitted_model(model), few), np.random.default_rng(0)
    draws = np.array([simulator.draw(rng) for _ in range(20_000)])
    variance = model.random_effects_cov_["g0"].iloc[0, 0]
    mean = np.exp(model.intercept_ + model.coef_[0] * few["x0"] + 0.5 * variance)
    error = draws.std(axis=0) / np.sqrt(20_000)
    assert (np.abs(draws.mean(axis=0) - mean) < 4.5 * error).all()
    assert (draws == np.round(draws)).all()
    assert (draws >= 0).all()


# Families ------------------------------------------------------------------------------------


def test_classes_with_names():
    X, y, _ = make_mixed_classification(300, 1, (20,), random_state=0)
    labels = np.where(y == 1, "yes", "no")
    model = MixedEffectsVIClassifier("g0").fit(X, labels)
    result = parametric_bootstrap(model, lambda m: m.coef_, X, n_resamples=40, random_state=0)
    asymptotic = np.sqrt(model.coef_cov_[1, 1])
    assert result.standard_error[0] == pytest.approx(asymptotic, rel=0.4)
    assert set(
        np.unique(ResponseSimulator(fitted_model(model), X).draw(np.random.default_rng(0)))
    ) == {
        "no",
        "yes",
    }


def test_classes_in_an_order_of_their_own():
    X, y, _ = make_mixed_classification(400, 1, (15,), n_classes=3, random_state=0)
    order = ["low", "high", "highest"]
    labels = pd.Series(pd.Categorical.from_codes(np.asarray(y), order, ordered=True))
    model = MixedEffectsVIClassifier("g0", family="ordinal").fit(X, labels)
    result = parametric_bootstrap(
        model, lambda m: pd.Series(m.thresholds_, ["t0", "t1"]), X, n_resamples=25, random_state=0
    )
    assert result.observed.tolist() == model.thresholds_.tolist()
    assert (result.values["t0"] < result.values["t1"]).all()
    lower, upper = result.confidence_interval().loc["t1"]
    assert lower < model.thresholds_[1] < upper


def test_successes_out_of_trials_are_drawn_one_by_one():
    X = pd.DataFrame({"g": np.tile(np.arange(10), 2)})
    labels = np.repeat([1, 0], 10)
    weights = np.concatenate([np.arange(3, 13), np.arange(14, 4, -1)])
    model = MixedEffectsVIClassifier("g").fit(X, labels, sample_weight=weights)
    options = {"n_resamples": 30, "random_state": 0}
    result = parametric_bootstrap(
        model, lambda m: m.intercept_, X, sample_weight=weights, **options
    )
    index = np.repeat(np.arange(20), weights)
    repeated = parametric_bootstrap(model, lambda m: m.intercept_, X.iloc[index], **options)
    pd.testing.assert_frame_equal(result.values, repeated.values)
    # rows of weight 1 would know far less
    assert result.standard_error["statistic"] < 1.5 * np.sqrt(model.coef_cov_[0, 0])


# What is returned ----------------------------------------------------------------------------


def test_intervals_bias_and_errors_of_known_values():
    values = pd.DataFrame({"a": np.arange(101.0), "b": np.arange(101.0) ** 2})
    result = BootstrapResult(pd.Series({"a": 40.0, "b": 2000.0}), values)
    assert result.bias.tolist() == pytest.approx([10.0, (values["b"].mean() - 2000.0)])
    assert result.standard_error["a"] == pytest.approx(np.std(np.arange(101), ddof=1))
    percentile = result.confidence_interval(0.9)
    assert percentile.loc["a"].tolist() == pytest.approx([5.0, 95.0])
    basic = result.confidence_interval(0.9, kind="basic")
    assert basic.loc["a"].tolist() == pytest.approx([80.0 - 95.0, 80.0 - 5.0])
    assert basic.loc["b"].tolist() == pytest.approx([4000.0 - 95.0**2, 4000.0 - 25.0])
    frame = result.to_frame(0.9, "basic")
    assert frame.columns.tolist() == ["observed", "bias", "std_error", "lower", "upper"]
    assert frame["lower"].tolist() == basic["lower"].tolist()
    assert "101 fits" in str(result)
    assert str(result) == repr(result)
    assert "<td>40</td>" in result._repr_html_()
    with pytest.raises(ValueError, match="level=95"):
        result.confidence_interval(95)
    with pytest.raises(ValueError, match="kind='normal'"):
        result.confidence_interval(kind="normal")


@pytest.mark.parametrize(
    ("statistic", "labels"),
    [
        (lambda m: m.coef_[0], ["statistic"]),
        (lambda m: [m.intercept_, *m.coef_], [0, 1]),
        (lambda m: {"b": m.coef_[0]}, ["b"]),
        (lambda m: m.random_effects_["g0"]["Intercept"].iloc[:3], [0, 1, 2]),
    ],
)
def test_statistics_of_all_kinds(small, statistic, labels):
    model, X = small
    result = parametric_bootstrap(model, statistic, X, n_resamples=2, random_state=0)
    assert result.values.columns.tolist() == labels
    assert result.observed.index.tolist() == labels


def test_failed_fits_are_counted_and_told_of_once():
    X = pd.DataFrame({"g": np.repeat(np.arange(5), 3)})
    labels = np.array([1] + [0] * 14)
    model = MixedEffectsVIClassifier("g").fit(X, labels)
    with pytest.warns(UserWarning, match="failed and are left out") as caught:
        result = parametric_bootstrap(
            model, lambda m: m.intercept_, X, n_resamples=30, random_state=0
        )
    assert len([w for w in caught if "bootstrap" in str(w.message)]) == 1
    assert 0 < result.n_failed < 30
    assert len(result.values) == 30 - result.n_failed
    assert f"{result.n_failed} failed" in str(result)
    assert "class 1 does not occur" in str(caught[0].message)


def test_fits_that_do_not_converge_are_kept(small):
    _, X = small
    hurried = MixedEffectsVIRegressor("g0").fit(X, X["x0"] + np.sin(np.arange(120)))
    hurried.set_params(max_iter=1, tol=1e-14)
    with pytest.warns(UserWarning, match="did not converge and are kept"):
        result = parametric_bootstrap(hurried, coefficients, X, n_resamples=4, random_state=0)
    assert result.n_unconverged > 0
    assert len(result.values) == 4


# Progress ------------------------------------------------------------------------------------


def test_nothing_is_printed_unless_asked_for(small, capsys):
    model, X = small
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parametric_bootstrap(model, coefficients, X, n_resamples=2, random_state=0)
    assert capsys.readouterr() == ("", "")


def test_bar_without_tqdm(small, capsys, monkeypatch):
    model, X = small
    imported = builtins.__import__

    def no_tqdm(name, *rest, **options):
        if name.startswith("tqdm"):
            raise ImportError(name)
        return imported(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", no_tqdm)
    shown = parametric_bootstrap(
        model, coefficients, X, n_resamples=3, random_state=0, progress=True
    )
    monkeypatch.undo()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("3/3\n")
    hidden = parametric_bootstrap(model, coefficients, X, n_resamples=3, random_state=0)
    pd.testing.assert_frame_equal(shown.values, hidden.values)


def test_bar_of_tqdm(small, monkeypatch):
    model, X = small
    steps = []

    class Bar:
        def __init__(self, total, file):
            steps.append(total)

        def update(self, n_steps):
            steps.append(n_steps)

        def close(self):
            steps.append("closed")

    fake = type(sys)("tqdm.auto")
    fake.tqdm = Bar
    monkeypatch.setitem(sys.modules, "tqdm", type(sys)("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", fake)
    parametric_bootstrap(model, coefficients, X, n_resamples=2, random_state=0, progress=True)
    assert steps == [2, 1, 1, "closed"]


# Errors --------------------------------------------------------------------------------------


def test_refuses_what_cannot_be_done(small):
    model, X = small
    with pytest.raises(NotFittedError):
        parametric_bootstrap(MixedEffectsVIRegressor("g0"), coefficients, X)
    with pytest.raises(TypeError, match="function of a fitted model"):
        parametric_bootstrap(model, 3.0, X)
    for n_resamples in (1, 2.5, True, "many"):
        with pytest.raises(ValueError, match="n_resamples="):
            parametric_bootstrap(model, coefficients, X, n_resamples=n_resamples)
    with pytest.raises(TypeError, match="returned DataFrame"):
        parametric_bootstrap(model, lambda m: m.random_effects_["g0"], X)
    with pytest.raises(TypeError, match="returned str"):
        parametric_bootstrap(model, lambda m: "coef", X)
    weights = np.ones(120)
    weights[2] = 0.5
    with pytest.raises(ValueError, match=r"sample_weight is 0\.5 in row 2"):
        parametric_bootstrap(model, coefficients, X, sample_weight=weights)
    with pytest.raises(ValueError, match="120 rows"):
        parametric_bootstrap(model, coefficients, X, sample_weight=np.ones(3))


def test_entries_that_differ_between_fits_are_refused(small):
    model, X = small
    names = iter(["a", "a", "b"])
    with pytest.raises(TypeError, match=r"\['b'\] for a refit and \['a'\]"):
        parametric_bootstrap(
            model, lambda m: {next(names): m.coef_[0]}, X, n_resamples=2, random_state=0
        )


def test_errors_of_the_statistic_are_the_callers(small):
    model, X = small
    seen = []

    def statistic(fitted):
        seen.append(fitted)
        if len(seen) > 1:
            raise ValueError("mine")
        return fitted.coef_

    with pytest.raises(ValueError, match=r"^mine$"):
        parametric_bootstrap(model, statistic, X, n_resamples=3, random_state=0)


# Other rows ----------------------------------------------------------------------------------


def test_other_rows_and_weights_are_refused():
    X, y, _ = make_mixed_regression(200, 1, (12,), random_state=0)
    model = MixedEffectsVIRegressor("g0").fit(X, y)
    with pytest.raises(ValueError, match=r"fitted on 200 rows .* but these are 50"):
        parametric_bootstrap(model, coefficients, X[:50], n_resamples=2)
    with pytest.raises(ValueError, match="a level of grouping factor number 0 that"):
        parametric_bootstrap(model, coefficients, X.assign(g0=99), n_resamples=2)
    with pytest.raises(ValueError, match=r"fixed part of these rows has mean .* not the rows of"):
        parametric_bootstrap(model, coefficients, X.assign(x0=X["x0"][::-1] * 2), n_resamples=2)
    weighted = MixedEffectsVIRegressor("g0").fit(X, y, sample_weight=np.full(200, 4))
    with pytest.raises(ValueError, match=r"fitted on 800 rows .* but these are 200"):
        parametric_bootstrap(weighted, coefficients, X, n_resamples=2)
    with pytest.raises(ValueError, match=r"fitted on 800 rows .* but these are 200"):
        parametric_bootstrap(model, lambda m, w: m.coef_, X, others=[weighted], n_resamples=2)


def test_rows_that_mixed_left_out_are_refused():
    X, y, _ = make_mixed_regression(200, 1, (12,), random_state=0)
    frame = X.assign(y=np.where(np.arange(200) < 40, np.nan, y))
    model = mixed("y ~ x0 + (1 | g0)", frame, missing="drop")
    with pytest.raises(
        ValueError, match=r"160 rows .* 200.*missing='drop'\) only the rows it kept"
    ):
        parametric_bootstrap(model, coefficients, frame, n_resamples=2)
    result = parametric_bootstrap(
        model, coefficients, frame.dropna(), n_resamples=2, random_state=0
    )
    assert len(result.values) == 2


@pytest.mark.parametrize("order", [1, -1])
def test_the_rows_of_the_fit_are_known_whatever_the_model(order):
    """Precision weights, offsets, dropped columns, no intercept, counts, columns far from 0."""
    X, y, _ = make_mixed_regression(200, 1, (12,), random_state=0)
    X = X.assign(w=1.0 + X["x0"] ** 2, far=1e6 + X["x0"] ** 3, copy=2.0 * X["x0"])
    counts = np.random.default_rng(0).poisson(2.0, 200)
    models = [
        MixedEffectsVIRegressor(formula="x0 + (1 | g0)", precision_weights="w").fit(X, y),
        MixedEffectsVIRegressor(formula="0 + far + (1 | g0)", offset="x0").fit(X, y),
        MixedEffectsVIRegressor(formula="far + x0 + (1 + x0 | g0)", family="poisson").fit(
            X, counts
        ),
        MixedEffectsVIRegressor(formula="x0 + (1 | g0)")
        .partial_fit(X[:90], y[:90])
        .partial_fit(X[90:], y[90:]),
    ]
    with pytest.warns(UserWarning, match="left out: 'copy'"):
        models.append(MixedEffectsVIRegressor(formula="x0 + copy + (1 | g0)").fit(X, y))
    for model in models:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parametric_bootstrap(model, coefficients, X[::order], n_resamples=2, random_state=0)
