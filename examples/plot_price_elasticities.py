"""
=====================================================
Pricing: elasticities of 2,500 products
=====================================================

Which products are too cheap, and which are too dear? The answer depends on the price elasticity of
each product: by how many percent the demand changes if the price rises by one percent. Most
products have too few sales to estimate it from their own data. A random slope per product borrows
from all others, and its posterior says for which products a decision is safe.
"""

# %%
# The data
# --------
#
# 2,500 products over 40 weeks, simulated: 100,000 rows. In some weeks a product is sold at 10, 20
# or 30 % off. The discounts are drawn at random. If discounts reacted to demand, no regression of
# this kind would find the elasticity. Most products sell few units per week, and in some weeks
# none. The logarithm of 0 does not exist, so we model counts.

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmixed import mixed

N_PRODUCTS, N_WEEKS = 2_500, 40
rng = np.random.default_rng(0)
true_elasticity = rng.normal(-2.2, 0.6, N_PRODUCTS)
popularity = rng.normal(1.0, 1.0, N_PRODUCTS)
season = rng.normal(0, 0.2, N_WEEKS)
discount_rate = rng.choice([0.05, 0.15, 0.35], N_PRODUCTS)

product, week = np.divmod(np.arange(N_PRODUCTS * N_WEEKS), N_WEEKS)
on_offer = rng.random(len(product)) < discount_rate[product]
discount = np.where(on_offer, rng.choice([0.1, 0.2, 0.3], len(product)), 0.0)
sales = pd.DataFrame({"product": product, "week": week, "log_price": np.log(1 - discount)})
expected = np.exp(
    popularity[product] + season[week] + true_elasticity[product] * sales["log_price"]
)
sales["units"] = rng.poisson(expected)
print(f"{len(sales):,} rows, {(sales['units'] == 0).mean():.0%} without a sale, "
      f"{on_offer.mean():.0%} on offer")  # fmt: skip

# %%
# The model
# ---------
#
# Each product has a level and an elasticity, the slope of the log price. Weeks are a second
# random effect, crossed with the products.

began = time.perf_counter()
model = mixed("units ~ log_price + (1 + log_price | product) + (1 | week)", sales, family="poisson")
print(f"fitted in {time.perf_counter() - began:.1f} s")
print(model.coef_table()[["estimate", "lower", "upper"]].round(3))
spread = model.variance_components_
print(spread.loc[spread["term_2"].isna(), ["group", "term_1", "sd"]].round(3))

# %%
# The mean elasticity is -2.2, and products differ by a standard deviation of 0.6: both are found.
#
# Shrinkage
# ---------
#
# The elasticity of a product is the mean plus its own effect. Its standard deviation is that of
# the effect; the error of the mean is small beside it. For comparison we estimate each product
# alone, by a Poisson regression on its own rows, in Newton steps for all products at once.

effects, deviations = model.random_effects_["product"], model.random_effects_std_["product"]
products = pd.DataFrame(
    {
        "elasticity": model.params["log_price"] + effects["log_price"],
        "std": np.hypot(deviations["log_price"], model.bse["log_price"]),
        "true": true_elasticity[effects.index],
    }
)


def one_by_one(units, log_price, n_steps=25):
    """Return slopes of a Poisson regression per row of two arrays, and their standard errors."""
    level, slope = np.log(units.mean(axis=1) + 0.01), np.full(len(units), -2.0)
    for _ in range(n_steps):
        mean = np.exp(level[:, None] + slope[:, None] * log_price)
        s0, s1, s2 = (np.sum(mean * log_price**power, axis=1) for power in range(3))
        g0, g1 = np.sum(units - mean, axis=1), np.sum((units - mean) * log_price, axis=1)
        det = np.maximum(s0 * s2 - s1**2, 1e-12)
        level = level + np.clip((s2 * g0 - s1 * g1) / det, -1, 1)
        slope = slope + np.clip((s0 * g1 - s1 * g0) / det, -2, 2)
    return slope, np.sqrt(s0 / det)


units, log_price = (
    sales[c].to_numpy().reshape(N_PRODUCTS, N_WEEKS) for c in ("units", "log_price")
)
alone, alone_std = one_by_one(units, log_price)
products["alone"], products["alone_std"] = alone[products.index], alone_std[products.index]
offered = sales["units"].where(on_offer, 0).groupby(sales["product"]).sum()
products["sold_on_offer"] = offered[products.index]


def rmse(estimate):
    """Return the root mean squared error of an estimate of all elasticities of the table."""
    return np.sqrt(((estimate - products["true"]) ** 2).groupby(sizes, observed=True).mean())


limits = [-1, 5, 20, 50, 100, np.inf]
names = ["0-5", "6-20", "21-50", "51-100", "more"]
sizes = pd.cut(products["sold_on_offer"], limits, labels=names)
print(
    pd.DataFrame(
        {
            "products": sizes.value_counts(),
            "alone": rmse(products["alone"]),
            "mixed model": rmse(products["elasticity"]),
        }
    )
    .rename_axis("units sold on offer")
    .round(2)
)

# %%
# For products that sold little on offer, the estimates of each product alone are useless.
# Without any sale on offer the estimate tends to infinity, and only the limit on steps stops it.
# The mixed model shrinks such estimates to the mean. Its error is never above the spread of 0.6.
# Its intervals have the right coverage:

inside = (products["true"] - products["elasticity"]).abs() < 1.96 * products["std"]
print(f"{inside.mean():.1%} of the true elasticities are in the 95 % intervals")

# %%
# Decide
# ------
#
# Let a product earn the share m of its price. If the price rises by 1 %, the profit changes by
# (1 + e m) % of the revenue, with the elasticity e. So a higher price pays if e > -1 / m, and a
# lower one if e < -1 / m. The posterior gives the probability of each. Changing a price costs work
# and goodwill, so we change it only where this probability is above 90 %. The other products wait
# for an experiment.

products["margin"] = rng.uniform(0.3, 0.7, N_PRODUCTS)
products["break_even"] = -1 / products["margin"]


def decide(elasticity, std):
    """Return "raise", "lower" or "wait" for each product."""
    certain = 1.2816 * std  # 90 % of a normal distribution are below the mean plus this
    choices = [elasticity - certain > products["break_even"],
               elasticity + certain < products["break_even"]]  # fmt: skip
    return np.select(choices, ["raise", "lower"], "wait")


revenue = sales["units"].groupby(sales["product"]).mean()[products.index]
gain = revenue * (1 + products["true"] * products["margin"])
right_move = np.where(gain > 0, "raise", "lower")
rules = {
    "mixed model, if 90 % sure": decide(products["elasticity"], products["std"]),
    "mixed model, always": decide(products["elasticity"], 0.0),
    "each alone, if 90 % sure": decide(products["alone"], products["alone_std"]),
    "each alone, always": decide(products["alone"], 0.0),
    "one elasticity for all": decide(model.params["log_price"], 0.0),
}
outcome = {}
for rule, decision in rules.items():
    moved = decision != "wait"
    direction = np.select([decision == "raise", decision == "lower"], [1.0, -1.0], 0.0)
    outcome[rule] = {
        "raise": (decision == "raise").sum(),
        "lower": (decision == "lower").sum(),
        "wrong": f"{np.mean(decision[moved] != right_move[moved]):.1%}",
        "share of best gain": f"{np.sum(direction * gain) / gain.abs().sum():.0%}",
    }
products["decision"] = rules["mixed model, if 90 % sure"]
print(pd.DataFrame(outcome).T.to_string())

# %%
# "Share of best gain" is the profit of a small price change in the chosen directions, as a share
# of what someone who knows all elasticities would gain. If changes cost nothing, follow the mean of
# the posterior for all products. If wrong changes are costly, change only products with a high
# probability: then 3 % of the changes are wrong, and changing two products in five brings most of
# the gain. Estimates of each product alone claim to be 90 % sure, and are wrong in 12 % of the
# cases.
#
# The list of products to change begins with those that promise most:

promise = revenue * (1 + products["elasticity"] * products["margin"])
first = products[products["decision"] != "wait"].assign(promise=promise.abs())
columns = ["margin", "break_even", "elasticity", "std", "decision", "true"]
print(first.sort_values("promise", ascending=False)[columns].head(6).round(2).to_string())

# %%
# The figure
# ----------
#
# Left: elasticities with the number of units sold on offer. Estimates of each product alone (grey)
# scatter more, the fewer units there are; the mixed model (blue) draws them to the mean. Right: the
# decision for 90 products drawn at random. The black line is the break-even elasticity. Bars are
# intervals of 80 %, so that they lie on one side of the line with a probability of 90 %.

BLUE, RED, GREY, LIGHT, INK = "#2b6cb0", "#c0392b", "#66707c", "#b8c0c9", "#222222"
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
across = products["sold_on_offer"] + 1
left.plot(across, products["alone"], ".", color=LIGHT, markersize=3, label="each product alone")
left.plot(across, products["elasticity"], ".", color=BLUE, markersize=3, label="mixed model")
mean = model.params["log_price"]
left.axhline(mean, color=INK, linewidth=1, linestyle="--")
left.set_xscale("log")
left.set_xticks([1, 6, 51, 501], ["0", "5", "50", "500"])
left.minorticks_off()
left.set(xlabel="units sold on offer", ylabel="elasticity", ylim=(-9, 5), title="Shrinkage")
left.legend(frameon=False, markerscale=4, loc="lower right")

sample = products.sample(90, random_state=1)
grid = np.linspace(0.3, 0.7, 100)
for decision, color in {"wait": LIGHT, "raise": BLUE, "lower": RED}.items():
    rows = sample[sample["decision"] == decision]
    right.errorbar(rows["margin"], rows["elasticity"], yerr=1.2816 * rows["std"], fmt="o",
                   color=color, markersize=4, linewidth=1.3, label=decision)  # fmt: skip
right.plot(grid, -1 / grid, color=INK, linewidth=1.8, label="break-even")
right.set(xlabel="margin (share of the price)", ylabel="elasticity", title="Decision",
          ylim=(-4.3, -0.5))  # fmt: skip
right.legend(frameon=False, loc="lower right", ncols=2)
for panel in (left, right):
    panel.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# :ref:`exposure` adds the number of shops or days as an offset. Counts that vary more than Poisson
# counts need ``family="negative_binomial"``, see :doc:`plot_counts`.
