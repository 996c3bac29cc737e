"""-2 ELBO of a model whose response is not normal, as a function of its few parameters.

The best Gaussian posterior solves a working Gaussian model. With the row terms g and
w of the likelihood at eta ~ N(mean, variance), row i counts as an observation with
weight w and working response mean + g / w, and the posterior of that model gives the
next mean and variance (Opper and Archambeau 2009, Neural Computation 21; as steps on
natural parameters Khan and Lin 2017, AISTATS 54). A `Sites` object holds these
weights. Steps are halved when the ELBO would fall.

The derivative by a covariance Omega at a posterior that solves a working model is
that of the working model, with its noise held at 1: what `Objective` computes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skmixed._kernels.site_steps import judge_sites
from skmixed.families.base import Likelihood, ParameterDerivatives, ResponseRows, RowTerms
from skmixed.fit.identification import runs_away, separated_columns
from skmixed.fit.objective import Derivatives, Point, derivatives_at
from skmixed.fit.sites import LEAST_PRECISION, Responses, Sites, VariationalPoint, combined
from skmixed.fit.steps import AlternatingSteps
from skmixed.fit.variance_penalty import VariancePenalty
from skmixed.posteriors import Posterior, PosteriorCovariance, Solved
from skmixed.posteriors.prior import EffectsPrior
from skmixed.solvers.base import SingularSystemError, Solver, System
from skmixed.sums.standard_units import Units

_MOST_REMEMBERED, _LEAST_REMEMBERED = 6, 2
"""Points to extrapolate from: more of them save no more steps."""

_REMEMBERED_BYTES = 1.5e9
"""Memory that these points may take together; each has six numbers per row."""

_HALVINGS = 30
"""Most halvings of a step on the sites."""

_MOST_STEPS = 5
"""Steps on the posterior after which a theta that is no better is given up."""

_LARGEST_OWN = 30.0
"""Bound of a likelihood's own parameters, which are logarithms: a dispersion of zero."""

_LARGEST_SHARE = 10.0
"""Extrapolation beyond which the last steps were too alike to tell anything."""

_OWN_STEP = 1e-5
"""Change of an own parameter that tells a derivative."""

_NEXT_TO_BEST = 1e-2
"""Distance from the best posterior below which another one hardly raises the ELBO."""

_FIRST_DISTANCE = 1.0
"""Distance from the best posterior to which the start is brought before variances move."""

_FIRST_DISTANCE_ESTIMATED = 0.1
"""The same where random vectors estimate the objective: derivatives cost as much as such a step."""


@dataclass(frozen=True)
class VariationalObjective:
    """-2 ELBO by the entries of all T and, after them, the likelihood's own parameters.

    Attributes
    ----------
    responses : Responses
    likelihood : Likelihood
    prior : EffectsPrior
    posterior : Posterior
    integrate_fixed : bool
    solver : Solver
        Of all working models.
    n_threads : int
    penalty : VariancePenalty or None
        -2 log prior of the standard deviations of effects, which is added.
    """

    responses: Responses
    likelihood: Likelihood
    prior: EffectsPrior
    posterior: Posterior
    integrate_fixed: bool
    solver: Solver
    n_threads: int
    penalty: VariancePenalty | None = None

    @property
    def n_remembered(self) -> int:
        """Points to extrapolate from: few where each of them is large."""
        fit = int(_REMEMBERED_BYTES / (48.0 * self.responses.rows.n_rows))
        return min(max(fit, _LEAST_REMEMBERED), _MOST_REMEMBERED)

    def canonical(self, theta: np.ndarray) -> np.ndarray:
        """The equivalent theta with nonnegative diagonals, inside what numbers can hold."""
        variances, own = self.split(theta)
        own = np.clip(own, -_LARGEST_OWN, _LARGEST_OWN)
        return np.concatenate([self.prior.canonical(variances), own])

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entries of all T, and the likelihood's own parameters."""
        n = self.prior.n_parameters
        return theta[:n], theta[n:]

    @cached_property
    def family_rows(self) -> ResponseRows:
        """The rows as the likelihood takes them."""
        return self.responses.as_family_rows(self.n_threads)

    def row_terms(self, mean: np.ndarray, variance: np.ndarray, own: np.ndarray) -> RowTerms:
        """The likelihood's terms where the effects give every row this mean and variance, (n,)."""
        return self.likelihood.row_terms(
            self.family_rows, self.responses.shifted(mean), variance, own
        )

    # The objective --------------------------------------------------------------------

    def at(
        self, theta: np.ndarray, near: Point | None = None, coarse: bool = False
    ) -> VariationalPoint | None:
        """The objective at `theta`, its posterior improved from that of `near`.

        As many steps on the posterior are taken as it needs to be better than `near`;
        one, mostly. None where the ELBO is not finite.
        """
        if near is None:
            return self._from_scratch(theta)
        assert isinstance(near, VariationalPoint)
        point = self._step(theta, near, coarse)
        for _ in range(_MOST_STEPS):
            if (
                point is None
                or point.deviance <= near.deviance + point.doubt(near)
                or point.distance < _NEXT_TO_BEST
            ):
                break
            following = self._step(theta, point, coarse)
            if following is None or following.deviance >= point.deviance - 1e-9:
                break
            point = following
        return point

    def _from_scratch(self, theta: np.ndarray) -> VariationalPoint | None:
        _, own = self.split(theta)
        point = self.at_sites(theta, self.start_sites(own), True)
        for _ in range(_HALVINGS):
            if point is None:
                break
            near = _FIRST_DISTANCE_ESTIMATED if point.is_estimated else _FIRST_DISTANCE
            if point.distance < near:
                break
            following = self._step(theta, point, True)
            if following is None or following.deviance >= point.deviance - 1e-6:
                break
            point = following
        return point

    def start_sites(self, own: np.ndarray) -> Sites:
        """The working model that the rows suggest each by itself."""
        responses = self.responses
        predictor, precision = self.likelihood.start(self.family_rows, own)
        return Sites(precision, precision * (predictor - responses.offset))

    def _step(
        self, theta: np.ndarray, near: VariationalPoint, coarse: bool
    ) -> VariationalPoint | None:
        """One step on the sites, halved while the ELBO falls; the best point found.

        At another theta than that of `near` the ELBO may be lower however short the
        step: then the best of a few counts.
        """
        best = None
        moved = not np.array_equal(theta, near.theta)
        following = self.following(near, theta)
        share = 1.0
        for _ in range(4 if moved else _HALVINGS):
            point = self.at_sites(theta, near.sites.toward(following, share), coarse)
            if point is not None:
                if best is None or point.deviance < best.deviance:
                    best = point
                if point.deviance <= near.deviance + _slack(point, near):
                    break
                if moved and point.distance < _NEXT_TO_BEST:
                    # another posterior at this theta is no better
                    break
            share *= 0.5 if moved else 0.35
        return best

    def sites_at(self, point: VariationalPoint, own: np.ndarray) -> Sites:
        """The working model at the posterior of a point, for these own parameters (k,)."""
        if np.array_equal(own, self.split(point.theta)[1]):
            return point.following
        return Sites.at(self.row_terms(point.mean, point.variance, own), point.mean)

    def following(self, point: VariationalPoint, theta: np.ndarray) -> Sites:
        """The working model to try at theta, from a point near it."""
        return point.following

    def accelerated(
        self,
        trail: list[tuple[VariationalPoint, np.ndarray]],
        metric: np.ndarray,
        coarse: bool,
        judge: bool,
    ) -> VariationalPoint | None:
        """One step on theta and sites together, extrapolated from the last ones.

        Plain steps converge linearly, as the working model's Hessian leaves out that
        its weights follow theta. The combination of the last few whose residuals are
        smallest does better (Anderson 1965, J. ACM 12; Walker and Ni 2011, SIAM J.
        Numer. Anal. 49, problem LS).

        Parameters
        ----------
        trail : list of (VariationalPoint, ndarray)
            The last points and the theta that a Newton step leads to from each.
        metric : ndarray (m,)
            Curvature by the entries of theta.
        coarse : bool
        judge : bool
            Whether the ELBO must not fall.

        Returns
        -------
        VariationalPoint or None
            None where the ELBO would fall, or the steps do not tell enough.
        """
        point, theta = trail[-1]
        sites = self.following(point, theta)
        if len(trail) > 1:
            products = self._step_products(trail, metric)
            changes = np.diff(np.eye(len(trail)), axis=0)
            if not np.isfinite(products).all():
                return None
            shares = np.linalg.lstsq(
                changes @ products @ changes.T, changes @ products[-1], rcond=1e-10
            )[0]
            if np.abs(shares).max() > _LARGEST_SHARE:
                return None
            # the last point less shares of the steps between points
            shares = np.append(np.diff(shares, prepend=0.0), 1.0 - shares[-1])
            theta = shares @ np.array([ahead for _, ahead in trail])
            parts = [*(self.following(*before) for before in trail[:-1]), sites]
            sites = combined(parts, shares, self.responses.rows)
        was, variances = self.split(point.theta)[0], self.split(theta)[0]
        if (self.prior.reflects & (variances <= 0.0) & (was > 0.0)).any():
            return None
        following = self.at_sites(self.canonical(theta), sites, coarse)
        if following is None or not judge:
            return following
        falls = following.deviance > point.deviance + _slack(following, point)
        return None if falls else following

    def _step_products(
        self, trail: list[tuple[VariationalPoint, np.ndarray]], metric: np.ndarray
    ) -> np.ndarray:
        """Inner products of the steps from all points of a trail, (k, k)."""
        at = trail[-1][0]
        root = np.sqrt(np.abs(metric))
        of_theta = np.array([root * (ahead - point.theta) for point, ahead in trail])

        def products(rows: slice) -> np.ndarray:
            steps = np.empty((len(trail), 2, rows.stop - rows.start))
            for (point, _), out in zip(trail, steps, strict=True):
                point.fill_step(rows, at, self.responses.weights, out)
            flat = steps.reshape(len(trail), -1)
            return flat @ flat.T

        return of_theta @ of_theta.T + sum(self.responses.rows.by_chunks(products))

    def at_sites(
        self, theta: np.ndarray, sites: Sites, coarse: bool = False
    ) -> VariationalPoint | None:
        """The ELBO of the posterior that solves a working model; None where it is not finite."""
        responses, rows = self.responses, self.responses.rows
        variances, own = self.split(theta)
        cross = rows.cross_products(*self.working_model(sites))
        try:
            system = self.solver.system(self.prior.scales(variances), cross)
            at = self.solved(system, theta)
            variance = self.posterior.row_variances(at, rows, coarse)
        except SingularSystemError:
            return None
        effects = system.random_effects
        mean = rows.predictor(system.fixed_effects, effects)
        terms = self.row_terms(mean, variance, own)
        deviance = _penalty(system) - 2.0 * float(responses.weights @ terms.value)
        deviance += self.posterior.log_det(at)
        if self.integrate_fixed:
            deviance -= cross.n_fixed * np.log(2.0 * np.pi)
        following = Sites(terms.precision, terms.gradient)

        def finish(chunk: slice) -> np.ndarray:
            out = np.zeros(3)
            following.linear[chunk] += following.precision[chunk] * mean[chunk]
            judge_sites(
                responses.weights[chunk], sites.precision[chunk], variance[chunk],
                *following.since(sites, chunk), mean[chunk], out,
            )  # fmt: skip
            return out

        # the effective number of effects is tr(C A'WA), the sum of weight * variance
        moved, effective, size = sum(rows.by_chunks(finish), np.zeros(3))
        deviance -= effective
        penalty = 0.0
        if self.penalty is not None:
            penalty = self.penalty.value(self.penalty.squares(self.prior, variances))
        deviance += penalty
        if not np.isfinite(deviance):
            return None
        distance = float(np.sqrt(moved / (1.0 + effective)))
        rounding = float(8.0 * np.finfo(float).eps * np.sqrt(size))
        return VariationalPoint(
            theta, float(deviance), 1.0, at, distance, coarse and system.rounds, rounding, penalty,
            sites=sites, mean=mean, variance=variance, following=following,
        )  # fmt: skip

    def working_model(self, sites: Sites) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the rows, and these times their working responses."""
        # negative precisions, of densities that are not log-concave, are held here as well
        precision, case_weights = sites.precision, self.responses.weights
        if not precision.size or precision.min() < LEAST_PRECISION:
            precision = np.maximum(precision, LEAST_PRECISION)
        if self.responses.has_unit_weights:
            return precision, sites.linear
        return case_weights * precision, case_weights * sites.linear

    # Derivatives ----------------------------------------------------------------------

    def derivatives(
        self, point: VariationalPoint, coarse: bool = False, information: np.ndarray | None = None
    ) -> Derivatives:
        """Gradient at the point's posterior, and a Hessian for the working model held."""
        variances, own = self.split(point.theta)
        found = self.working_derivatives(point, information)
        if not len(own):
            return found
        by_own = self.own_derivatives(point.mean, point.variance, own)
        n = len(variances)
        hessian = np.zeros((len(point.theta), len(point.theta)))
        hessian[:n, :n] = found.hessian
        hessian[n:, n:] = -2.0 * by_own.hessian
        return Derivatives(
            np.concatenate([found.gradient, -2.0 * by_own.gradient]),
            hessian,
            found.average_information,
        )

    def working_derivatives(
        self, point: Point, information: np.ndarray | None = None
    ) -> Derivatives:
        """By the entries of all T, for the working model held."""
        found = derivatives_at(
            point.solved, self.posterior, 1.0, None, point.is_coarse, information
        )
        if self.penalty is None:
            return found
        terms = self.penalty.at(self.prior, point.solved.theta, 1.0)
        return replace(
            found, gradient=found.gradient + terms.gradient, hessian=found.hessian + terms.hessian
        )

    def steps(self, point: Point) -> AlternatingSteps:
        """Steps on theta and sites in turn."""
        return AlternatingSteps(self)

    def posterior_covariance(self, point: Point, joint_limit: int) -> PosteriorCovariance:
        """The covariance of the posterior at a point; see `Posterior.covariance`."""
        return self.posterior.covariance(point.solved, joint_limit)

    def deviance_error(self, point: VariationalPoint) -> float:
        """Error of the log determinant, and the mean effect of errors of the row variances.

        With dv the error of a variance v and w(v) the precision of a row at it, the row's
        share of the deviance is off by w dv + w' dv^2 / 2, and what it takes off for its site,
        (w + w' dv) dv, also is. First orders cancel, and -w' dv^2 / 2 is left, whose
        expectation does not vanish.
        """
        squares = self.posterior.row_variance_errors(point.solved, self.responses.rows)
        if not squares.any():
            return point.log_det_error
        # the fourth derivative is -2 w'
        bias = -0.25 * float(squares @ self.higher_derivatives(point)[1])
        return float(np.hypot(point.log_det_error, bias))

    def higher_derivatives(self, point: VariationalPoint) -> tuple[np.ndarray, np.ndarray]:
        """As `higher_derivatives_at` a point; found once."""
        if "higher" not in point.made:
            own, precision = self.split(point.theta)[1], point.following.precision
            point.made["higher"] = self.higher_derivatives_at(
                point.mean, point.variance, precision, own
            )
        return point.made["higher"]

    def higher_derivatives_at(
        self, mean: np.ndarray, variance: np.ndarray, precision: np.ndarray, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Third and fourth derivatives of the rows' log densities, expected and weighted, (n,).

        Parameters
        ----------
        mean, variance : ndarray (n,)
            Of the linear predictor of every row, less the offset.
        precision : ndarray (n,)
            Of the likelihood's terms there.
        own : ndarray (k,)
        """
        third, fourth = self.likelihood.higher_derivatives(
            self.family_rows, self.responses.shifted(mean), variance, precision, own
        )
        return self.responses.weights * third, self.responses.weights * fourth

    def own_derivatives(
        self, mean: np.ndarray, variance: np.ndarray, own: np.ndarray
    ) -> ParameterDerivatives:
        """Derivatives by own parameters of the expected log density of all rows.

        Parameters
        ----------
        mean, variance : ndarray (n,)
            Of the linear predictor of every row, less the offset.
        own : ndarray (k,)
        """
        return self.likelihood.parameter_derivatives(
            self.family_rows, self.responses.shifted(mean), variance, own
        )

    def own_changes(self, mean: np.ndarray, variance: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Derivatives by own parameters of what rows add to gradients by mean and variance.

        Returns
        -------
        ndarray (2, n, k)
            Weighted; a gradient by the variance is minus half the precision.
        """
        changes = np.zeros((2, len(mean), len(own)))
        if not len(own):
            return changes
        here = self.row_terms(mean, variance, own)
        for j in range(len(own)):
            moved = own.copy()
            moved[j] += _OWN_STEP
            there = self.row_terms(mean, variance, moved)
            changes[0, :, j] = there.gradient - here.gradient
            changes[1, :, j] = -0.5 * (there.precision - here.precision)
        changes *= self.responses.weights[:, None] / _OWN_STEP
        return changes

    def runs_away(self, point: Point) -> bool:
        """Whether coefficients grow without bound, so that there is no optimum."""
        return runs_away(point, self.responses.steps)

    def separated(self, point: VariationalPoint, units: Units) -> tuple[int, ...]:
        """Fixed-effect columns that predict a part of the responses without error."""
        # the sites of the last step may still know of rows that its predictor is certain of
        weights, linear = self.working_model(point.following)
        information = self.responses.rows.dense_products(weights, linear)[:-1, :-1]
        return separated_columns(information, self.responses.steps, units.fixed.has_intercept)

    def solved(self, system: System, theta: np.ndarray) -> Solved:
        """The working model's system and the entries of all T, for the posterior to evaluate."""
        return Solved(system, self.prior, self.split(theta)[0], self.integrate_fixed)


def _penalty(system: System) -> float:
    """u' Cov(u)^-1 u at the posterior means, relative to the noise."""
    pairs = zip(system.residual_products, system.scales, strict=True)
    return sum(float(((products @ scale.matrix) ** 2).sum()) for products, scale in pairs)


def _slack(point: Point, other: Point) -> float:
    """By how much rounding, or random vectors, let a deviance seem to rise."""
    digits = 1e-12 * max(abs(other.deviance), 1.0) + point.rounding
    return digits + 3.0 * point.doubt(other)
