"""
=====================================================
Ordinal regression: ratings as ordered categories
=====================================================

In this example you fit an ordinal mixed model to ratings and compare it with a normal model, by the
probabilities that they give to new ratings.

A rating of 4 is better than one of 3. But the step from 3 to 4 need not be as large as the step
from 4 to 5, and there are no values in between. A normal model ignores both facts. The cumulative
model for ordered categories assumes a number on a continuous scale behind every rating.
Thresholds cut this scale into the categories, and the model estimates the thresholds.

The data are ratings of lectures; :doc:`plot_insteval` describes them.
"""

# %%
# The ordinal and the normal model
# --------------------------------
#
# Let :math:`\eta` be the fixed effects plus the effects of student, lecturer and department.
# The cumulative model is
#
# .. math:: P(y \le j) = F(t_j - \eta), \qquad j = 1, \dots, 4,
#
# where F is the logistic distribution function. The four thresholds :math:`t_j` replace the
# intercept. The normal model is :math:`y \sim N(\beta_0 + \eta, \sigma^2)`. One tenth of the
# ratings is held out.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.model_selection import train_test_split

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.datasets import load_insteval

X, y = load_insteval(return_X_y=True, names="plain")
X = X[["service", "student", "lecturer", "department"]]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.1, random_state=0)

ordered = MixedEffectsVIClassifier(family="ordinal").fit(X_train, y_train)
normal = MixedEffectsVIRegressor().fit(X_train, y_train)

# %%
# The estimated thresholds are almost equally far apart: on the latent scale, the step from 1 to 2
# is about as large as the step from 4 to 5. So equal steps are not what is wrong with the normal
# model here. ``service`` lowers the log odds of a rating above any given one.

print("thresholds:       ", ordered.thresholds_.round(3))
print("distances:        ", np.diff(ordered.thresholds_).round(3))
print("service, log odds:", ordered.coef_.round(3))
print(ordered.variance_components_[["group", "sd"]])

# %%
# Compare the models on new ratings
# ---------------------------------
#
# The classifier predicts the probabilities of the five ratings. The normal model predicts a mean
# and a standard deviation per row. Its probability of a rating is the probability of rounding to
# it: everything below 1.5 counts as 1, everything above 4.5 as 5. The score of a model is the log
# of the probability that it gave to the observed rating. As a baseline, a model that ignores
# students and lecturers gives all rows the overall shares of the five ratings.

RATINGS = np.arange(1, 6)


def rounded(mean, std):
    """Return the probabilities that normal numbers round to each of the ratings."""
    boundaries = np.concatenate([[-np.inf], RATINGS[:-1] + 0.5, [np.inf]])
    return np.diff(norm.cdf(boundaries, loc=mean[:, None], scale=std[:, None]), axis=1)


def log_score(probabilities):
    """Return the log probability of the observed rating of every held-out row."""
    return np.log(probabilities[np.arange(len(y_test)), y_test.to_numpy() - 1])


of_ordered = ordered.predict_proba(X_test)
of_normal = rounded(*normal.predict(X_test, return_std=True))
shares = y_train.value_counts(normalize=True).sort_index().to_numpy()
scores = pd.DataFrame(
    {
        "ordered categories": log_score(of_ordered),
        "normal, rounded": log_score(of_normal),
        "shares of the ratings": log_score(np.tile(shares, (len(y_test), 1))),
    }
)
print(scores.mean().round(4))

# %%
# Each mean score is uncertain. But both models are scored on the same rows, so the difference has a
# small standard error:

gain = scores["ordered categories"] - scores["normal, rounded"]
print(f"gain {gain.mean():.4f}, standard error {gain.sem():.4f}")

# %%
# Both models rank the rows almost identically:

agreement = pd.Series(ordered.predict(X_test, type="link")).corr(
    pd.Series(normal.predict(X_test)), method="spearman"
)
print(f"rank correlation of the predictors: {agreement:.3f}")

# %%
# Where the gain comes from
# -------------------------
#
# Bars are the frequencies of the five ratings in held-out rows. Points are the probabilities of
# the two models, averaged over the same rows.
#
# The lower row shows groups of students, from the most severe tenth to the most generous. The
# normal model predicts 3 too often, and 1 and 5 too rarely: it has one symmetric curve with one
# spread for everybody, but ratings pile up at the ends of the scale.
#
# The upper row shows four lecturers, from low to high ratings. Each has only about thirty
# held-out ratings, so a frequency is off by about 0.08 by chance alone.

BLUE, ORANGE, GREY = "#2b6cb0", "#d9730d", "#c5ced6"


def pick_lecturers(number):
    """Pick lecturers with many held-out ratings, spread evenly from low to high ratings."""
    often = X_test["lecturer"].value_counts().head(40).index
    effects = ordered.random_effects_["lecturer"]["Intercept"].loc[often].sort_values()
    return effects.index[np.linspace(1, len(effects) - 2, number).round().astype(int)]


def student_tenths():
    """Return, for every held-out row, which tenth of the students its student belongs to."""
    effects = ordered.random_effects_["student"]["Intercept"]
    tenths = pd.qcut(effects.rank(method="first"), 10, labels=False)
    return X_test["student"].astype(int).map(tenths.set_axis(tenths.index.astype(int)))


panels = {}
for name in pick_lecturers(4):
    panels[f"lecturer {name}"] = (X_test["lecturer"] == name).to_numpy()
tenths = student_tenths()
names = {0: "severest tenth", 3: "fourth tenth", 6: "seventh tenth", 9: "most generous tenth"}
for tenth, name in names.items():
    panels[f"students, {name}"] = (tenths == tenth).to_numpy()

figure, axes = plt.subplots(2, 4, figsize=(10, 5), sharex=True, sharey=True, layout="constrained")
for panel, (title, rows) in zip(axes.flat, panels.items(), strict=True):
    observed = [(y_test[rows] == rating).mean() for rating in RATINGS]
    panel.bar(RATINGS, observed, color=GREY, label="observed")
    panel.plot(RATINGS, of_ordered[rows].mean(axis=0), "o-", color=BLUE, label="ordered")
    panel.plot(RATINGS, of_normal[rows].mean(axis=0), "s--", color=ORANGE, label="normal")
    panel.set_title(f"{title}\n{rows.sum()} ratings", fontsize=9)
    panel.set_xticks(RATINGS)
    panel.spines[["top", "right"]].set_visible(False)
for panel in axes[:, 0]:
    panel.set_ylabel("probability")
for panel in axes[-1]:
    panel.set_xlabel("rating")
axes[0, 0].legend(frameon=False, fontsize=8)
plt.show()
