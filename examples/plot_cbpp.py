"""
=========================================================
Sick cattle by herd: successes out of trials
=========================================================

This example fits a binomial response, successes out of trials, with a random intercept per herd. It
checks the approximation, predicts probabilities for known and new herds, and uses a pipeline.

A lung disease, contagious bovine pleuropneumonia, had broken out in 15 herds of cattle in
Ethiopia. For a year the new cases of each quarter were counted (Lesnoff and others 2004). How
fast does the risk fall, and how much do herds differ? Each row of the data is one herd in one
quarter, with the number of new cases and the number of animals. So it is a number of successes out
of a number of trials.
"""

# %%
# Two rows per herd and period
# ----------------------------
#
# A classifier needs one class per row, here ill or not. Summed over the periods there are 842
# animals, but we do not need 842 rows. Case weights say how many animals a row stands for. So
# each row of the data becomes two rows: one for the sick, with weight ``incidence``, and one for
# the healthy, with weight ``size - incidence``. A row of weight 0 does not count.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skmixed import MixedEffectsVIClassifier, mixed
from skmixed.datasets import load_cbpp

herds = load_cbpp().frame
animals = pd.concat(
    [
        herds.assign(ill=1, animals=herds["incidence"]),
        herds.assign(ill=0, animals=herds["size"] - herds["incidence"]),
    ],
    ignore_index=True,
)
animals[["herd", "period", "ill", "animals"]].sort_values(["herd", "period"]).head(6)

# %%
# The model
# ---------
#
# The log odds of falling ill depend on the period and on the herd. Each period after the first has
# a coefficient. The effects of the herds are draws from a normal distribution:
#
# .. math::
#
#    \mathrm{logit}\, P(\mathrm{ill}) = \beta_0 + \beta_{\mathrm{period}}
#    + u_{\mathrm{herd}}, \qquad u \sim N(0, \sigma^2).
#
# `mixed` can make these rows by itself if you write the response as in R,
# ``cbind(incidence, size - incidence) ~ period + (1 | herd)``. Here we need the rows later,
# for an estimator in a pipeline.

formula = "ill ~ period + (1 | herd)"
model = mixed(formula, animals, family="bernoulli", sample_weight=animals["animals"])
print(model.summary())

# %%
# The coefficients are differences in log odds from the first period, the reference level. The
# coefficient of the fourth period is about -1.6, an odds ratio of about one fifth.
#
# The method is maximum likelihood, the default for classes. The exact maximum is known here,
# because one random intercept can be integrated out by quadrature: the standard deviation between
# herds is 0.6475. The variational fit approximates the posterior by a normal distribution. With a
# few dozen animals per herd, its standard deviation is close to the exact one:

print(model.variance_components_[["group", "sd"]])

# %%
# `diagnose` measures how good the approximation is, without knowing the exact answer. It needs the
# training data. `mixed` keeps them in the model, so we could leave them out here.

print(model.diagnose(animals, animals["ill"], sample_weight=animals["animals"]))

# %%
# Effects of the herds
# --------------------
#
# Each herd has a posterior mean and a standard deviation. Herds with less information, from few
# animals or few cases, are shrunk more towards 0, the population.

effects = pd.DataFrame(
    {
        "mean": model.random_effects_["herd"]["Intercept"],
        "std": model.random_effects_std_["herd"]["Intercept"],
        "animals": herds.groupby("herd", observed=True)["size"].sum(),
    }
).sort_values("mean")
effects.round(2)

# %%
# Probabilities for a new herd
# ----------------------------
#
# `predict_proba` averages over the distribution of the effects. For a herd that was not
# in the survey this is the whole distribution between herds, and the probabilities move towards
# one half. ``include="none"`` leaves the herd out and gives the probabilities of a herd whose
# effect is 0.

BLUE, ORANGE, GREY, INK = "#2b6cb0", "#d9730d", "#9aa5b1", "#222222"
periods = pd.DataFrame({"herd": 99, "period": [1, 2, 3, 4]})
new_herd = model.predict_proba(periods)[:, 1]
average_herd = model.predict_proba(periods, include="none")[:, 1]
print(pd.DataFrame({"a new herd": new_herd, "the average herd": average_herd}).round(3))

# %%
# Use a pipeline
# --------------
#
# Without a formula, a transformer can code ``period``. To pass weights to the last step of the
# pipeline, put the name of the step before ``__sample_weight``.

prepare = make_column_transformer(
    (OneHotEncoder(drop="first", sparse_output=False), ["period"]),
    remainder="passthrough",
    verbose_feature_names_out=False,
).set_output(transform="pandas")
pipeline = make_pipeline(prepare, MixedEffectsVIClassifier(random_effects="herd"))
pipeline.fit(
    animals[["period", "herd"]],
    animals["ill"],
    mixedeffectsviclassifier__sample_weight=animals["animals"],
)
print(f"as from the formula: {np.allclose(pipeline[-1].coef_, model.coef_, atol=1e-6)}")

# %%
# Plot the effects and the probabilities
# --------------------------------------
#
# Left: effects of the herds with 95 % intervals. Right: the share of new cases per herd and period
# (grey), and the probabilities of the model.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
rows = np.arange(len(effects))
left.errorbar(
    effects["mean"],
    rows,
    xerr=1.96 * effects["std"],
    fmt="o",
    color=BLUE,
    ecolor=GREY,
    markersize=5,
)
left.axvline(0, color=INK, linewidth=0.8)
left.set_yticks(rows, effects.index.astype(str))
left.set(xlabel="effect on the log odds", ylabel="herd", title="Herds")

for _, herd in herds.groupby("herd", observed=True):
    right.plot(
        herd["period"].astype(int),
        herd["incidence"] / herd["size"],
        color=GREY,
        linewidth=0.7,
        marker=".",
        zorder=1,
    )
spread = np.sqrt(model.random_effects_cov_["herd"].iloc[0, 0])
log_odds = model.intercept_ + np.append(0.0, model.coef_)
right.fill_between(
    [1, 2, 3, 4],
    expit(log_odds - 1.96 * spread),
    expit(log_odds + 1.96 * spread),
    color=BLUE,
    alpha=0.15,
    label="95 % of herds",
)
right.plot([1, 2, 3, 4], new_herd, color=BLUE, marker="o", label="a new herd")
right.plot([1, 2, 3, 4], average_herd, color=ORANGE, marker="s", label="the average herd")
right.set_xticks([1, 2, 3, 4])
right.set(xlabel="period", ylabel="share of new cases", title="Periods")
right.legend(frameon=False)
for panel in (left, right):
    panel.spines[["top", "right"]].set_visible(False)
plt.show()
