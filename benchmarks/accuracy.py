"""Compare the iterative solver with the direct one, which is exact.

    python benchmarks/accuracy.py
    python benchmarks/accuracy.py --probes 4 16 64 256

Three models: InstEval, InstEval with a random slope of service by instructor, and 200,000
simulated rows of 20,000 x 8,000 heavy-tailed levels. The direct fit of the last one takes
about a minute. Variances are compared relatively, coefficients in standard errors, ELBOs
in units of `elbo_std_`. Products are those with the system in the last solve of means
(to a relative residual of 1e-9) and random vectors.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from options import count
from tables import show

from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import load_insteval, make_mixed_regression

INSTEVAL = "1 + service + (1 | s) + (1 | d) + (1 | dept)"
INSTEVAL_SLOPE = "1 + service + (1 | s) + (1 + service | d) + (1 | dept)"
SIMULATED = "1 + x0 + (1 | g0) + (1 | g1)"


def tasks(rows: int, levels: tuple[int, int]) -> dict[str, tuple[pd.DataFrame, pd.Series, str]]:
    """Data and right-hand side of every model."""
    X, y = load_insteval(return_X_y=True)
    simulated, response, _ = make_mixed_regression(
        n_samples=rows, groups=levels, heavy_tailed=True, random_state=3
    )
    return {
        "InstEval": (X, y, INSTEVAL),
        "InstEval, slope": (X, y, INSTEVAL_SLOPE),
        f"{rows:,} rows": (simulated, response, SIMULATED),
    }


def compare(exact: MixedEffectsVIRegressor, model: MixedEffectsVIRegressor) -> list[str]:
    """Differences of an iterative fit from the exact one."""
    variances = [fit.variance_components_["variance"].to_numpy() for fit in (model, exact)]
    relative = np.abs(variances[0] / variances[1] - 1.0).max()
    coefficients = np.append(model.intercept_, model.coef_) - np.append(
        exact.intercept_, exact.coef_
    )
    errors = np.abs(coefficients) / np.sqrt(np.diagonal(exact.coef_cov_))
    ratio = abs(model.elbo_ - exact.elbo_) / model.elbo_std_
    return [f"{relative:.1e}", f"{errors.max():.1e}", f"{ratio:.2f}", f"{model.elbo_std_:.3f}"]


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=count, default=200_000)
    parser.add_argument("--levels", type=count, nargs=2, default=[20_000, 8_000])
    parser.add_argument("--probes", nargs="+", default=["auto", "16", "256"])
    arguments = parser.parse_args()
    lines = []
    for name, (X, y, formula) in tasks(arguments.rows, tuple(arguments.levels)).items():
        exact = MixedEffectsVIRegressor(formula=formula, solver="direct").fit(X, y)
        for probes in arguments.probes:
            model = MixedEffectsVIRegressor(
                formula=formula,
                solver="iterative",
                n_probes=probes if probes == "auto" else int(probes),
            )
            start = time.perf_counter()
            model.fit(X, y)
            seconds = time.perf_counter() - start
            products = str(model.fit_result_.n_products)
            lines.append([name, probes, *compare(exact, model), products, f"{seconds:.2f}"])
    header = [
        "model", "n_probes", "variances", "coefficients / SE", "ELBO / elbo_std", "elbo_std",
        "products", "seconds",
    ]  # fmt: skip
    print(show(pd.DataFrame(lines, columns=header)))


if __name__ == "__main__":
    main()
