"""
=====================================================
Students rate lecturers: a tutorial in mixed effects
=====================================================

Who gives high marks, and who gets them? ETH Zurich asked its students to rate the
lectures they had heard, from 1 (poor) to 5 (very good): 73,421 ratings by 2,972
students of 1,128 instructors in 14 departments. This tutorial models them, watches the
model while it is being fitted, and lays its estimates beside those of lme4, the
reference software for such models.

A well-known tutorial of probabilistic programming fits the same data by stochastic
variational inference. Its students and instructors come out well and its departments do
not. Here we fit that model too, without the stochastic part, and see why.

Run as a script, ``python examples/plot_insteval.py`` prints everything below and writes
the pictures into ``insteval_plots/`` in the current directory.
"""

# %%
# The data
# --------
#
# `load_insteval` brings the ratings along. ``s`` is the student, ``d`` the instructor
# (*Dozent*), ``dept`` the department, and ``service`` is 1 for a lecture that was held
# for another department than the lecturer's own.

import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import load_insteval

X, y = load_insteval(return_X_y=True)
model_columns = ["service", "s", "d", "dept"]
X_train, X_test, y_train, y_test = train_test_split(
    X[model_columns], y, test_size=0.2, random_state=0
)
print(f"{len(X_train):,} ratings to learn from, {len(X_test):,} to test on")
X_train.head()

# %%
# Two small helpers: where files are, and what becomes of a figure. A page or a notebook
# shows figures by itself; a script saves them.

SHOWS_FIGURES = {"sphinx_gallery", "ipykernel"} & set(sys.modules)
PLOTS = Path.cwd() / "insteval_plots"


def find_beside_this_example(name):
    """Path of a file of the examples folder, also where `__file__` is not defined."""
    folders = [Path.cwd(), Path.cwd() / "examples"]
    if "__file__" in globals():
        folders.insert(0, Path(__file__).resolve().parent)
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(
        f"{name} is not in {', '.join(map(str, folders))}; run this from a checkout of the project."
    )


def finish(figure, name):
    """Save the figure, unless something shows it anyway."""
    if SHOWS_FIGURES:
        return
    PLOTS.mkdir(exist_ok=True)
    figure.savefig(PLOTS / f"{name}.png", dpi=120)
    plt.close(figure)


plt.rcParams.update(
    {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
        "font.size": 10,
    }
)
INK, BLUE, ORANGE, GREY = "#222222", "#2b6cb0", "#d9730d", "#9aa5b1"

# %%
# Fixed and random effects
# ------------------------
#
# ``service`` has one coefficient that is the same for everybody: a **fixed effect**.
# Nothing is assumed about it, and the data have to tell it alone. They can: 73,421
# ratings bear on one number.
#
# Each student has a habit of their own as well, but about each of them we know only some
# 25 ratings. Three ratings of 5 do not make a student who always gives 5. So the 2,972
# student effects are **random effects**: we take them as draws from one normal
# distribution with mean 0, whose variance is estimated along with everything else. That
# variance says how different students are, and so how far a single student's average can
# be trusted: an effect known from few ratings is drawn towards 0, the population, and one
# known from many is left where its ratings put it. Instructors and departments are
# treated alike. With :math:`i` for the rating,
#
# .. math::
#
#    y_i = \beta_0 + \beta_1\,\mathrm{service}_i
#          + u_{s(i)} + v_{d(i)} + w_{\mathrm{dept}(i)} + \varepsilon_i,
#    \qquad u \sim N(0, \sigma_s^2),\; v \sim N(0, \sigma_d^2),\; w \sim N(0, \sigma_w^2).
#
# Students and instructors are *crossed*: a student hears many instructors, an instructor
# is rated by many students. Instructors are *nested* in departments: each of them belongs
# to one. For the model it makes no difference, every grouping is one more term. In lme4's
# notation this is ``y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept)``. For the estimator
# it is enough that the identifiers are categorical columns; every one of them gets a
# random intercept, and what is left of X is fixed.

model = MixedEffectsVIRegressor(verbose=1).fit(X_train, y_train)
print()
print(model.summary())

# %%
# ``verbose=1`` printed a line for each iteration. The last column of numbers is the
# distance from the optimum in standard errors of the variance parameters; the fit stops
# where it falls below ``tol``. Iterations are few because each one is exact: there are no
# stochastic gradients and no learning rate.
#
# How well does it do on ratings it has not seen?

baseline = np.full(len(y_test), y_train.mean())
print(f"test RMSE, everybody gets the mean rating: {root_mean_squared_error(y_test, baseline):.4f}")
print(
    "test RMSE, fixed and random effects:       "
    f"{root_mean_squared_error(y_test, model.predict(X_test)):.4f}"
)

# %%
# Watching a fit: callbacks
# -------------------------
#
# Since version 1.9 scikit-learn has callbacks, small objects whose methods are called as
# a fit goes on. ``ProgressBar`` and ``ScoringMonitor`` come with it; our own one keeps
# the residuals on the test rows. It asks for ``fitted_estimator``, a copy of the model as
# it stands, ready to predict.


class TestResiduals:
    """Keep the residuals on held-out rows after every iteration.

    Parameters
    ----------
    X, y : DataFrame and Series
        The held-out rows.
    """

    def __init__(self, X, y):
        self.X, self.y = X, y
        self.residuals = {}

    def setup(self, estimator, context):
        """Begin with an empty record."""
        self.residuals = {}

    def on_fit_task_begin(self, estimator, context):
        """Nothing to do before an iteration."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Predict the held-out rows with the model as it stands."""
        if context.task_name == "iteration":
            residual = self.y - fitted_estimator.predict(self.X)
            self.residuals[len(self.residuals) + 1] = residual.to_numpy()

    def teardown(self, estimator, context):
        """Nothing to clean up."""


def plot_residuals(residuals, iterations, title):
    """Histograms of residuals, one panel for each chosen iteration."""
    figure, panels = plt.subplots(
        1, len(iterations), figsize=(3.1 * len(iterations), 3), sharex=True, sharey=True
    )
    bins = np.arange(-4, 4.1, 0.5)
    for panel, iteration in zip(panels, iterations, strict=True):
        values = residuals[iteration]
        name = f"iteration {iteration}" if iteration else "before: the mean rating"
        panel.hist(
            values, bins=bins, density=True, color=BLUE if iteration else GREY, edgecolor="white"
        )
        panel.axvline(0, color=INK, linewidth=0.8)
        panel.set_title(f"{name}\nRMSE {np.sqrt(np.mean(values**2)):.4f}", fontsize=10)
        panel.set_xlabel("rating - prediction")
    panels[0].set_ylabel("density of test ratings")
    figure.suptitle(title)
    return figure


before = {0: (y_test - y_train.mean()).to_numpy()}
try:
    import sklearn.callback  # noqa: F401  (here only to ask whether it exists)
except ImportError:
    print("This scikit-learn has no callbacks (they come with 1.9); the next section does without.")
else:
    watcher = TestResiduals(X_test, y_test)
    MixedEffectsVIRegressor().set_callbacks(watcher).fit(X_train, y_train)
    for iteration, residual in watcher.residuals.items():
        print(f"iteration {iteration}: test RMSE {np.sqrt(np.mean(residual**2)):.6f}")
    last = max(watcher.residuals)
    figure = plot_residuals(
        before | watcher.residuals, [0, 1, last], "Full posterior: residuals on the test ratings"
    )
    finish(figure, "1_residuals_full")

# %%
# The first iteration has done the work, the others polish the variances. That is because
# the fit does not start from nothing: one pass over the data gives rough variances (the
# method of moments), and for given variances the best effects are found exactly.
#
# Watching a fit: one iteration at a time
# ---------------------------------------
#
# The other way needs no callbacks. With ``warm_start=True`` a call of ``fit`` goes on from
# the last one, and with ``max_iter=1`` it takes a single step. scikit-learn's
# `ConvergenceWarning` after each of them is right, and here it is expected.
#
# We use it on the model of the classic tutorial: every effect has a normal distribution
# of its own, independent of all others (``posterior="mean_field"``), the noise is held at
# a standard deviation of 1, and the fixed effects are a point (``method="ml"``).

classic_parameters = {"posterior": "mean_field", "noise_scale": 1.0, "method": "ml"}


def fit_step_by_step(parameters, most=30):
    """Residuals on the test rows and department SD after every single iteration."""
    stepwise = MixedEffectsVIRegressor(warm_start=True, max_iter=1, **parameters)
    residuals, elbos, department_sds = {}, [], []
    for iteration in range(1, most + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=ConvergenceWarning)
            warnings.simplefilter("ignore", category=UserWarning)  # shown further below
            stepwise.fit(X_train, y_train)
        residuals[iteration] = (y_test - stepwise.predict(X_test)).to_numpy()
        elbos.append(stepwise.elbo_)
        department_sds.append(np.sqrt(stepwise.random_effects_cov_["dept"].iloc[0, 0]))
        if stepwise.converged_:
            break
    steps = pd.DataFrame({"ELBO": elbos, "department SD": department_sds}, index=[*residuals])
    return residuals, steps.rename_axis("iteration")


residuals, classic_steps = fit_step_by_step(classic_parameters)
print(classic_steps.to_string(float_format="{:.4f}".format))
chosen = sorted({0, 1, min(3, max(residuals)), max(residuals)})
figure = plot_residuals(before | residuals, chosen, "Classic model: residuals on the test ratings")
finish(figure, "2_residuals_classic")

# %%
# Look at the two columns of that table together. With every step the evidence lower bound
# (ELBO, what variational inference maximises) goes up, and the standard deviation of the
# departments goes down, until it is exactly 0. The full posterior, from the same start,
# finds departments that do differ:

_, full_steps = fit_step_by_step({"method": "ml"})
figure, panel = plt.subplots(figsize=(6, 3.4))
panel.plot(classic_steps["department SD"], "o-", color=ORANGE, label="mean field, noise 1")
panel.plot(full_steps["department SD"], "o-", color=BLUE, label="full posterior")
panel.set_xlabel("iteration")
panel.set_ylabel("SD of the departments")
panel.set_ylim(bottom=-0.01)
panel.locator_params(axis="x", integer=True)
panel.set_title("Independent normals squeeze the departments out")
panel.legend(frameon=False)
finish(figure, "3_department_sd")

# %%
# The last residuals
# ------------------
#
# The ratings are whole numbers, so residuals lie on five stripes, one for each rating; it
# is their mean at a given prediction that should be 0, and it is, within a few hundredths.

prediction = model.predict(X_test)
residual = (y_test - prediction).to_numpy()
groups = pd.qcut(prediction, 15)
means = (
    pd.DataFrame({"prediction": prediction, "residual": residual})
    .groupby(groups, observed=True)[["prediction", "residual"]]
    .mean()
)
figure, panel = plt.subplots(figsize=(6, 4))
panel.scatter(prediction, residual, s=3, alpha=0.15, color=BLUE, linewidths=0, rasterized=True)
panel.plot(
    means["prediction"], means["residual"], "o-", color=ORANGE, markersize=4,
    label="mean of a fifteenth of the ratings",
)  # fmt: skip
panel.axhline(0, color=INK, linewidth=0.8)
panel.set_xlabel("predicted rating")
panel.set_ylabel("rating - prediction")
panel.set_title("Test ratings, full posterior")
panel.legend(frameon=False, loc="upper right")
finish(figure, "4_residuals_by_prediction")

# %%
# Side by side with lme4
# ----------------------
#
# lme4's effects come from all ratings and maximum likelihood, so we fit all ratings by
# ``method="ml"`` as well. The classic model comes with a warning; we catch it to print it.

X_all = X[model_columns]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    classic = MixedEffectsVIRegressor(**classic_parameters).fit(X_all, y)
for warning in caught:
    print(f"{warning.category.__name__}: {warning.message}\n")
full = MixedEffectsVIRegressor(method="ml").fit(X_all, y)


def estimates(fitted):
    """What a fitted model says, in the order of the table."""
    variances = {group: cov.iloc[0, 0] for group, cov in fitted.random_effects_cov_.items()}
    return {
        "intercept": fitted.intercept_,
        "service": fitted.coef_[0],
        "SD students": np.sqrt(variances["s"]),
        "SD instructors": np.sqrt(variances["d"]),
        "SD departments": np.sqrt(variances["dept"]),
        "SD noise": np.sqrt(fitted.noise_variance_),
        "logLik or ELBO": fitted.elbo_,
    }


lme4 = {
    "intercept": 3.28258118257538,
    "service": -0.0925886140738633,
    "SD students": 0.325534439005631,
    "SD instructors": 0.514980087557783,
    "SD departments": 0.0785359216653563,
    "SD noise": 1.1774924978008,
    "logLik or ELBO": -118860.884387247,
}
table = pd.DataFrame(
    {"lme4": lme4, "classic mean_field": estimates(classic), "full": estimates(full)}
)
print(table.to_string(float_format="{:.6f}".format))

# %%
# The column of the full posterior repeats lme4's: for normal data one Gaussian over all
# effects *is* the posterior, and its ELBO is the log likelihood. (The two programs
# stop at slightly different points, lme4 by its own rule; hence the last digits.)
#
# The classic column differs in the noise first, because it was told to: 1 instead of
# 1.18. Believing the ratings to be more exact than they are, it shrinks less, so its
# students differ more. And its departments do not differ at all.
#
# Now effect by effect. A department is judged by intercept plus effect, its mean rating
# for a lecture of its own, since intercept and department effects can be
# traded against each other.

effects = pd.read_csv(find_beside_this_example("insteval_lme4_effects.csv.gz"))
reference = {group: part.set_index("level")["effect"] for group, part in effects.groupby("group")}


def plot_against_lme4(fitted, title, color):
    """Three scatter plots of effects, lme4's across and ours up."""
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.7))
    names = {"s": "students", "d": "instructors", "dept": "intercept + departments"}
    for panel, (group, name) in zip(panels, names.items(), strict=True):
        theirs = reference[group]
        ours = fitted.random_effects_[group]["Intercept"]
        ours = ours.set_axis(ours.index.astype(int)).reindex(theirs.index)
        if group == "dept":
            theirs, ours = theirs + lme4["intercept"], ours + fitted.intercept_
        low, high = min(theirs.min(), ours.min()), max(theirs.max(), ours.max())
        margin = 0.05 * (high - low)
        ends = [low - margin, high + margin]
        panel.plot(ends, ends, color=GREY, linewidth=1, zorder=0)
        panel.scatter(
            theirs, ours, s=30 if group == "dept" else 5, color=color, alpha=0.6, linewidths=0
        )
        panel.set(xlim=ends, ylim=ends, aspect="equal", xlabel="lme4", ylabel="skmixed")
        panel.locator_params(nbins=5)
        panel.set_title(
            f"{name}\nlargest difference {(ours - theirs).abs().max():.1g}", fontsize=10
        )
    figure.suptitle(title)
    return figure


figure = plot_against_lme4(full, "Full posterior: the effects are lme4's", BLUE)
finish(figure, "5_effects_full")

# %%
# And the classic model, converged:

figure = plot_against_lme4(
    classic, "Classic mean field, converged: departments are all alike", ORANGE
)
finish(figure, "6_effects_classic")

# %%
# Why the departments of the classic fit are wrong
# ------------------------------------------------
#
# There are two reasons, one on top of the other.
#
# **The gradients had not arrived.** Raise the intercept by one and lower all 14
# departments by one: no prediction changes. Only the distribution of the departments
# objects, and little while its variance is large. Along this ridge stochastic gradient
# steps crawl. The original program, run for its 2,000 iterations, stopped at an intercept
# of 2.27 and a department variance of 1.04; lme4 has 3.28 and 0.006. The variance was
# large because it had to cover an intercept that was off by one. Students and instructors
# hardly notice, which is why their plots look right. An exact step knows no ridge: the
# equations for the effects are solved, not descended.
#
# **Where they were heading is not right either.** A department has thousands of ratings.
# If everything else were known, its effect would be known from them almost exactly. But
# its ratings are those of its instructors: whether a department is good or merely happens
# to have good lecturers is hard to tell. A posterior of independent normals has no way to
# say "this sum is certain, its parts are not", and so describes each department as if all
# the rest were known:

department_rows = X["dept"].value_counts().sort_index()
noise, between = full.noise_variance_, full.random_effects_cov_["dept"].iloc[0, 0]
alone = 1 / np.sqrt(department_rows / noise + 1 / between)
exact = full.random_effects_std_["dept"]["Intercept"]
print("posterior standard deviation of a department's effect, on average")
print(f"  the rest taken as known (mean field): {alone.mean():.3f}")
print(f"  the rest uncertain too (exact):       {exact.mean():.3f}")

# %%
# Such false precision has a price. The ELBO is charged for every effect by how much
# narrower its posterior is than its distribution before the data, the logarithm of the
# ratio of the two standard deviations. Is it worth paying?

without_departments = MixedEffectsVIRegressor(
    formula="1 + service + (1 | s) + (1 | d)", method="ml"
).fit(X_all, y)
mean_field_charge = np.log(np.sqrt(between) / alone).sum()
fair_charge = np.log(np.sqrt(between) / exact).sum()
gain = full.elbo_ - without_departments.elbo_
print(f"log likelihood gained by departments:      {gain:5.1f}")
print(f"charge for them, with exact precision:     {fair_charge:5.1f}  (paid already)")
print(f"charge for them, with mean-field precision:{mean_field_charge:5.1f}")

# %%
# The gain on the first line is what remains after about the charge on the second. Had it
# to pay the third instead, it would be a loss: the best that independent normals can do
# is to give the departments up, variance 0. A longer run, a better optimiser or another
# learning rate only leads there sooner, and estimating the noise does not help. The
# remedy is a posterior that keeps the correlations. Then the departments, intercept
# included, are lme4's:

ours = full.intercept_ + full.random_effects_["dept"]["Intercept"]
departments = pd.DataFrame(
    {
        "ratings": department_rows.rename(index=int),
        "lme4": lme4["intercept"] + reference["dept"],
        "full": ours.set_axis(ours.index.astype(int)),
        "classic": classic.intercept_ + classic.random_effects_["dept"]["Intercept"].to_numpy(),
    }
).rename_axis("department")
print(departments.to_string(float_format="{:.6f}".format))

# %%
# Predictions for known and unknown students
# ------------------------------------------
#
# Student 1 gives marks above the average. A student the model has never met is
# predicted for the population: an effect of 0, and with ``return_std=True`` a standard
# deviation that holds the whole spread between students. The same goes for instructors.
# Most of it is noise in any case: single ratings are hard to predict.

new = pd.DataFrame(
    {"service": 0, "s": [1, 99999, 99999], "d": [1002, 1002, 88888], "dept": 2},
    index=["student 1, instructor 1002", "new student, instructor 1002", "both new"],
)
mean, std = full.predict(new, return_std=True)
effects_only = np.sqrt(std**2 - full.noise_variance_)
print(
    pd.DataFrame(
        {"prediction": mean, "SD of a rating": std, "SD without noise": effects_only},
        index=new.index,
    ).round(3)
)
print("department and service only:", full.predict(new, include=["dept"]).round(3))

# %%
# A mixed model in a pipeline
# ---------------------------
#
# Groups are columns of X like any other, so everything in scikit-learn works as usual.
# Here the age of the student (in semesters) and of the lecture are standardised, and the
# identifiers pass through. Transformers have to return data frames with the columns' own
# names, since the model asks for its groups by name.

prepare = ColumnTransformer(
    [("scale", StandardScaler(), ["studage", "lectage"])],
    remainder="passthrough",
    verbose_feature_names_out=False,
).set_output(transform="pandas")
pipeline = make_pipeline(prepare, MixedEffectsVIRegressor(random_effects=["s", "d", "dept"]))
pipeline.fit(X.loc[X_train.index], y_train)
print(dict(zip(pipeline[-1].coef_names_, pipeline[-1].coef_.round(4).tolist(), strict=True)))
print(f"R^2 on the test ratings: {pipeline.score(X.loc[X_test.index], y_test):.4f}")

# %%
# Which random effects? A grid search
# -----------------------------------
#
# ``random_effects`` is a parameter, so `GridSearchCV` can choose. Do departments
# differ in how their service lectures are rated? Do instructors? Bar terms say so:
# ``(1 + service | d)`` gives each instructor a level and a service effect, with a
# correlation between them. To tell models apart, variances to a thousandth of a standard
# error are plenty, so the search goes with a coarse ``tol``. :doc:`plot_grid_search` asks the
# same for instructors who are new, and gets another answer.

candidates = [
    ["s", "d", "dept"],
    ["s", "d", "(1 + service | dept)"],
    ["s", "(1 + service | d)", "dept"],
]
search = GridSearchCV(
    MixedEffectsVIRegressor(tol=1e-3),
    {"random_effects": candidates},
    scoring="neg_root_mean_squared_error",
    cv=KFold(3, shuffle=True, random_state=0),
).fit(X_train, y_train)
for candidate, score in zip(candidates, search.cv_results_["mean_test_score"], strict=True):
    print(f"{' + '.join(candidate):32}  RMSE {-score:.5f}")
print("best:", search.best_params_["random_effects"])
print("test RMSE of the best:", round(-search.score(X_test, y_test), 5))

# %%
# The classic model is kept here for comparison. For work take the default, the full
# posterior.

if not SHOWS_FIGURES:
    print(f"\nThe pictures are in {PLOTS}")
