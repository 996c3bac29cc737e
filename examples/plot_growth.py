"""
=====================================================
Growth: lines that differ from subject to subject
=====================================================

Eighteen people are kept from sleeping, and every day their reaction times are measured. They
become slower, some by much and some not at all, and they were not equally fast to begin
with. So everybody gets a line of their own, with an intercept and a slope that are draws from
a distribution of lines. That is a model of growth, and the most common use of random slopes.
"""

# %%
# The data
# --------
#
# A row is a subject on a day, with the mean reaction time in milliseconds (Belenky and others
# 2003). After the third of the ten days nights had three hours.

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
# The lines differ in intercepts, with the variance :math:`\Sigma_{11}`, and in slopes, with the
# variance :math:`\Sigma_{22}`; the two may be correlated. The bar term of the formula says just
# that. For t-tests of the fixed effects `summary` wants the data again, since a fitted model
# does not keep them.

model = mixed("Reaction ~ Days + (1 + Days | Subject)", study)
print(model.summary(study, study["Reaction"], test="t"))

# %%
# People slow down by 10.5 ms a day on average. The standard deviation of the slopes, 5.9,
# is more than half of that: a few subjects hardly change.
#
# Intercepts and slopes
# ---------------------
#
# Their correlation is near 0: who is slow on day 0 does not suffer more or less from short
# nights. Mind the day, though. A correlation of intercepts and slopes belongs to the day
# where the intercepts are taken. On later days those are slower who have steeper slopes, and
# so the same model has another correlation there, :math:`(1, t)\,\Sigma\,(0, 1)^\top` scaled.

covariance = model.random_effects_cov_["Subject"].to_numpy()


def correlation_on(day):
    """Correlation between the level of subjects on a day and their slopes."""
    level, slope = np.array([1.0, day]), np.array([0.0, 1.0])
    variances = level @ covariance @ level * (slope @ covariance @ slope)
    return level @ covariance @ slope / np.sqrt(variances)


print(f"correlation with the slope: {correlation_on(0):.3f} on day 0, {correlation_on(9):.3f} on 9")

# %%
# A line for everybody
# --------------------
#
# Two lines for each subject: one fitted to the subject's own ten points by least squares, and
# the line of the model, fixed effects plus random effects. Subjects are in the order of
# their slopes.

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
# The lines of the model lie between those of least squares and that of the population. Here
# every line is a point, and arrows lead from least squares to the model. The ellipses are
# the distribution of lines, :math:`\Sigma`: a half of all people should be in the inner one,
# and nine tenths in the outer one. Points far outside move most. Slopes move less
# than intercepts, as ten days say more about a slope than about the level on day 0, by
# the measure of how much people differ.

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
panel.set(xlabel="intercept, ms", ylabel="slope, ms a day")
panel.spines[["top", "right"]].set_visible(False)
panel.legend(frameon=False)
plt.show()

# %%
# Somebody new
# ------------
#
# What will subject 349 do? Before the study we know only the population: an effect of 0, and
# intervals that hold the spread of intercepts and of slopes, so that they open up with time.
# With four days we know something, with ten more. For each we fit the model to what is known
# by then; the rows of the other subjects are always there. Intervals are for single
# measurements, at a level of 90 %. Full points are known to the model, empty ones are not.

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
# One subject shows little. So every subject in turn is taken out, as a splitter of
# scikit-learn does it, and predicted from the others:

splits = LeaveOneGroupOut().split(study, groups=study["Subject"])
inside = []
for others, left_out in splits:
    known = mixed("Reaction ~ Days + (1 + Days | Subject)", study.iloc[others])
    low, high = known.predict_interval(study.iloc[left_out], level=0.9).T
    inside.append(study["Reaction"].iloc[left_out].between(low, high).mean())
print(f"{np.mean(inside):.0%} of all measurements are within their intervals")
print(f"subject by subject: {' '.join(f'{share:.0%}' for share in sorted(inside))}")

# %%
# That is less than 90 %, by the misses of a few subjects. The ten points of a subject share an
# intercept and a slope and are inside or outside together, so that this is the evidence of
# 18 people and not of 180 measurements. But intervals are a little short in truth as well:
# they take variances for known that come from 17 people, and lines for straight.
#
# Do slopes differ, and do we need the correlation?
# -------------------------------------------------
#
# Three models: lines that are parallel, lines with unrelated intercepts and slopes (two bars),
# and the one above. They are nested, and likelihood-ratio tests compare neighbours.

candidates = {
    "parallel": "Reaction ~ Days + (1 | Subject)",
    "unrelated": "Reaction ~ Days + (1 + Days || Subject)",
    "correlated": "Reaction ~ Days + (1 + Days | Subject)",
}
fits = [mixed(formula, study, method="ml") for formula in candidates.values()]
print(compare_models(*fits, names=list(candidates)))

# %%
# Slopes differ beyond doubt. The correlation is not needed: without it the model has one
# parameter less and the same likelihood.
