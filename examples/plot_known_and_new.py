"""
========================================
Known and new groups, beside plain means
========================================

How good is a lecturer who has three ratings? And one who has none yet? A plain mean believes
three ratings as much as three hundred. One-hot columns know nothing of a new lecturer, and
their penalty has to be guessed. A mixed model learns from all lecturers how far they differ,
shrinks the means of few ratings, and says how sure it is.
"""

# %%
# A tenth of the ratings
# ----------------------
#
# 73,421 ratings of lectures, from 1 to 5. A tenth is for training. The mean of a lecturer's
# other ratings is what the predictions are compared with, for lecturers with fifty of them or
# more.

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
# ratings of one lecturer in ten are left out altogether: these are new
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
# The plain mean falls back to the overall mean where there is no rating. One-hot has the
# default penalty of ``Ridge``. The mixed model has students too; a lecturer is predicted for a
# student whom nobody knows.

overall = train["rating"].mean()
means = train.groupby("lecturer", observed=True)["rating"].mean()
plain = means.reindex(truth.index).fillna(overall)

lecturers = pd.DataFrame({"lecturer": truth.index})
one_hot = make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge())
one_hot.fit(train[["lecturer"]], train["rating"])
indicator = pd.Series(one_hot.predict(lecturers), truth.index)

model = mixed("rating ~ 1 + (1 | student) + (1 | lecturer)", train)
mean, std = model.predict(lecturers.assign(student=-1), return_std=True, include=["lecturer"])
# the lecturer alone: what a rating adds is noise
lecturer_std = np.sqrt(std**2 - model.noise_variance_)
prediction = pd.DataFrame(
    {"mean": mean, "lower": mean - 1.96 * lecturer_std, "upper": mean + 1.96 * lecturer_std},
    index=truth.index,
)

# %%
# By the number of ratings
# ------------------------
#
# The fewer ratings, the more a plain mean is off. A mean of later ratings has an error of its
# own, from students and noise. With it, intervals of 95 % should hold 95 of 100 of these means.

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
# The same as a picture, with fifteen lecturers drawn at random: three for each row of the
# table.

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
