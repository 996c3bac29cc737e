"""
=====================================================
Random effects as features of gradient boosting
=====================================================

Gradient boosting wants numbers. A column of 2,972 students has none to offer, so each label
is replaced by something that the target says about it. A mean of few ratings is mostly
noise; `MixedEffectsEncoder` replaces labels by random effects, which are shrunken by as much
as the data call for. Here it feeds the same boosting as scikit-learn's
:class:`~sklearn.preprocessing.TargetEncoder`.
"""

# %%
# The data
# --------
#
# InstEval holds 73,421 ratings from 1 to 5 by students (``s``) of instructors (``d``) in
# departments (``dept``). The age of the student, the age of the lecture and whether it was
# held for another department stay as they are.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder

from skmixed import MixedEffectsEncoder
from skmixed.datasets import load_insteval

X, y = load_insteval(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
groups = ["s", "d", "dept"]

# %%
# Three encoders before one model
# -------------------------------
#
# `MixedEffectsEncoder` finds the categorical columns by itself and lets the others pass.
# By default one model has the effects of all columns; with ``joint=False`` every column
# has its own. Ratings are whole numbers, which look like classes, so the target's type is
# named. In a pipeline ``fit`` encodes the training rows in five folds, each by a model that
# has not seen it, and ``predict`` encodes new rows by the model of all of them.

encoders = {
    "TargetEncoder": ColumnTransformer(
        [("groups", TargetEncoder(target_type="continuous"), groups)], remainder="passthrough"
    ),
    "one by one": MixedEffectsEncoder(joint=False, target_type="continuous", random_state=0),
    "joint": MixedEffectsEncoder(target_type="continuous", random_state=0),
}
pipelines = {
    name: make_pipeline(encoder, HistGradientBoostingRegressor(random_state=0))
    for name, encoder in encoders.items()
}
scores = {}
for name, pipeline in pipelines.items():
    pipeline.fit(X_train, y_train)
    scores[name] = {
        "RMSE, training rows": root_mean_squared_error(y_train, pipeline.predict(X_train)),
        "RMSE, new rows": root_mean_squared_error(y_test, pipeline.predict(X_test)),
    }
print(pd.DataFrame(scores).T.round(4))

# %%
# All see the same rows and the same model follows; only the numbers in place of the labels
# differ. A joint model knows that an instructor's low ratings may be due to students who
# rate everybody low.
#
# What shrinking does
# -------------------
#
# For instructors, the effect in the joint model beside the plain mean of the ratings, by
# the number of ratings. Means of a handful spread more than those of many, which is
# noise. Effects of a handful spread less: little is known of them.

instructors = y_train.groupby(X_train["d"], observed=True).agg(["mean", "size"])
instructors["effect"] = pipelines["joint"][0].encodings_["d"]

BLUE, ORANGE, INK = "#2b6cb0", "#d9730d", "#222222"
figure, panels = plt.subplots(
    1, 2, figsize=(9, 3.8), sharex=True, sharey=True, layout="constrained"
)
shown = {
    "mean rating - overall mean": (instructors["mean"] - y_train.mean(), ORANGE),
    "random effect, joint": (instructors["effect"], BLUE),
}
for panel, (title, (values, color)) in zip(panels, shown.items(), strict=True):
    panel.scatter(instructors["size"], values, s=8, alpha=0.5, color=color, linewidths=0)
    panel.axhline(0, color=INK, linewidth=0.8)
    panel.set(xscale="log", xlabel="ratings of the instructor", title=title)
    panel.spines[["top", "right"]].set_visible(False)
panels[0].set_ylabel("rating points")
plt.show()

# %%
# Instructors with few ratings are where the two disagree:

few = instructors["size"] <= 10
spread = pd.DataFrame(
    {title: [values[few].std(), values[~few].std()] for title, (values, _) in shown.items()},
    index=["up to 10 ratings", "more"],
)
print(spread.round(3))

# %%
# The variances of the model, and what it knows besides, are in ``models_``:

print(pipelines["joint"][0].models_["d"].variance_components_.round(4))

# %%
# Why rows have to be encoded by models that have not seen them
# -------------------------------------------------------------
#
# Labels drawn at random say nothing of the ratings. Encoded by a model of all rows, they
# seem to, as every row's own rating is part of its label's effect. Encoded in folds, they
# do not. `fit_transform` and pipelines use folds.

rng = np.random.default_rng(2)
noise = pd.DataFrame({"label": pd.Categorical(rng.integers(1000, size=4000))})
rating = y_train.to_numpy()[:4000].astype(float)
encoder = MixedEffectsEncoder(target_type="continuous", random_state=0)
folds = encoder.fit_transform(noise, rating)[:, 0]
all_rows = encoder.transform(noise)[:, 0]
print(f"correlation with the rating, all rows: {np.corrcoef(all_rows, rating)[0, 1]:+.3f}")
print(f"correlation with the rating, in folds: {np.corrcoef(folds, rating)[0, 1]:+.3f}")
