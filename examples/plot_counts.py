"""
=====================================================
Counts with exposure: Poisson or negative binomial?
=====================================================

This example fits counts with an exposure (an offset), and shows what goes wrong if a Poisson model
meets overdispersed counts: standard errors and prediction intervals are too short.

Ticks were counted on the heads of red grouse chicks, in three years and at 63 places (Elston and
others 2001). How does the number of ticks fall with height, and how much do years differ? Chicks of
one brood share a place and a year, so they are alike.
"""

# %%
# The data
# --------
#
# Each row is one chick. We add up the ticks of each brood. A brood of many chicks has more ticks:
# the number of chicks is the *exposure* of the count. The mean of the count is
# :math:`\mu = \mathrm{chicks} \cdot \exp(x^\top\beta + u_{\mathrm{place}})`.

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict

from skmixed import check_residuals, compare_models, mixed
from skmixed.datasets import load_grouseticks
from skmixed.exceptions import UnknownLevelsWarning

chicks = load_grouseticks().frame.rename(columns=str.lower)
chicks["height"] = (chicks["height"] - 460) / 100
per_brood = chicks.groupby(["brood", "location", "year", "height"], observed=True)
broods = per_brood["ticks"].agg(["sum", "size"]).reset_index()
broods = broods.rename(columns={"sum": "ticks", "size": "chicks"})
broods.head(4)

# %%
# ``height`` is in hundreds of metres above 460 m. The exposure is an *offset*: the logarithm of the
# number of chicks, with coefficient 1. A Poisson count has the variance :math:`\mu`. A negative
# binomial one has the variance :math:`\mu + d\mu^2`, with the dispersion :math:`d`.

formula = "ticks ~ year + height + offset(log(chicks)) + (1 | location)"
poisson = mixed(formula, broods, family="poisson")
negative_binomial = mixed(formula, broods, family="negative_binomial")
print(negative_binomial.summary(exponentiate=True))

# %%
# The exponentials are rate ratios. At 460 m a chick had 2.2 ticks in 1995 at a typical place, three
# times as many in 1996 and about a third in 1997. With every hundred metres of height the number
# falls to a tenth.
#
# Coefficients and standard errors
# --------------------------------
#
# The two models have similar coefficients, but not the same standard errors. To the Poisson model,
# each tick is an independent event. But ticks come in clusters. So the Poisson model gives years
# standard errors that are two to three times too small.

table = pd.concat({"Poisson": poisson.bse, "negative binomial": negative_binomial.bse}, axis=1)
print(table.round(3))

# %%
# Height varies between places only. The variance between places stands for the clusters too in the
# Poisson model, so the standard error of height is about right.
#
# The Poisson model is the negative binomial one with dispersion 0. Its log likelihood is lower by
# 144:

print(compare_models(poisson, negative_binomial, names=["Poisson", "negative binomial"]))

# %%
# The next tables test each model by simulation. Given the effects of the places, the data vary more
# than Poisson counts do:

for name, model in {"Poisson": poisson, "negative binomial": negative_binomial}.items():
    print(name)
    print(check_residuals(model, effects="fitted", random_state=0), end="\n\n")

# %%
# Prediction intervals
# --------------------
#
# `predict_interval` returns quantiles of the predictive distribution. Do nine tenths of the broods
# that the model has not seen lie inside? There are two questions, and two splitters: further
# broods, mostly of known places (`KFold`), and broods of new places (`GroupKFold`).
# ``as_predictor`` makes an estimator whose ``predict`` gives intervals, for `cross_val_predict` of
# scikit-learn. In cross-validation by place all places are unknown; `predict` warns of that, and we
# silence the warning.

warnings.simplefilter("ignore", UnknownLevelsWarning)
models = {"Poisson": poisson, "negative binomial": negative_binomial}
splitters = {
    "further broods": (KFold(10, shuffle=True, random_state=0), None),
    "new places": (GroupKFold(10), broods["location"]),
}
ticks, intervals, inside = broods["ticks"].to_numpy(), {}, {}
for name, model in models.items():
    for question, (splitter, groups) in splitters.items():
        predictor = model.as_predictor("predict_interval", level=0.9)
        found = cross_val_predict(predictor, broods, ticks, cv=splitter, groups=groups)
        intervals[name, question] = found
        inside[name, question] = (found[:, 0] <= ticks) & (ticks <= found[:, 1])
covered = pd.Series({key: rows.mean() for key, rows in inside.items()}).unstack()
print(covered[list(splitters)].round(3))

# %%
# For further broods of known places the intervals of the Poisson model contain only 73 % of the
# counts. For new places they are wide enough, because the variance between places includes the
# variation of the clusters.
#
# The plot shows the intervals of further broods, in the order of the counts that the negative
# binomial model expects.

BLUE, ORANGE, INK, RED = "#2b6cb0", "#d9730d", "#222222", "#c0392b"
expected = cross_val_predict(negative_binomial, broods, ticks, cv=splitters["further broods"][0])
order = np.argsort(expected)
across = np.arange(len(order))

figure, panels = plt.subplots(
    2, 1, figsize=(9, 5.5), sharex=True, sharey=True, layout="constrained"
)
for panel, name, color in zip(panels, models, (ORANGE, BLUE), strict=True):
    low, high = intervals[name, "further broods"][order].T
    within = inside[name, "further broods"][order]
    panel.vlines(across, low, high, color=color, alpha=0.4, linewidth=4)
    panel.plot(across[within], ticks[order][within], ".", color=INK, label="inside")
    panel.plot(across[~within], ticks[order][~within], "x", color=RED, label="outside")
    panel.set_yscale("symlog", linthresh=5)
    panel.set_yticks([0, 2, 5, 20, 100, 400], ["0", "2", "5", "20", "100", "400"])
    panel.set(title=f"{name[0].upper()}{name[1:]}: intervals of 90 %", ylabel="ticks")
    panel.spines[["top", "right"]].set_visible(False)
panels[0].legend(frameon=False, loc="upper left")
panels[1].set_xlabel("brood, by expected count")
plt.show()

# %%
# Source
# ------
#
# Elston, D. A., Moss, R., Boulinier, T., Arrowsmith, C. and Lambin, X. (2001). Analysis of
# aggregation, a worked example: numbers of ticks on red grouse chicks. *Parasitology* 122(5),
# 563-569. :doi:`10.1017/S0031182001007740`
