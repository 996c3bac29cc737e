"""Estimates of a fit in the units of the data; arrays and scalars only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skmixed.families import Gaussian


@dataclass(frozen=True)
class WithinFactor:
    """How the effects of levels covary with those of the levels that they lie in.

    Given the effects of the outer level, and what `FitResult.coupling` has, those of an inner level
    have the mean `slopes` times the outer ones and depend on no other level.

    Attributes
    ----------
    position : int
        Of the outer factor.
    levels : ndarray (levels,)
        The outer level of each level.
    slopes : ndarray (levels, q, r)
    """

    position: int
    levels: np.ndarray
    slopes: np.ndarray

    @classmethod
    def in_data(
        cls,
        position: int,
        levels: np.ndarray,
        slopes: np.ndarray,
        bases: Sequence[np.ndarray],
        ranks: Sequence[np.ndarray | slice],
    ) -> WithinFactor:
        """From levels and slopes in the order and the units of a fit.

        Parameters
        ----------
        position : int
        levels, slopes : ndarray
        bases, ranks : sequence of two
            Units of effects, and places of the levels of the data, of the inner and outer factor.
        """
        in_units = bases[0] @ slopes @ np.linalg.pinv(bases[1])
        if isinstance(ranks[1], np.ndarray):
            levels = np.argsort(ranks[1])[levels]
        return cls(position, levels[ranks[0]].astype(np.int64), in_units[ranks[0]])


@dataclass(frozen=True)
class FactorResult:
    """One grouping factor's part of a fit.

    Attributes
    ----------
    covariance : ndarray (q, q)
        Estimated covariance of the effects of a level.
    means : ndarray (levels, q)
        Posterior means.
    covariances : ndarray (levels, q, q)
        Posterior covariance of each level's effects.
    moments : ndarray (q, q)
        Weighted mean over the rows of z z', with z what the effects of a row's level are
        multiplied with: trace(covariance @ moments) is the mean variance of z' effects.
    thirds : ndarray (levels, q, q, q) or None
        Third central moments of each level's effects, given all parameters; None where the
        posterior is normal, or nothing is known of them.
    within : WithinFactor or None
        The factor that this one is nested in, where `FitResult.coupling` has not both.
    """

    covariance: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    moments: np.ndarray
    thirds: np.ndarray | None = field(default=None, metadata={"since": 7})
    within: WithinFactor | None = field(default=None, metadata={"since": 7})


@dataclass(frozen=True)
class Doubts:
    """Identifiability warnings found during the fit.

    Attributes
    ----------
    unidentified : tuple of int
        Factors without influence on the ELBO, whose variance was set to 0.
    confounded : tuple of int
        Factors of whose variances only a combination is determined.
    dependent : tuple of tuple of int
        By factor, effects that others of their term determine; their variance is 0.
    separated : tuple of int
        Fixed-effect columns that predict a part of the responses without error.
    singular : tuple of tuple of int
        By factor, the first effects of covariance blocks without full rank, in units that
        do not depend on those of the columns.
    """

    unidentified: tuple[int, ...] = ()
    confounded: tuple[int, ...] = ()
    dependent: tuple[tuple[int, ...], ...] = ()
    separated: tuple[int, ...] = ()
    singular: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class FitResult:
    """Estimates of a mixed model.

    Attributes
    ----------
    coefficients : ndarray (p,)
        Fixed effects in design order, the intercept first when there is one,
        at `center`: the coefficients belong to columns less their center.
    center : ndarray (p,)
        What the fit took off the fixed-effect columns; 0 for the intercept.
    coefficient_covariance : ndarray (p, p)
        Of `coefficients`.
    dropped : ndarray of int
        Fixed-effect columns that others span; their coefficient is 0.
    factors : tuple of FactorResult
        In design order.
    noise_variance : float
        Of a row of weight 1; 1 where the response is not normal.
    residual_variance : float
        Noise variance of a row of mean precision weight.
    fixed_mean, fixed_variance : float
        Mean and variance, over the rows with their weights, of the fixed part X beta, the
        offset left out; NaN where sums of parts do not tell.
    fixed_covariance : ndarray (p, p) or None
        Covariance of the fixed-effect columns over the rows with their weights; 0 for
        columns that others span. None after fits of earlier versions, and where sums of
        parts do not tell.
    log_exposure : float
        Logarithm of the mean over the rows of E exp(eta), random effects drawn anew, less what it
        would be without an offset and with a normal fixed part: `fixed_mean` and half the
        variances of fixed part and random effects. 0 for normal responses and classes.
    coupling : ndarray (p + n_effects, j)
        Matrix B such that the posterior covariance of any two coefficients
        (centred fixed effects, then all random effects) of different levels is
        the product of their rows; see ``skmixed.results.prediction``.
    further : ndarray (p + n_effects, e) or None
        Columns whose outer products add to the posterior covariance of all coefficients, for
        what the posterior holds fixed; see `skmixed.fit.uncertainty`. None in fits that
        earlier versions stored.
    coupled : tuple of bool
        Factors whose whole covariance is in `coupling`.
    elbo : float
    elbo_std : float
        Its Monte Carlo standard error; 0 with the direct solver unless effects were drawn.
    solver : {"direct", "iterative"}
    n_products : int
        Products with the system that the last iterative solve took; 0 with the direct solver.
    elbo_path, gradient_path : ndarray
        By iteration, the start included.
    n_iter : int
    converged : bool
    n_observations : float
        Sum of the case weights.
    likelihood : Likelihood
    parameters : ndarray (k,)
        The likelihood's own.
    doubts : Doubts
    level_errors : tuple of float
        By factor, the Monte Carlo standard error of the standard deviations of its effects,
        relative to these, root mean square over levels; 0 where they are exact. Empty after
        fits of earlier versions.
    approximation : {"variational", "corrected"}
        What `elbo` is where the response is not normal: the variational bound, or the log
        likelihood itself, integrated by quadrature and, of crossed factors, draws.
    estimate_covariance : ndarray (s + k + p, s + k + p) or None
        Of the logarithms of the standard deviations of all effects (those of every factor, in
        design order), `parameters` and `coefficients`; 0 for those at the end of their range.
        None where it was not computed.
    bound_moves : ndarray (s,) or None
        Of a variational fit, estimated change of the logarithms of the standard deviations of all
        effects (those of every factor, in design order) to the maximum of the likelihood; None
        where it is not known. See `skmixed.fit.bound_moves`.
    interpolates : bool
        Fixed effects, or fixed and random ones together, reproduce the response: no noise is
        left to model.
    """

    coefficients: np.ndarray
    center: np.ndarray
    coefficient_covariance: np.ndarray
    dropped: np.ndarray
    factors: tuple[FactorResult, ...]
    noise_variance: float
    residual_variance: float
    fixed_mean: float
    fixed_variance: float
    log_exposure: float
    coupling: np.ndarray
    coupled: tuple[bool, ...]
    elbo: float
    elbo_std: float
    solver: str
    n_products: int
    elbo_path: np.ndarray
    gradient_path: np.ndarray
    n_iter: int
    converged: bool
    n_observations: float
    likelihood: Any = field(default_factory=Gaussian)
    fixed_covariance: np.ndarray | None = None
    parameters: np.ndarray = field(default_factory=lambda: np.empty(0))
    doubts: Doubts = Doubts()
    interpolates: bool = False
    further: np.ndarray | None = None
    level_errors: tuple[float, ...] = field(default=(), metadata={"since": 5})
    approximation: str = field(default="variational", metadata={"since": 5})
    estimate_covariance: np.ndarray | None = field(default=None, metadata={"since": 5})
    bound_moves: np.ndarray | None = field(default=None, metadata={"since": 6})
