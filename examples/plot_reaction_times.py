"""
===========================================================
Subjects and items: a 2 x 2 experiment with reaction times
===========================================================

Does a related prime speed up the reading of a word? Does it help more if the word is printed
faintly? Every subject meets all four conditions, and so does every word. This page goes from the
design to the choice of random effects, to tests, marginal means and the contrast of the
interaction. The data are simulated, so the truth is known.
"""

# %%
# The data
# --------
#
# 40 subjects read 48 words each. A subject reads each word once, in one of four conditions. The
# conditions rotate over the words, so each word meets each condition in ten subjects.
#
# A related prime saves 30 ms in clear print and 55 ms in faint print. The difference of the two,
# 25 ms, is the interaction. Subjects differ in their speed, in the effect of the prime and in the
# effect of the print. Words differ in their difficulty and in the effect of the print.

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmixed import anova, compare_models, contrasts, marginal_means, mixed
from skmixed.exceptions import SingularFitWarning

N_SUBJECTS, N_WORDS = 40, 48
rng = np.random.default_rng(1)
subject, word = np.divmod(np.arange(N_SUBJECTS * N_WORDS), N_WORDS)
condition = (subject + word) % 4
unrelated, faint = condition % 2, condition // 2

speed, prime_effect, print_effect = rng.normal(size=(3, N_SUBJECTS)) * [[80], [25], [35]]
difficulty, print_of_word = rng.normal(size=(2, N_WORDS)) * [[30], [20]]
trials = pd.DataFrame(
    {
        "subject": subject,
        "word": word,
        "prime": np.where(unrelated, "unrelated", "related"),
        "print": np.where(faint, "faint", "clear"),
        "time": 620.0 + speed[subject] + difficulty[word]
        + unrelated * (30 + prime_effect[subject])
        + faint * (60 + print_effect[subject] + print_of_word[word])
        + 25 * unrelated * faint
        + rng.normal(0, 90, len(subject)),
    }
)  # fmt: skip
print(trials.pivot_table(index="print", columns="prime", values="time").round(0))

# %%
# The maximal model
# -----------------
#
# Subjects and words are crossed, and both factors vary within both. The *maximal* model lets every
# effect differ between subjects and between words (Barr and others 2013). It has 20 variances and
# covariances, more than the data can determine. We catch the warning that says so.

maximal_formula = """
    time ~ prime * print + (1 + prime * print | subject) + (1 + prime * print | word)
"""
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", SingularFitWarning)
    maximal = mixed(maximal_formula, trials)
print(str(caught[0].message).split(", because")[0] + ".")

# %%
# The reduced model
# -----------------
#
# A singular fit is not wrong, but it costs degrees of freedom. We drop the slopes of the
# interaction first, then the slope of the prime between words. For comparison, the third model has
# no slopes at all.

reduced = mixed("time ~ prime * print + (1 + prime + print | subject) + (1 + print | word)", trials)
intercepts = mixed("time ~ prime * print + (1 | subject) + (1 | word)", trials)
models = {"intercepts only": intercepts, "reduced": reduced, "maximal": maximal}
comparison = compare_models(*models.values(), names=list(models)).to_frame()
print(comparison[["n_parameters", "aic", "chi_square", "df", "p_value"]].round(3).to_string())

# %%
# The reduced model fits as well as the maximal one and has the smallest AIC. The slopes that it
# keeps are needed. Its standard deviations are near the truth:

variances = reduced.variance_components_
spread = variances[variances["term_2"].isna()][["group", "term_1", "sd"]].round(1)
print(spread.assign(true=[80, 25, 35, 30, 20, 90]).to_string(index=False))

# %%
# Test the terms
# --------------
#
# Kenward and Roger's degrees of freedom follow from the random effects. The prime and the print
# are compared across subjects, so they have about 37. The interaction has no slope in the reduced
# model, so all trials count.

print(anova(reduced, ddf="kenward-roger"))

# %%
# Without slopes, trials count as independent evidence on the effect of the print. Its F value
# becomes twice as large. The maximal model comes to the same conclusions as the reduced
# one, with wider intervals.

tables = {
    name: anova(model, ddf="kenward-roger").to_frame()[["den_df", "F", "p_value"]]
    for name, model in models.items()
}
by_term = pd.concat(tables, names=["model", "term"]).swaplevel()
print(by_term.loc[["prime", "print", "prime:print"]].round(4))

# %%
# Means and contrasts
# -------------------
#
# Marginal means are the means of the conditions. ``by="print"`` makes contrasts within clear and
# within faint print: the *simple effects* of the prime. ``"reference"`` subtracts the first level,
# so a positive number is time that the related prime saves.

means = marginal_means(reduced, "prime", by="print", ddf="kenward-roger")
print(means)
print(contrasts(means, "reference"))

# %%
# With two terms and ``interaction=True`` the contrast is a difference of differences:

cells = marginal_means(reduced, ["prime", "print"], ddf="kenward-roger")
print(contrasts(cells, "reference", interaction=True))

# %%
# The figure
# ----------
#
# Left: means of the conditions with 95 % intervals, and a grey line for each subject. Subjects
# differ so much that the intervals of the means overlap. Right: effects with 95 % intervals. They
# are differences within subjects, so they are much more precise. Black lines mark the truth. The
# model without slopes claims an interval for the print that is a third too narrow.


def effects(model):
    """Return the simple effects of the prime, the interaction and the effect of the print."""
    simple = marginal_means(model, "prime", by="print", ddf="kenward-roger")
    both = marginal_means(model, ["prime", "print"], ddf="kenward-roger")
    of_print = marginal_means(model, "print", ddf="kenward-roger")
    tables = [
        contrasts(simple, "reference"),
        contrasts(both, "reference", interaction=True),
        contrasts(of_print, "reference"),
    ]
    table = pd.concat([table.to_frame() for table in tables])
    return table.set_axis(list(TRUTH))[["estimate", "lower", "upper"]]


TRUTH = {
    "prime,\nclear print": 30.0,
    "prime,\nfaint print": 55.0,
    "prime x print\n(interaction)": 25.0,
    "faint print,\nboth primes": 72.5,
}
BLUE, ORANGE, GREEN, GREY, INK = "#2b6cb0", "#d9730d", "#2f855a", "#9aa5b1", "#222222"
figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.6), layout="constrained", width_ratios=[5, 6]
)
table = means.to_frame()
for start, (level, color) in zip([0, 3], [("clear", BLUE), ("faint", ORANGE)], strict=True):
    rows = trials[trials["print"] == level]
    of_subjects = rows.pivot_table(index="subject", columns="prime", values="time")
    places = [start, start + 1]
    left.plot(places, of_subjects.to_numpy().T, color=GREY, linewidth=0.7, alpha=0.6)
    cell = table[table["print"] == level]
    errors = [cell["estimate"] - cell["lower"], cell["upper"] - cell["estimate"]]
    left.errorbar(places, cell["estimate"], yerr=errors, fmt="o-", color=color, linewidth=2.2)
    left.text(start + 0.5, 1.0, f"{level} print", color=color, ha="center", va="bottom",
              transform=left.get_xaxis_transform())  # fmt: skip
left.set_xticks([0, 1, 3, 4], ["related", "unrelated"] * 2)
left.set(xlabel="prime", ylabel="reaction time (ms)", xlim=(-0.5, 4.5))

styles = {"intercepts only": (GREY, "s"), "reduced": (BLUE, "o"), "maximal": (GREEN, "D")}
places = np.arange(len(TRUTH))
for shift, (name, (color, marker)) in zip([-0.22, 0.0, 0.22], styles.items(), strict=True):
    found = effects(models[name])
    errors = [found["estimate"] - found["lower"], found["upper"] - found["estimate"]]
    right.errorbar(found["estimate"], places + shift, xerr=errors, fmt=marker, color=color,
                   markersize=5, linewidth=2, label=name)  # fmt: skip
right.vlines(list(TRUTH.values()), places - 0.38, places + 0.38, color=INK, label="truth")
right.axvline(0, color=INK, linewidth=0.8, linestyle=":")
right.set_yticks(places, list(TRUTH))
right.invert_yaxis()
right.set(xlabel="effect on the reaction time (ms)")
right.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=4, frameon=False,
             columnspacing=1.2, handletextpad=0.4)  # fmt: skip
for panel in (left, right):
    panel.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# What to write
# -------------

interaction = contrasts(cells, "reference", interaction=True).to_frame().iloc[0]
print(
    "A linear mixed model had random intercepts of subjects and words, random slopes of prime and "
    "print between subjects, and of print between words (REML). The related prime saved "
    f"{interaction['estimate']:.0f} ms more in faint print than in clear print "
    f"(95 % interval {interaction['lower']:.0f} to {interaction['upper']:.0f}, "
    f"t({interaction['df']:.0f}) = {interaction['statistic']:.2f}, "
    f"p = {interaction['p_value']:.3f}, Kenward-Roger)."
)

# %%
# An interaction of times need not be one of log times: a prime that saves a constant *share* of a
# longer time saves more milliseconds. Choose the scale before you look at the results.
# :ref:`term-tests` has further tests.
#
# Source
# ------
#
# Barr, D. J., Levy, R., Scheepers, C. and Tily, H. J. (2013). Random effects structure for
# confirmatory hypothesis testing: keep it maximal. *Journal of Memory and Language* 68(3), 255-278.
# :doi:`10.1016/j.jml.2012.11.001`
