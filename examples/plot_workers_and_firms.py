"""
=====================================================
Panel data: wages of workers and firms
=====================================================

Do some firms pay everybody more, or do they employ workers who would earn more anywhere? Workers
who change firms separate the two (Abowd, Kramarz and Margolis 1999). In this example you estimate
the shares of variance of workers and firms and their correlation (sorting), and predict the wages
of movers.

Such panel data are weakly connected: most workers stay, and firms are compared through few movers.
Least squares with a dummy variable per worker and firm is noisy here. A mixed model shrinks
effects that depend on few movers. Its equations are sparse, so they are solved exactly and fast.
"""

# %%
# Simulate the data
# -----------------
#
# The data are eight years of 20,000 workers in 3,500 firms. Three percent of the workers change
# firm per year. Workers with a high worker effect tend to move to firms that pay more. The
# correlation of the two effects over worker-years is what economists call *sorting*. We know the
# truth because the data are simulated.

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmixed import MixedEffectsVIRegressor, icc

rng = np.random.default_rng(0)
N_WORKERS, N_FIRMS, N_YEARS, MOVES = 20_000, 3_500, 8, 0.03
true_worker = 0.4 * rng.standard_normal(N_WORKERS)
true_firm = np.sort(0.2 * rng.standard_normal(N_FIRMS))


def employers_for(worker):
    """Draw firms whose rank is loosely related to the worker's rank."""
    rank = 0.35 * true_worker[worker] / 0.4 + rng.standard_normal(len(worker))
    place = pd.Series(rank).rank(pct=True).to_numpy()
    return np.minimum((place * N_FIRMS).astype(int), N_FIRMS - 1)


firm = np.empty((N_WORKERS, N_YEARS), int)
firm[:, 0] = employers_for(np.arange(N_WORKERS))
for year in range(1, N_YEARS):
    movers = np.flatnonzero(rng.random(N_WORKERS) < MOVES)
    firm[:, year] = firm[:, year - 1]
    firm[movers, year] = employers_for(movers)

wages = pd.DataFrame(
    {
        "worker": np.repeat(np.arange(N_WORKERS), N_YEARS),
        "firm": firm.ravel(),
        "year": np.tile(np.arange(N_YEARS), N_WORKERS),
    }
)


def log_wage(worker, firm, year):
    """Draw log wages from the model, noise included."""
    noise = 0.15 * rng.standard_normal(len(year))
    return 3.0 + 0.02 * year + worker + firm + noise


wages["log_wage"] = log_wage(true_worker[wages["worker"]], true_firm[wages["firm"]], wages["year"])
last = wages["year"] == N_YEARS - 1
train, test = wages[~last], wages[last]
print(f"{len(train):,} rows, {len(train.groupby(['worker', 'firm'])):,} jobs")

# %%
# Fit the model
# -------------
#
# One call is enough. ``solver="auto"`` finds that eliminating the graph of workers and firms adds
# few entries, and uses a sparse factor. Then nothing is estimated with random vectors, and
# ``elbo_std_`` is 0.

columns = ["worker", "firm", "year"]
model = MixedEffectsVIRegressor(["worker", "firm"])
began = time.perf_counter()
model.fit(train[columns], train["log_wage"])
print(f"{time.perf_counter() - began:.1f} s, solver {model.solver_}, elbo_std {model.elbo_std_}")

# %%
# Shares of the variance
# ----------------------
#
# `icc` gives the share of workers and of firms in the variance of a log wage. The true variances
# are those of the effects that the wages were made of.

shares = icc(model)
truth = pd.Series(
    {"worker": true_worker.var(), "firm": true_firm.var(), "Residual": 0.15**2}, name="true"
)
variances = model.variance_components_.set_index("group")["variance"]
print(pd.DataFrame({"estimated": variances, "true": truth}).round(4))
print(shares)

# %%
# Sorting
# -------
#
# The correlation of the two effects over worker-years is a function of all effects, so it has a
# posterior. The posterior means alone are not enough: the errors of a worker's effect and of the
# firm's effect are negatively correlated, because workers who stay show only the sum of the two.
#
# A draw from the joint posterior comes from a simulation: draw effects and wages from the model,
# fit the model to them, and add the errors of that fit to our estimated effects (Papandreou and
# Yuille 2010).


def effects_of(fitted):
    """Return the effects of all workers and firms, in the order of their numbers."""
    return [
        fitted.random_effects_[group]["Intercept"].reindex(range(size), fill_value=0.0).to_numpy()
        for group, size in (("worker", N_WORKERS), ("firm", N_FIRMS))
    ]


def sorting(worker, firm):
    """Return the correlation of worker and firm effects over worker-years."""
    return np.corrcoef(worker[train["worker"]], firm[train["firm"]])[0, 1]


estimated = effects_of(model)
noise_sd = np.sqrt(variances["Residual"])
draws = []
for _ in range(10):
    drawn = [np.sqrt(variances["worker"]) * rng.standard_normal(N_WORKERS),
             np.sqrt(variances["firm"]) * rng.standard_normal(N_FIRMS)]  # fmt: skip
    simulated = drawn[0][train["worker"]] + drawn[1][train["firm"]]
    simulated = simulated + noise_sd * rng.standard_normal(len(train))
    again = MixedEffectsVIRegressor(["worker", "firm"]).fit(train[columns], simulated)
    errors = [d - e for d, e in zip(drawn, effects_of(again), strict=True)]
    draws.append(sorting(*(e + error for e, error in zip(estimated, errors, strict=True))))

print(f"true              {sorting(true_worker, true_firm):.3f}")
print(f"posterior         {np.mean(draws):.3f} +- {np.std(draws, ddof=1):.3f}")
print(f"posterior means   {sorting(*estimated):.3f}")

# %%
# The model assumes that worker effects and firm effects are independent. This pulls the posterior
# towards no sorting, and gives the firms a part of the variance of the workers who sort into them.
# The spread of the draws does not include this error, because the draws assume the model. With
# more movers, both the sorting and the variance of firms come closer to the truth.
#
# The correlation of the posterior means is closer to the truth here, but only because two errors
# partly cancel: leaving out the negative error covariance raises it, and the assumed independence
# lowers it.
#
# Predict the wages of movers
# ---------------------------
#
# We predict the last year's wage of workers who changed firm in that year. The model uses the
# effect of the new firm. The alternative, the mean of the worker's earlier wages, still contains
# the premium of the old firm.

before = train[train["year"] == N_YEARS - 2].set_index("worker")["firm"]
moved = test[test["firm"].to_numpy() != before.loc[test["worker"]].to_numpy()]
mean, std = model.predict(moved[columns], return_std=True)
own_mean = train.groupby("worker")["log_wage"].mean().loc[moved["worker"]].to_numpy()


def rmse(prediction):
    return np.sqrt(np.mean((moved["log_wage"] - prediction) ** 2))


print(f"{len(moved)} movers; RMSE of the model {rmse(mean):.3f}, of the worker's mean "
      f"{rmse(own_mean):.3f}, of the noise alone 0.150")  # fmt: skip

# %%
# Effects of firms with few movers are shrunk more (left). Their standard deviations are larger, as
# are those of firms with few workers (right).

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
firms = model.random_effects_["firm"]["Intercept"]
deviations = model.random_effects_std_["firm"]["Intercept"]
axes[0].scatter(true_firm[firms.index], firms, s=4, alpha=0.4)
axes[0].axline((0, 0), slope=1, color="black", linewidth=0.8)
axes[0].set(xlabel="true firm effect", ylabel="estimated")
sizes = train.groupby("firm")["worker"].nunique().loc[firms.index]
axes[1].scatter(sizes, deviations, s=4, alpha=0.4)
axes[1].set(xlabel="workers of the firm", ylabel="standard deviation of its effect")
plt.show()
