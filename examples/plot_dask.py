"""
=====================================================
Files larger than memory: a fit with Dask
=====================================================

Ratings that lie in many files, a file a day, and would not fit into memory together: the
model is fitted where they lie. Nothing is approximated for it. A mixed model of normal
responses needs sums over cells of levels and not the rows, and sums of files add up. This
example is small, so that the same model can be fitted in memory and the two be compared.
"""

# %%
# Files
# -----
#
# A million simulated ratings of 3,000 films by 20,000 users become 20 Parquet files in a
# temporary folder. Some more are kept for the end.

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
# A data frame that is not there
# ------------------------------
#
# Dask makes one data frame of the files and reads none of them, apart from the names and the
# types of columns.

frame = dd.read_parquet(folder)
print(frame.npartitions, "partitions")
frame.dtypes

# %%
# `fit` takes it like any other. Every partition is read, becomes sums, and is forgotten; the
# sums are merged. Here this runs in threads. With a ``dask.distributed`` client it runs on the
# workers of its cluster, and rows stay where they are.

columns = ["age", "user", "film"]
start = time.perf_counter()
on_files = MixedEffectsVIRegressor(random_effects=["user", "film"])
on_files.fit(frame[columns], frame["rating"])
print(f"fitted in {time.perf_counter() - start:.1f} s")
print(on_files.summary())

# %%
# The same in memory
# ------------------
#
# The two fits add the same numbers in another order. They agree to rounding error:

in_memory = MixedEffectsVIRegressor(random_effects=["user", "film"])
in_memory.fit(ratings[columns], ratings["rating"])


def numbers_of(model):
    """Estimates in a column."""
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
# Levels need not be in the same order, since files are read in parts, but they have the same
# labels, and pandas aligns by these.

effects = {}
for group in ("user", "film"):
    pair = {"files": on_files.random_effects_[group], "memory": in_memory.random_effects_[group]}
    effects[group] = pd.concat({name: part["Intercept"] for name, part in pair.items()}, axis=1)
    largest = (effects[group]["files"] - effects[group]["memory"]).abs().max()
    print(f"{group}: largest difference of {len(effects[group]):,} effects {largest:.0e}")

# %%
# The picture
# -----------
#
# On the left the effects of the films from both fits. On the right the difference of the two,
# film by film, below the standard deviation of the effect, which is what is not known of
# it. Both scales are logarithmic.

BLUE, ORANGE, GREY = "#2b6cb0", "#d9730d", "#9aa5b1"
films = effects["film"]
number = ratings["film"].value_counts().loc[films.index]
spread = in_memory.random_effects_std_["film"]["Intercept"].loc[films.index]
# Where no bit differs, half of the smallest difference that the numbers could show.
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
# Predictions, and the next day
# -----------------------------
#
# `predict` of a Dask data frame is lazy as well. It gives a Dask series, which can be written
# to files without ever being in memory as a whole.

predictions = on_files.predict(frame[columns])
print(predictions.partitions[0].compute().head(3).round(3).tolist())
print("a mean over all files:", round(float(predictions.mean().compute()), 4))

# %%
# The model keeps its sums. The ratings that were kept back are added to them with
# `partial_fit`, and no file has to be read again. Once more it is the fit on all rows:

on_files.partial_fit(tomorrow[columns], tomorrow["rating"])
at_once = MixedEffectsVIRegressor(random_effects=["user", "film"])
at_once.fit(all_ratings[columns], all_ratings["rating"])
print(f"ELBO, files and then {len(tomorrow):,} rows: {on_files.elbo_:.6f}")
print(f"ELBO, {len(all_ratings):,} rows at once:     {at_once.elbo_:.6f}")

storage.cleanup()
