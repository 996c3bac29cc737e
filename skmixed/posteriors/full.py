"""One Gaussian over all effects: for Gaussian responses the exact posterior."""

from __future__ import annotations

import numpy as np

from skmixed.covariances import BasisChange
from skmixed.posteriors.base import PosteriorCovariance, Solved
from skmixed.solvers.base import Direction, ExactSystem
from skmixed.sums.cross_products import FactorLayout
from skmixed.sums.working_rows import WorkingRows


class FullPosterior:
    """A Gaussian of unrestricted covariance.

    Its `log_det` is log |V|, plus log |X' V^-1 X| where the fixed effects are
    integrated out, so that the ELBO is the log (restricted) likelihood.
    """

    basis_may: BasisChange = "rotate"
    needs_determinant = True

    def log_det(self, at: Solved) -> float:
        """log |V| (+ log |X' V^-1 X|)."""
        return at.system.log_det(at.integrate_fixed)

    def log_det_derivatives(
        self, at: Solved, average_information: np.ndarray, coarse: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Exact gradient; the Hessian with average information for tr(P V_i P V_j).

        Gilmour, Thompson and Cullis (1995), Biometrics 51, equation 7: the
        trace is the expectation of y' P V_i P V_j P y / noise.
        """
        covariance = at.covariance(coarse)
        by_omega = at.prior.of_factors(covariance.information)
        hessian = at.prior.curvature(at.theta, by_omega) - average_information
        return at.prior.gradient(at.theta, by_omega), hessian

    def hessian_correction(self, at: Solved, average_information: np.ndarray) -> np.ndarray:
        """Average information less its expectation, or an estimate of that; of exact systems."""
        system = at.system.exact
        if system is None:
            return np.zeros_like(average_information)
        expected = system.expected_information(at.tangents, at.integrate_fixed)
        if expected is None:
            expected = _expected_information(at, system)
        return average_information - expected

    def row_variances(self, at: Solved, rows: WorkingRows, coarse: bool) -> np.ndarray:
        """From the covariance that the derivatives need anyway."""
        return at.covariance(coarse).row_variances(rows)

    def row_variance_errors(self, at: Solved, rows: WorkingRows) -> np.ndarray:
        """Squared errors (n,) of the row variances of the posterior covariance."""
        return at.covariance().row_variance_errors(rows)

    def covariance(self, at: Solved, joint_limit: int) -> PosteriorCovariance:
        """Level blocks exactly; covariances across levels for the small factors."""
        system = at.system
        factors = system.cross.factors
        covariance = at.covariance()
        levels = tuple(covariance.level_covariances(factor) for factor in factors)
        kept: list[int] = []
        rows = system.cross.n_fixed
        total = rows + sum(factor.size for factor in factors)
        for factor in sorted(factors, key=lambda factor: factor.size):
            if (rows + factor.size) * total > joint_limit:
                break
            if not covariance.can_join(factor):
                continue
            rows += factor.size
            kept.append(factor.position)
        joint = covariance.joint(tuple(sorted(kept)))
        errors = tuple(covariance.level_error(factor) for factor in factors)
        fixed = system.fixed_covariance()
        return PosteriorCovariance(levels, fixed, tuple(sorted(kept)), joint, errors)


_PROBES = 4
"""Signs drawn per effect; the estimate only steers the steps, the gradient is exact."""

_FEW_LEVELS = 16
"""Factors of at most so many levels have exact traces."""


def _expected_information(at: Solved, system: ExactSystem) -> np.ndarray:
    """tr(P V_i P V_j) of all parameters, estimated with fixed random signs.

    V^-1 takes the place of P where the fixed effects are a point.

    With N = Z_g' P Z_k dOmega_j Z_k' P Z_g, the trace of (I x dOmega_i) N is the
    expectation of sum_ab dOmega_i[a, b] w_b' dOmega_j w_a over random signs,
    w_a = Z_k' P Z_g (signs x e_a) (Hutchinson 1990, Communications in
    Statistics 19). Small factors take one unit vector per level instead.
    """
    tangents = at.tangents
    signs = np.random.default_rng(20)
    total = np.zeros((len(tangents), len(tangents)))
    precision = np.zeros_like(total)
    directions: list[Direction] = []
    places: list[tuple[FactorLayout, bool, slice]] = []
    for g in sorted({factor.position for factor, _ in tangents}):
        factor = at.prior.factors[g]
        exact = factor.n_levels <= _FEW_LEVELS
        if exact:
            probes = np.eye(factor.n_levels)
        else:
            probes = signs.choice([-1.0, 1.0], size=(_PROBES, factor.n_levels)) / _PROBES**0.5
        begin = len(directions)
        unit = np.eye(factor.n_effects)
        directions += [(factor, probe[:, None] * row) for probe in probes for row in unit]
        places.append((factor, exact, slice(begin, len(directions))))
    projected = system.projected_products(directions, at.integrate_fixed)
    for factor, exact, here in places:
        own = [i for i, (other, _) in enumerate(tangents) if other is factor]
        for j, (other, tangent) in enumerate(tangents):
            if here.start not in projected[other.position]:
                continue
            shape = (-1, factor.n_effects, other.n_levels, other.n_effects)
            w = np.reshape(
                [projected[other.position][k] for k in range(here.start, here.stop)], shape
            )
            inner = np.einsum("palq,pblq->ab", w, w @ tangent)
            for i in own:
                total[i, j] = np.vdot(tangents[i][1], inner)
                precision[i, j] = 1e6 if exact else 1.0
    # either factor of a pair may give an estimate: the better one counts
    weight = precision / (precision + precision.T)
    return weight * total + (weight * total).T
