"""
==================================================
Panel data: does training raise wages?
==================================================

Workers who get more training earn more. Does training raise their wages, or do firms train those
who would earn more anyway? A panel can tell: it compares each worker with himself or herself in
other years. This page separates the effect *within* workers from the comparison *between* them,
and compares a mixed model with dummies for workers and with pooled regression.
"""

# %%
# The data
# --------
#
# 600 workers over 8 years, simulated. An able worker earns more and gets more training, but
# ability is not in the data. A day of training raises the wage by 1 %: this is the number to find.
# Good and bad years of a worker last: the noise of one year carries over to the next. So do days of
# training.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmixed import mixed, robust_covariance
from skmixed.inspection import model_table

N_WORKERS, N_YEARS, TRUE_EFFECT = 600, 8, 0.010
rng = np.random.default_rng(4)


def carried_over(share, sd):
    """Draw a series per worker in which a share of each year's value carries over."""
    series = np.empty((N_WORKERS, N_YEARS))
    series[:, 0] = rng.normal(0, sd, N_WORKERS)
    for year in range(1, N_YEARS):
        fresh = rng.normal(0, sd * np.sqrt(1 - share**2), N_WORKERS)
        series[:, year] = share * series[:, year - 1] + fresh
    return series.ravel()


worker = np.repeat(np.arange(N_WORKERS), N_YEARS)
year = np.tile(np.arange(N_YEARS), N_WORKERS)
ability = rng.normal(size=N_WORKERS)
school = np.clip(np.round(12 + ability + rng.normal(0, 1.5, N_WORKERS)), 8, 18)
days = np.clip(6 + 2 * ability[worker] + carried_over(0.7, 2.0), 0, None).round(1)
wages = pd.DataFrame(
    {"worker": worker, "year": 2015 + year, "school": school[worker], "days": days}
)
wages["log_wage"] = (
    2.0 + 0.05 * wages["school"] + 0.02 * year + TRUE_EFFECT * days
    + 0.15 * ability[worker] + carried_over(0.7, 0.12)
)  # fmt: skip
print(wages.head(3))

# %%
# Random intercepts alone are not enough
# --------------------------------------
#
# A random intercept per worker assumes that the effect of a worker is independent of the days of
# training. Here it is not: both depend on ability. The coefficient of ``days`` then mixes the
# comparison within workers with the one between them.

plain = mixed("log_wage ~ C(year) + school + days + (1 | worker)", wages)
print(plain.coef_table().loc["days", ["estimate", "lower", "upper"]].round(4).to_dict())

# %%
# Within and between
# ------------------
#
# Mundlak (1978) adds the mean of each worker as a further column. ``ave(days, worker)`` in the
# formula is this mean. The coefficient of ``days`` now compares a worker with the same worker in
# other years. The coefficient of the mean says by how much the comparison between workers differs
# from that.

mundlak = mixed("log_wage ~ C(year) + school + days + ave(days, worker) + (1 | worker)", wages)
table = model_table(plain, mundlak, names=["random intercepts", "with the mean"])
print(table.loc["fixed"].filter(regex="Intercept|school|days", axis=0).round(4))

# %%
# The coefficient of the mean tests whether random intercepts are enough, like Hausman's test.
# Here it is far from 0, so they are not.
#
# Standard errors by cluster
# --------------------------
#
# The model assumes that the noise of different years is independent. It is not. Cluster-robust
# standard errors are valid for any dependence within a worker. They need many clusters; we have
# 600.

robust = robust_covariance(mundlak, "worker", kind="CR2").to_frame()
names = ["school", "days", "ave(days, worker)"]
errors = pd.DataFrame({"model": mundlak.bse[names], "robust": robust.loc[names, "std_error"]})
print(errors.assign(ratio=errors["robust"] / errors["model"]).round(4))

# %%
# The robust standard error of ``days`` is 30 % larger than that of the model. The other two
# compare workers, whose eight years the random intercept accounts for already.
#
# Dummies and pooled regression
# -----------------------------
#
# A dummy per worker is the usual *fixed-effects* estimator. Subtracting the means of workers and
# years gives the same coefficients. Pooled regression ignores workers altogether. Both get
# cluster-robust standard errors too.


def least_squares(columns, response, cluster):
    """Return coefficients and cluster-robust standard errors of least squares."""
    X, y = np.asarray(columns, float), np.asarray(response, float)
    coefficients = np.linalg.lstsq(X, y, rcond=None)[0]
    scores = pd.DataFrame(X * (y - X @ coefficients)[:, None]).groupby(np.asarray(cluster)).sum()
    bread = np.linalg.inv(X.T @ X)
    meat = scores.to_numpy().T @ scores.to_numpy()
    return coefficients, np.sqrt(np.diag(bread @ meat @ bread))


def centred(column):
    """Subtract the means of workers and of years from a column of the balanced panel."""
    of_workers = wages.groupby("worker")[column].transform("mean")
    of_years = wages.groupby("year")[column].transform("mean")
    return wages[column] - of_workers - of_years + wages[column].mean()


years = pd.get_dummies(wages["year"])
pooled = least_squares(
    pd.concat([wages[["days", "school"]], years], axis=1), wages["log_wage"], wages["worker"]
)
dummies = least_squares(centred("days").to_frame(), centred("log_wage"), wages["worker"])
robust_plain = robust_covariance(plain, "worker", kind="CR2").to_frame()
estimates = pd.DataFrame(
    {
        "pooled regression": (pooled[0][0], pooled[1][0]),
        "random intercepts": tuple(robust_plain.loc["days", ["estimate", "std_error"]]),
        "dummies": (dummies[0][0], dummies[1][0]),
        "with the mean": tuple(robust.loc["days", ["estimate", "std_error"]]),
    },
    index=["estimate", "std_error"],
).T
print(estimates.round(5))

# %%
# Dummies and the model with the mean agree to the last digit, because the panel is balanced. With
# missing years, add ``ave`` of each column that changes over the years, the year included.
#
# So why a mixed model? Dummies absorb everything that is constant over the years. Only the mixed
# model estimates the coefficient of schooling, gives the spread between workers, and predicts
# workers who are not in the data. But the coefficient of schooling is a comparison between workers.
# Days of training hold a part of the ability constant, not all of it: the estimate is
# above the true 0.05.

print(mundlak.coef_table().loc["school", ["estimate", "lower", "upper"]].round(3).to_dict())

# %%
# The figure
# ----------
#
# Left: log wages after schooling and years, for all workers (grey, means) and for nine of them
# (coloured, eight years each, with the line that the model fits). Lines within workers are flatter
# than the line between workers. Right: what a day of training does, by four methods, with
# cluster-robust 95 % intervals. Pooled regression finds several times the true effect.

BLUE, ORANGE, GREY, SLATE, INK = (
    "#2b6cb0", "#d9730d", "#9aa5b1", "#66707c", "#222222"
)  # fmt: skip
within, contextual = mundlak.params["days"], mundlak.params["ave(days, worker)"]
of_means = wages.groupby("worker")["days"].transform("mean")
fixed = mundlak.predict(wages, include="none")
rest = wages["log_wage"] - fixed + within * days + contextual * of_means
rest += mundlak.params["Intercept"] + 12 * mundlak.params["school"]
drawn = wages.assign(rest=rest)
centres = drawn.groupby("worker")[["days", "rest"]].mean()
chosen = centres["days"].sort_values().index[np.linspace(20, N_WORKERS - 20, 9).astype(int)]

figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.4), layout="constrained", width_ratios=[11, 9]
)
left.plot(centres["days"], centres["rest"], ".", color=GREY, markersize=4, alpha=0.45,
          label="mean of a worker")  # fmt: skip
for place, one in enumerate(chosen):
    rows = drawn[drawn["worker"] == one]
    color = plt.cm.viridis(0.05 + 0.85 * place / 8)
    ends = np.array([rows["days"].min(), rows["days"].max()])
    centre = centres.loc[one]
    left.plot(rows["days"], rows["rest"], "o", color=color, markersize=3.5)
    left.plot(ends, centre["rest"] + within * (ends - centre["days"]), color=color, linewidth=2.2)
grid = np.array([0.5, 12.5])
between = centres["rest"].mean() + (within + contextual) * (grid - centres["days"].mean())
left.plot(grid, between, color=ORANGE, linewidth=2, linestyle="--", label="between workers")
left.plot([], [], color="#21908d", marker="o", markersize=3.5, label="within a worker")
left.set(xlabel="days of training in the year", ylabel="log wage, after schooling and years")
left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)

places = np.arange(len(estimates))
colors = [SLATE, ORANGE, INK, BLUE]
right.axvline(100 * TRUE_EFFECT, color=INK, linewidth=1, linestyle="--")
right.text(100 * TRUE_EFFECT, -0.6, "truth", ha="center", va="bottom")
rows = estimates.to_dict("records")
for place, row, color in zip(places, rows, colors, strict=True):
    right.errorbar(100 * row["estimate"], place, xerr=196 * row["std_error"], fmt="o", color=color,
                   markersize=7, linewidth=2.2)  # fmt: skip
    end = 100 * row["estimate"] + 196 * row["std_error"]
    right.text(end + 0.1, place, f"{100 * row['estimate']:.2f} %", va="center", color=color)
right.set_yticks(places, list(estimates.index))
right.set(xlabel="effect of a day of training on the wage (%)", ylim=(3.5, -0.65), xlim=(0, 5.6))
for panel in (left, right):
    panel.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# The effect within workers is free of everything about them that stays the same. It is not free of
# what changes together with training, such as a promotion. :ref:`panel-data` has the recipe in
# short.
#
# Source
# ------
#
# Mundlak, Y. (1978). On the pooling of time series and cross section data. *Econometrica* 46(1),
# 69-85.
