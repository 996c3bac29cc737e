"""Newton steps on the variances of a normal model of one factor, without Python between them.

Words as in `skmixed._kernels.elimination`; the dense columns are the fixed effects X and the
response. With nothing in the tail an evaluation is a pass over the levels and a factorisation of
X' V^-1 X. Simulations and bootstraps fit such models by the thousand.
"""

import numpy as np

from skmixed._kernels.arguments import OneFactorModel
from skmixed._kernels.compile import kernel
from skmixed._kernels.elimination import shrink_effects

_STEP = 1e-5
"""Of differences of the gradient: the last steps shrink the distance by such factors."""

_MOST_HALVINGS = 10
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

    Returns
    -------
    theta : ndarray (m,)
        No worse than the start. Where a step leads past zero or the Hessian is not positive
        definite, the last one before.
    distance : float
        sqrt(g' H^-1 g); NaN where the Hessian is not positive definite.
    """
    theta = theta.copy()
    return theta, _approach(tuple(model), theta, tol, max_iter)


@kernel
def _approach(model, theta, tol, max_iter):
    own, with_dense, _, places, _, _, _ = model
    m = len(theta)
    gradient, beside = np.empty(m), np.empty(m)
    hessian, step, trial = np.empty((m, m)), np.empty(m), np.empty(m)
    work = _memory(own, with_dense)
    deviance = _evaluate(model, theta, work, gradient)
    distance = np.inf
    for _ in range(max_iter):
        for j in range(m):
            h = _STEP * max(abs(theta[j]), 1.0)
            trial[:] = theta
            trial[j] += h
            _evaluate(model, trial, work, beside)
            for k in range(m):
                hessian[j, k] = (beside[k] - gradient[k]) / h
        distance = _newton_step(hessian, gradient, step)
        if not distance > tol:
            return distance
        length = 1.0
        for _ in range(_MOST_HALVINGS):
            for k in range(m):
                trial[k] = theta[k] - length * step[k]
            found = _evaluate(model, trial, work, beside)
            if found <= deviance + _ROUNDING * abs(deviance):
                break
            length *= 0.5
        else:
            return distance
        for k in range(m):
            # past zero steps are judged otherwise
            if places[k, 0] == places[k, 1] and trial[k] <= 0.0:
                return distance
        theta[:] = trial
        gradient[:] = beside
        deviance = found
    return distance


@kernel
def _newton_step(hessian, gradient, step):
    """Fill step = H^-1 g; return sqrt(g' H^-1 g), NaN where H is not positive definite."""
    m = len(gradient)
    for j in range(m):
        for k in range(j):
            mean = 0.5 * (hessian[j, k] + hessian[k, j])
            hessian[j, k] = hessian[k, j] = mean
    if not _factorise(hessian):
        return np.nan
    total = 0.0
    for j in range(m):
        step[j] = gradient[j]
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
def _factorise(matrix):
    """Overwrite the lower triangle with its Cholesky factor; False if there is none."""
    for j in range(matrix.shape[0]):
        for k in range(j + 1):
            total = matrix[j, k]
            for i in range(k):
                total -= matrix[j, i] * matrix[k, i]
            if j == k:
                if not total > 0.0:
                    return False
                matrix[j, j] = np.sqrt(total)
            else:
                matrix[j, k] = total / matrix[k, k]
    return True


@kernel
def _memory(own, with_dense):
    """Arrays of an evaluation: T, small inverses, reduced products, and the solution."""
    q, p = own.shape[1], with_dense.shape[2] - 1
    return (
        np.zeros((q, q)), np.empty_like(own), np.empty_like(own), np.empty_like(own),
        np.empty((p + 1, p + 1)), np.empty((q, p + 1)), np.empty((q, q)), np.empty(p),
    )  # fmt: skip


@kernel
def _evaluate(model, theta, work, gradient):
    """-2 log likelihood but for constants, the noise variance profiled out, and its gradient."""
    own, with_dense, dense, places, df, noise, integrate_fixed = model
    factor, shrink, omega_shrunk, precision, system, shrunk, slope, beta = work
    n_levels, q, p = own.shape[0], own.shape[1], len(beta)
    for k in range(len(theta)):
        factor[places[k, 0], places[k, 1]] = theta[k]
    log_det = shrink_effects(own, factor, shrink, omega_shrunk, precision)
    system[:] = dense
    for l in range(n_levels):
        _subtract_level(with_dense[l], omega_shrunk[l], system, shrunk)
    if not _factorise(system[:p, :p]):
        return np.inf
    rss = _solve(system, beta)
    if not rss > 0.0:
        return np.inf
    weight = 1.0 / noise if noise > 0.0 else df / rss
    slope[:] = 0.0
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
        for x in range(p):
            log_det += 2.0 * np.log(system[x, x])
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
