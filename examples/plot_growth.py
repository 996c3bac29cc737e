"""
=====================================================
Growth curves: one line per subject
=====================================================

This example fits repeated measures over time with random intercepts and random slopes. It shows
shrinkage, prediction intervals for known and new subjects, and tests of the slopes.

Eighteen people sleep too little for several nights, and their reaction times are measured every
day. They become slower, some of them by much and some not at all. They also differ in how fast
they are at the start. So each person gets a line with its own intercept and slope. The lines
are draws from a distribution. This is a growth model, the most common use of random slopes.
"""

# %%
# The data
# --------
#
# Each row is one subject on one day, with the mean reaction time in milliseconds (Belenky and
# others 2003). After the third of the ten days, the subjects had three hours in bed per night.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import LeaveOneGroupOut

from skmixed import compare_models, mixed
from skmixed.datasets import load_sleepstudy

study = load_sleepstudy().frame
subjects = study["Subject"].cat.categories
print(f"{len(study)} rows, {len(subjects)} subjects")
study.head(3)

# %%
# The model
# ---------
#
# For subject :math:`s` on day :math:`t`
#
# .. math::
#
#    y_{st} = (\beta_0 + u_s) + (\beta_1 + v_s)\,t + \varepsilon_{st}, \qquad
#    \begin{pmatrix} u_s \\ v_s \end{pmatrix} \sim N(0, \Sigma).
#
# Intercepts have the variance :math:`\Sigma_{11}`, and slopes have the variance
# :math:`\Sigma_{22}`. The two can be correlated. The bar term ``(1 + Days | Subject)`` says the
# same in the formula. With ``test="t"`` `summary` adds t-tests and p-values of the fixed
# effects. These need the training data. `mixed` keeps them in the model, so we could leave them
# out here.

model = mixed("Reaction ~ Days + (1 + Days | Subject)", study)
print(model.summary(study, study["Reaction"], test="t"))

# %%
# People slow down by 10.5 ms per day on average. The standard deviation of the slopes is 5.9,
# more than half of that. So a few subjects hardly change.
#
# Correlation of intercepts and slopes
# ------------------------------------
#
# The correlation is near 0: short nights do not affect people more or less if they were slow on
# day 0. But this correlation belongs to day 0, where the intercepts are. On later days, people
# with steeper slopes are slower. So the same model has another correlation there. It is
# :math:`(1, t)\,\Sigma\,(0, 1)^\top`, divided by the two standard deviations.

covariance = model.random_effects_cov_["Subject"].to_numpy()


def correlation_on(day):
    """Correlation between the level of subjects on a day and their slopes."""
    level, slope = np.array([1.0, day]), np.array([0.0, 1.0])
    variances = level @ covariance @ level * (slope @ covariance @ slope)
    return level @ covariance @ slope / np.sqrt(variances)


print(f"correlation with the slope: {correlation_on(0):.3f} on day 0, {correlation_on(9):.3f} on 9")

# %%
# Fitted lines
# ------------
#
# Each subject has two lines: a least-squares line through the ten points of this subject, and the
# line of the model, which is fixed effects plus random effects. The grey line is the population.
# Subjects are in the order of their slopes.

BLUE, ORANGE, GREY, INK = "#2b6cb0", "#d9730d", "#9aa5b1", "#222222"
effects = model.random_effects_["Subject"]
lines = effects.add([model.intercept_, model.coef_[0]])
rows_of = dict(list(study.groupby("Subject", observed=True)))
raw = pd.DataFrame(
    {name: np.polyfit(rows["Days"], rows["Reaction"], 1)[::-1] for name, rows in rows_of.items()},
    index=["Intercept", "Days"],
).T

ends = np.array([0, 9])
figure, panels = plt.subplots(
    3, 6, figsize=(10, 5.6), sharex=True, sharey=True, layout="constrained"
)
for panel, name in zip(panels.flat, lines["Days"].sort_values().index, strict=True):
    panel.plot(rows_of[name]["Days"], rows_of[name]["Reaction"], ".", color=INK, markersize=4)
    for line, color, label in [
        ((model.intercept_, model.coef_[0]), GREY, "population"),
        (raw.loc[name], ORANGE, "least squares"),
        (lines.loc[name], BLUE, "model"),
    ]:
        intercept, slope = line
        panel.plot(ends, intercept + slope * ends, color=color, label=label)
    panel.set_title(f"subject {name}", fontsize=9)
    panel.spines[["top", "right"]].set_visible(False)
handles, labels = panels[0, 0].get_legend_handles_labels()
figure.legend(handles, labels, frameon=False, ncols=3, loc="outside upper center")
figure.supxlabel("day")
figure.supylabel("reaction time, ms")
plt.show()

# %%
# Shrinkage
# ---------
#
# The lines of the model lie between the least-squares lines and the line of the population. In
# the next plot each line is a point. Arrows go from least squares to the model. The ellipses
# show the distribution of lines, :math:`\Sigma`: half of all people should be in the inner one,
# and nine tenths in the outer one. Points far outside move most. Slopes move less than
# intercepts. Compared with the differences between people, ten days determine a slope better
# than the level on day 0.

figure, panel = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
population = np.array([model.intercept_, model.coef_[0]])
circle = np.linspace(0, 2 * np.pi, 200)
root = np.linalg.cholesky(covariance)
for share in (0.5, 0.9):
    radius = np.sqrt(-2 * np.log(1 - share))  # the square has a chi-squared distribution, 2 df
    ellipse = population[:, None] + radius * root @ [np.cos(circle), np.sin(circle)]
    panel.plot(*ellipse, color=GREY, linewidth=1)
for name in subjects:
    panel.annotate(
        "", lines.loc[name], raw.loc[name],
        arrowprops={"arrowstyle": "->", "color": GREY, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
panel.plot(raw["Intercept"], raw["Days"], "o", color=ORANGE, label="least squares")
panel.plot(lines["Intercept"], lines["Days"], "o", color=BLUE, label="model")
panel.plot(*population, "+", color=INK, markersize=14, markeredgewidth=2, label="population")
panel.set(xlabel="intercept, ms", ylabel="slope, ms per day")
panel.spines[["top", "right"]].set_visible(False)
panel.legend(frameon=False)
plt.show()

# %%
# Predict a new subject
# ---------------------
#
# We predict subject 349 with zero, four and ten known days. For each number of days we fit the
# model again, with all rows of the other subjects. Without known days the effect of the subject
# is 0. The intervals then contain the variances of intercepts and slopes, so they become wider
# with time. With more days they become narrower. These are 90 % prediction intervals for single
# measurements. The model has seen the filled points and not the empty ones.

SUBJECT = 349
days = pd.DataFrame({"Days": np.arange(10), "Subject": SUBJECT})
observed = rows_of[SUBJECT]

figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True, layout="constrained")
titles = {0: "nothing known", 4: "four days known", 10: "all days known"}
for panel, (n_known, title) in zip(panels, titles.items(), strict=True):
    hidden = (study["Subject"] == SUBJECT) & (study["Days"] >= n_known)
    known = mixed("Reaction ~ Days + (1 + Days | Subject)", study[~hidden])
    low, high = known.predict_interval(days, level=0.9).T
    panel.fill_between(days["Days"], low, high, color=BLUE, alpha=0.2, linewidth=0)
    panel.plot(days["Days"], known.predict(days), color=BLUE)
    fitted = observed["Days"] < n_known
    panel.plot(observed["Days"][fitted], observed["Reaction"][fitted], "o", color=INK)
    panel.plot(
        observed["Days"][~fitted], observed["Reaction"][~fitted],
        "o", color=INK, markerfacecolor="none",
    )  # fmt: skip
    panel.set(title=f"Subject {SUBJECT}, {title}", xlabel="day")
    panel.spines[["top", "right"]].set_visible(False)
    print(f"{title}: {low[-1]:.0f} to {high[-1]:.0f} ms on the last day")
panels[0].set_ylabel("reaction time, ms")
plt.show()

# %%
# One subject is little evidence. So we leave out each subject in turn, with a splitter of
# scikit-learn, and predict it from the others:

splits = LeaveOneGroupOut().split(study, groups=study["Subject"])
inside = []
for others, left_out in splits:
    known = mixed("Reaction ~ Days + (1 + Days | Subject)", study.iloc[others])
    low, high = known.predict_interval(study.iloc[left_out], level=0.9).T
    inside.append(study["Reaction"].iloc[left_out].between(low, high).mean())
print(f"{np.mean(inside):.0%} of all measurements are within their intervals")
print(f"subject by subject: {' '.join(f'{share:.0%}' for share in sorted(inside))}")

# %%
# That is less than 90 %, because of a few subjects. The ten points of a subject share an
# intercept and a slope, so they are inside or outside together. This is evidence from 18 people,
# not from 180 measurements. But the intervals are indeed a little too short. They treat the
# variances as known, although these come from 17 people, and they assume straight lines.
#
# Test the slopes and the correlation
# -----------------------------------
#
# We compare three models: parallel lines, uncorrelated intercepts and slopes (two bars, ``||``),
# and the model above. They are nested, and likelihood-ratio tests compare each with the previous
# one.

candidates = {
    "parallel": "Reaction ~ Days + (1 | Subject)",
    "unrelated": "Reaction ~ Days + (1 + Days || Subject)",
    "correlated": "Reaction ~ Days + (1 + Days | Subject)",
}
fits = [mixed(formula, study, method="ml") for formula in candidates.values()]
print(compare_models(*fits, names=list(candidates)))

# %%
# Slopes clearly differ between subjects. The correlation is not needed: without it the model has
# one parameter less and almost the same likelihood.
