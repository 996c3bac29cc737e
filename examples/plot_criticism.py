"""
=======================================================
Check and improve a model of counts: epileptic seizures
=======================================================

This example checks a Poisson model by simulation, finds overdispersion and a wrong functional
form, improves the model and checks it again. The data are seizure counts from a clinical trial
(Thall and Vail 1990). They are few, and have most of the problems that counts can have.
"""

# %%
# The data
# --------
#
# 59 patients with epilepsy received the drug progabide or a placebo. They counted their seizures
# during eight weeks before the trial, and in four periods of two weeks each. Each record below is
# one patient: group, seizures before, age, and the four counts.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmixed import check_residuals, compare_models, influence, marginal_effects, mixed
from skmixed.inspection import FixedEffectsDisplay, InfluenceDisplay

RECORDS = """
p 11 31 5 3 3 3; p 11 30 3 5 3 3; p 6 25 2 4 0 5; p 8 36 4 4 1 4;
p 66 22 7 18 9 21; p 27 29 5 2 8 7; p 12 31 6 4 0 2; p 52 42 40 20 21 12;
p 23 37 5 6 6 5; p 10 28 14 13 6 0; p 52 36 26 12 6 22; p 33 24 12 6 8 4;
p 18 23 4 4 6 2; p 42 36 7 9 12 14; p 87 26 16 24 10 9; p 50 26 11 0 0 5;
p 18 28 0 0 3 3; p 111 31 37 29 28 29; p 18 32 3 5 2 5; p 20 21 3 0 6 7;
p 12 29 3 4 3 4; p 9 21 3 4 3 4; p 17 32 2 3 3 5; p 28 25 8 12 2 8;
p 55 30 18 24 76 25; p 9 40 2 1 2 1; p 10 19 3 1 4 2; p 47 22 13 15 13 12;
d 76 18 11 14 9 8; d 38 32 8 7 9 4; d 19 20 0 4 3 0; d 10 30 3 6 1 3;
d 19 18 2 6 7 4; d 24 24 4 3 1 3; d 31 30 22 17 19 16; d 14 35 5 4 7 4;
d 11 27 2 4 0 4; d 67 20 3 7 7 7; d 41 22 4 18 2 5; d 7 28 2 1 1 0;
d 22 23 0 2 4 0; d 13 40 5 4 0 3; d 46 33 11 14 25 15; d 36 21 10 5 3 8;
d 38 35 19 7 6 7; d 7 25 1 1 2 3; d 36 26 6 10 8 8; d 11 25 2 1 0 0;
d 151 22 102 65 72 63; d 22 32 4 3 2 4; d 41 25 8 6 5 7; d 32 35 1 3 1 5;
d 56 21 18 11 28 13; d 24 41 6 3 4 0; d 16 32 3 5 4 3; d 22 26 1 23 19 8;
d 25 21 2 3 0 1; d 13 36 0 0 0 0; d 12 37 1 4 3 2
"""
records = [record.split() for record in RECORDS.replace("\n", " ").split(";")]
trial = pd.DataFrame(
    [
        (patient, {"p": "placebo", "d": "drug"}[group], int(before), int(age), period, int(count))
        for patient, (group, before, age, *counts) in enumerate(records, 1)
        for period, count in enumerate(counts, 1)
    ],
    columns=["patient", "group", "before", "age", "period", "seizures"],
)
trial["group"] = pd.Categorical(trial["group"], ["placebo", "drug"])
trial["period"] -= 2.5
print(trial.groupby("group", observed=True)["seizures"].describe().round(1))

# %%
# A first model
# -------------
#
# Counts suggest a Poisson distribution. Each patient has four counts and gets a random intercept.

first = mixed("seizures ~ group + before + age + period + (1 | patient)", trial, family="poisson")
print(first.summary())

# %%
# The effect of the drug seems small. Seizures become fewer over the periods: the interval of
# ``period`` is far from 0. But the model has not been checked yet.
# Check the model by simulation
# -----------------------------
#
# ``check_residuals`` draws a thousand new sets of counts from the model. With ``effects="fitted"``
# each patient keeps the fitted effect, so this checks counts within patients. The observed spread
# is almost three times that of Poisson counts, and zeros are twice as frequent.

first_checks = check_residuals(first, effects="fitted", random_state=0)
print(first_checks)

# %%
# The left plot shows this by patient. Poisson counts would scatter around the line, where the
# variance equals the mean. Patients with more seizures are further above the line.
#
# The right plot checks the shape of an effect. In the model the logarithm of the mean rises
# linearly with the seizures before the trial. Then the effects of patients should lie around 0 for
# any count before the trial. But they rise and fall again: a few patients with large counts
# determine the slope for all others.

of_patient = trial.groupby("patient")["seizures"].agg(["mean", "var"])
effects = first.random_effects_["patient"]["Intercept"]
before = trial.groupby("patient")["before"].first()
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.scatter(of_patient["mean"], of_patient["var"], s=20)
left.axline((1.0, 1.0), (10.0, 10.0), color="grey", linewidth=0.8)
left.set(xscale="log", yscale="log", xlim=(0.2, 120), ylim=(0.05, 2000))
left.set(xlabel="mean of a patient's counts", ylabel="their variance")
right.axhline(0.0, color="grey", linewidth=0.8)
right.scatter(before, effects.loc[before.index], s=20)
right.set(xlabel="seizures before the trial", ylabel="effect of the patient")
plt.show()

# %%
# Improve the model
# -----------------
#
# Two changes solve the two problems. First, seizures before the trial enter as a logarithm, and the
# drug may work differently in severe cases. Second, counts are negative binomial: their variance is
# the mean plus a multiple of its square.

formula = "seizures ~ group * log_before + log_age + period + (1 | patient)"
# centred: the coefficient of the group is for an average patient
trial["log_before"] = np.log(trial["before"]) - np.log(trial["before"]).mean()
trial["log_age"] = np.log(trial["age"]) - np.log(trial["age"]).mean()
poisson = mixed(formula, trial, family="poisson")
mended = mixed(formula, trial, family="negative_binomial")
print(f"dispersion: {mended.dispersion_:.3f}")
print(compare_models(poisson, mended).to_frame()[["log_likelihood", "aic", "chi_square"]].round(1))

# %%
# The chi-square with one degree of freedom is very large. The checks now pass:

mended_checks = check_residuals(mended, effects="fitted", random_state=0)
print(mended_checks)

# %%
# What has changed
# ----------------
#
# The standard error of the decline over the periods was too small. It is now larger by more than
# half, and the interval contains "no change". Comparisons between patients hardly change, because
# the random effects had already accounted for the differences between patients.

figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained", sharex=True)
for ax, model, name in zip(axes, (poisson, mended), ("Poisson", "negative binomial"), strict=True):
    FixedEffectsDisplay.from_estimator(model, transform="exp", ax=ax)
    ax.set_title(name, fontsize="medium")
plt.show()

# %%
# Does the result depend on one patient?
# --------------------------------------
#
# ``influence`` refits the model once per patient, without that patient. Patient 49, who had 151
# seizures before the trial and 302 during it, stands out.

found = influence(mended, "patient")
display = InfluenceDisplay.from_influence(found, n_levels=12)
plt.show()

# %%
# Without patient 49 the interaction changes. Much of the evidence that the drug works less in
# severe cases comes from this patient.

columns = ["group[drug]", "group[drug]:log_before"]
both = pd.DataFrame(
    {"all patients": mended.params[columns], "without 49": found.coef.loc[49, columns]}
)
print(both.round(2))

# %%
# How many seizures does the drug prevent?
# ----------------------------------------
#
# ``marginal_effects`` gives the number of seizures prevented in two weeks. It averages over the
# patients of the trial, and over the distribution of patient effects.

print(marginal_effects(mended, "group"))

# %%
# For an average patient the rate under the drug is about three quarters of that under the
# placebo. But the average number of seizures prevented is not significantly different from zero.
# Severe cases have most of the seizures, and the trial does not show whether they benefit.

middle = np.exp(mended.summary().to_frame().loc["group[drug]", ["estimate", "lower", "upper"]])
print(middle.astype(float).round(2))

# %%
# Source
# ------
#
# Thall, P. F. and Vail, S. C. (1990). Some covariance models for longitudinal count data with
# overdispersion. *Biometrics* 46, 657-671. The numbers are those of `epil` in the R package
# MASS.
