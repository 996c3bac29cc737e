"""
=========================================================
Sick cattle by herd: successes out of trials
=========================================================

In 15 herds of cattle in Ethiopia a lung disease had broken out, contagious bovine
pleuropneumonia, and for a year the new cases of every quarter were counted (Lesnoff and
others 2004). How fast does the risk fall, and how much do herds differ? A row of the data
is a herd in a quarter, with the number of new cases and the number of animals: a number of
successes out of a number of trials.
"""

# %%
# Two rows for a herd and a quarter
# ---------------------------------
#
# A classifier wants a class for every row, here ill or not. Nobody has to write out
# 842 animals for it: case weights say how many animals a row stands for. So every row of
# the data becomes two, one of the sick with weight ``incidence`` and one of the healthy
# with weight ``size - incidence``. A weight of 0 counts as no row at all.

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
# The log odds of falling ill depend on the period, with a coefficient each, and on the
# herd, whose effects are draws from a normal distribution:
#
# .. math::
#
#    \mathrm{logit}\, P(\mathrm{ill}) = \beta_0 + \beta_{\mathrm{period}}
#    + u_{\mathrm{herd}}, \qquad u \sim N(0, \sigma^2).
#
# `mixed` makes these rows by itself for a response that is written as in R,
# ``cbind(incidence, size - incidence) ~ period + (1 | herd)``. Here the rows are needed later on,
# for an estimator in a pipeline.

formula = "ill ~ period + (1 | herd)"
model = mixed(formula, animals, family="bernoulli", sample_weight=animals["animals"])
print(model.summary())

# %%
# Coefficients are differences in log odds from the first period. That of the fourth,
# about -1.6, divides the odds by five.
#
# The fit maximises the likelihood, as is the default for classes. The exact maximum is known,
# since one random intercept can be integrated out by quadrature: a standard deviation between
# herds of 0.6475. The variational fit finds the normal distribution that is nearest to the
# posterior. With a few dozen animals a herd that is near enough:

print(model.variance_components_[["group", "sd"]])

# %%
# How near it is can be measured without knowing the exact answer. `diagnose` wants the
# data again, since a fitted model does not keep them.

print(model.diagnose(animals, animals["ill"], sample_weight=animals["animals"]))

# %%
# Herds
# -----
#
# Every herd has a posterior mean and a standard deviation. Herds of which little is known
# are drawn towards 0, the population.

effects = pd.DataFrame(
    {
        "mean": model.random_effects_["herd"]["Intercept"],
        "std": model.random_effects_std_["herd"]["Intercept"],
        "animals": herds.groupby("herd", observed=True)["size"].sum(),
    }
).sort_values("mean")
effects.round(2)

# %%
# Probabilities
# -------------
#
# `predict_proba` averages over what is not known of the effects. For a herd that was not
# in the survey that is the whole spread between herds, and the probabilities move towards
# one half. With ``include="none"`` the herd is left out: the probabilities of a herd whose
# effect is 0.

BLUE, ORANGE, GREY, INK = "#2b6cb0", "#d9730d", "#9aa5b1", "#222222"
periods = pd.DataFrame({"herd": 99, "period": [1, 2, 3, 4]})
new_herd = model.predict_proba(periods)[:, 1]
average_herd = model.predict_proba(periods, include="none")[:, 1]
print(pd.DataFrame({"a new herd": new_herd, "the average herd": average_herd}).round(3))

# %%
# In a pipeline
# -------------
#
# An estimator has no formula to code ``period`` with; there a transformer does it. Weights
# reach the last step under its name.

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
# The picture
# -----------
#
# On the left the effects of the herds with intervals of 95 %; on the right the share of
# new cases in every herd, and the probabilities of the model.

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
