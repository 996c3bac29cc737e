"""Kenward and Roger's covariance of the coefficients, and its degrees of freedom.

Kenward and Roger (1997), Biometrics 53, 983-997, as in Halekoh and Hojsgaard (2014), Journal of
Statistical Software 59(9). With V = sum_i s_i V_i linear in the variance parameters s, Phi the
covariance of the coefficients and P the projector of restricted likelihood,

    P_i = -X'V^-1 V_i V^-1 X,                   Q_ij = X'V^-1 V_i V^-1 V_j V^-1 X,
    Q_ij - P_i Phi P_j = (V_i V^-1 X)' P (V_j V^-1 X),
    W = 2 (tr(P V_i P V_j))^-1,
    adjusted = Phi + 2 Phi sum_ij W_ij (Q_ij - P_i Phi P_j) Phi.

All is computed relative to the noise variance, from Z'V^-1 X, Gram matrices of working vectors
and products Z'PZ: nothing has the size of the rows. For the noise, V_n = V - sum_j s_j V_j
gives its part from those of the effects, because P V P = P and P X = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmixed.results.coefficient_tests import JointTest, independent_parts
from skmixed.results.reopened import ReopenedFit
from skmixed.solvers.base import Direction, ExactSystem
from skmixed.sums.cross_products import FactorLayout

_AT_ONCE = 256
"""Levels whose products are made at a time."""

_MOST_OPERATIONS = 1e13
"""Operations of all traces that are too many: some five minutes."""

_ZERO = 1e-10
"""Size below which a part of the approximation is rounding, as in pbkrtest."""


@dataclass(frozen=True)
class KenwardRoger:
    """The adjusted covariance of the coefficients, and what tests need besides.

    Attributes
    ----------
    covariance : ndarray (p, p)
        Of the coefficients of centred columns, adjusted.
    plain : ndarray (p, p)
        Not adjusted, Phi.
    shapes : ndarray (m, p, p)
        Phi P_i Phi of every variance parameter.
    parameter_covariance : ndarray (m, m)
        W.
    """

    covariance: np.ndarray
    plain: np.ndarray
    shapes: np.ndarray
    parameter_covariance: np.ndarray

    def degrees_of_freedom(self, contrasts: np.ndarray) -> np.ndarray:
        """Of the t statistics of linear functions (k, p), (k,); NaN for one without variance."""
        out = np.full(len(contrasts), np.nan)
        for k, contrast in enumerate(contrasts):
            if contrast @ self.plain @ contrast > 0.0:
                out[k] = self._approximation(contrast[None])[0]
        return out

    def joint_test(self, contrasts: np.ndarray, values: np.ndarray) -> JointTest:
        """Scaled F test that linear functions of the coefficients are all zero.

        Parameters
        ----------
        contrasts : ndarray (k, p)
        values : ndarray (k,)
            Their estimates.
        """
        _, vectors = independent_parts(contrasts @ self.plain @ contrasts.T)
        contrasts, values = vectors.T @ contrasts, vectors.T @ values
        covariance = contrasts @ self.covariance @ contrasts.T
        wald = float(values @ np.linalg.solve(covariance, values)) / len(values)
        den_df, scale = self._approximation(contrasts)
        return JointTest(scale * wald, len(values), den_df)

    def _approximation(self, contrasts: np.ndarray) -> tuple[float, float]:
        """Denominator degrees of freedom of independent contrasts (q, p), and the scale of F."""
        q = len(contrasts)
        inverse = np.linalg.inv(contrasts @ self.plain @ contrasts.T)
        parts = np.matmul(inverse, contrasts @ self.shapes @ contrasts.T)
        traces = np.einsum("iaa->i", parts)
        products = np.einsum("iab,jba->ij", parts, parts)
        A1 = float(traces @ self.parameter_covariance @ traces)
        A2 = float((self.parameter_covariance * products).sum())
        if A2 <= 0.0:
            return np.inf, 1.0
        B = (A1 + 6.0 * A2) / (2.0 * q)
        g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
        base = 3.0 * q + 2.0 * (1.0 - g)
        c1, c2, c3 = g / base, (q - g) / base, (q + 2 - g) / base
        V0, V1, V2 = 1.0 + c1 * B, 1.0 - c2 * B, 1.0 - c3 * B
        if abs(V0) < _ZERO:
            V0 = 0.0
        inner = 1.0 - A2 / q
        ratio = 1.0 if abs(inner) < _ZERO and abs(V1) < _ZERO else inner / V1
        rho = ratio**2 * V0 / (V2 * q)
        den_df = 4.0 + (q + 2) / (q * rho - 1.0)
        scale = 1.0 if abs(den_df - 2.0) < 1e-2 else den_df * inner / (den_df - 2.0)
        return den_df, scale


@dataclass(frozen=True)
class _Parameter:
    """A covariance parameter: the matrix (q, q) that it multiplies in a factor's Omega."""

    factor: FactorLayout
    matrix: np.ndarray


def kenward_roger(fit: ReopenedFit) -> KenwardRoger:
    """Adjust the covariance of the coefficients of a fit by restricted likelihood.

    Raises
    ------
    ValueError
        When the fit is by maximum likelihood, its solver estimates, its noise has
        parameters, or a covariance is not linear in its parameters.
    """
    system = _exact_system(fit)
    parameters, amounts = _linear_parameters(fit)
    by_effects = system.fixed_products()
    plain = system.fixed_covariance()
    p = len(plain)
    slopes = [_slope(by_effects[k.factor.position], k.matrix) for k in parameters]
    directions: list[Direction] = [
        (k.factor, by_effects[k.factor.position][:, :, a] @ k.matrix)
        for k in parameters
        for a in range(p)
    ]
    m = len(parameters)
    gram = system.projected_gram(directions).reshape(m, p, m, p).transpose(0, 2, 1, 3)
    information = _expected_information(system, parameters)
    if fit.noise_is_free:
        of_effects = sum((s * slope for s, slope in zip(amounts, slopes, strict=True)), 0.0)
        slopes.append(-np.linalg.inv(plain) - of_effects)
        mixing = np.vstack([np.eye(m), -amounts])
        gram = np.einsum("ik,jl,klab->ijab", mixing, mixing, gram)
        information = _with_noise(fit, system, parameters, amounts, information)
    W = 2.0 * np.linalg.pinv(information, rcond=1e-13, hermitian=True)
    adjustment = plain @ np.einsum("ij,ijab->ab", W, gram) @ plain
    to_centred = fit.to_centred
    shapes = to_centred @ (plain @ np.reshape(slopes, (-1, p, p)) @ plain) @ to_centred.T
    unit = fit.noise
    centred = unit * (to_centred @ plain @ to_centred.T)
    return KenwardRoger(
        centred + 2.0 * unit * (to_centred @ (0.5 * (adjustment + adjustment.T)) @ to_centred.T),
        centred,
        unit * shapes,
        W,
    )


def _slope(by_effects: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """P_i (p, p) of a covariance parameter, from Z'V^-1 X of its factor (L, q, p)."""
    p = by_effects.shape[2]
    moved = np.einsum("qs,lsb->lqb", matrix, by_effects)
    slope: np.ndarray = -(by_effects.reshape(-1, p).T @ moved.reshape(-1, p))
    return slope


def _exact_system(fit: ReopenedFit) -> ExactSystem:
    """The factorised system of a fit by restricted likelihood with one noise variance."""
    objective = fit.objective
    if not objective.integrate_fixed:
        raise ValueError(
            "ddf='kenward-roger' belongs to restricted likelihood, and this model was fitted by "
            "method='ml'. Fit with method='reml', or use ddf='satterthwaite'."
        )
    if objective.noise.n_parameters:
        raise ValueError(
            "ddf='kenward-roger' takes the noise for one variance, and dispersion= gives it "
            "several. Use ddf='satterthwaite'."
        )
    system = fit.point.system.exact
    n_tail = fit.objective.cross.size
    n_effects = sum(factor.size for factor in fit.objective.cross.factors)
    if system is not None and 8.0 * n_effects * float(n_tail) ** 2 > _MOST_OPERATIONS:
        raise ValueError(
            f"ddf='kenward-roger' solves the equations of {n_tail:,} effects for each of "
            f"{n_effects:,} levels, which would take too long. Use ddf='satterthwaite': with so "
            "many levels both are alike."
        )
    if system is None:
        raise ValueError(
            "ddf='kenward-roger' needs the dense factor of solver='direct', and this fit has "
            "solver='iterative'. Fit with solver='direct', or use ddf='satterthwaite'."
        )
    return system


def _linear_parameters(fit: ReopenedFit) -> tuple[list[_Parameter], np.ndarray]:
    """Matrices whose multiples add up to all Omega, and these multiples (m,)."""
    prior = fit.objective.prior
    scales = prior.scales(fit.theta[: prior.n_parameters])
    parameters: list[_Parameter] = []
    amounts: list[float] = []
    for block in prior.blocks:
        basis = block.covariance.linear_basis()
        if basis is None:
            raise ValueError(
                f"ddf='kenward-roger' needs covariances that are linear in their parameters, and "
                f"{block.covariance.name!r} is not. Use ddf='satterthwaite'."
            )
        omega = scales[block.factor.position].omega[block.effects, block.effects]
        columns = basis.reshape(len(basis), -1).T
        amounts += np.linalg.lstsq(columns, omega.ravel(), rcond=None)[0].tolist()
        for part in basis:
            matrix = np.zeros((block.factor.n_effects, block.factor.n_effects))
            matrix[block.effects, block.effects] = part
            parameters.append(_Parameter(block.factor, matrix))
    return parameters, np.array(amounts)


def _expected_information(system: ExactSystem, parameters: list[_Parameter]) -> np.ndarray:
    """tr(P V_i P V_j) of all covariance parameters, (m, m), level by level.

    With N = Z_g'P Z_k it is sum_ab B_i[a, b] tr(N_b. B_j N_a.'), where N_a. are the rows of
    effect a of the levels of g.
    """
    m = len(parameters)
    total = np.zeros((m, m))
    known = np.zeros((m, m), bool)
    for factor in {k.factor.position: k.factor for k in parameters}.values():
        mine = [i for i, k in enumerate(parameters) if k.factor is factor]
        q = factor.n_effects
        for begin in range(0, factor.n_levels, _AT_ONCE):
            end = min(begin + _AT_ONCE, factor.n_levels)
            directions: list[Direction] = []
            for level in range(begin, end):
                for effect in range(q):
                    unit = np.zeros((factor.n_levels, q))
                    unit[level, effect] = 1.0
                    directions.append((factor, unit))
            products = system.projected_products(directions, True)
            for j, other in enumerate(parameters):
                found = products[other.factor.position]
                if len(found) < len(directions):
                    # products with the eliminated factor are made for its own directions alone
                    continue
                w = np.stack([found[k] for k in range(len(directions))])
                w = w.reshape(end - begin, q, *w.shape[1:])
                inner = np.einsum("paln,pblm,nm->ab", w, w, other.matrix, optimize=True)
                for i in mine:
                    total[i, j] += float((parameters[i].matrix * inner).sum())
                    known[i, j] = True
    return np.where(known, total, total.T)


def _with_noise(
    fit: ReopenedFit,
    system: ExactSystem,
    parameters: list[_Parameter],
    amounts: np.ndarray,
    information: np.ndarray,
) -> np.ndarray:
    """The expected information with the noise variance as its last parameter."""
    covariance = system.covariance(True)
    traces = np.array(
        [float((covariance.information(k.factor) * k.matrix).sum()) for k in parameters]
    )
    m = len(parameters)
    out = np.zeros((m + 1, m + 1))
    out[:m, :m] = information
    out[m, :m] = out[:m, m] = traces - information @ amounts
    of_noise = fit.objective.degrees_of_freedom - traces @ amounts
    out[m, m] = of_noise - out[m, :m] @ amounts
    return out
