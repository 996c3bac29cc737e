"""Fit every published model under hard settings and count numbers that are wrong without a word.

Run as ``python fuzz/silent_errors.py``; ``--settings`` and ``--cases`` take parts of names. The
table has one line per setting. The exit code is 1 when a fit was wrong and silent.

**Right** is a fit whose ELBO, coefficients, standard errors, noise and covariances agree with
the published ones within the tolerances of the published case. What a setting itself allows
comes on top, and no more:

* ``tol`` bounds the scaled gradient d, the distance to the optimum in standard errors of the
  variance parameters. In the quadratic model the deviance (-2 ELBO) then lies d^2/2 above its
  minimum, and a smooth function of the variances is off by d of its own standard errors. So a
  fit is right within tol^2 of the deviance, tol standard errors of a coefficient, the share tol
  of a standard error or of the noise (estimates from one degree of freedom vary by their own
  size at most), and, of a random effect's standard deviation, the share tol of it and the
  noise's. A tol of 1e-4 or less allows nothing.
* Random vectors of the iterative solver move the variances. Where `elbo_std_` is above 0, the
  distance is measured: it is the scaled gradient that the direct solver sees at the variances
  found. As for tol, what lies within `ALLOWED_DISTANCE` standard errors is right, and the ELBO
  within `ALLOWED_SPREADS` of its standard error.
* A change of units or of the origin of y and X changes the target by a law that is known. Where
  it also rounds the data, as the cast to float32 does, the data are others: the reference is
  then a fit to the rounded data with the defaults, in plain units and double precision.

**Warned** is a fit that gives a warning which the default fit of the same problem does not
give: a doubt about this fit, not one about the model. Where the published case has no optimum,
or does not determine its variances, the warning of the model is the one that counts. A
refusal, an error, is not silent either.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from hard_settings import SETTINGS, Setting, expected_of_rounded
from published import Block, Expected, Problem, generalized, load_problems

ALLOWED_DISTANCE = 0.3
"""Standard errors by which random vectors may move variances without a word.

Independent errors add up by squares: a third of a standard error makes estimates 5% less sure.
"""

ALLOWED_SPREADS = 4.0
"""`elbo_std_` by which the ELBO may be off without a word."""

VERDICTS = ("right", "right, warned", "wrong, warned", "refused", "WRONG AND SILENT")


# Comparing ------------------------------------------------------------------------------


def faults(model: Any, expected: Expected, allowed: float = 0.0) -> list[str]:
    """Everything in which a fit is off by more than the tolerances and `allowed`."""
    found = []
    deviance, tolerance = -2.0 * model.elbo_, expected.deviance_tolerance
    # the deviance of a response without noise is minus infinity on both sides
    if deviance != expected.deviance:
        excess = deviance - expected.deviance
        if not -tolerance <= excess <= tolerance + allowed**2:
            found.append(f"deviance off by {excess:.3g}")
    estimates, errors = generalized.coefficients(model), generalized.standard_errors(model)
    names = expected.coefficients.index
    unit = expected.errors.where(expected.errors.notna(), errors[names])
    rounding = 8.0 * np.finfo(float).eps * expected.coefficients.abs()
    bound = (expected.coefficient_tolerance + allowed) * unit + rounding
    off = (estimates[names] - expected.coefficients).abs()
    found += [f"coefficient {name!r} off by {off[name]:.3g}" for name in names[~(off <= bound)]]
    if not expected.determined:
        return found
    if expected.error_tolerance is not None:
        share = (errors[names] / expected.errors - 1.0).abs().where(expected.errors > 0.0, 0.0)
        wrong = names[~(share <= expected.error_tolerance + allowed)]
        found += [f"standard error of {name!r} off by {share[name]:.2g}" for name in wrong]
    noise = expected.noise_sd
    if noise is not None:
        off_noise = abs(expected.noise_unit * np.sqrt(model.noise_variance_) - noise)
        if not off_noise <= (expected.noise_tolerance + allowed) * noise:
            found.append(f"noise off by {off_noise / noise:.2g} of it")
    for block in expected.covariances:
        found += _covariance_faults(model, expected, allowed, block)
    return found


def _covariance_faults(
    model: Any,
    expected: Expected,
    allowed: float,
    block: Block,
) -> list[str]:
    frames, group, covariance = model.random_effects_cov_, block.group, block.covariance
    frame = frames[group if group in frames else ":".join(reversed(group.split(":")))]
    mine = (frame.loc[block.terms, block.terms] if block.terms else frame).to_numpy()
    units = block.units * np.ones(len(mine))
    mine = mine * np.outer(units, units)
    sds, targets = np.sqrt(np.diagonal(mine)), np.sqrt(np.diagonal(covariance))
    noise = 0.1 if expected.noise_sd is None else expected.noise_sd
    # a standard deviation that is small beside the noise is known by its size beside it
    unit = np.where(targets >= 0.01 * noise, targets, noise)
    bound = expected.sd_tolerance * unit + allowed * (targets + noise)
    off = ~(np.abs(sds - targets) <= bound)
    found = [
        f"standard deviation of {group!r} {sd:.6g} for {target:.6g}"
        for sd, target in zip(sds[off], targets[off], strict=True)
    ]
    scale = np.outer(targets, targets) + (1e-2 * noise**2 if expected.noise_sd else 1e-8)
    share = np.abs(mine - covariance) / scale
    if not found and not allowed and not (share <= 5e-3).all():
        found.append(f"covariance of {group!r} off by {share.max():.2g}")
    return found


def distance(model: Any, problem: Problem) -> float:
    """Distance of a fit from the optimum in standard errors, by the direct solver."""
    exact = problem.estimator(max_iter=1, solver="direct", warm_start=True)
    for name in ("fit_result_", "random_effects_cov_"):
        setattr(exact, name, getattr(model, name))
    exact.fit(problem.X, problem.y, sample_weight=problem.weights)
    return float(exact.gradient_path_[0])


# Running --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came of one fit: verdict, what was off, what was said."""

    verdict: str
    faults: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()


def usual_messages(problem: Problem) -> frozenset[str]:
    """Warnings of the default fit, which are about the model and not about a setting."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        problem.fit()
    return frozenset(str(warning.message) for warning in caught)


def try_setting(problem: Problem, setting: Setting, usual: frozenset[str]) -> Outcome | None:
    """Fit one problem under one setting; None where it does not apply."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            changed = setting.change(problem)
        if changed is None:
            return None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = setting.fit(changed, setting.parameters)
    except (ValueError, ArithmeticError, MemoryError) as error:
        return Outcome("refused", (), (str(error),))
    messages = tuple(str(w.message) for w in caught if issubclass(w.category, UserWarning))
    determined = changed.expected is not None and changed.expected.determined
    doubts = [message for message in messages if message not in usual or not determined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrong = _wrong(problem, changed, setting, model)
    if not wrong:
        return Outcome("right, warned" if doubts else "right", (), tuple(doubts))
    verdict = "wrong, warned" if doubts else "WRONG AND SILENT"
    return Outcome(verdict, tuple(wrong), tuple(doubts))


def _wrong(problem: Problem, changed: Problem, setting: Setting, model: Any) -> list[str]:
    if changed.expected is None:
        return ["there is no optimum"]
    allowed = setting.allowed
    if model.elbo_std_ > 0.0:
        far = distance(model, changed)
        if far > ALLOWED_DISTANCE:
            return [f"variances off by {far:.2g} standard errors"]
        off = abs(-2.0 * model.elbo_ - changed.expected.deviance)
        if off > 2.0 * ALLOWED_SPREADS * model.elbo_std_ + far**2:
            return [f"deviance off by {off:.2g}, elbo_std_ {model.elbo_std_:.2g}"]
        return faults(model, replace(changed.expected, deviance=-2.0 * model.elbo_), max(far, 1e-3))
    wrong = faults(model, changed.expected, allowed)
    if wrong and setting.units is not None:
        rounded = expected_of_rounded(problem, changed, *setting.units)
        tolerances = replace(rounded, determined=changed.expected.determined)
        return faults(model, tolerances, allowed) and wrong
    return wrong


def main() -> int:
    """The command line; 1 when something was wrong and silent."""
    parser = argparse.ArgumentParser(description="Published models under hard settings.")
    parser.add_argument("--settings", nargs="*", default=[""], help="parts of names of settings")
    parser.add_argument("--cases", nargs="*", default=[""], help="parts of names of cases")
    parser.add_argument("--show", action="store_true", help="print what was wrong or refused")
    options = parser.parse_args()
    settings = {k: s for k, s in SETTINGS.items() if any(part in k for part in options.settings)}
    counts: dict[str, Counter[str]] = {name: Counter() for name in settings}
    seconds: Counter[str] = Counter()
    for problem in load_problems(lambda name: any(part in name for part in options.cases)):
        usual = usual_messages(problem)
        for name, setting in settings.items():
            began = time.perf_counter()
            outcome = try_setting(problem, setting, usual)
            seconds[name] += time.perf_counter() - began
            if outcome is None:
                continue
            counts[name][outcome.verdict] += 1
            loud = outcome.verdict == VERDICTS[-1]
            if loud or (options.show and outcome.verdict != "right"):
                said = " / ".join(message[:160] for message in outcome.messages)
                print(f"{name}, {problem.name}: {outcome.verdict}: {outcome.faults} {said}")
    table = pd.DataFrame(counts).T.reindex(columns=list(VERDICTS)).fillna(0).astype(int)
    table.insert(0, "fits", table.sum(axis=1))
    table["seconds"] = pd.Series(seconds).round().astype(int)
    print(table.to_string())
    print(table.sum().rename("total").to_frame().T.to_string())
    return int(table[VERDICTS[-1]].sum() > 0)


if __name__ == "__main__":
    sys.exit(main())
