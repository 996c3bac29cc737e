"""Newton steps on the variances of a normal model of one factor, without Python between them.

Words as in `skmixed._kernels.elimination`; the dense columns are the fixed effects X and the
response. With nothing in the tail an evaluation is a pass over the levels and a factorisation of
X' V^-1 X. Simulations and bootstraps fit such models by the thousand.

The code has loops instead of assignments of arrays, and one call of the evaluation. So it compiles
in a third of the time.
"""

import numpy as np

from skmixed._kernels.arguments import OneFactorModel
from skmixed._kernels.compile import kernel
from skmixed._kernels.elimination import factorise, shrink_effects

_STEP = 1e-5
"""Of differences of the gradient: the last steps shrink the distance by such factors."""

_ROUNDING = 1e-12


def approach(
    model: OneFactorModel, theta: np.ndarray, tol: float, max_iter: int
) -> tuple[np.ndarray, float]:
    """Entries of T next to the optimum, and the distance left; as far as steps are plain.

    Parameters
    ----------
    model : OneFactorModel
    theta : ndarray (m,)
        Where to start.
    tol : float
        Distance in standard errors at which to stop.
    max_iter : int
        Most steps, halved ones included.

    Returns
    -------
    theta : ndarray (m,)
        No worse than the start. Where a step leads past zero or the Hessian is not positive
        definite, the last one before.
    distance : float
        sqrt(g' H^-1 g); NaN where the Hessian is not positive definite.
    """
    m, theta = len(theta), theta.copy()
    work = (theta.copy(), np.empty(m), np.zeros(m), np.empty((m + 1, m)), np.empty((m, m)))
    distance = _approach(tuple(model), _memory(model), work, theta, (tol, max_iter))
    return theta, float(distance)


def evaluate(model: OneFactorModel, theta: np.ndarray) -> tuple[float, np.ndarray]:
    """-2 log likelihood but for constants, the noise variance profiled out, and its gradient."""
    gradient = np.empty(len(theta))
    return float(_evaluate(tuple(model), theta, _memory(model), gradient)), gradient


def _memory(model: OneFactorModel) -> tuple[np.ndarray, ...]:
    """T, small inverses, reduced products, those of a level, the slope by Omega, coefficients."""
    own, q, width = model.own, model.own.shape[1], len(model.dense)
    return (
        np.zeros((q, q)), np.empty_like(own), np.empty_like(own), np.empty_like(own),
        np.empty((width, width)), np.empty((q, width)), np.empty((q, q)), np.empty(width - 1),
    )  # fmt: skip


@kernel
def _approach(model, memory, work, theta, limits):
    places, (trial, point, step, slopes, hessian) = model[3], work
    m, deviance, distance = len(theta), np.inf, np.nan
    for _ in range(limits[1]):
        for j in range(m):
            trial[j] = theta[j] - step[j]
            # past zero steps are judged otherwise
            if places[j, 0] == places[j, 1] and trial[j] <= 0.0:
                return distance
        is_better = True
        for j in range(m + 1):
            for k in range(m):
                point[k] = trial[k]
            if j > 0:
                point[j - 1] += _STEP * max(abs(trial[j - 1]), 1.0)
            found = _evaluate(model, point, memory, slopes[j])
            if j == 0:
                is_better = found <= deviance + _ROUNDING * abs(found)
                if not is_better:
                    break
                deviance = found
        if not is_better:
            for j in range(m):
                step[j] *= 0.5
            continue
        for j in range(m):
            theta[j] = trial[j]
        distance = _newton_step(theta, slopes, hessian, step)
        if not distance > limits[0]:
            return distance
    return distance


@kernel
def _newton_step(theta, slopes, hessian, step):
    """Fill step = H^-1 g; return sqrt(g' H^-1 g), NaN where H is not positive definite."""
    m = len(theta)
    for j in range(m):
        for k in range(m):
            width = _STEP * max(abs(theta[j]), 1.0)
            hessian[j, k] = (slopes[j + 1, k] - slopes[0, k]) / width
    for j in range(m):
        for k in range(j):
            hessian[j, k] = 0.5 * (hessian[j, k] + hessian[k, j])
    if not np.isfinite(factorise(hessian, m)):
        return np.nan
    total = 0.0
    for j in range(m):
        step[j] = slopes[0, j]
        for k in range(j):
            step[j] -= hessian[j, k] * step[k]
        step[j] /= hessian[j, j]
        total += step[j] ** 2
    for j in range(m - 1, -1, -1):
        for k in range(j + 1, m):
            step[j] -= hessian[k, j] * step[k]
        step[j] /= hessian[j, j]
    return np.sqrt(total)


@kernel
def _evaluate(model, theta, work, gradient):
    """See `evaluate`."""
    own, with_dense, dense, places, df, noise, integrate_fixed = model
    factor, shrink, omega_shrunk, precision, system, shrunk, slope, beta = work
    n_levels, q, p = own.shape[0], own.shape[1], len(beta)
    for k in range(len(theta)):
        factor[places[k, 0], places[k, 1]] = theta[k]
    log_det = shrink_effects(own, factor, shrink, omega_shrunk, precision)
    for x in range(p + 1):
        for z in range(x + 1):
            system[x, z] = dense[x, z]
    for l in range(n_levels):
        _subtract_level(with_dense[l], omega_shrunk[l], system, shrunk)
    log_det_fixed = factorise(system, p)
    if not np.isfinite(log_det_fixed):
        return np.inf
    rss = _solve(system, beta)
    if not rss > 0.0:
        return np.inf
    weight = 1.0 / noise if noise > 0.0 else df / rss
    for r in range(q):
        for s in range(q):
            slope[r, s] = 0.0
    for l in range(n_levels):
        _add_slope(with_dense[l], shrink[l], precision[l], beta, weight, shrunk, slope)
        if integrate_fixed:
            _subtract_fixed(system, shrunk, slope)
    for k in range(len(theta)):
        row, column = places[k, 0], places[k, 1]
        gradient[k] = 0.0
        for s in range(q):
            gradient[k] += 2.0 * slope[row, s] * factor[s, column]
    if integrate_fixed:
        log_det += log_det_fixed
    return log_det + (rss / noise if noise > 0.0 else df * np.log(rss))


@kernel
def _subtract_level(cells, omega_shrunk, system, shrunk):
    """Take C' Omega (I + D Omega)^-1 C of a level off the lower triangle of `system`."""
    q, width = cells.shape
    for x in range(width):
        for r in range(q):
            total = 0.0
            for s in range(q):
                total += omega_shrunk[r, s] * cells[s, x]
            shrunk[r, x] = total
    for x in range(width):
        for z in range(x + 1):
            total = 0.0
            for r in range(q):
                total += cells[r, x] * shrunk[r, z]
            system[x, z] -= total


@kernel
def _solve(system, beta):
    """Fill the coefficients; return the penalised sum of squares.

    `system` has the Cholesky factor of X' V^-1 X, and the response in its last row.
    """
    p = len(beta)
    rss = system[p, p]
    for x in range(p):
        beta[x] = system[p, x]
        for z in range(x):
            beta[x] -= system[x, z] * beta[z]
        beta[x] /= system[x, x]
        rss -= beta[x] ** 2
    for x in range(p - 1, -1, -1):
        for z in range(x + 1, p):
            beta[x] -= system[z, x] * beta[z]
        beta[x] /= system[x, x]
    return rss


@kernel
def _add_slope(cells, shrink, precision, beta, weight, shrunk, slope):
    """Fill F = Z' V^-1 (X, r) of a level, r the residuals, and add Z' V^-1 Z - weight t t'."""
    q, p = cells.shape[0], len(beta)
    for r in range(q):
        for x in range(p + 1):
            total = 0.0
            for s in range(q):
                total += shrink[r, s] * cells[s, x]
            shrunk[r, x] = total
        for x in range(p):
            shrunk[r, p] -= shrunk[r, x] * beta[x]
    for r in range(q):
        for s in range(q):
            slope[r, s] += precision[r, s] - weight * shrunk[r, p] * shrunk[s, p]


@kernel
def _subtract_fixed(system, shrunk, slope):
    """Subtract F (X' V^-1 X)^-1 F' of a level; F is overwritten with what is left of it."""
    q, p = shrunk.shape[0], shrunk.shape[1] - 1
    for r in range(q):
        for x in range(p):
            for z in range(x):
                shrunk[r, x] -= system[x, z] * shrunk[r, z]
            shrunk[r, x] /= system[x, x]
    for r in range(q):
        for s in range(q):
            for x in range(p):
                slope[r, s] -= shrunk[r, x] * shrunk[s, x]
