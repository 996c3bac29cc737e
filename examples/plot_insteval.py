"""
=====================================================
Students rate lecturers: a tutorial in mixed effects
=====================================================

Which students give high ratings, and which lecturers get them? ETH Zurich asked its
students to rate their lectures, from 1 (poor) to 5 (very good). The data are 73,421 ratings
by 2,972 students of 1,128 lecturers in 14 departments. In this tutorial you fit a mixed
model to them, monitor the fit, and compare the estimates with those of lme4, the reference
software for such models.

A well-known tutorial of probabilistic programming fits the same data by stochastic
variational inference. Its student and lecturer effects are good, but its department
effects are not. We fit that model too, without the stochastic part, and explain why.

Run as a script, ``python examples/plot_insteval.py`` prints everything below and writes
the pictures into ``insteval_plots/`` in the current directory.
"""

# %%
# The data
# --------
#
# `load_insteval` loads the ratings, which come with the package. lme4 calls the columns ``s``,
# ``d`` and ``dept``; here they are ``student``, ``lecturer`` and ``department``. ``service`` is 1
# for a lecture that was held for another department than the lecturer's own.

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

X, y = load_insteval(return_X_y=True, names="plain")
model_columns = ["service", "student", "lecturer", "department"]
X_train, X_test, y_train, y_test = train_test_split(
    X[model_columns], y, test_size=0.2, random_state=0
)
print(f"{len(X_train):,} ratings to learn from, {len(X_test):,} to test on")
X_train.head()

# %%
# Small helpers: they find files, save figures and print headings. A documentation page or a
# notebook shows figures and headings itself.

SHOWS_FIGURES = {"sphinx_gallery", "ipykernel"} & set(sys.modules)
PLOTS = Path.cwd() / "insteval_plots"


def find_beside_this_example(name):
    """Return the path of a file in the examples folder, even if `__file__` is not defined."""
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
    """Save the figure, unless a page or a notebook shows it."""
    if SHOWS_FIGURES:
        return
    PLOTS.mkdir(exist_ok=True)
    figure.savefig(PLOTS / f"{name}.png", dpi=120)
    plt.close(figure)


def heading(text):
    """Print a heading, unless a page or a notebook shows one."""
    if not SHOWS_FIGURES:
        print(f"\n{text}\n{'=' * len(text)}")


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
# ``service`` has one coefficient that is the same for everybody: a **fixed effect**. The
# model assumes nothing about its value. It is estimated from the data alone, and 73,421
# ratings are enough for one number.
#
# Each student also has a rating habit, but we know only about 25 ratings of each. Three
# ratings of 5 do not prove that a student always gives 5. So the 2,972 student effects are
# **random effects**: draws from a normal distribution with mean 0, whose variance is estimated
# together with everything else. This variance says how much students differ, and therefore how
# far the average of a single student can be trusted. Effects of students with few ratings are
# shrunk more towards 0, the population mean; effects of students with many ratings hardly at
# all. Lecturers and departments are treated in the same way. With :math:`i` for the rating,
#
# .. math::
#
#    y_i = \beta_0 + \beta_1\,\mathrm{service}_i
#          + u_{\mathrm{student}(i)} + v_{\mathrm{lecturer}(i)} + w_{\mathrm{department}(i)}
#          + \varepsilon_i,
#    \qquad u \sim N(0, \sigma_u^2),\; v \sim N(0, \sigma_v^2),\; w \sim N(0, \sigma_w^2).
#
# Students and lecturers are *crossed*: a student rates many lecturers, and a lecturer
# is rated by many students. Lecturers are *nested* in departments: each belongs to one. You
# do not declare this; every grouping column is one more term. In lme4's notation the model is
# ``rating ~ 1 + service + (1 | student) + (1 | lecturer) + (1 | department)``. The estimator finds
# the groups by itself if the ids are categorical columns: each gets a random intercept, and all
# other columns of X are fixed effects.

heading("The fit; the first one on a machine compiles kernels, once, in some seconds")
model = MixedEffectsVIRegressor(verbose=1).fit(X_train, y_train)
print()
print(model.summary())

# %%
# ``verbose=1`` prints one line per iteration. The scaled gradient is the distance from the
# optimum, in standard errors of the variance parameters; the fit stops when it falls below
# ``tol``. The last number is the time. Few iterations are enough because each is exact: there
# are no stochastic gradients and no learning rate.
#
# How good are predictions of ratings that the model has not seen?

baseline = np.full(len(y_test), y_train.mean())
heading("Errors on the test ratings")
print(f"test RMSE, everybody gets the mean rating: {root_mean_squared_error(y_test, baseline):.4f}")
print(
    "test RMSE, fixed and random effects:       "
    f"{root_mean_squared_error(y_test, model.predict(X_test)):.4f}"
)

# %%
# Monitor a fit with callbacks
# ----------------------------
#
# scikit-learn 1.9 and later have callbacks: objects whose methods are called during a fit.
# ``ProgressBar`` and ``ScoringMonitor`` come with scikit-learn. We write our own, which keeps
# the residuals on the test rows. It asks for ``fitted_estimator``, a copy of the model in its
# current state that can predict.


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
        """Start with an empty record."""
        self.residuals = {}

    def on_fit_task_begin(self, estimator, context):
        """Do nothing before an iteration."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Predict the held-out rows with the current model."""
        if context.task_name == "iteration":
            residual = self.y - fitted_estimator.predict(self.X)
            self.residuals[len(self.residuals) + 1] = residual.to_numpy()

    def teardown(self, estimator, context):
        """Do nothing at the end."""


def plot_residuals(residuals, iterations, title):
    """Plot histograms of residuals, one panel per chosen iteration."""
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
    import sklearn.callback  # noqa: F401  (only to see whether it exists)
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
# The first iteration does almost all of the work; the others refine the variances. This is
# because the fit starts from rough variances (method of moments, one pass over the data), and
# because the best effects for given variances are found exactly.
#
# Monitor a fit one iteration at a time
# -------------------------------------
#
# You can also do without callbacks: with ``max_iter=1`` a fit takes one step, with ``max_iter=2``
# two, and so on until it converges. The `ConvergenceWarning` of each shorter fit is correct, and
# expected here.
#
# We use this for the model of the classic tutorial. Each effect has its own independent normal
# distribution (``posterior="mean_field"``), the noise has a fixed standard deviation of 1, and
# the fixed effects are point estimates (``method="ml"``).

classic_parameters = {"posterior": "mean_field", "noise_scale": 1.0, "method": "ml"}


def fit_step_by_step(parameters, most=30):
    """Return residuals on the test rows, and the ELBO and department SD, per iteration."""
    residuals, elbos, department_sds = {}, [], []
    for iteration in range(1, most + 1):
        stepwise = MixedEffectsVIRegressor(max_iter=iteration, **parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=ConvergenceWarning)
            warnings.simplefilter("ignore", category=UserWarning)  # shown further below
            stepwise.fit(X_train, y_train)
        residuals[iteration] = (y_test - stepwise.predict(X_test)).to_numpy()
        elbos.append(stepwise.elbo_)
        department_sds.append(np.sqrt(stepwise.random_effects_cov_["department"].iloc[0, 0]))
        if stepwise.converged_:
            break
    steps = pd.DataFrame({"ELBO": elbos, "department SD": department_sds}, index=[*residuals])
    return residuals, steps.rename_axis("iteration")


heading("The model of the classic tutorial, step by step")
residuals, classic_steps = fit_step_by_step(classic_parameters)
print(classic_steps.to_string(float_format="{:.4f}".format))
chosen = sorted({0, 1, min(3, max(residuals)), max(residuals)})
figure = plot_residuals(before | residuals, chosen, "Classic model: residuals on the test ratings")
finish(figure, "2_residuals_classic")

# %%
# The ELBO (evidence lower bound) is what variational inference maximises. After one iteration
# the standard deviation of the departments is already close to 0, and at convergence it is exactly
# 0, as in the table with lme4 below. The full posterior, from the same start, finds departments
# that do differ:

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
# Residuals on the test ratings
# -----------------------------
#
# Ratings are whole numbers, so the residuals lie on five stripes, one per rating. At each
# prediction their mean should be 0. It is, to within 0.1.

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
# Comparison with lme4
# --------------------
#
# lme4's effects were estimated from all ratings by maximum likelihood, so we fit all ratings
# with ``method="ml"`` as well. The classic model gives a warning, which we catch and print.

X_all = X[model_columns]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    classic = MixedEffectsVIRegressor(**classic_parameters).fit(X_all, y)
for warning in caught:
    print(f"{warning.category.__name__}: {warning.message}\n")
full = MixedEffectsVIRegressor(method="ml").fit(X_all, y)


def estimates(fitted):
    """Return the estimates of a fitted model, in the order of the table."""
    variances = {group: cov.iloc[0, 0] for group, cov in fitted.random_effects_cov_.items()}
    return {
        "intercept": fitted.intercept_,
        "service": fitted.coef_[0],
        "SD students": np.sqrt(variances["student"]),
        "SD lecturers": np.sqrt(variances["lecturer"]),
        "SD departments": np.sqrt(variances["department"]),
        "SD noise": np.sqrt(fitted.noise_variance_),
        "logLik or ELBO": fitted.elbo_,
    }


lme4 = {
    "intercept": 3.28258118257538,
    "service": -0.0925886140738633,
    "SD students": 0.325534439005631,
    "SD lecturers": 0.514980087557783,
    "SD departments": 0.0785359216653563,
    "SD noise": 1.1774924978008,
    "logLik or ELBO": -118860.884387247,
}
table = pd.DataFrame(
    {"lme4": lme4, "classic mean_field": estimates(classic), "full": estimates(full)}
)
heading("All ratings: against lme4")
print(table.to_string(float_format="{:.6f}".format))

# %%
# The full posterior matches lme4: for normal data the exact posterior is one Gaussian over all
# effects, and its ELBO is the log likelihood. The last digits differ because the two programs
# stop at slightly different points.
#
# The classic model differs in the noise first, because it was fixed at 1 instead of the
# estimated 1.18. It takes the ratings for more precise than they are and shrinks less, so its
# students differ more. Its departments do not differ at all.
#
# The next figures compare the effects one by one. For departments we compare intercept plus
# effect, the mean rating of a lecture for the department itself, because intercept and
# department effects can be traded against each other.

effects = pd.read_csv(find_beside_this_example("insteval_lme4_effects.csv.gz"))
effects["group"] = effects["group"].map({"s": "student", "d": "lecturer", "dept": "department"})
reference = {group: part.set_index("level")["effect"] for group, part in effects.groupby("group")}


def plot_against_lme4(fitted, title, color):
    """Plot effects, one panel per group (x axis: lme4; y axis: skmixed)."""
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.7))
    names = {
        "student": "students",
        "lecturer": "lecturers",
        "department": "intercept + departments",
    }
    for panel, (group, name) in zip(panels, names.items(), strict=True):
        theirs = reference[group]
        ours = fitted.random_effects_[group]["Intercept"]
        ours = ours.set_axis(ours.index.astype(int)).reindex(theirs.index)
        if group == "department":
            theirs, ours = theirs + lme4["intercept"], ours + fitted.intercept_
        low, high = min(theirs.min(), ours.min()), max(theirs.max(), ours.max())
        margin = 0.05 * (high - low)
        ends = [low - margin, high + margin]
        panel.plot(ends, ends, color=GREY, linewidth=1, zorder=0)
        panel.scatter(
            theirs, ours, s=30 if group == "department" else 5, color=color, alpha=0.6, linewidths=0
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
# The same for the classic model, converged:

figure = plot_against_lme4(
    classic, "Classic mean field, converged: departments are all alike", ORANGE
)
finish(figure, "6_effects_classic")

# %%
# Why the department effects of the classic model are wrong
# ---------------------------------------------------------
#
# There are two reasons.
#
# **The stochastic gradients had not converged.** Raise the intercept by one and lower all 14
# department effects by one: no prediction changes. Only the distribution of the department
# effects penalises this, and only weakly while its variance is large. Stochastic gradient steps
# are slow along such a ridge. The original program stopped after 2,000 iterations at an
# intercept of 2.27 and a department variance of 1.04; lme4 has 3.28 and 0.006. The variance was
# large because it had to cover an intercept that was off by one. Student and lecturer effects
# hardly change, so their plots look right. Exact steps have no such problem: they solve the
# equations for the effects.
#
# **The optimum of the classic model is wrong as well.** A department has thousands of ratings.
# If everything else were known, they would determine its effect almost exactly. But its ratings
# are the ratings of its lecturers, so it is hard to tell a good department from one that
# happens to have good lecturers. A posterior of independent normals cannot say "the sum is
# certain, its parts are not". It describes each department as if everything else were known:

department_rows = X["department"].value_counts().sort_index()
noise, between = full.noise_variance_, full.random_effects_cov_["department"].iloc[0, 0]
alone = 1 / np.sqrt(department_rows / noise + 1 / between)
exact = full.random_effects_std_["department"]["Intercept"]
heading("Why the classic model loses the departments")
print("posterior standard deviation of a department's effect, on average")
print(f"  the rest taken as known (mean field): {alone.mean():.3f}")
print(f"  the rest uncertain too (exact):       {exact.mean():.3f}")

# %%
# This false precision has a cost. For each effect, the ELBO pays the log of the ratio of two
# standard deviations: before the data, and in the posterior. Are the departments worth this
# cost?

without_departments = MixedEffectsVIRegressor(
    formula="1 + service + (1 | student) + (1 | lecturer)", method="ml"
).fit(X_all, y)
mean_field_charge = np.log(np.sqrt(between) / alone).sum()
fair_charge = np.log(np.sqrt(between) / exact).sum()
gain = full.elbo_ - without_departments.elbo_
print(f"log likelihood gained by departments:      {gain:5.1f}")
print(f"charge for them, with exact precision:     {fair_charge:5.1f}  (paid already)")
print(f"charge for them, with mean-field precision:{mean_field_charge:5.1f}")

# %%
# The gain on the first line is what remains after roughly the charge on the second line. With
# the charge on the third line instead, it would be a loss. So the best that independent normals
# can do is to set the variance of departments to 0. A longer run, a better optimiser or another
# learning rate would only get there sooner, and estimating the noise does not help either. The
# remedy is a posterior with correlations. It gives lme4's departments, intercept included:

ours = full.intercept_ + full.random_effects_["department"]["Intercept"]
departments = pd.DataFrame(
    {
        "ratings": department_rows.rename(index=int),
        "lme4": lme4["intercept"] + reference["department"],
        "full": ours.set_axis(ours.index.astype(int)),
        "classic": classic.intercept_
        + classic.random_effects_["department"]["Intercept"].to_numpy(),
    }
).rename_axis("department")
heading("Departments: intercept and effect")
print(departments.to_string(float_format="{:.6f}".format))

# %%
# Predictions for known and unseen students
# -----------------------------------------
#
# Student 1 gives ratings above the average. A student that the model has never seen gets the
# prediction of the population: an effect of 0. With ``return_std=True``, the standard deviation
# then includes the whole variance between students. The same holds for lecturers. Most of the
# standard deviation is noise: single ratings are hard to predict.

new = pd.DataFrame(
    {"service": 0, "student": [1, 99999, 99999], "lecturer": [1002, 1002, 88888], "department": 2},
    index=["student 1, lecturer 1002", "new student, lecturer 1002", "both new"],
)
mean, std = full.predict(new, return_std=True)
effects_only = np.sqrt(std**2 - full.noise_variance_)
heading("Predictions for known and new students")
print(
    pd.DataFrame(
        {"prediction": mean, "SD of a rating": std, "SD without noise": effects_only},
        index=new.index,
    ).round(3)
)
print("department and service only:", full.predict(new, include=["department"]).round(3))

# %%
# A mixed model in a pipeline
# ---------------------------
#
# Groups are ordinary columns of X, so everything in scikit-learn works as usual. Here the age of
# the student (in semesters) and of the lecture are standardised, and the ids are passed
# through. Transformers must return data frames with the original column names, because the
# model finds its groups by name.

prepare = ColumnTransformer(
    [("scale", StandardScaler(), ["student_age", "lecture_age"])],
    remainder="passthrough",
    verbose_feature_names_out=False,
).set_output(transform="pandas")
pipeline = make_pipeline(
    prepare, MixedEffectsVIRegressor(random_effects=["student", "lecturer", "department"])
)
pipeline.fit(X.loc[X_train.index], y_train)
heading("A pipeline")
print(dict(zip(pipeline[-1].coef_names_, pipeline[-1].coef_.round(4).tolist(), strict=True)))
print(f"R^2 on the test ratings: {pipeline.score(X.loc[X_test.index], y_test):.4f}")

# %%
# Choose random effects by grid search
# ------------------------------------
#
# ``random_effects`` is a parameter, so `GridSearchCV` can choose it. Does the effect of
# ``service`` differ between departments? Or between lecturers? Bar terms express this:
# ``(1 + service | lecturer)`` gives each lecturer an intercept and a service effect, with a
# correlation between them. To compare models, variances to a thousandth of a standard error are
# precise enough, so the search uses a coarse ``tol``. :doc:`plot_grid_search` asks the same
# question for new lecturers, and gets another answer.

candidates = [
    ["student", "lecturer", "department"],
    ["student", "lecturer", "(1 + service | department)"],
    ["student", "(1 + service | lecturer)", "department"],
]
search = GridSearchCV(
    MixedEffectsVIRegressor(tol=1e-3),
    {"random_effects": candidates},
    scoring="neg_root_mean_squared_error",
    cv=KFold(3, shuffle=True, random_state=0),
).fit(X_train, y_train)
heading("Grid search over random effects")
for candidate, score in zip(candidates, search.cv_results_["mean_test_score"], strict=True):
    print(f"{' + '.join(candidate):32}  RMSE {-score:.5f}")
print("best:", search.best_params_["random_effects"])
print("test RMSE of the best:", round(-search.score(X_test, y_test), 5))

# %%
# The classic model is here for comparison only. In your own work use the default, the full
# posterior.

if not SHOWS_FIGURES:
    print(f"\nThe pictures are in {PLOTS}")
