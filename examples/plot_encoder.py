"""
=====================================================
Target encoding with random effects before boosting
=====================================================

This example encodes columns with many labels by random effects, and compares the errors of
gradient boosting after three encoders. It shows shrinkage, and why encoding in folds avoids
leakage.

Gradient boosting needs numbers, and a column of 2,972 students has only labels. So an encoder
replaces each label by a number learnt from the target. The mean of a few ratings is mostly noise.
`MixedEffectsEncoder` uses random effects instead; the data determine how much they are shrunk.
scikit-learn's :class:`~sklearn.preprocessing.TargetEncoder` is the comparison.
"""

# %%
# The data
# --------
#
# InstEval has 73,421 ratings from 1 to 5. Students rate lecturers in departments. The other
# columns are not encoded: the age of the student, the age of the lecture and whether it was held
# for another department.

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

X, y = load_insteval(return_X_y=True, names="plain")
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
groups = ["student", "lecturer", "department"]

# %%
# Compare three encoders before one model
# ---------------------------------------
#
# `MixedEffectsEncoder` finds the categorical columns by itself. All others pass through. By
# default one joint model has the effects of all columns. With ``joint=False`` each column has its
# own model. Ratings are whole numbers, which look like classes, so we set ``target_type``. In a
# pipeline ``fit`` encodes the training rows in five folds, each with a model that has not seen
# the fold. ``predict`` encodes new rows with the model of all training rows.

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
# The rows and the model are the same; only the encodings of the labels differ. A joint model knows
# that the low ratings of a lecturer may come from students who rate everybody low.
#
# Shrinkage of rare labels
# ------------------------
#
# The plot shows one point per lecturer. x: number of ratings; y: the mean rating on the left, the
# effect in the joint model on the right. Means of few ratings spread more than means of many
# ratings, because they contain more noise. Effects of few ratings spread less, because they are
# shrunk more.

lecturers = y_train.groupby(X_train["lecturer"], observed=True).agg(["mean", "size"])
lecturers["effect"] = pipelines["joint"][0].encodings_["lecturer"]

BLUE, ORANGE, INK = "#2b6cb0", "#d9730d", "#222222"
figure, panels = plt.subplots(
    1, 2, figsize=(9, 3.8), sharex=True, sharey=True, layout="constrained"
)
shown = {
    "mean rating - overall mean": (lecturers["mean"] - y_train.mean(), ORANGE),
    "random effect, joint": (lecturers["effect"], BLUE),
}
for panel, (title, (values, color)) in zip(panels, shown.items(), strict=True):
    panel.scatter(lecturers["size"], values, s=8, alpha=0.5, color=color, linewidths=0)
    panel.axhline(0, color=INK, linewidth=0.8)
    panel.set(xscale="log", xlabel="ratings of the lecturer", title=title)
    panel.spines[["top", "right"]].set_visible(False)
panels[0].set_ylabel("rating points")
plt.show()

# %%
# The two disagree most for lecturers with few ratings. These are the standard deviations:

few = lecturers["size"] <= 10
spread = pd.DataFrame(
    {title: [values[few].std(), values[~few].std()] for title, (values, _) in shown.items()},
    index=["up to 10 ratings", "more"],
)
print(spread.round(3))

# %%
# ``models_`` has the fitted models, for instance their variances:

print(pipelines["joint"][0].models_["lecturer"].variance_components_.round(4))

# %%
# Avoid leakage: encode in folds
# ------------------------------
#
# Random labels say nothing about the ratings. If a model of all rows encodes them, they seem to
# predict the ratings, because the rating of each row is a part of the effect of its label. If they
# are encoded in folds, they do not. `fit_transform` and pipelines use folds.

rng = np.random.default_rng(2)
noise = pd.DataFrame({"label": pd.Categorical(rng.integers(1000, size=4000))})
rating = y_train.to_numpy()[:4000].astype(float)
encoder = MixedEffectsEncoder(target_type="continuous", random_state=0)
folds = encoder.fit_transform(noise, rating)[:, 0]
all_rows = encoder.transform(noise)[:, 0]
print(f"correlation with the rating, all rows: {np.corrcoef(all_rows, rating)[0, 1]:+.3f}")
print(f"correlation with the rating, in folds: {np.corrcoef(folds, rating)[0, 1]:+.3f}")
