"""
=====================================================
Counts with exposure: Poisson or negative binomial?
=====================================================

Calls to the workshops of a company: some machines are watched for a month and some for
years, workshops differ, and calls come in bursts. The data are simulated, so that the truth
is known. The question is what a model that expects too little variance gets wrong.
"""

# %%
# The data
# --------
#
# A count is proportional to the time of observation, its *exposure*. Its expectation is
# :math:`\mu = \mathrm{years} \cdot \exp(\beta_0 + \beta_1\,\mathrm{load} + u_{\mathrm{shop}})`.
# The counts are negative binomial: around :math:`\mu` they have the variance
# :math:`\mu + 0.6 \mu^2`, where Poisson counts have :math:`\mu`.

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

# A quarter of the machines is held out, and with them all machines of five workshops.
held_out = (rng.random(N_MACHINES) < 0.25) | (shop < 5)

# %%
# The exposure enters as an *offset*: the logarithm of the years, with coefficient 1. A
# column named as offset is not a fixed effect any more.


def fit(family):
    """A fit to the machines that are not held out."""
    model = MixedEffectsVIRegressor(random_effects="shop", offset="log_years", family=family)
    return model.fit(machines[~held_out], calls[~held_out])


poisson, negative_binomial = fit("poisson"), fit("negative_binomial")
print(negative_binomial.summary())
print(f"dispersion: {negative_binomial.dispersion_:.3f}, simulated {DISPERSION}")

# %%
# Two models, two pictures
# ------------------------
#
# The coefficients are near each other. The standard errors are not: the Poisson model
# takes bursts for evidence.


def describe(model):
    """Estimates in a column."""
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
# The ELBO is a lower bound of the log likelihood, near to it for counts like these. A
# difference of more than a thousand has nothing to do with the bound: these are no Poisson
# counts.
#
# Prediction intervals
# --------------------
#
# `predict` gives the expected count, averaged over what is not known of the workshop; for
# a workshop that was not there, over all workshops. `predict_interval` has quantiles of the
# predictive distribution. Nine tenths of the held-out machines should lie inside, or some
# more: counts are whole numbers, and where they are small no interval has exactly 0.9.

levels = {"known workshop": held_out & (shop >= 5), "new workshop": held_out & (shop < 5)}
covered = {}
for name, model in {"Poisson": poisson, "negative binomial": negative_binomial}.items():
    interval = model.predict_interval(machines, level=0.9)
    inside = (calls >= interval[:, 0]) & (calls <= interval[:, 1])
    covered[name] = {kind: inside[rows].mean() for kind, rows in levels.items()}
print(pd.DataFrame(covered).round(3))

# %%
# The same in a picture, for sixty held-out machines of known workshops, in the order of
# what the second model expects.

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
