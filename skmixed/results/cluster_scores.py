"""Covariances of the coefficients that do not believe the model's covariance of the rows.

The sandwich M (sum_g s_g s_g') M with M the model's covariance of the coefficients and s_g the
score of a cluster (Liang and Zeger 1986, Biometrika 73), and the bias-reduced one, CR2, whose
expectation under the model is M (Bell and McCaffrey 2002, Survey Methodology 28; Pustejovsky and
Tipton 2018, J. Business & Economic Statistics 36, which has its degrees of freedom).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from skmixed.design import Design
from skmixed.fit.result import FitResult
from skmixed.results.coefficient_tests import JointTest, independent_parts
from skmixed.results.prediction import predict_mean

_SINGULAR = 1e-10
"""Eigenvalue, over the largest, below which a direction of a cluster says nothing."""


@dataclass(frozen=True)
class RowModel:
    """The rows of a normal fit: residuals, and the covariance that the fit gives them.

    Attributes
    ----------
    X : ndarray (n, p)
        Centred fixed effects, the columns without others that span them.
    residuals : ndarray (n,)
        y - X beta.
    scaled : ndarray (n,)
        V^-1 (y - X beta).
    noise : ndarray (n,)
        Noise variances; of a row of case weight 2, half.
    design : Design
    result : FitResult
    kept : ndarray of int
        Which columns of the fixed effects X has.
    """

    X: np.ndarray
    residuals: np.ndarray
    scaled: np.ndarray
    noise: np.ndarray
    design: Design
    result: FitResult
    kept: np.ndarray

    @classmethod
    def of(
        cls, design: Design, response: np.ndarray, noise: np.ndarray, result: FitResult
    ) -> RowModel:
        """Rows with noise variances (n,), at the estimates of a fit."""
        kept = np.setdiff1d(np.arange(design.fixed.shape[1]), result.dropped)
        every = range(len(design.factors))
        fixed_part = predict_mean(result, replace(design, factors=()), ())
        return cls(
            (design.fixed - result.center)[:, kept],
            response - fixed_part,
            (response - predict_mean(result, design, every)) / noise,
            noise,
            design,
            result,
            kept,
        )

    @property
    def bread(self) -> np.ndarray:
        """M, the model's covariance of the coefficients."""
        return self.result.coefficient_covariance[np.ix_(self.kept, self.kept)]

    def covariance(self, rows: np.ndarray) -> np.ndarray:
        """V of some rows, (m, m)."""
        out = np.diag(self.noise[rows])
        for factor, fitted in zip(self.design.factors, self.result.factors, strict=True):
            basis = np.ones((len(rows), 1)) if factor.basis is None else factor.basis[rows]
            same = factor.codes[rows][:, None] == factor.codes[rows]
            out += same * (basis @ fitted.covariance @ basis.T)
        return out

    def is_crossed(self, clusters: np.ndarray) -> bool:
        """Whether rows of different clusters (n,) share an effect."""
        for factor, fitted in zip(self.design.factors, self.result.factors, strict=True):
            if not fitted.covariance.any():
                continue
            first = np.full(factor.n_levels, -1)
            first[factor.codes] = clusters
            if (first[factor.codes] != clusters).any():
                return True
        return False


def rows_of(clusters: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of every cluster, numbered from 0 on."""
    order = np.argsort(clusters, kind="stable")
    bounds = np.cumsum(np.bincount(clusters))[:-1]
    yield from np.split(order, bounds)


def sandwich(model: RowModel, clusters: np.ndarray) -> np.ndarray:
    """CR0, (p, p): the scores as they are."""
    scores = np.zeros((int(clusters.max()) + 1, model.X.shape[1]))
    np.add.at(scores, clusters, model.X * model.scaled[:, None])
    half = scores @ model.bread
    return half.T @ half


@dataclass(frozen=True)
class BiasReduced:
    """CR2: residuals of every cluster are multiplied so that the model's own truth is kept.

    Attributes
    ----------
    covariance : ndarray (p, p)
    leads : list of ndarray (n_g, p)
        A_g W_g X_g M of every cluster.
    pieces : list of ndarray
        V_g of every cluster, and X_g.
    bread : ndarray (p, p)
    """

    covariance: np.ndarray
    leads: list[np.ndarray]
    pieces: list[tuple[np.ndarray, np.ndarray]]
    bread: np.ndarray

    @classmethod
    def of(cls, model: RowModel, clusters: np.ndarray) -> BiasReduced:
        """Make the adjusted scores of all clusters, which no group may cross."""
        bread = model.bread
        total = np.zeros_like(bread)
        leads, pieces = [], []
        for rows in rows_of(clusters):
            X, V = model.X[rows], model.covariance(rows)
            root = np.linalg.cholesky(V).T
            inner = root @ (V - X @ bread @ X.T) @ root.T
            values, vectors = np.linalg.eigh(0.5 * (inner + inner.T))
            used = values > _SINGULAR * values[-1]
            power = (vectors[:, used] / np.sqrt(values[used])) @ vectors[:, used].T
            lead = root.T @ power @ root @ np.linalg.solve(V, X @ bread)
            score = lead.T @ model.residuals[rows]
            total += np.outer(score, score)
            leads.append(lead)
            pieces.append((V, X))
        return cls(total, leads, pieces, bread)

    def _products(self, L: np.ndarray) -> np.ndarray:
        """Covariances under the model of the scores of contrasts (q, p), (q, G, q, G)."""
        n, q = len(self.leads), len(L)
        through = np.empty((n, q, len(self.bread)))
        own = np.empty((n, q, q))
        for g, (lead, (V, X)) in enumerate(zip(self.leads, self.pieces, strict=True)):
            a = lead @ L.T
            through[g] = a.T @ X
            own[g] = a.T @ V @ a
        flat = through.transpose(1, 0, 2).reshape(q * n, -1)
        out = -(flat @ self.bread @ flat.T).reshape(q, n, q, n)
        for g in range(n):
            out[:, g, :, g] += own[g]
        return out

    def degrees_of_freedom(self, contrasts: np.ndarray) -> np.ndarray:
        """Satterthwaite's, of linear functions (k, p), (k,)."""
        out = []
        for contrast in contrasts:
            P = self._products(contrast[None])[0, :, 0, :]
            out.append(np.trace(P) ** 2 / (P**2).sum())
        return np.array(out)

    def joint_test(self, contrasts: np.ndarray, values: np.ndarray) -> JointTest:
        """The approximate Hotelling test HTZ that linear functions (k, p) are all zero."""
        variances, vectors = independent_parts(contrasts @ self.bread @ contrasts.T)
        whitened = (vectors / np.sqrt(variances)).T @ contrasts
        estimates = (vectors / np.sqrt(variances)).T @ values
        q = len(whitened)
        P = self._products(whitened)
        spread = np.einsum("sgsh,tgth->", P, P) + np.einsum("sgth,tgsh->", P, P)
        eta = q * (q + 1) / float(spread)
        wald = float(
            estimates @ np.linalg.solve(whitened @ self.covariance @ whitened.T, estimates)
        )
        return JointTest((eta - q + 1.0) / (eta * q) * wald, q, eta - q + 1.0)
