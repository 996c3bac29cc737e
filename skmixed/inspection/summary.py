"""The printed account of a fitted model."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri


@dataclass(frozen=True)
class Summary:
    """A fitted model in tables; prints as text, shows as HTML in notebooks.

    Attributes
    ----------
    title : str
    facts : dict
        Number of rows, ELBO and the like, in order.
    fixed_effects : DataFrame
        Estimate, standard error and 95 % interval of every fixed effect.
    variance_components : DataFrame
    groups : DataFrame
        Levels and effects of every grouping factor.
    """

    title: str
    facts: dict[str, str]
    fixed_effects: pd.DataFrame
    variance_components: pd.DataFrame
    groups: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """The fixed effects: estimate, std_error, lower and upper (95 %) by name."""
        return self.fixed_effects.copy()

    def __str__(self) -> str:
        width = max(len(name) for name in self.facts) + 1
        lines = [self.title, "=" * len(self.title)]
        lines += [f"{name + ':':<{width}} {value}" for name, value in self.facts.items()]
        for heading, frame in self._tables():
            lines += ["", heading, "-" * len(heading), _text(frame)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in self.facts.items()
        )
        tables = "".join(
            f"<h4>{escape(heading)}</h4>{_html(frame)}" for heading, frame in self._tables()
        )
        return f"<div><h3>{escape(self.title)}</h3><table>{facts}</table>{tables}</div>"

    def _tables(self) -> list[tuple[str, pd.DataFrame]]:
        return [
            ("Fixed effects", self.fixed_effects),
            ("Variance components", self.variance_components.set_index("group")),
            ("Groups", self.groups),
        ]


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers in four decimals or six digits, nothing for what does not apply."""
    return frame.map(
        lambda value: (
            ""
            if value is None or (isinstance(value, float) and value != value)
            else f"{value:.6g}"
            if isinstance(value, float)
            else str(value)
        )
    )


def _text(frame: pd.DataFrame) -> str:
    return "(none)" if frame.empty else _shown(frame).to_string()


def _html(frame: pd.DataFrame) -> str:
    return "<p>(none)</p>" if frame.empty else _shown(frame).to_html(border=0)


def summarise(model: Any) -> Summary:
    """Describe a fitted estimator."""
    std_error = np.sqrt(np.diagonal(model.coef_cov_))
    names = list(model.design_encoder_.fixed.names)
    estimates = model.coef_
    if len(std_error) > len(estimates):
        estimates = np.append(model.intercept_, estimates)
    half = ndtri(0.975) * std_error
    fixed = pd.DataFrame(
        {
            "estimate": estimates,
            "std_error": std_error,
            "lower": estimates - half,
            "upper": estimates + half,
        },
        index=names[len(names) - len(estimates) :],
    )
    groups = pd.DataFrame(
        [
            {"group": factor.name, "levels": factor.levels.n_levels,
             "terms": ", ".join(factor.term_names)}
            for factor in model.design_encoder_.factors
        ],
        columns=["group", "levels", "terms"],
    ).set_index("group")  # fmt: skip
    gaussian = model.family == "gaussian"
    title = "Linear mixed-effects model" if gaussian else "Generalized linear mixed-effects model"
    facts = {"Rows": f"{model.n_observations_:.10g}"}
    if not gaussian:
        facts |= _family_facts(model)
    facts |= {
        "Method": f"{model.method}, posterior {model.posterior}, solver {model.solver_}",
        "ELBO": f"{model.elbo_:.4f}{_what_the_bound_is(model)}",
        "Iterations": f"{model.n_iter_} ({'converged' if model.converged_ else 'NOT converged'})",
    }
    return Summary(title, facts, fixed, model.variance_components_, groups)


def _family_facts(model: Any) -> dict[str, str]:
    """The response distribution and its own parameters."""
    likelihood = model.fit_result_.likelihood
    facts = {"Family": f"{likelihood.name}, {likelihood.link} link"}
    if hasattr(model, "thresholds_"):
        facts["Thresholds"] = ", ".join(f"{threshold:.6g}" for threshold in model.thresholds_)
    if hasattr(model, "dispersion_"):
        facts["Dispersion"] = f"{model.dispersion_:.6g}"
    return facts


def _what_the_bound_is(model: Any) -> str:
    criterion = {"reml": "restricted log likelihood", "ml": "log likelihood"}[model.method]
    if model.family != "gaussian":
        return f" (a lower bound of the {criterion})"
    return f" (the {criterion})" if model.posterior == "full" else ""
