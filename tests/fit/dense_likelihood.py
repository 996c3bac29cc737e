"""Log likelihoods of models with few rows by fine grids over all effects, and their curvature."""

from itertools import product

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, ndtr
from scipy.stats import gamma, nbinom, poisson

F = {"logit": expit, "probit": ndtr}


def log_density(family, link, y, eta, own):
    """log p(y | eta) by SciPy; `own` as the families have it."""
    if family == "bernoulli":
        return np.log(F[link](np.where(y > 0, eta, -eta)))
    if family == "ordinal":
        edges = np.concatenate([[-np.inf, 0.0], np.cumsum(np.exp(own)), [np.inf]])
        lower, upper = edges[y] - eta, edges[y + 1] - eta
        flip = lower + upper > 0
        a, b = np.where(flip, -upper, lower), np.where(flip, -lower, upper)
        return np.log(F[link](b) - F[link](a))
    mean = np.exp(eta)
    if family == "poisson":
        return poisson.logpmf(y, mean)
    size = np.exp(own[0])
    if family == "negative_binomial":
        return nbinom.logpmf(y, size, size / (size + mean))
    return gamma.logpdf(y, size, scale=mean / size)


class OneFactor:
    """A model with effects z'u of the levels of one factor, u ~ N(0, T T').

    The grid of a level stands about its mode at the first parameters asked for.
    """

    def __init__(self, family, link, y, x, z, codes, weights=None, offset=None):
        self.family, self.link, self.y, self.x, self.z, self.codes = family, link, y, x, z, codes
        self.weights = np.ones(len(y)) if weights is None else weights
        self.offset = np.zeros(len(y)) if offset is None else offset
        self.nodes = None

    def split(self, parameters):
        p, q = self.x.shape[1], self.z.shape[1]
        m = q * (q + 1) // 2
        root = np.zeros((q, q))
        root[np.tril_indices(q)] = parameters[p : p + m]
        return parameters[:p], root, parameters[p + m :]

    def of_level(self, level, split, v):
        """Log of the integrand of a level at nodes (N, q), the normal density included."""
        beta, root, own = split
        rows = self.codes == level
        eta = (self.x[rows] @ beta + self.offset[rows])[:, None] + self.z[rows] @ root @ v.T
        values = log_density(self.family, self.link, self.y[rows, None], eta, own)
        normal = -0.5 * (v**2).sum(axis=1) - 0.5 * v.shape[1] * np.log(2.0 * np.pi)
        return self.weights[rows] @ values + normal

    def place_nodes(self, parameters):
        q = self.z.shape[1]
        step, reach = {1: (0.15, 12.0), 2: (0.35, 8.0), 3: (0.35, 7.0)}[q]
        line = np.arange(-reach, reach + step / 2, step)
        grid = np.array(list(product(line, repeat=q)))
        self.nodes, self.log_units, split = [], [], self.split(parameters)
        for level in range(self.codes.max() + 1):

            def integrand(v, level=level):
                return self.of_level(level, split, v[None])[0]

            mode = minimize(lambda v: -integrand(v), np.zeros(q)).x
            root = np.linalg.cholesky(np.linalg.inv(curvature(integrand, mode)))
            self.nodes.append(mode + grid @ root.T)
            self.log_units.append(np.log(np.diagonal(root)).sum() + q * np.log(step))

    def joint(self, parameters):
        """Log of the integrand at the nodes times their volume, (L, nodes)."""
        if self.nodes is None:
            self.place_nodes(parameters)
        levels, split = zip(self.nodes, self.log_units, strict=True), self.split(parameters)
        return np.array([
            self.of_level(level, split, v) + unit for level, (v, unit) in enumerate(levels)
        ])  # fmt: skip

    def __call__(self, parameters):
        return float(logsumexp(self.joint(parameters), axis=1).sum())

    def effects(self, parameters):
        """Posterior means and standard deviations of the effects, (L, q)."""
        joint = self.joint(parameters)
        shares = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        u = np.array(self.nodes) @ self.split(parameters)[1].T
        mean = np.einsum("ln,lnq->lq", shares, u)
        return mean, np.sqrt(np.einsum("ln,lnq->lq", shares, u**2) - mean**2)


class Nested:
    """Random intercepts of inner levels, and of the outer levels that they lie in."""

    def __init__(self, y, x, inner, outer):
        self.y, self.x, self.inner, self.outer = y, x, inner, outer
        self.line = np.arange(-8.1, 8.2, 0.3)
        self.log_weights = -0.5 * self.line**2
        self.log_weights -= logsumexp(self.log_weights)
        self.outer_of = np.zeros(inner.max() + 1, int)
        self.outer_of[inner] = outer

    def __call__(self, parameters):
        p = self.x.shape[1]
        inner_sd, outer_sd = parameters[p:]
        eta = (self.x @ parameters[:p])[:, None, None]
        eta = eta + outer_sd * self.line[:, None] + inner_sd * self.line
        values = np.log(expit(np.where(self.y[:, None, None] > 0, eta, -eta)))
        of_inner = np.zeros((self.inner.max() + 1, *values.shape[1:]))
        np.add.at(of_inner, self.inner, values)
        of_inner = logsumexp(of_inner + self.log_weights, axis=2)
        of_outer = np.zeros((self.outer.max() + 1, len(self.line)))
        np.add.at(of_outer, self.outer_of, of_inner)
        return float(logsumexp(of_outer + self.log_weights, axis=1).sum())


def gradient(function, at, step=1e-4):
    """By central differences."""
    steps = step * np.eye(len(at))
    return np.array([(function(at + s) - function(at - s)) / (2 * step) for s in steps])


def curvature(function, at, step=1e-3):
    """Negated Hessian by central differences of fourth order of the gradient."""
    rows = []
    for s in step * np.eye(len(at)):
        near = gradient(function, at + s) - gradient(function, at - s)
        far = gradient(function, at + 2 * s) - gradient(function, at - 2 * s)
        rows.append(-(8 * near - far) / (12 * step))
    return 0.5 * (np.array(rows) + np.array(rows).T)
