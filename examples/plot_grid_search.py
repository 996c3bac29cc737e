"""
=====================================================
Grid search: known groups or new groups
=====================================================

This example chooses random effects and the preparation of columns by cross-validation, in a
pipeline. It shows that the best model depends on the rows to predict: further ratings of known
lecturers, or first ratings of new ones. The splitter decides between the two.
"""

# %%
# The data
# --------
#
# Students of a university rated lectures; :doc:`plot_insteval` describes the data. ``service`` is 1
# for a lecture held for another department. We take every third student, to keep the run time
# short.

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import load_insteval
from skmixed.exceptions import SingularFitWarning, UnknownLevelsWarning

X, y = load_insteval(return_X_y=True, names="plain")
every_third = X["student"].astype(int) % 3 == 0
X, y = X[every_third], y[every_third]
n_lecturers, n_students = X["lecturer"].nunique(), X["student"].nunique()
print(f"{len(X):,} ratings of {n_lecturers:,} lecturers by {n_students:,} students")

# %%
# A pipeline with two choices
# ---------------------------
#
# **How to use the ages.** ``studage`` is the semester of the student. ``lectage`` says how many
# semesters ago the lecture was. We can drop them, use them as two numbers with one slope each, or
# use them as categories with one coefficient per value. This is a step of a
# `ColumnTransformer`, and ``"drop"`` is one of its values.
#
# **Which random effects to use.** Students, lecturers and departments have an intercept each. In
# addition, the effect of *service* lectures can differ between departments or between
# lecturers. Bar terms express this.
#
# Transformers have to return data frames with the original column names, because the model finds
# its groups by name.

prepare = ColumnTransformer(
    [("ages", "drop", ["student_age", "lecture_age"])],
    remainder="passthrough",
    verbose_feature_names_out=False,
).set_output(transform="pandas")
pipeline = Pipeline([("prepare", prepare), ("model", MixedEffectsVIRegressor(tol=1e-3))])

ages = {
    "left out": "drop",
    "numbers": StandardScaler(),
    "categories": OneHotEncoder(drop="first", sparse_output=False),
}
structures = {
    "intercepts": ["student", "lecturer", "department"],
    "service by department": ["student", "lecturer", "department", "(1 | department:service)"],
    "service by lecturer": ["student", "(1 + service | lecturer)", "department"],
}
grid = {
    "model__random_effects": list(structures.values()),
    "prepare__ages": list(ages.values()),
}

# %%
# With a coarse ``tol`` the variances are exact to a thousandth of a standard error. That is enough
# to compare models.
#
# The score is the log predictive density of ratings that the model has not seen. It is high only
# if both means and standard deviations are right. For a new lecturer, for instance, the
# standard deviation has to be larger.


def log_density(model, X, y):
    """Return the mean log predictive density of the ratings y, in natural logarithms."""
    mean, std = model.predict(X, return_std=True)
    return norm.logpdf(y, mean, std).mean()


# %%
# Split by row or by lecturer
# -----------------------------
#
# `KFold` splits single ratings. Nearly every lecturer of the held-out rows is then in
# the training rows as well. `GroupKFold` splits lecturers, each with all ratings. Its
# ``groups`` are for the splitter only. The model finds its groups in the columns of X.
#
# All lecturers of a held-out fold are then unknown to the model. `predict` warns of that, because
# elsewhere it can mean that ids have changed. Here it is intended. In some folds the variance of
# departments is 0, which `fit` warns of. That is a result like any other: cross-validation judges
# it. So we silence both warnings.

for expected in (UnknownLevelsWarning, SingularFitWarning):
    warnings.simplefilter("ignore", expected)
splitters = {
    "further ratings": (KFold(3, shuffle=True, random_state=0), None),
    "new lecturers": (GroupKFold(3), X["lecturer"]),
}
searches = {}
for question, (splitter, groups) in splitters.items():
    search = GridSearchCV(pipeline, grid, scoring=log_density, cv=splitter, error_score="raise")
    searches[question] = search.fit(X, y, groups=groups)

# %%
# These tables show gains in log density over the simplest model, in thousandths:


def name_of(choices, value):
    """Return the name of a choice in `structures` or `ages`."""
    return next(name for name, choice in choices.items() if str(choice) == str(value))


def table_of_gains(search):
    """Return gains per candidate and fold over intercepts without ages, in thousandths."""
    results = pd.DataFrame(search.cv_results_)
    folds = results.filter(regex=r"split\d+_test_score")
    gains = 1000 * (folds - folds.iloc[0])
    return gains.set_index(
        pd.MultiIndex.from_arrays(
            [
                [name_of(structures, value) for value in results["param_model__random_effects"]],
                [name_of(ages, value) for value in results["param_prepare__ages"]],
            ],
            names=["structure", "ages"],
        )
    )


gains = {question: table_of_gains(search) for question, search in searches.items()}
for question, table in gains.items():
    print(f"{question}:")
    print(table.mean(axis=1).unstack().loc[list(structures), list(ages)].round(1), "\n")

# %%
# For further ratings of known lecturers, the best model has one service effect per lecturer.
# For new lecturers this gains nothing, because their own effect is unknown. But the service
# effect of their department is known. The ages help in both cases, and straight lines are
# enough: categories do not improve on them.
#
# Plot the gains per fold
# -----------------------
#
# Small points are folds, and large points are their means. All candidates are scored on the
# same rows. So if a difference has the same sign in all folds, it does not come from one fold
# alone.

BLUE, ORANGE, GREY, INK = "#2b6cb0", "#d9730d", "#9aa5b1", "#222222"
styles = {"left out": (GREY, "v"), "numbers": (BLUE, "o"), "categories": (ORANGE, "s")}
labels = {
    "left out": "ages left out",
    "numbers": "ages as numbers",
    "categories": "ages as categories",
}

figure, panels = plt.subplots(1, 2, figsize=(10, 3.9), sharey=True, layout="constrained")
for panel, (question, table) in zip(panels, gains.items(), strict=True):
    for row, structure in enumerate(structures):
        for shift, age in zip((-0.2, 0.0, 0.2), ages, strict=True):
            color, marker = styles[age]
            values = table.loc[(structure, age)]
            height = np.full(len(values), row + shift)
            panel.plot(values, height, marker, color=color, markersize=4, alpha=0.5)
            panel.plot(
                values.mean(), row + shift, marker, color=color, markersize=9,
                markeredgecolor="white", label=labels[age] if row == 0 else None,
            )  # fmt: skip
    panel.axvline(0, color=INK, linewidth=0.8)
    panel.set(title=f"To predict {question}", xlabel="gain in log density, thousandths")
    panel.spines[["top", "right"]].set_visible(False)
panels[0].set_yticks(range(len(structures)), structures)
panels[0].invert_yaxis()
handles, names = panels[0].get_legend_handles_labels()
figure.legend(handles, names, frameon=False, loc="outside upper center", ncols=3)
plt.show()

# %%
# The chosen models
# -----------------
#
# A search refits its best candidate on all rows. After that it is an estimator. A lecturer
# without ratings is predicted for the population, and the standard deviation contains the
# variance between lecturers.

for question, search in searches.items():
    chosen = search.best_params_
    print(
        f"{question}: {name_of(structures, chosen['model__random_effects'])}, "
        f"ages as {name_of(ages, chosen['prepare__ages'])}"
    )

best = searches["new lecturers"].best_estimator_
lectures = X.iloc[[0, 0]].assign(lecturer=[X["lecturer"].iloc[0], "somebody new"], service=1)
mean, std = best.predict(lectures, return_std=True)
pd.DataFrame({"lecturer": lectures["lecturer"], "mean": mean, "std": std}).round(3)
