"""
=====================================================
Files larger than memory: a fit with Dask
=====================================================

In this example you fit a mixed model to many Parquet files, one per day, without loading them all
into memory. The result is not an approximation: with normal responses, a fit needs sums over
cells (pairs of levels) and not the rows, and the sums of files add up. The example is small, so
that the same model can be fitted in memory for comparison.
"""

# %%
# Write the files
# ---------------
#
# One million simulated ratings of 3,000 films by 20,000 users become 20 Parquet files in a
# temporary folder. Another 50,000 ratings are kept for the end.

import tempfile
import time
from pathlib import Path

import dask.dataframe as dd
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import make_mixed_regression

X, y = make_mixed_regression(
    n_samples=1_050_000,
    groups=(20_000, 3_000),
    intercept=3.5,
    coef=0.2,
    group_sd=(0.4, 0.6),
    heavy_tailed=True,
    return_truth=False,
    random_state=0,
)
all_ratings = X.set_axis(["age", "user", "film"], axis=1).assign(rating=y)
ratings, tomorrow = all_ratings.iloc[:1_000_000], all_ratings.iloc[1_000_000:]

storage = tempfile.TemporaryDirectory()
folder = Path(storage.name)
for day, rows in enumerate(np.array_split(np.arange(len(ratings)), 20)):
    ratings.iloc[rows].to_parquet(folder / f"day_{day:02}.parquet", index=False)
megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
print(f"{len(list(folder.iterdir()))} files, {megabytes:.0f} MB")

# %%
# Read the files with Dask and fit
# --------------------------------
#
# Dask makes one data frame of the files. It reads only the names and types of the columns.

frame = dd.read_parquet(folder)
print(frame.npartitions, "partitions")
frame.dtypes

# %%
# `fit` takes it like any data frame. Each partition is read, becomes sums, and is dropped; the sums
# are merged. Here this runs in threads. With a ``dask.distributed`` client it runs on the workers
# of a cluster, and the rows are never moved.

columns = ["age", "user", "film"]
start = time.perf_counter()
on_files = MixedEffectsVIRegressor(random_effects=["user", "film"])
on_files.fit(frame[columns], frame["rating"])
print(f"fitted in {time.perf_counter() - start:.1f} s")
print(on_files.summary())

# %%
# Compare with a fit in memory
# ----------------------------
#
# The two fits add the same numbers in a different order. They agree to rounding error:

in_memory = MixedEffectsVIRegressor(random_effects=["user", "film"])
in_memory.fit(ratings[columns], ratings["rating"])


def numbers_of(model):
    """Return the estimates of a model as one column."""
    return {
        "intercept": model.intercept_,
        "age": model.coef_[0],
        "variance of users": model.random_effects_cov_["user"].iloc[0, 0],
        "variance of films": model.random_effects_cov_["film"].iloc[0, 0],
        "variance of noise": model.noise_variance_,
        "ELBO": model.elbo_,
    }


table = pd.DataFrame({"files": numbers_of(on_files), "memory": numbers_of(in_memory)})
table["relative difference"] = (table["files"] / table["memory"] - 1).abs()
print(
    table.to_string(
        formatters={
            "files": "{:.10g}".format,
            "memory": "{:.10g}".format,
            "relative difference": "{:.0e}".format,
        }
    )
)

# %%
# The two fits may have their levels in a different order, because the files are read in parts. The
# labels are the same, and pandas aligns by label.

effects = {}
for group in ("user", "film"):
    pair = {"files": on_files.random_effects_[group], "memory": in_memory.random_effects_[group]}
    effects[group] = pd.concat({name: part["Intercept"] for name, part in pair.items()}, axis=1)
    largest = (effects[group]["files"] - effects[group]["memory"]).abs().max()
    print(f"{group}: largest difference of {len(effects[group]):,} effects {largest:.0e}")

# %%
# Plot the differences
# --------------------
#
# Left: the film effects from both fits. Right: the difference between the two, per film (blue),
# far below the standard deviation of the effect (orange). Both axes on the right are logarithmic.

BLUE, ORANGE, GREY = "#2b6cb0", "#d9730d", "#9aa5b1"
films = effects["film"]
number = ratings["film"].value_counts().loc[films.index]
spread = in_memory.random_effects_std_["film"]["Intercept"].loc[films.index]
# If the effects are equal, plot half of the smallest difference that can be represented.
difference = (films["files"] - films["memory"]).abs().clip(lower=2.0**-54)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
ends = [films["memory"].min(), films["memory"].max()]
left.plot(ends, ends, color=GREY, linewidth=1, zorder=0)
left.scatter(films["memory"], films["files"], s=6, color=BLUE, alpha=0.5, linewidths=0)
left.set(xlabel="fitted in memory", ylabel="fitted from files", title=f"{len(films):,} films")
right.scatter(number, spread, s=6, color=ORANGE, alpha=0.5, linewidths=0)
right.scatter(number, difference, s=6, color=BLUE, alpha=0.5, linewidths=0)
right.text(number.max(), 0.3, "standard deviation", color=ORANGE, ha="right")
right.text(number.max(), 1e-12, "|files - memory|", color=BLUE, ha="right")
right.set(xscale="log", yscale="log", ylim=(1e-17, 10), xlabel="ratings of the film")
right.set_title("What differs, and what is not known")
for panel in (left, right):
    panel.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Predict lazily, and add the next day
# ------------------------------------
#
# `predict` of a Dask data frame is lazy as well. It returns a Dask series, which you can write to
# files without loading it into memory as a whole.

predictions = on_files.predict(frame[columns])
print(predictions.partitions[0].compute().head(3).round(3).tolist())
print("a mean over all files:", round(float(predictions.mean().compute()), 4))

# %%
# The model keeps its sums. `partial_fit` adds the ratings that we kept back, and no file is read
# again. The result again equals a fit on all rows:

on_files.partial_fit(tomorrow[columns], tomorrow["rating"])
at_once = MixedEffectsVIRegressor(random_effects=["user", "film"])
at_once.fit(all_ratings[columns], all_ratings["rating"])
print(f"ELBO, files and then {len(tomorrow):,} rows: {on_files.elbo_:.6f}")
print(f"ELBO, {len(all_ratings):,} rows at once:     {at_once.elbo_:.6f}")

storage.cleanup()
