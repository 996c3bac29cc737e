"""
===================================================
Predictions for known and for new groups
===================================================

Many data have groups: ratings of instructors, sales of shops, visits of patients. Three ways to
use the groups are compared here on ratings that no model has seen:

* **Group means**: predict the mean of the group's training rows.
* **One-hot columns**: one column per group in a linear regression.
* **Random effects**: one effect per group, shrunken by as much as the data call for.

Groups differ in size, and some groups have no training rows at all. The mixed model predicts all
of them, and says how uncertain each prediction is.
"""

# %%
# The data
# --------
#
# InstEval holds 73,421 ratings from 1 to 5 of 1,128 instructors (``d``). One tenth of the ratings
# is for training, so that many instructors have few ratings. The rest is for testing. 40
# instructors are left out of the training data and stand for new groups.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.metrics import root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import load_insteval

X, y = load_insteval(return_X_y=True)
X = X[["service", "d"]].rename(columns={"d": "instructor"})

rng = np.random.default_rng(0)
new = rng.choice(X["instructor"].unique(), size=40, replace=False)
train = (rng.random(len(X)) < 0.1) & ~X["instructor"].isin(new).to_numpy()
X_train, y_train, X_test, y_test = X[train], y[train], X[~train], y[~train]

# %%
# Three models
# ------------
#
# Group means and one-hot columns have nothing to say about a new group but the overall mean.

mean_of_all = y_train.mean()
group_means = y_train.groupby(X_train["instructor"], observed=True).mean()
one_hot = make_pipeline(
    make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["instructor"]), remainder="passthrough"
    ),
    LinearRegression(),
).fit(X_train, y_train)
mixed_model = MixedEffectsVIRegressor(random_effects=["instructor"]).fit(X_train, y_train)

predictions = pd.DataFrame(
    {
        "group means": X_test["instructor"].map(group_means).astype(float).fillna(mean_of_all),
        "one-hot columns": one_hot.predict(X_test),
        "random effects": mixed_model.predict(X_test),
    }
)

# %%
# Errors by size of the group
# ---------------------------
#
# With few training ratings per instructor, means and one-hot columns follow the noise.

counts = X_test["instructor"].map(X_train["instructor"].value_counts()).astype(int)
sizes = pd.cut(counts, [-1, 0, 1, 2, 4, 8, 1000], labels=["new", "1", "2", "3-4", "5-8", "9+"])
errors = pd.DataFrame(
    {
        name: [
            root_mean_squared_error(y_test[sizes == size], column[sizes == size])
            for size in sizes.cat.categories
        ]
        for name, column in predictions.items()
    },
    index=sizes.cat.categories,
)
errors.round(3)

# %%
# Intervals
# ---------
#
# The interval of an instructor's mean rating is wide where there are few ratings, and widest for
# a new instructor: it then covers the differences between instructors as well. 95 % intervals of
# single ratings cover at least 95 % of the test ratings, of known and of new instructors. They
# cover more, because ratings end at 1 and 5 and the intervals do not.

low, high = mixed_model.predict_interval(X_test).T
inside = (y_test >= low) & (y_test <= high)
inside.groupby(counts == 0).mean().rename({False: "known groups", True: "new groups"}).round(3)

# %%
# The figure
# ----------
#
# Left: the root mean squared error on test ratings. Right: six instructors and a new one, with the
# mean of their test ratings, which no model has seen.

color = {"group means": "#888888", "one-hot columns": "#d95f02", "random effects": "#1b6ca8"}
marker = {"group means": "x", "one-hot columns": "s", "random effects": "o"}
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
for name, column in errors.items():
    style = {"ls": "--", "ms": 9, "zorder": 3} if name == "group means" else {}
    left.plot(errors.index, column, marker=marker[name], color=color[name], label=name, **style)
left.set(
    xlabel="training ratings per instructor", ylabel="error of predicted ratings (RMSE)",
    title="Known and new instructors",
)  # fmt: skip
left.legend(frameon=False)

n_tests = X_test["instructor"].value_counts()
order = X_train["instructor"].value_counts()
shown = []
for count in (1, 2, 4, 8, 16, 32):
    near = order[(order >= count) & (order <= 1.3 * count)]
    shown.append(n_tests[near.index].idxmax())
shown.append(n_tests[new].idxmax())
rows = pd.DataFrame({"service": 0, "instructor": shown})
mean, std = mixed_model.predict(rows, return_std="mean")
unseen = len(shown) - 1
place = np.arange(len(shown))
right.errorbar(
    place, mean, 1.96 * std, fmt="o", color=color["random effects"], capsize=3,
    label="random effects, 95 % interval",
)  # fmt: skip
right.scatter(
    place[:unseen] - 0.15, group_means[shown[:unseen]], marker="x", color=color["group means"],
    label="group means",
)  # fmt: skip
right.scatter(
    place[:unseen] + 0.15, one_hot.predict(rows)[:unseen], marker="s", s=20,
    color=color["one-hot columns"], label="one-hot columns",
)  # fmt: skip
held_out = y_test.groupby(X_test["instructor"], observed=True).mean()
right.scatter(
    place, held_out[shown], marker="*", s=90, color="black", zorder=3, label="mean of test ratings"
)
names = [*(f"{order[level]}" for level in shown[:unseen]), "new"]
right.set(
    xticks=place, xticklabels=names, xlabel="training ratings of the instructor",
    ylabel="mean rating", title="Seven instructors",
)  # fmt: skip
right.set_ylim(1.7, None)
right.legend(frameon=False, fontsize=8, loc="lower left", ncols=2)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
plt.show()
