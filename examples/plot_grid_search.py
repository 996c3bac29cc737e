"""
=====================================================
Choosing a model for the rows to come: grid search
=====================================================

Random effects and the preparation of columns are both open to choice, and cross-validation
can choose. But which rows will the model have to predict: further ratings of instructors it
has seen, or the first ratings of new ones? The two questions have different answers here,
and the splitter is what asks them.
"""

# %%
# The data
# --------
#
# Ratings of lectures by the students of a university, which :doc:`plot_insteval` describes:
# ``s`` is the student, ``d`` the instructor, ``dept`` the department, and ``service`` is 1 for a
# lecture held for another department. To keep this short we take every third student.

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

X, y = load_insteval(return_X_y=True)
every_third = X["s"].astype(int) % 3 == 0
X, y = X[every_third], y[every_third]
print(f"{len(X):,} ratings of {X['d'].nunique():,} instructors by {X['s'].nunique():,} students")

# %%
# A pipeline with two things to choose
# ------------------------------------
#
# **How do ages enter?** ``studage`` is the semester the student has reached, ``lectage`` how
# many semesters ago the lecture was. They can be left out, be two numbers with a straight
# line each, or be categories with a coefficient for every value. That is a step of a
# `ColumnTransformer`, and ``"drop"`` is one of its choices.
#
# **Who differs in what?** Students, instructors and departments get an intercept each. Beyond
# that, departments may differ in how their *service* lectures are rated, or every single
# instructor may. Bar terms say so.
#
# Transformers have to return data frames with the columns' own names, since the model asks
# for its groups by name.

prepare = ColumnTransformer(
    [("ages", "drop", ["studage", "lectage"])],
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
    "intercepts": ["s", "d", "dept"],
    "service by department": ["s", "d", "dept", "(1 | dept:service)"],
    "service by instructor": ["s", "(1 + service | d)", "dept"],
}
grid = {
    "model__random_effects": list(structures.values()),
    "prepare__ages": list(ages.values()),
}

# %%
# A coarse ``tol`` finds the variances to a thousandth of a standard error, which is plenty for
# telling models apart.
#
# The score is the logarithm of the density that the model gave to a rating it had not
# seen. It wants means and standard deviations to be right: for a new instructor a model has to
# know that it knows little.


def log_density(model, X, y):
    """Mean log predictive density of the ratings y, in natural logarithms."""
    mean, std = model.predict(X, return_std=True)
    return norm.logpdf(y, mean, std).mean()


# %%
# Two splitters
# -------------
#
# `KFold` deals out single ratings, so that nearly every instructor of the held-out rows is in
# the training rows as well. `GroupKFold` deals out instructors with all their ratings. Its
# ``groups`` belong to the splitter alone; the model takes its groups from the columns of X.

splitters = {
    "further ratings": (KFold(3, shuffle=True, random_state=0), None),
    "new instructors": (GroupKFold(3), X["d"]),
}
searches = {}
for question, (splitter, groups) in splitters.items():
    search = GridSearchCV(pipeline, grid, scoring=log_density, cv=splitter, error_score="raise")
    searches[question] = search.fit(X, y, groups=groups)

# %%
# The results as tables of gains over the plainest model, in thousandths:


def name_of(choices, value):
    """What a choice is called above."""
    return next(name for name, choice in choices.items() if str(choice) == str(value))


def table_of_gains(search):
    """Gain of every candidate in every fold over intercepts without ages, in thousandths."""
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
# Further ratings of known instructors are best predicted when every instructor has a service
# effect of their own. For new instructors that gains nothing, as nobody's own effect is
# known; what is known is how service lectures of a department are rated. The ages count in
# both cases, and straight lines are enough: categories bring nothing on top.
#
# The picture
# -----------
#
# Small points are the folds, large ones their means. Gains of all candidates are over the
# same rows, so a difference that has the same sign in all folds is no accident of one of them.

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
# A search refits its best candidate on all rows and is then an estimator itself. For an
# instructor whom nobody has rated yet it predicts the population, with a standard deviation
# that contains the spread between instructors.

for question, search in searches.items():
    chosen = search.best_params_
    print(
        f"{question}: {name_of(structures, chosen['model__random_effects'])}, "
        f"ages as {name_of(ages, chosen['prepare__ages'])}"
    )

best = searches["new instructors"].best_estimator_
lectures = X.iloc[[0, 0]].assign(d=[X["d"].iloc[0], "somebody new"], service=1)
mean, std = best.predict(lectures, return_std=True)
pd.DataFrame({"instructor": lectures["d"], "mean": mean, "std": std}).round(3)
