"""The evidence lower bound of a mixed model, written out densely and maximised as it stands.

Everything is obvious and slow: one covariance matrix over all effects, quadrature
with 64 nodes a row, one general-purpose optimiser for means, covariance, fixed
effects, variances and family parameters together. Nothing of the package is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import digamma, expit, gammaln, log_expit, log_ndtr, ndtr

Derivatives = tuple[np.ndarray, np.ndarray, np.ndarray]
"""log p(y | eta), its derivative by eta, and those by the family's own parameters (k, n, nodes)."""


@dataclass(frozen=True)
class Family:
    """A response distribution: a log density with derivatives, and a start."""

    log_density: Callable[[np.ndarray, np.ndarray, np.ndarray], Derivatives]
    start: tuple[float, ...] = ()


def _none(eta: np.ndarray) -> np.ndarray:
    return np.zeros((0, *eta.shape))


def bernoulli_logit(y: np.ndarray, eta: np.ndarray, own: np.ndarray) -> Derivatives:
    """y in {0, 1} with P(1) = 1 / (1 + exp(-eta))."""
    return y * eta + log_expit(-eta), y - expit(eta), _none(eta)


def bernoulli_probit(y: np.ndarray, eta: np.ndarray, own: np.ndarray) -> Derivatives:
    """y in {0, 1} with P(1) = Phi(eta)."""
    sign = 2.0 * y - 1.0
    value = log_ndtr(sign * eta)
    slope = sign * np.exp(-0.5 * eta**2 - 0.5 * np.log(2.0 * np.pi) - value)
    return value, slope, _none(eta)


def poisson(y: np.ndarray, eta: np.ndarray, own: np.ndarray) -> Derivatives:
    """Counts with mean exp(eta)."""
    return y * eta - np.exp(eta) - gammaln(y + 1.0), y - np.exp(eta), _none(eta)


def negative_binomial(y: np.ndarray, eta: np.ndarray, own: np.ndarray) -> Derivatives:
    """Counts with mean mu = exp(eta) and variance mu + mu^2 / size; own: log(size)."""
    size, mean = np.exp(own[0]), np.exp(eta)
    total = np.log(size + mean)
    value = gammaln(y + size) - gammaln(size) - gammaln(y + 1.0)
    value = value + size * (own[0] - total) + y * (eta - total)
    slope = y - (y + size) * mean / (size + mean)
    by_size = digamma(y + size) - digamma(size) + own[0] + 1.0 - total - (y + size) / (size + mean)
    return value, slope, size * by_size[None]


def gamma(y: np.ndarray, eta: np.ndarray, own: np.ndarray) -> Derivatives:
    """Amounts with mean mu = exp(eta) and variance mu^2 / shape; own: log(shape)."""
    shape, ratio = np.exp(own[0]), y * np.exp(-eta)
    value = shape * (own[0] - eta) + (shape - 1.0) * np.log(y) - shape * ratio - gammaln(shape)
    by_shape = own[0] + 1.0 - eta + np.log(y) - ratio - digamma(shape)
    return value, shape * (ratio - 1.0), shape * by_shape[None]


def thresholds(own: np.ndarray) -> np.ndarray:
    """Thresholds from -inf to inf: the first finite one is 0, own are log gaps."""
    return np.concatenate([[-np.inf, 0.0], np.cumsum(np.exp(own)), [np.inf]])


def _ordinal(cdf: Callable, density: Callable) -> Callable[..., Derivatives]:
    """y in 0..K-1 with P(y <= j) = F(t_j - eta)."""

    def log_density(y: np.ndarray, eta: np.ndarray, own: np.ndarray) -> Derivatives:
        cuts, number = thresholds(own), y.astype(int)
        upper, lower = cuts[number + 1] - eta, cuts[number] - eta
        # a difference of upper tails where the lower ones are all but 1
        mirror = lower > 0.0
        chance = np.where(mirror, cdf(-lower) - cdf(-upper), cdf(upper) - cdf(lower))
        chance = np.maximum(chance, 1e-300)
        at_upper, at_lower = density(upper) / chance, density(lower) / chance
        # the gap k moves all thresholds from number k + 1 on
        by_gap = [
            gap * (at_upper * (number >= k + 1) - at_lower * (number >= k + 2))
            for k, gap in enumerate(np.exp(own))
        ]
        return np.log(chance), at_lower - at_upper, np.array(by_gap).reshape(-1, *eta.shape)

    return log_density


FAMILIES: dict[str, Family] = {
    "bernoulli-logit": Family(bernoulli_logit),
    "bernoulli-probit": Family(bernoulli_probit),
    "poisson": Family(poisson),
    "negative_binomial": Family(negative_binomial, (0.5,)),
    "gamma": Family(gamma, (0.5,)),
    "ordinal-logit": Family(
        _ordinal(expit, lambda x: expit(x) * expit(-x)), (0.0, 0.0)
    ),
    "ordinal-probit": Family(
        _ordinal(ndtr, lambda x: np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi)), (-0.5, -0.5)
    ),
}  # fmt: skip
"""By ``family-link``; the ordinal ones have four classes."""


@dataclass(frozen=True)
class Term:
    """A random term: level of each row, what its effects multiply (n, q), and if they correlate."""

    codes: np.ndarray
    basis: np.ndarray
    correlated: bool = True

    @property
    def n_levels(self) -> int:
        """Levels that occur."""
        return int(self.codes.max()) + 1


@dataclass(frozen=True)
class Optimum:
    """Where the bound is largest; effects are one array (levels, q) a term.

    `coefficient_uncertainty` is a function: the curvature takes longer than the optimum.
    """

    elbo: float
    max_gradient: float
    coefficients: np.ndarray
    coefficient_covariance: np.ndarray
    coefficient_uncertainty: Callable[[], np.ndarray]
    own: np.ndarray
    covariances: list[np.ndarray]
    means: list[np.ndarray]
    standard_deviations: list[np.ndarray]


class DenseModel:
    """The bound of one model as a function of one flat vector.

    Parameters
    ----------
    family : str
        A key of `FAMILIES`.
    y, weights, offset : ndarray (n,)
    fixed : ndarray (n, p)
    terms : list of Term
    mean_field : bool
        Whether every random effect is independent of everything else; fixed
        effects that are integrated out keep a covariance matrix of their own.
    integrate_fixed : bool
        Whether the fixed effects have a posterior under a flat prior or are a point.
    """

    def __init__(
        self,
        family: str,
        y: np.ndarray,
        weights: np.ndarray,
        offset: np.ndarray,
        fixed: np.ndarray,
        terms: list[Term],
        mean_field: bool,
        integrate_fixed: bool,
    ) -> None:
        self.family, self.y, self.weights, self.offset = FAMILIES[family], y, weights, offset
        self.terms, self.n_fixed = terms, fixed.shape[1]
        # with this basis the optimiser sees columns of one size, uncorrelated
        self._q, self._r = np.linalg.qr(fixed)
        self.rows = np.hstack([self._q * np.sqrt(len(y)), *map(_indicators, terms)])
        self.is_free = self._free_entries(mean_field, integrate_fixed)
        self.integrate_fixed = integrate_fixed
        nodes, node_weights = np.polynomial.hermite.hermgauss(64)
        self.nodes, self.node_weights = np.sqrt(2.0) * nodes, node_weights / np.sqrt(np.pi)

    def _free_entries(self, mean_field: bool, integrate_fixed: bool) -> np.ndarray:
        """Entries of the covariance's Cholesky factor that are not held at zero."""
        size, p = self.rows.shape[1], self.n_fixed
        free = np.eye(size, dtype=bool) if mean_field else np.tril(np.ones((size, size), bool))
        free[:p, :p] = np.tril(np.ones((p, p), bool))
        if not integrate_fixed:
            free[:p] = False
            free[:, :p] = False
        return free

    def start(self) -> np.ndarray:
        """Every effect 0 with standard deviation 0.3, every variance 0.25."""
        scale = [0.5 * np.eye(t.basis.shape[1])[_entries(t)] for t in self.terms]
        factor = 0.3 * np.eye(self.rows.shape[1])
        factor = np.where(np.eye(len(factor), dtype=bool), np.log(0.3), factor)
        return np.concatenate(
            [np.zeros(len(factor)), factor[self.is_free], *scale, self.family.start]
        )

    def unpack(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
        """Means, Cholesky factor of the covariance, root T of each Sigma = T T', own parameters."""
        size = self.rows.shape[1]
        means, position = x[:size], size
        factor = np.zeros((size, size))
        factor[self.is_free] = x[position : position + self.is_free.sum()]
        position += self.is_free.sum()
        diagonal = np.flatnonzero(np.diagonal(self.is_free))
        factor[diagonal, diagonal] = np.exp(factor[diagonal, diagonal])
        roots = []
        for term in self.terms:
            root = np.zeros((term.basis.shape[1],) * 2)
            rows, columns = _entries(term)
            root[rows, columns] = x[position : position + len(rows)]
            position += len(rows)
            roots.append(root)
        return means, factor, roots, x[position:]

    def elbo(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The bound and its gradient."""
        means, factor, roots, own = self.unpack(x)
        value, by_mean, by_variance, by_own = self._expectations(means, factor, own)
        mean_gradient = self.rows.T @ by_mean
        covariance_gradient = (self.rows * by_variance[:, None]).T @ self.rows
        covariance = factor @ factor.T
        root_gradients, position = [], self.n_fixed
        for term, root in zip(self.terms, roots, strict=True):
            here = slice(position, position + term.n_levels * len(root))
            prior, by_root = self._prior(
                term, root, means[here], covariance[here, here],
                mean_gradient[here], covariance_gradient[here, here],
            )  # fmt: skip
            value += prior
            root_gradients.append(by_root[_entries(term)])
            position = here.stop
        factor_gradient = 2.0 * covariance_gradient @ factor
        inside = np.flatnonzero(np.diagonal(self.is_free))
        diagonal = factor[inside, inside]
        # the entropy of a normal is the sum of log diagonals + (1 + log 2 pi) / 2 a dimension
        value += np.log(diagonal).sum() + 0.5 * len(inside) * (1.0 + np.log(2.0 * np.pi))
        factor_gradient[inside, inside] = factor_gradient[inside, inside] * diagonal + 1.0
        gradient = [mean_gradient, factor_gradient[self.is_free], *root_gradients, by_own]
        if self.integrate_fixed:
            # the flat prior is one on the coefficients themselves
            value -= np.linalg.slogdet(self._r / np.sqrt(len(self.y)))[1]
        return float(value), np.concatenate(gradient)

    def _expectations(
        self, means: np.ndarray, factor: np.ndarray, own: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """E log p(y | eta) of all rows by quadrature, with derivatives."""
        mean = self.offset + self.rows @ means
        sd = np.sqrt(((self.rows @ factor) ** 2).sum(axis=1))
        eta = mean[:, None] + sd[:, None] * self.nodes
        value, slope, by_own = self.family.log_density(self.y[:, None], eta, own)
        by_mean = self.weights * (slope @ self.node_weights)
        by_sd = self.weights * (slope @ (self.node_weights * self.nodes))
        by_variance = by_sd / np.where(sd > 0.0, 2.0 * sd, 1.0)
        return (
            float(self.weights @ (value @ self.node_weights)),
            by_mean,
            by_variance,
            (by_own @ self.node_weights) @ self.weights,
        )

    @staticmethod
    def _prior(
        term: Term,
        root: np.ndarray,
        means: np.ndarray,
        covariance: np.ndarray,
        mean_gradient: np.ndarray,
        covariance_gradient: np.ndarray,
    ) -> tuple[float, np.ndarray]:
        """E log p(u) of a term and its derivative by T; adds the others to the gradients."""
        q = len(root)
        levels = means.reshape(-1, q)
        blocks = covariance.reshape(len(levels), q, len(levels), q)
        second = np.einsum("iaib->ab", blocks) + levels.T @ levels
        inverse = np.linalg.inv(root @ root.T)
        log_det = 2.0 * np.log(np.abs(np.diagonal(root))).sum()
        value = -0.5 * (np.sum(inverse * second) + len(levels) * (log_det + q * np.log(2 * np.pi)))
        mean_gradient -= (levels @ inverse).ravel()
        covariance_gradient -= 0.5 * np.kron(np.eye(len(levels)), inverse)
        by_covariance = 0.5 * (inverse @ second @ inverse - len(levels) * inverse)
        return float(value), 2.0 * by_covariance @ root

    def maximise(self, iterations: int = 20_000) -> Optimum:
        """The optimum by L-BFGS from `start`."""

        def negative(x: np.ndarray) -> tuple[float, np.ndarray]:
            with np.errstate(over="ignore", invalid="ignore"):
                value, gradient = self.elbo(x)
            return (-value, -gradient) if np.isfinite(value) else (1e10, np.zeros_like(x))

        options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 40, "ftol": 0.0}
        x = self.start()
        for _ in range(4):
            # a new start forgets curvatures of the way and gains a few more digits
            x = minimize(negative, x, jac=True, method="L-BFGS-B",
                         options={**options, "gtol": 1e-9, "maxls": 60}).x  # fmt: skip
        return self._optimum(x)

    def _uncertainty(self, x: np.ndarray) -> np.ndarray:
        """Covariance of the fixed effects, from the curvature by all that is maximised over.

        The block of the inverse is the inverse curvature of the maximised bound. Where the
        fixed effects are integrated out, only what their mean owes to variances and own
        parameters is taken from it: what the inverse has more than that at given ones.
        """
        step = 1e-4
        unit = step * np.eye(len(x))
        rows = [self.elbo(x + e)[1] - self.elbo(x - e)[1] for e in unit]
        curvature = -np.array(rows) / (2.0 * step)
        curvature = 0.5 * (curvature + curvature.T)
        p = self.n_fixed
        inverse = np.linalg.inv(curvature)[:p, :p]
        if not self.integrate_fixed:
            return inverse
        n_state = self.rows.shape[1] + int(self.is_free.sum())
        at_given = np.linalg.inv(curvature[:n_state, :n_state])[:p, :p]
        factor = self.unpack(x)[1]
        return (factor @ factor.T)[:p, :p] + inverse - at_given

    def _optimum(self, x: np.ndarray) -> Optimum:
        elbo, gradient = self.elbo(x)
        means, factor, roots, own = self.unpack(x)
        to_coefficients = np.linalg.inv(self._r) * np.sqrt(len(self.y))
        p = self.n_fixed
        covariance = factor @ factor.T
        deviations = np.sqrt(np.diagonal(covariance))
        splits = np.cumsum([t.n_levels * t.basis.shape[1] for t in self.terms])[:-1]
        shapes = [(t.n_levels, t.basis.shape[1]) for t in self.terms]

        def by_term(values: np.ndarray) -> list[np.ndarray]:
            parts = np.split(values[p:], splits)
            return [part.reshape(s) for part, s in zip(parts, shapes, strict=True)]

        return Optimum(
            elbo, float(np.abs(gradient).max()), to_coefficients @ means[:p],
            to_coefficients @ covariance[:p, :p] @ to_coefficients.T,
            lambda: to_coefficients @ self._uncertainty(x) @ to_coefficients.T, own,
            [root @ root.T for root in roots], by_term(means), by_term(deviations),
        )  # fmt: skip


def _entries(term: Term) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of T that are free."""
    q = term.basis.shape[1]
    return np.tril_indices(q) if term.correlated else (np.arange(q), np.arange(q))


def _indicators(term: Term) -> np.ndarray:
    """The columns of a term, (n, levels q)."""
    n, q = term.basis.shape
    columns = np.zeros((n, term.n_levels, q))
    columns[np.arange(n), term.codes] = term.basis
    return columns.reshape(n, -1)
