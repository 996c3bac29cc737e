"""
=======================================================
Classification: which patients to call after discharge
=======================================================

A call after discharge prevents some readmissions, but calls cost money. Whom should a hospital
call? This page puts a mixed-effects classifier into a pipeline, tests it on hospitals that it
knows and on hospitals that it has never seen, checks the calibration, and chooses a threshold by
costs.
"""

# %%
# The data
# --------
#
# 6,000 discharges from 200 hospitals, simulated. Hospitals differ in size and in their rate of
# readmission. The number of earlier stays is missing for some patients.

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, make_scorer, roc_auc_score
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skmixed import MixedEffectsVIClassifier
from skmixed.exceptions import UnknownLevelsWarning

N_PATIENTS, N_HOSPITALS = 6_000, 200
rng = np.random.default_rng(5)
sizes = rng.gamma(3.0, size=N_HOSPITALS)
hospital = rng.choice(N_HOSPITALS, N_PATIENTS, p=sizes / sizes.sum())
hospital_effect = rng.normal(0, 1.0, N_HOSPITALS)
patients = pd.DataFrame(
    {
        "hospital": hospital,
        "ward": rng.choice(["cardiology", "medicine", "surgery"], N_PATIENTS, p=[0.2, 0.5, 0.3]),
        "age": np.clip(rng.normal(66, 14, N_PATIENTS), 18, 98).round(),
        "stays": rng.poisson(rng.gamma(0.8, 1.2, N_PATIENTS)).astype(float),
    }
)
ward_effect = patients["ward"].map({"cardiology": 0.5, "medicine": 0.0, "surgery": -0.6})
log_odds = (
    -2.8 + 0.025 * (patients["age"] - 66) + 0.45 * patients["stays"] + ward_effect
    + hospital_effect[hospital]
)  # fmt: skip
readmitted = (rng.random(N_PATIENTS) < expit(log_odds)).astype(int)
patients.loc[rng.random(N_PATIENTS) < 0.05, "stays"] = np.nan
low, high = pd.Series(readmitted).groupby(hospital).mean().quantile([0.1, 0.9])
print(f"{readmitted.mean():.1%} readmitted, {low:.0%} to {high:.0%} in four of five hospitals")
patients.head(3)

# %%
# The pipeline
# ------------
#
# Transformers prepare the columns, and ``hospital`` passes through. ``set_output`` keeps the names
# of the columns, so that the classifier finds its group. The two pipelines for comparison are
# logistic regressions, one without hospitals and one with a dummy for each hospital.


def prepare(**hospitals):
    """Scale numbers, code the ward, and do with the hospital what the argument says."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    steps = [
        (numbers, ["age", "stays"]),
        (OneHotEncoder(drop="first", sparse_output=False), ["ward"]),
        (hospitals["hospital"], ["hospital"]),
    ]
    transformer = make_column_transformer(*steps, verbose_feature_names_out=False)
    return transformer.set_output(transform="pandas")


one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
mixed_model = make_pipeline(
    prepare(hospital="passthrough"), MixedEffectsVIClassifier(random_effects="hospital")
)
pipelines = {
    "mixed model": mixed_model,
    "no hospitals": make_pipeline(prepare(hospital="drop"), LogisticRegression()),
    "dummies": make_pipeline(prepare(hospital=one_hot), LogisticRegression()),
}
mixed_model.fit(patients, readmitted)
print(mixed_model[-1].summary())

# %%
# Known and new hospitals
# -----------------------
#
# There are two questions, and each has a splitter. `KFold` tests further patients of known
# hospitals. `GroupKFold` tests patients of new hospitals. In the second case all hospitals are
# unknown to the model; `predict_proba` warns of that, and we silence the warning.
#
# For a new hospital `predict_proba` averages over the distribution between hospitals. The row
# "mixed, effect 0" has the same model without this average: the hospital has the effect 0.

warnings.simplefilter("ignore", UnknownLevelsWarning)
splits = {
    "known": list(KFold(3, shuffle=True, random_state=0).split(patients)),
    "new": list(GroupKFold(3).split(patients, groups=patients["hospital"])),
}
at_zero = MixedEffectsVIClassifier(random_effects="hospital").as_predictor(
    "predict_proba", include="none"
)
probability = {
    (name, question): cross_val_predict(
        pipeline, patients, readmitted, cv=folds, method="predict_proba"
    )[:, 1]
    for name, pipeline in pipelines.items()
    for question, folds in splits.items()
}
probability["mixed, effect 0", "new"] = cross_val_predict(
    make_pipeline(prepare(hospital="passthrough"), at_zero), patients, readmitted, cv=splits["new"]
)[:, 1]

scores = pd.DataFrame(
    {
        key: {
            "Brier": brier_score_loss(readmitted, p),
            "AUC": roc_auc_score(readmitted, p),
            "mean": p.mean(),
        }
        for key, p in probability.items()
    }
).T
print(scores.unstack().round(4).to_string())

# %%
# A smaller Brier score is better. For known hospitals, models that know the hospital win. For new
# hospitals all models are alike in AUC, because none of them can rank the hospitals. But not all
# are calibrated. The mean prediction should be near the share of readmissions. It is for the mixed
# model. It is too small for the effect 0, and for dummies, which are all 0 in a new hospital: the
# mean risk of hospitals is above the risk of a hospital with the mean effect. So one mixed model
# serves both: it is as good as dummies in known hospitals, and as good as a model without hospitals
# in new ones.
#
# Choose a threshold by costs
# ---------------------------
#
# A call costs 150. A readmission costs 6,000, and a call prevents one in five. So a call to a
# patient who would be readmitted saves 1,200 on average. It pays if the probability is above
# 150 / 1,200 = 0.125. A calibrated model needs nothing else.
# :class:`~sklearn.model_selection.TunedThresholdClassifierCV` looks for the best threshold in the
# data instead. It takes no groups, so we pass it the folds.

CALL, SAVED = 150.0, 0.2 * 6_000.0


def saving(y, called):
    """Return the mean saving per patient, less the costs of the calls."""
    return np.mean(called * (SAVED * y - CALL))


best = CALL / SAVED
tuned = TunedThresholdClassifierCV(
    mixed_model, scoring=make_scorer(saving), cv=splits["new"], thresholds=np.linspace(0, 0.5, 51)
).fit(patients, readmitted)
print(f"by costs {best:.3f}, tuned {tuned.best_threshold_:.2f}")

# %%
# The tuned threshold is near the one by costs, and the savings are nearly the same: the optimum
# is flat. (The tuned threshold is evaluated on the folds that chose it, so its savings are slightly
# too high.) The default threshold of one half calls far too few patients.

money = pd.DataFrame(
    {
        rule: {key: 1000 * saving(readmitted, p > cut) for key, p in probability.items()}
        for rule, cut in {"0.125": best, "tuned": tuned.best_threshold_, "0.5": 0.5}.items()
    }
)
everybody = 1000 * saving(readmitted, np.ones(N_PATIENTS))
print("savings per 1,000 patients")
print(money.round(-2).astype(int).to_string())
print(f"all patients called: {everybody:.0f}")

# %%
# The figure
# ----------
#
# Left: calibration in new hospitals. Each point is a sixth of the patients; both axes are
# logarithmic. Points above the diagonal have more readmissions than predicted. Right: savings by
# threshold. The threshold by costs (dashed) is close to the maximum of each line. At this
# threshold, a model that knows the hospital saves 40 % more than one that does not.

BLUE, ORANGE, GREY, INK = "#2b6cb0", "#d9730d", "#66707c", "#222222"
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
shown = {
    "mixed model": (BLUE, "o", "averaged over hospitals"),
    "mixed, effect 0": (ORANGE, "s", "effect of the hospital at 0"),
    "dummies": (GREY, "^", "dummies"),
}
left.plot([0.025, 0.5], [0.025, 0.5], color=INK, linewidth=0.8)
for name, (color, marker, label) in shown.items():
    observed, predicted = calibration_curve(
        readmitted, probability[name, "new"], n_bins=6, strategy="quantile"
    )
    left.plot(predicted, observed, color=color, marker=marker, markersize=6, label=label)
left.set(xscale="log", yscale="log")
for axis in (left.xaxis, left.yaxis):
    axis.set_ticks([0.03, 0.05, 0.1, 0.2, 0.4], ["3 %", "5 %", "10 %", "20 %", "40 %"])
    axis.set_ticks([], minor=True)
left.set(xlabel="predicted probability", ylabel="share readmitted", title="New hospitals")
left.legend(frameon=False, loc="upper left")

cuts = np.linspace(0.0, 0.6, 61)
lines = [
    ("mixed model", "known", BLUE, "-", "mixed model, known hospitals"),
    ("mixed model", "new", BLUE, ":", "mixed model, new hospitals"),
    ("no hospitals", "known", GREY, "-", "no hospitals in the model"),
]
for name, question, color, style, label in lines:
    p = probability[name, question]
    curve = [saving(readmitted, p > cut) for cut in cuts]
    right.plot(cuts, curve, color=color, linestyle=style, linewidth=2, label=label)
right.axvline(best, color=INK, linewidth=1, linestyle="--")
right.annotate("threshold\nby costs", (best, 1.5), (6, 0), textcoords="offset points")
right.set(xlabel="call above this probability", ylabel="saving per patient",
          title="Savings", ylim=(0, 72), xlim=(0, 0.6))  # fmt: skip
right.legend(frameon=False)
for panel in (left, right):
    panel.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# :ref:`auc` has these calls in short, and :ref:`class-weights` says why the classes need no
# balancing.
