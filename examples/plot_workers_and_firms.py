"""
=====================================================
Workers and firms: who pays, and who earns
=====================================================

Do some firms pay everybody more, or do they employ those who would earn more anywhere? Workers
who change firms tell the two apart (Abowd, Kramarz and Margolis 1999). Such data are weakly
connected: most workers stay, and a firm is compared with others through a few movers. Least
squares with an indicator for every worker and firm is noisy there. A mixed model shrinks what few
movers tell, and its equations are sparse, so that they are solved exactly and fast.
"""

# %%
# The data
# --------
#
# Eight years of 20,000 workers in 3,500 firms, simulated. Three percent change firm in a year.
# Workers with a high wage of their own move to firms that pay more: the correlation of both
# over worker-years is what economists call *sorting*. We know the truth because we drew it.

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
    """Firms whose rank goes, loosely, with the worker's."""
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
    """A wage of the model, noise included."""
    noise = 0.15 * rng.standard_normal(len(year))
    return 3.0 + 0.02 * year + worker + firm + noise


wages["log_wage"] = log_wage(true_worker[wages["worker"]], true_firm[wages["firm"]], wages["year"])
last = wages["year"] == N_YEARS - 1
train, test = wages[~last], wages[last]
print(f"{len(train):,} rows, {len(train.groupby(['worker', 'firm'])):,} jobs")

# %%
# The model
# ---------
#
# One call; ``solver="auto"`` finds that the graph of workers and firms hardly fills in when it
# is eliminated, and uses a sparse factor. Nothing is estimated from random vectors then:
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
# `icc` tells which part of the variance of a wage workers and firms stand for. The truth is
# beside it, from the effects that the wages were made of.

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
# The covariance of both effects over worker-years is a function of all effects, so it has a
# posterior. The posterior means alone are not enough: errors of a worker's effect and of the
# firm's go against each other, since only their sum is seen by those who stay. A draw from the
# joint posterior comes from a simulation: draw effects and wages from the model, fit them, and add
# the error of that fit to the effects of ours (Papandreou and Yuille 2010).


def effects_of(fitted):
    """Effects of all workers and firms, in the order of their numbers."""
    return [
        fitted.random_effects_[group]["Intercept"].reindex(range(size), fill_value=0.0).to_numpy()
        for group, size in (("worker", N_WORKERS), ("firm", N_FIRMS))
    ]


def sorting(worker, firm):
    """Correlation over worker-years."""
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
# The model says that effects of workers and firms are independent before the data are seen. That
# pulls the posterior towards no sorting, and gives firms some of the variance of the workers who
# sort into them. The spread of the draws does not contain this error: it holds under the model.
# With more movers both come nearer to the truth.
#
# Movers
# ------
#
# The wage of the last year, of those who changed firm in it: the firm's effect is what predicts a
# new job. Against it stands the mean of the worker's wages so far, which carries the old
# firm's premium along.

before = train[train["year"] == N_YEARS - 2].set_index("worker")["firm"]
moved = test[test["firm"].to_numpy() != before.loc[test["worker"]].to_numpy()]
mean, std = model.predict(moved[columns], return_std=True)
own_mean = train.groupby("worker")["log_wage"].mean().loc[moved["worker"]].to_numpy()


def rmse(prediction):
    return np.sqrt(np.mean((moved["log_wage"] - prediction) ** 2))


print(f"{len(moved)} movers; RMSE of the model {rmse(mean):.3f}, of the worker's mean "
      f"{rmse(own_mean):.3f}, of the noise alone 0.150")  # fmt: skip

# %%
# Firms of few movers are shrunk more, and their standard deviations say so.

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
