"""
=====================================================
Ten million rows, half a million random effects
=====================================================

In this example you fit a mixed model to ten million ratings by 400,000 users of 80,000 films. You
measure how long it takes and check its standard deviations. The data are simulated, so every
estimate can be compared with the truth.
"""

# %%
# Simulate the data
# -----------------
#
# Users and films are crossed. As in real data of this kind, most users rate little and a few rate
# a lot, and some films are seen by almost everybody. The numeric column ``x0`` has a fixed effect.

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import norm

from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import make_mixed_regression

start = time.perf_counter()
X, y, truth = make_mixed_regression(
    n_samples=10_000_000,
    n_features=1,
    groups=(400_000, 80_000),
    intercept=3.5,
    coef=0.3,
    group_sd=(0.4, 0.6),
    noise_sd=1.0,
    heavy_tailed=True,
    random_state=0,
)
X = X.rename(columns={"g0": "user", "g1": "film"})
true_effects = {"user": truth.random_effects["g0"], "film": truth.random_effects["g1"]}
megabytes = (X.memory_usage(index=False).sum() + y.nbytes) / 1e6
print(f"{len(X):,} rows, {megabytes:.0f} MB, simulated in {time.perf_counter() - start:.1f} s")

ratings = {group: X[group].value_counts().sort_index() for group in true_effects}
pd.DataFrame(ratings).describe(percentiles=[0.1, 0.5, 0.9]).loc[["10%", "50%", "90%", "max"]]

# %%
# Fit the model
# -------------
#
# The call is the same as for small data. With so many levels in both factors, the solver uses
# conjugate gradients and estimates traces with random vectors (:doc:`../user_guide/large` says
# which results are exact and which are estimated).

start = time.perf_counter()
model = MixedEffectsVIRegressor(random_effects=["user", "film"], verbose=1).fit(X, y)
print(f"fitted in {time.perf_counter() - start:.1f} s")

# %%
print(model.summary())

# %%
# Rows are read once, into sums over pairs of levels; the iterations work on these sums. On two
# cores of an ordinary server, simulation and fit together took about 10 s, and the process never
# used more than 1.4 GB.
#
# Compare estimates with the truth
# --------------------------------
#
# The table shows the estimates beside the numbers that the data were drawn with. The standard
# deviation of the users that were drawn differs slightly from that of their distribution.


def standard_deviation(group):
    """Return the estimated standard deviation between the levels of a group."""
    return np.sqrt(model.random_effects_cov_[group].iloc[0, 0])


rows = {
    "intercept": (3.5, np.nan, model.intercept_),
    "x0": (0.3, np.nan, model.coef_[0]),
    "SD of users": (0.4, true_effects["user"].std().iloc[0], standard_deviation("user")),
    "SD of films": (0.6, true_effects["film"].std().iloc[0], standard_deviation("film")),
    "SD of noise": (1.0, np.nan, np.sqrt(model.noise_variance_)),
}
pd.DataFrame.from_dict(rows, orient="index", columns=["distribution", "drawn", "estimate"]).round(4)

# %%
# Check the standard deviations of half a million effects
# -------------------------------------------------------
#
# Every user and every film has a posterior mean and a standard deviation. Divide the error of an
# effect (estimate minus truth) by this standard deviation. The result should look like a draw
# from the standard normal distribution, for levels with one rating as for levels with thousands.


def compare(group):
    """Return estimated and true effects of a group, one row per level."""
    effects = pd.DataFrame(
        {
            "ratings": ratings[group],
            "truth": true_effects[group]["Intercept"],
            "estimate": model.random_effects_[group]["Intercept"],
            "std": model.random_effects_std_[group]["Intercept"],
        }
    ).dropna()
    return effects.assign(error=effects["estimate"] - effects["truth"])


def by_size(effects):
    """Return the root mean squared error and posterior SD, by number of ratings."""
    size = pd.cut(
        effects["ratings"], np.geomspace(1, effects["ratings"].max() + 1, 16), right=False
    )
    squares = effects.assign(error=effects["error"] ** 2, std=effects["std"] ** 2)
    groups = squares.groupby(size, observed=True)
    table = groups.agg(
        levels=("ratings", "size"),
        ratings=("ratings", "median"),
        error=("error", "mean"),
        std=("std", "mean"),
    )
    table[["error", "std"]] **= 0.5
    return table[table["levels"] >= 30]


effects = {group: compare(group) for group in true_effects}
for group, table in effects.items():
    scaled = table["error"] / table["std"]
    inside = scaled.abs().lt(norm.ppf(0.975)).mean()
    print(f"{group}: {len(table):,} levels, {inside:.2%} of the truths within 95 % intervals")

# %%
# Plot the errors
# ---------------
#
# Left: estimated effects against the truth. Levels with few ratings are shrunk towards 0, so the
# clouds are flatter than the diagonal. Middle: errors by number of ratings; points are the actual
# errors ("made"), lines the posterior standard deviations ("claimed"). Right: the scaled errors of
# all levels with the standard normal density.

BLUE, ORANGE, GREY, INK = "#2b6cb0", "#d9730d", "#9aa5b1", "#222222"
styles = {"user": (BLUE, "Blues", "o"), "film": (ORANGE, "Oranges", "s")}

figure, axes = plt.subplots(2, 3, figsize=(10, 6.2), layout="constrained")
for (cloud, sizes, density), (group, table) in zip(axes, effects.items(), strict=True):
    color, colors, marker = styles[group]
    end = 1.05 * table["truth"].abs().max()
    cloud.hexbin(
        table["truth"],
        table["estimate"],
        gridsize=60,
        extent=(-end, end, -end, end),
        bins="log",
        cmap=colors,
        mincnt=1,
        linewidths=0.1,
    )
    cloud.plot([-end, end], [-end, end], color=INK, linewidth=0.8)
    cloud.set(aspect="equal", xlim=(-end, end), ylim=(-end, end))
    cloud.set(title=f"{len(table):,} {group}s", xlabel="true effect", ylabel="estimated effect")

    gathered = by_size(table)
    sizes.plot(gathered["ratings"], gathered["std"], color=GREY, label="claimed")
    sizes.plot(
        gathered["ratings"], gathered["error"], marker, color=color, markersize=5, label="made"
    )
    sizes.set(xscale="log", ylim=(0, None))
    sizes.set(title="Error by size", xlabel=f"ratings of a {group}", ylabel="standard deviation")
    sizes.legend(frameon=False)

    scaled = table["error"] / table["std"]
    density.hist(scaled, bins=np.linspace(-4, 4, 65), density=True, color=color, alpha=0.45)
    across = np.linspace(-4, 4, 201)
    density.plot(across, norm.pdf(across), color=INK, linewidth=1)
    density.set(title="Scaled errors", xlabel="error / standard deviation", ylabel="density")
for panel in axes.flat:
    panel.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Predict
# -------
#
# A prediction looks up a few numbers per row and adds them.

start = time.perf_counter()
mean = model.predict(X)
print(f"{len(X):,} predictions in {time.perf_counter() - start:.1f} s")
