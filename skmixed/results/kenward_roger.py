"""Kenward and Roger's covariance of the coefficients, and its degrees of freedom.

Kenward and Roger (1997), Biometrics 53, 983-997, as in Halekoh and Hojsgaard (2014), Journal of
Statistical Software 59(9). With V_i the derivative of V by the variance parameter s_i, V_ij the
second one, Phi the covariance of the coefficients and P the projector of restricted likelihood,

    P_i = -X'V^-1 V_i V^-1 X,                   Q_ij = X'V^-1 V_i V^-1 V_j V^-1 X,
    Q_ij - P_i Phi P_j = (V_i V^-1 X)' P (V_j V^-1 X),
    R_ij = X'V^-1 V_ij V^-1 X,                  W = 2 (tr(P V_i P V_j))^-1,
    adjusted = Phi + 2 Phi sum_ij W_ij (Q_ij - P_i Phi P_j - R_ij / 4) Phi.

Where V is linear in its parameters R is 0; of other structures the parameters are standard
deviations and correlations. All is computed relative to the noise variance, from Z'V^-1 X, Gram
matrices of working vectors and products Z'PZ: nothing has the size of the rows. For the noise,
V_n = V - sum Z Omega Z' gives its part from those of the effects, because P V P = P and P X = 0.

The traces are exact where a dense tail allows; elsewhere they are averages over random signs
(Hutchinson 1990, Communications in Statistics 19), and the rest is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmixed.posteriors.prior import Block
from skmixed.results.coefficient_tests import JointTest, independent_parts
from skmixed.results.reopened import (
    ReopenedFit,
    exact_traces,
    is_affordable,
    precision_slope,
)
from skmixed.solvers.base import Direction, ExactSystem, System
from skmixed.sums.cross_products import FactorLayout

_AT_ONCE = 256
"""Levels whose products are made at a time."""

_PROBED_EFFECTS = 100_000
"""Signs that all probes of a factor together should have: errors fall with their square root."""

_LEAST_PROBES, _MOST_PROBES = 8, 64
_PROBES_AT_ONCE = 4

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
    trace_error : float
        Monte Carlo standard error of the traces that W is made of, relative to these; 0 where
        they are exact.
    """

    covariance: np.ndarray
    plain: np.ndarray
    shapes: np.ndarray
    parameter_covariance: np.ndarray
    trace_error: float = 0.0

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
    """A direction of V: the matrix (q, q) in a factor's Omega."""

    factor: FactorLayout
    matrix: np.ndarray

    @classmethod
    def in_block(cls, block: Block, part: np.ndarray) -> _Parameter:
        """A matrix of the effects of a block, as one of all effects of its factor."""
        matrix = np.zeros((block.factor.n_effects, block.factor.n_effects))
        matrix[block.effects, block.effects] = part
        return cls(block.factor, matrix)


@dataclass(frozen=True)
class _Parameters:
    """The parameters of all covariances, as directions of V.

    Attributes
    ----------
    directions : list of _Parameter
        Derivatives by the m parameters first, then what else Omega is made of.
    n : int
        m.
    amounts : ndarray (M,)
        Multiples of all directions that add up to all Omega.
    bends : list of (int, int, _Parameter)
        Second derivatives by two parameters; both orders are listed.
    """

    directions: list[_Parameter]
    n: int
    amounts: np.ndarray
    bends: list[tuple[int, int, _Parameter]]

    @classmethod
    def of(cls, fit: ReopenedFit) -> _Parameters:
        """The parameters at the estimates of a fit."""
        prior = fit.objective.prior
        theta = fit.theta[: prior.n_parameters]
        scales = prior.scales(theta)
        found: list[_Parameter] = []
        amounts: list[float] = []
        others: list[_Parameter] = []
        bends: list[tuple[int, int, _Parameter]] = []
        for block in prior.blocks:
            basis = block.covariance.linear_basis()
            omega = scales[block.factor.position].omega[block.effects, block.effects]
            if basis is not None:
                columns = basis.reshape(len(basis), -1).T
                amounts += np.linalg.lstsq(columns, omega.ravel(), rcond=None)[0].tolist()
                found += [_Parameter.in_block(block, part) for part in basis]
                continue
            tangents, second = block.covariance.natural(theta[block.parameters])
            # one at the end of its range is no estimate
            inside = np.flatnonzero(block.covariance.moves(theta[block.parameters]))
            tangents, second = tangents[inside], second[np.ix_(inside, inside)]
            first = len(found)
            found += [_Parameter.in_block(block, part) for part in tangents]
            amounts += [0.0] * len(tangents)
            others.append(_Parameter.in_block(block, omega))
            for i, j in np.argwhere(second.any(axis=(2, 3))):
                bend = _Parameter.in_block(block, second[i, j])
                bends.append((first + int(i), first + int(j), bend))
        total = np.array(amounts + [1.0] * len(others))
        return cls(found + others, len(found), total, bends)


def kenward_roger(fit: ReopenedFit) -> KenwardRoger:
    """Adjust the covariance of the coefficients of a fit by restricted likelihood.

    Raises
    ------
    ValueError
        If the fit is by maximum likelihood, or its noise has parameters.
    """
    _refuse(fit)
    system = fit.point.system
    parameters = _Parameters.of(fit)
    n, amounts = parameters.n, parameters.amounts
    by_effects = system.fixed_products()
    plain = system.fixed_covariance()
    p = len(plain)
    slopes = [
        precision_slope(by_effects[k.factor.position], k.matrix) for k in parameters.directions
    ]
    directions: list[Direction] = [
        (k.factor, by_effects[k.factor.position][:, :, a] @ k.matrix)
        for k in parameters.directions
        for a in range(p)
    ]
    m = len(parameters.directions)
    gram = system.projected_gram(directions).reshape(m, p, m, p).transpose(0, 2, 1, 3)
    expected, error = _information(fit, parameters.directions)
    mixing = np.eye(m)[:n]
    if fit.noise_is_free:
        of_effects = sum((s * slope for s, slope in zip(amounts, slopes, strict=True)), 0.0)
        of_noise = -np.linalg.inv(plain) - of_effects
        expected = _with_noise(fit, parameters, expected)
        mixing = np.vstack([mixing, -amounts])
        slopes = [*slopes[:n], of_noise]
    else:
        expected = expected[:n, :n]
    gram = np.einsum("ik,jl,klab->ijab", mixing, mixing, gram)
    slopes = slopes[: len(mixing)]
    W = 2.0 * np.linalg.pinv(expected, rcond=1e-13, hermitian=True)
    for i, j, bend in parameters.bends:
        # R_ij is a slope with the other sign
        gram[i, j] += 0.25 * precision_slope(by_effects[bend.factor.position], bend.matrix)
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
        error,
    )


def _refuse(fit: ReopenedFit) -> None:
    """Refuse what the approximation is not for."""
    objective = fit.objective
    if not objective.integrate_fixed:
        raise ValueError(
            "ddf='kenward-roger' needs restricted likelihood, but this model was fitted with "
            "method='ml'. Fit with method='reml', or use ddf='satterthwaite'."
        )
    if objective.noise.n_parameters:
        raise ValueError(
            "ddf='kenward-roger' assumes a single noise variance, but dispersion= gives "
            "several. Use ddf='satterthwaite'."
        )


def _information(fit: ReopenedFit, parameters: list[_Parameter]) -> tuple[np.ndarray, float]:
    """tr(P V_i P V_j) of all directions, (M, M), and its relative Monte Carlo error."""
    system, cross = fit.point.system, fit.objective.cross
    exact, size = system.exact, float(cross.size)
    found = exact_traces(fit, [(k.factor, k.matrix) for k in parameters])
    if found is not None:
        return found, 0.0
    n_effects = sum(factor.size for factor in cross.factors)
    if exact is not None and is_affordable(8.0 * n_effects * size**2):
        return _expected_information(exact, parameters), 0.0
    return _probed_information(system, parameters)


def _probed_information(system: System, parameters: list[_Parameter]) -> tuple[np.ndarray, float]:
    """The same, averaged over random signs, and the largest relative error on its diagonal.

    With N = Z_g'P Z_k, and w_a = Z_k'P Z_g (signs x e_a), the sum over a, b of
    B_i[a, b] w_b' B_j w_a has the trace of (I x B_i) N (I x B_j) N' as its expectation.
    """
    rng, m = np.random.default_rng(20), len(parameters)
    totals = np.zeros((m, m))
    precisions = np.zeros((m, m))
    errors = np.zeros(m)
    for factor in {k.factor.position: k.factor for k in parameters}.values():
        mine = [i for i, k in enumerate(parameters) if k.factor is factor]
        q = factor.n_effects
        n_probes = int(np.clip(-(-_PROBED_EFFECTS // factor.n_levels), _LEAST_PROBES, _MOST_PROBES))
        samples = np.zeros((n_probes, len(mine), m))
        known = np.zeros(m, bool)
        for begin in range(0, n_probes, _PROBES_AT_ONCE):
            batch = range(begin, min(begin + _PROBES_AT_ONCE, n_probes))
            signs = rng.choice([-1.0, 1.0], size=(len(batch), factor.n_levels, 1))
            directions: list[Direction] = [(factor, z * unit) for z in signs for unit in np.eye(q)]
            products = system.projected_products(directions, True)
            for j, other in enumerate(parameters):
                found = products[other.factor.position]
                if len(found) < len(directions):
                    # of the eliminated factor there may be none
                    continue
                w = np.stack([found[k] for k in range(len(directions))])
                w = w.reshape(len(batch), q, *w.shape[1:])
                inner = np.einsum("palr,pblr->pab", w @ other.matrix, w)
                for row, i in enumerate(mine):
                    products_of = (parameters[i].matrix * inner).sum(axis=(1, 2))
                    samples[batch.start : batch.stop, row, j] = products_of
                known[j] = True
        mean, spread = samples.mean(axis=0), samples.std(axis=0, ddof=1) / n_probes**0.5
        # the factor of a pair with more levels tells it better
        weight = float(factor.n_levels * n_probes)
        for row, i in enumerate(mine):
            totals[i, known] += weight * mean[row, known]
            precisions[i, known] += weight
            errors[i] = spread[row, i] / mean[row, i] if mean[row, i] else 0.0
    information = (totals + totals.T) / np.maximum(precisions + precisions.T, 1e-300)
    return information, float(errors.max(initial=0.0))


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


def _with_noise(fit: ReopenedFit, parameters: _Parameters, information: np.ndarray) -> np.ndarray:
    """The expected information of the m parameters and the noise variance, (m + 1, m + 1)."""
    covariance = fit.point.solved.covariance()
    n, amounts = parameters.n, parameters.amounts
    traces = np.array(
        [float((covariance.information(k.factor) * k.matrix).sum()) for k in parameters.directions]
    )
    out = np.zeros((n + 1, n + 1))
    out[:n, :n] = information[:n, :n]
    across = traces - information @ amounts
    out[n, :n] = out[:n, n] = across[:n]
    of_noise = fit.objective.degrees_of_freedom - traces @ amounts
    out[n, n] = of_noise - across @ amounts
    return out
