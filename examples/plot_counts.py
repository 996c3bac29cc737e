"""
=====================================================
Counts with exposure: Poisson or negative binomial?
=====================================================

This example fits counts with an exposure (an offset), and shows what goes wrong if a Poisson model
meets overdispersed counts: standard errors and prediction intervals are too short.

The counts are calls to the workshops of a company. Some machines are watched for a
month and some for years. Workshops differ, and calls come in bursts. The data are simulated, so we
know the truth.
"""

# %%
# The data
# --------
#
# Counts grow with the time of observation, the *exposure*. The mean of a count is
# :math:`\mu = \mathrm{years} \cdot \exp(\beta_0 + \beta_1\,\mathrm{load} + u_{\mathrm{shop}})`.
# The counts are negative binomial. Their variance is :math:`\mu + 0.6 \mu^2`. Poisson counts
# would have the variance :math:`\mu`, so these counts are overdispersed.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmixed import MixedEffectsVIRegressor

N_SHOPS, N_MACHINES, DISPERSION = 40, 2000, 0.6
rng = np.random.default_rng(0)
shop = rng.integers(N_SHOPS, size=N_MACHINES)
machines = pd.DataFrame(
    {
        "load": rng.normal(size=N_MACHINES),
        "log_years": np.log(rng.uniform(0.1, 5.0, size=N_MACHINES)),
        "shop": pd.Categorical(shop),
    }
)
shop_effects = rng.normal(0.0, 0.5, size=N_SHOPS)
mu = np.exp(0.8 + 0.3 * machines["load"] + machines["log_years"] + shop_effects[shop])
calls = rng.negative_binomial(1 / DISPERSION, 1 / (1 + DISPERSION * mu))

# Hold out a quarter of the machines, and all machines of five workshops.
held_out = (rng.random(N_MACHINES) < 0.25) | (shop < 5)

# %%
# The exposure is an *offset*: the logarithm of the years, with coefficient 1. The column named by
# ``offset`` is not a fixed effect.


def fit(family):
    """Fit a model to the machines that are not held out."""
    model = MixedEffectsVIRegressor(random_effects="shop", offset="log_years", family=family)
    return model.fit(machines[~held_out], calls[~held_out])


poisson, negative_binomial = fit("poisson"), fit("negative_binomial")
print(negative_binomial.summary())
print(f"dispersion: {negative_binomial.dispersion_:.3f}, simulated {DISPERSION}")

# %%
# Coefficients and standard errors
# --------------------------------
#
# The coefficients of the two models are close to each other. The standard errors are not: the
# Poisson model treats each call of a burst as independent evidence.


def describe(model):
    """Return the estimates of a model by name."""
    return {
        "load": model.coef_[0],
        "its standard error": np.sqrt(model.coef_cov_[1, 1]),
        "SD of workshops": np.sqrt(model.random_effects_cov_["shop"].iloc[0, 0]),
        "ELBO": model.elbo_,
    }


truth = {"load": 0.3, "its standard error": np.nan, "SD of workshops": 0.5, "ELBO": np.nan}
table = pd.DataFrame(
    {
        "truth": truth,
        "Poisson": describe(poisson),
        "negative binomial": describe(negative_binomial),
    }
)
print(table.round(4))

# %%
# The ELBO is a lower bound of the log likelihood. For counts like these it is close to the log
# likelihood. The two models differ by more than a thousand, which the bound cannot explain: these
# are not Poisson counts.
#
# Prediction intervals
# --------------------
#
# `predict` returns the expected count. It is a mean over the posterior of the effect of the
# workshop, or over all workshops if the workshop is unseen. `predict_interval` returns quantiles
# of the predictive distribution. At least nine tenths of the held-out machines should lie inside.
# It can be more: counts are whole numbers, and for small counts no interval has exactly 0.9.

levels = {"known workshop": held_out & (shop >= 5), "new workshop": held_out & (shop < 5)}
covered = {}
for name, model in {"Poisson": poisson, "negative binomial": negative_binomial}.items():
    interval = model.predict_interval(machines, level=0.9)
    inside = (calls >= interval[:, 0]) & (calls <= interval[:, 1])
    covered[name] = {kind: inside[rows].mean() for kind, rows in levels.items()}
print(pd.DataFrame(covered).round(3))

# %%
# The plot shows sixty held-out machines of known workshops, in the order of the counts that the
# negative binomial model expects.

BLUE, ORANGE, INK = "#2b6cb0", "#d9730d", "#222222"
rows = np.flatnonzero(levels["known workshop"])[:60]
rows = rows[np.argsort(negative_binomial.predict(machines.iloc[rows]))]
shown = machines.iloc[rows]

figure, panels = plt.subplots(
    2, 1, figsize=(9, 5.5), sharex=True, sharey=True, layout="constrained"
)
models = {"Poisson": (poisson, ORANGE), "Negative binomial": (negative_binomial, BLUE)}
for panel, (name, (model, color)) in zip(panels, models.items(), strict=True):
    interval = model.predict_interval(shown, level=0.9)
    across = np.arange(len(rows))
    panel.vlines(across, interval[:, 0], interval[:, 1], color=color, alpha=0.4, linewidth=5)
    panel.plot(across, model.predict(shown), color=color, label="expected")
    outside = (calls[rows] < interval[:, 0]) | (calls[rows] > interval[:, 1])
    panel.plot(across[~outside], calls[rows][~outside], ".", color=INK, label="observed")
    panel.plot(across[outside], calls[rows][outside], "x", color="#c0392b", label="outside")
    panel.set_yscale("symlog", linthresh=5)
    panel.set_yticks([0, 2, 5, 10, 20, 50], ["0", "2", "5", "10", "20", "50"])
    panel.set(title=f"{name}: intervals of 90 %", ylabel="calls")
    panel.spines[["top", "right"]].set_visible(False)
panels[0].legend(frameon=False, loc="upper left")
panels[1].set_xlabel("held-out machine")
plt.show()
