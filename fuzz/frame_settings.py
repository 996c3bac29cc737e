"""Random settings of an estimator: mostly sensible, sometimes absurd."""

from __future__ import annotations

from typing import Any

import numpy as np

Random = np.random.Generator

CLASSES = ("bernoulli", "ordinal")
_REGRESSION = ("gaussian", "poisson", "negative_binomial", "gamma")
_FUNCTIONS = ("{}", "{}", "log({})", "scale({})", "exp({})", "C({})")


def pick(random: Random, options: Any) -> Any:
    """One of the options."""
    return options[int(random.integers(len(options)))]


def draw_settings(
    random: Random, classifier: bool, numbers: list[str], groups: list[str], wild: float
) -> dict[str, Any]:
    families = CLASSES if classifier else ("gaussian", *_REGRESSION)
    settings: dict[str, Any] = {
        "family": pick(random, families),
        "posterior": pick(random, ("full", "full", "mean_field")),
        "method": pick(random, ("reml", "ml")),
        "solver": pick(random, ("auto", "direct", "iterative")),
        "handle_unknown": pick(random, ("population", "population", "error")),
        "fit_intercept": bool(random.random() < 0.9),
        "max_iter": pick(random, (30, 30, 30, 1, 100)),
        "n_jobs": 1,
    }
    settings |= _model(random, numbers, groups)
    if random.random() < 0.1:
        settings["offset"] = "o"
    if classifier:
        settings["link"] = pick(random, ("logit", "probit"))
    elif settings["family"] == "gaussian" or random.random() < 0.02:
        if random.random() < 0.15:
            settings["noise_scale"] = pick(random, (1.0, 0.1, 1e-8, 1e8, 1e-200, 1e200))
        if random.random() < 0.15:
            settings["precision_weights"] = "w"
    if settings["solver"] == "iterative" and random.random() < 0.3:
        settings["n_probes"] = int(random.integers(2, 10))
    if random.random() < wild * 0.3:
        name = pick(random, sorted(settings))
        settings[name] = pick(random, (None, "", "nonsense", -1, 0, np.nan, 1e400, [], {}, object))
    return settings


def _model(random: Random, numbers: list[str], groups: list[str]) -> dict[str, Any]:
    """Random effects or a formula."""
    kind = random.random()
    if kind < 0.15:
        return {}
    if kind < 0.25:
        return {"random_effects": None}
    slope = pick(random, [*numbers, "1"])
    if kind < 0.6:
        terms: list[Any] = list(groups)
        if groups and random.random() < 0.3:
            bar = pick(random, ("|", "||"))
            terms[0] = f"({pick(random, ('1', '0'))} + {slope} {bar} {groups[0]})"
        if len(groups) > 1 and random.random() < 0.1:
            terms[-1] = f"(1 | {groups[0]}/{groups[1]})"
        return {"random_effects": terms}
    fixed = [
        pick(random, ("{}", "{}", "log({})", "scale({})", "exp({})", "C({})")).format(name)
        for name in numbers
    ]
    bars = [
        f"({pick(random, ('1', slope))} {pick(random, ('|', '||'))} {group})" for group in groups
    ]
    if groups and random.random() < 0.2:
        fixed.append(pick(random, ("C({})", "{}", "{}:x0", "{}*x0")).format(bars and groups[0]))
        bars = bars[1:]
    if len(groups) > 1 and random.random() < 0.2:
        bars[-1:] = [f"(1 | {groups[0]}{pick(random, ':/')}{groups[1]})"]
    joint = pick(random, (" + ", " + ", " * "))
    return {"formula": " + ".join([pick(random, ("1", "0", "1")), joint.join(fixed) or "1", *bars])}
