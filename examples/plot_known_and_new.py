"""
==================================================
Known and new groups: mixed model and plain means
==================================================

How good is a lecturer with three ratings, and one with none? This example predicts both, and
compares a mixed model with plain means and one-hot columns. A plain mean trusts three ratings as
much as three hundred. One-hot columns cannot predict a new lecturer, and their penalty has to be
chosen. A mixed model estimates from all lecturers how much they differ, shrinks the means of few
ratings, and gives intervals.
"""

# %%
# A tenth of the ratings
# ----------------------
#
# 73,421 ratings of lectures, from 1 to 5. A tenth is for training. For lecturers with at least
# fifty other ratings, we compare the predictions with the mean of these.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skmixed import mixed
from skmixed.datasets import load_insteval

ratings = load_insteval().frame.rename(
    columns={"y": "rating", "s": "student", "d": "lecturer", "dept": "department"}
)
rng = np.random.default_rng(0)
# one lecturer in ten is left out of the training data: these are new
new = rng.choice(ratings["lecturer"].cat.categories, size=113, replace=False)
is_train = (rng.random(len(ratings)) < 0.1) & ~ratings["lecturer"].isin(new)
train, test = ratings[is_train], ratings[~is_train]
truth = test.groupby("lecturer", observed=True)["rating"].agg(["mean", "size"])
truth = truth[truth["size"] >= 50]
truth, n_later = truth["mean"], truth["size"]
n_ratings = train["lecturer"].value_counts().reindex(truth.index, fill_value=0)
print(f"{len(train):,} ratings to learn from, {len(truth)} lecturers to predict, "
      f"{(n_ratings == 0).sum()} of them without a rating")  # fmt: skip

# %%
# Three predictions
# -----------------
#
# The plain mean of a lecturer without ratings is the overall mean. One-hot columns have the default
# penalty of ``Ridge``. The mixed model also has student effects; it predicts a lecturer for an
# unknown student.

overall = train["rating"].mean()
means = train.groupby("lecturer", observed=True)["rating"].mean()
plain = means.reindex(truth.index).fillna(overall)

lecturers = pd.DataFrame({"lecturer": truth.index})
one_hot = make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge())
one_hot.fit(train[["lecturer"]], train["rating"])
indicator = pd.Series(one_hot.predict(lecturers), truth.index)

model = mixed("rating ~ 1 + (1 | student) + (1 | lecturer)", train)
mean, std = model.predict(lecturers.assign(student=-1), return_std=True, include=["lecturer"])
# of the lecturer alone, without the noise of a rating
lecturer_std = np.sqrt(std**2 - model.noise_variance_)
prediction = pd.DataFrame(
    {"mean": mean, "lower": mean - 1.96 * lecturer_std, "upper": mean + 1.96 * lecturer_std},
    index=truth.index,
)

# %%
# Errors by the number of ratings
# -------------------------------
#
# Plain means have larger errors with fewer ratings. The means of other ratings have an error too,
# from students and noise. The intervals include it, so 95 % intervals should contain 95 of 100 of
# these means.

groups = pd.cut(n_ratings, [-1, 0, 5, 10, 20, 1000], labels=["new", "1-5", "6-10", "11-20", "more"])
variances = model.variance_components_.set_index("group")["variance"]
of_truth = (variances["student"] + variances["Residual"]) / n_later
inside = (prediction["mean"] - truth).abs() < 1.96 * np.sqrt(lecturer_std**2 + of_truth)
print(f"in {inside.mean():.0%} of the intervals")


def rmse(predicted):
    """Root mean squared error by the number of ratings."""
    return np.sqrt(((predicted - truth) ** 2).groupby(groups, observed=True).mean())


table = pd.DataFrame(
    {
        "lecturers": groups.value_counts(),
        "plain mean": rmse(plain),
        "one-hot": rmse(indicator),
        "mixed model": rmse(prediction["mean"]),
    }
)
print(table.rename_axis("ratings").round(2))

# %%
# The figure shows the same, with fifteen random lecturers: three per row of the table.

chosen = [part.sample(3, random_state=1) for _, part in n_ratings.groupby(groups, observed=True)]
shown = pd.concat(chosen).sort_values()
figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.2), layout="constrained", width_ratios=[3, 2]
)
places = np.arange(len(shown))
left.vlines(places, *prediction.loc[shown.index, ["lower", "upper"]].T.to_numpy(), color="C0")
left.plot(places, prediction.loc[shown.index, "mean"], "o", color="C0", label="mixed model, 95 %")
known = shown.index.isin(means.index)
left.plot(places[known], plain.loc[shown.index][known], "x", color="C1", label="plain mean")
left.plot(places, truth.loc[shown.index], "_", color="black", markersize=14, label="later ratings")
left.set_xticks(places, ["new" if n == 0 else str(n) for n in shown])
left.set(xlabel="ratings of the lecturer", ylabel="mean rating", ylim=(0.8, 5.2))
left.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False)
styles = {"plain mean": ("C1", "x"), "one-hot": ("C2", "s"), "mixed model": ("C0", "o")}
for name, (colour, marker) in styles.items():
    right.plot(range(len(table)), table[name], color=colour, marker=marker, label=name)
right.set_xticks(range(len(table)), table.index)
right.set(xlabel="ratings of the lecturer", ylabel="error (RMSE)", ylim=(0, None))
right.legend(frameon=False)
plt.show()
