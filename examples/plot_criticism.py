"""
=================================================
A model criticised and mended: epileptic seizures
=================================================

A model that has been fitted is an opinion. This page shows how to argue with it: simulate from
it, look where the simulations differ from the data, change what is wrong, and look again. The
data are seizure counts from a clinical trial (Thall and Vail 1990), small enough to print and
with most of the faults that counts can have.
"""

# %%
# The data
# --------
#
# 59 patients with epilepsy received the drug progabide or a placebo. They counted their
# seizures during eight weeks before the trial, and in four periods of two weeks each. A patient
# below is one record: group, seizures before, age, and the four counts.

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
# Counts suggest a Poisson distribution, and patients with four counts each a random intercept.

first = mixed("seizures ~ group + before + age + period + (1 | patient)", trial, family="poisson")
print(first.summary())

# %%
# The drug seems to do little, and seizures become fewer over the periods: the interval of
# ``period`` is far from 0. Both statements come from a model that nobody has checked yet.
#
# Criticism
# ---------
#
# ``check_residuals`` draws a thousand new sets of counts from the model. With
# ``effects="fitted"`` each patient keeps the fitted effect, so that the check is about counts
# within patients. The observed spread is almost three times what Poisson counts have, and zeros
# are twice as frequent.

first_checks = check_residuals(first, effects="fitted", random_state=0)
print(first_checks)

# %%
# The left picture shows the same by patient. Poisson counts would scatter around the line,
# where the variance is the mean. The more seizures a patient has, the further the variance is
# above it.
#
# The right picture is about the shape of an effect. The model says that the logarithm of the
# mean rises linearly with the seizures before the trial. The effects of patients should then
# lie around 0 whatever their count before. They do not: they rise, and fall again. A few
# patients with large counts bend the line for all others.

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
# Mending
# -------
#
# Two changes answer the two objections. Seizures before enter by their logarithm, so that the
# mean is a power of them, and the drug may work differently in severe cases. Counts become
# negative binomial: their variance is the mean plus a multiple of its square.

formula = "seizures ~ group * log_before + log_age + period + (1 | patient)"
# centred: the coefficient of the group is that of a patient in the middle
trial["log_before"] = np.log(trial["before"]) - np.log(trial["before"]).mean()
trial["log_age"] = np.log(trial["age"]) - np.log(trial["age"]).mean()
poisson = mixed(formula, trial, family="poisson")
mended = mixed(formula, trial, family="negative_binomial")
print(f"dispersion: {mended.dispersion_:.3f}")
print(compare_models(poisson, mended).to_frame()[["log_likelihood", "aic", "chi_square"]].round(1))

# %%
# The chi-square with one degree of freedom leaves no doubt. The checks are quiet as well:

mended_checks = check_residuals(mended, effects="fitted", random_state=0)
print(mended_checks)

# %%
# What has changed
# ----------------
#
# The decline over the periods was known too well: its standard error has grown by more than
# half, and the interval of the mended model holds "no change". Overdispersion of counts within
# patients does not touch what is compared between patients, which the random effects had
# accounted for.

figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained", sharex=True)
for ax, model, name in zip(axes, (poisson, mended), ("Poisson", "negative binomial"), strict=True):
    FixedEffectsDisplay.from_estimator(model, transform="exp", ax=ax)
    ax.set_title(name, fontsize="medium")
plt.show()

# %%
# Does one patient carry the result?
# ----------------------------------
#
# ``influence`` fits the model once per patient without that patient. Patient 49, who had 151
# seizures before the trial and 302 during it, stands out.

found = influence(mended, "patient")
display = InfluenceDisplay.from_influence(found, n_levels=12)
plt.show()

# %%
# The coefficients without patient 49 say what depends on this patient: the interaction. Much of
# the evidence that the drug works less in severe cases comes from one person.

columns = ["group[drug]", "group[drug]:log_before"]
both = pd.DataFrame(
    {"all patients": mended.params[columns], "without 49": found.coef.loc[49, columns]}
)
print(both.round(2))

# %%
# The answer
# ----------
#
# What a clinician asks is how many seizures the drug prevents in two weeks.
# ``marginal_effects`` averages over the patients of the trial, and over the effects of patients
# like them.

print(marginal_effects(mended, "group"))

# %%
# For a patient in the middle the rate under the drug is about three quarters of that under the
# placebo, yet the average number of seizures prevented is not told from zero: severe cases have
# most of the seizures, and whether they profit is what the trial does not say.

middle = np.exp(mended.summary().to_frame().loc["group[drug]", ["estimate", "lower", "upper"]])
print(middle.astype(float).round(2))

# %%
# Source
# ------
#
# Thall, P. F. and Vail, S. C. (1990). Some covariance models for longitudinal count data with
# overdispersion. *Biometrics* 46, 657-671. The numbers are those of `epil` in the R package
# MASS.
