"""
===================================================
A designed experiment: oats in split plots
===================================================

Does nitrogen raise the yield of oats? How much is enough? Does the answer depend on the variety?
The experiment of Yates (1935) is the textbook example of a split plot. This page goes from the data
to tests of terms, marginal means, contrasts, one figure and one paragraph for a report.
"""

# %%
# The data
# --------
#
# There are six blocks of land. Each block was divided into three *plots*, one per variety. Each
# plot was divided into four *subplots*, one per amount of nitrogen (hundredweight of manure per
# acre). The yields are in quarter pounds per subplot.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmixed import anova, check_residuals, contrasts, marginal_means, mixed

YIELDS = {  # a block per row
    "Golden Rain": """
        117 114 161 141
        70 108 126 149
        60 102 89 96
        64 103 132 133
        80 82 94 126
        89 82 86 104""",
    "Marvellous": """
        105 140 118 156
        96 124 121 144
        89 129 132 124
        70 89 104 117
        63 70 109 99
        97 99 119 121""",
    "Victory": """
        111 130 157 174
        61 91 97 100
        68 64 112 86
        74 89 81 122
        62 90 100 116
        53 74 118 113""",
}
oats = pd.concat(
    pd.DataFrame(
        {
            "variety": variety,
            "block": np.repeat(["I", "II", "III", "IV", "V", "VI"], 4),
            "nitrogen": np.tile([0.0, 0.2, 0.4, 0.6], 6),
            "grain": np.array(yields.split(), dtype=float),
        }
    )
    for variety, yields in YIELDS.items()
)
print(oats.pivot_table(index="variety", columns="nitrogen", values="grain").round(1))

# %%
# The model
# ---------
#
# Subplots of one plot share its soil, and plots of one block share the field. Both are random
# effects. ``C(nitrogen)`` makes the amounts categorical, so the means can follow any shape.

model = mixed("grain ~ variety * C(nitrogen) + (1 | block) + (1 | block:variety)", oats)
print(model.variance_components_[["group", "sd"]].round(1))

# %%
# Which terms matter?
# -------------------
#
# Varieties were assigned to 18 whole plots, and nitrogen to 72 subplots. The degrees of freedom
# depend on this. Kenward and Roger's method finds the 10 and 45 of the classical analysis from the
# model, and also works with missing plots.

print(anova(model, ddf="kenward-roger"))

# %%
# Nitrogen has an effect. Varieties may differ, but 18 plots are not enough to show it. There is
# no evidence that the effect of nitrogen depends on the variety.
#
# Without the term for plots, subplots would count as independent evidence on varieties. The
# denominator is then 55 instead of 10, and the p-value of the variety becomes far too small:

wrong = mixed("grain ~ variety * C(nitrogen) + (1 | block)", oats)
print(anova(wrong, ddf="kenward-roger").to_frame()[["den_df", "F", "p_value"]].round(4))

# %%
# Which amounts differ?
# ---------------------
#
# Marginal means average over the varieties with equal weights. Contrasts with the first amount have
# Dunnett's p-values and limits, which are valid for the three comparisons together.

means = marginal_means(model, "nitrogen", ddf="kenward-roger")
print(means)
print(contrasts(means, "reference"))

# %%
# Amounts have an order, so the trend can be split into a linear and a curved part. The curvature
# is small compared with its standard error.

print(contrasts(means, "polynomial"))

# %%
# These are all pairs, with Tukey's adjustment. The difference between 0.4 and 0.6 is not
# significant.

pairs = contrasts(means)
print(pairs)

# %%
# The figure
# ----------
#
# Left: means of the twelve cells, with the plots behind them. Right: differences between amounts.
# Intervals of means are wide because blocks differ a lot. Differences within plots do not contain
# the differences between blocks. So compare amounts by contrasts.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
cells = marginal_means(model, "nitrogen", by="variety", ddf="kenward-roger")
shifts = {"Golden Rain": -0.25, "Marvellous": 0.0, "Victory": 0.25}
for colour, (variety, shift) in zip(["C0", "C1", "C2"], shifts.items(), strict=True):
    rows = oats[oats["variety"] == variety]
    places = rows["nitrogen"].rank(method="dense") - 1.0 + shift
    left.plot(places + 0.06, rows["grain"], "o", color=colour, markersize=3, alpha=0.4)
cells.plot(left)
left.set(xlabel="nitrogen (cwt per acre)", ylabel="yield (quarter pounds per subplot)")
pairs.plot(right)
right.set(xlabel="difference in yield, with simultaneous 95 % intervals", ylabel="nitrogen")
plt.show()

# %%
# Check the model
# ---------------
#
# Responses simulated from the model look like the observed ones: no test is close to its limit.

checks = check_residuals(model, random_state=0)
print(checks)

# %%
# What to write
# -------------
#
# The sentences of a report take their numbers from the tables:

trend = contrasts(means, "reference").to_frame()
most = trend.loc["0.6 - 0.0"]
table = anova(model, ddf="kenward-roger").to_frame()
nitrogen = table.loc["C(nitrogen)"]
print(
    "A linear mixed model with random effects of blocks and of plots within blocks was fitted by "
    "REML. The yield depended on nitrogen "
    f"(F({nitrogen['num_df']:.0f}, {nitrogen['den_df']:.0f}) = {nitrogen['F']:.1f}, p < 0.001, "
    "Kenward-Roger). The largest amount gave "
    f"{most['estimate']:.0f} quarter pounds more per subplot than none (95 % interval "
    f"{most['lower']:.0f} to {most['upper']:.0f}, Dunnett)."
)

# %%
# Source
# ------
#
# Yates, F. (1935). Complex experiments. *Supplement to the Journal of the Royal Statistical
# Society* 2, 181-247. The numbers are those of `Oats` in the R package nlme.
