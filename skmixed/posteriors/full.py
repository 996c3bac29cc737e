"""One Gaussian over all effects: for Gaussian responses the exact posterior."""

from __future__ import annotations

import numpy as np

from skmixed.linalg.covariance import CovarianceParameters
from skmixed.linalg.direct import DirectSystem
from skmixed.posteriors.base import PosteriorCovariance


class FullPosterior:
    """A Gaussian of unrestricted covariance.

    Its `log_det` is log |V|, plus log |X' V^-1 X| where the fixed effects are
    integrated out, so that the ELBO is the log (restricted) likelihood.
    """

    rotates_bases = True

    def log_det(self, system: DirectSystem, integrate_fixed: bool) -> float:
        """log |V| (+ log |X' V^-1 X|)."""
        return system.log_det + (system.log_det_fixed if integrate_fixed else 0.0)

    def log_det_derivatives(
        self,
        system: DirectSystem,
        parameters: CovarianceParameters,
        theta: np.ndarray,
        average_information: np.ndarray,
        integrate_fixed: bool,
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Exact gradient; the Hessian with average information for -tr(P V_i P V_j).

        Gilmour, Thompson and Cullis (1995), Biometrics 51, equation 7: the
        expectation of y' P V_i P V_j P y is the trace, so one replaces the other.
        """
        derivatives = [system.information(factor, integrate_fixed) for factor in parameters.factors]
        gradient = parameters.gradient(theta, derivatives)
        hessian = parameters.curvature(derivatives) - average_information
        return gradient, hessian, derivatives

    def covariance(
        self, system: DirectSystem, integrate_fixed: bool, joint_limit: int
    ) -> PosteriorCovariance:
        """Level blocks exactly; covariances across levels for the small factors."""
        factors = system.cross.factors
        levels = tuple(system.level_covariances(factor, integrate_fixed) for factor in factors)
        kept: list[int] = []
        rows = system.cross.n_fixed
        total = rows + sum(factor.size for factor in factors)
        for factor in sorted(factors, key=lambda factor: factor.size):
            if (rows + factor.size) * total > joint_limit:
                break
            rows += factor.size
            kept.append(factor.position)
        joint = system.joint_covariance(tuple(sorted(kept)), integrate_fixed)
        return PosteriorCovariance(levels, system.fixed_covariance(), tuple(sorted(kept)), joint)
