"""Estimates of linear functions of the coefficients with tests, for whoever asks of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skmixed.fitted_model import FittedModel, TrainingData
from skmixed.inspection.attributes import Coefficients, coefficients_of
from skmixed.inspection.fixed_effects import interval_and_test, why_no_t_test
from skmixed.results.coefficient_tests import Asymptotic, CoefficientTests, JointTest
from skmixed.results.degrees_of_freedom import METHODS, NEED_FACTORS
from skmixed.results.reopened import ReopenedFit
from skmixed.threads import restrained_blas
from skmixed.validation import check_choice

ASYMPTOTIC = "asymptotic"

_LARGEST_DENSE = 5000
"""Effects of a tail up to which a dense factor is made for tests."""

DDF = (*METHODS, ASYMPTOTIC)
"""Values of ``ddf``."""


def reopened(model: FittedModel, data: TrainingData, *, factorised: bool = False) -> ReopenedFit:
    """The normal fit made again at its estimates, from the training data.

    `factorised` asks for the direct solver where the model leaves the choice and the tail is small.
    """
    encoder = model.encoder
    options = model.settings.options(encoder)
    sizes = sorted(factor.levels.n_levels * len(factor.term_names) for factor in encoder.factors)
    if factorised and options.solver == "auto" and sum(sizes[:-1]) <= _LARGEST_DENSE:
        options = replace(options, solver="direct")
    if data is model.data and model.sums is not None:
        return ReopenedFit.of_sums(model.sums, model.result, options)
    rows = model.observe(data)
    return ReopenedFit.of(rows.design, rows.response, rows.weights, model.result, options)


def _tests(model: FittedModel, data: TrainingData, ddf: str) -> CoefficientTests:
    """The tests of a method, computed once for the data that a model kept."""
    key = ddf, model.settings.solver, model.settings.n_probes, model.settings.random_state
    result, tests = data.answers.get(key, (None, None))
    if tests is None or result is not model.result:
        tests = METHODS[ddf](reopened(model, data, factorised=ddf in NEED_FACTORS))
        if data is model.data:
            data.answers[key] = model.result, tests
    found: CoefficientTests = tests
    return found


@dataclass(frozen=True)
class CoefficientQuestions:
    """The coefficients of a model, with a method of degrees of freedom.

    Attributes
    ----------
    coefficients : Coefficients
        Intercept first, as they are published.
    tests : CoefficientTests
    ddf : str
        The method.
    note : str
        Why it is another one than was asked for, or how exact it is; empty if there is no more
        to say.
    """

    coefficients: Coefficients
    tests: CoefficientTests
    ddf: str
    note: str = ""

    @classmethod
    def of(
        cls, model: FittedModel, data: TrainingData | None, ddf: str, asks: str
    ) -> CoefficientQuestions:
        """The coefficients of a model, tested by the method `ddf`.

        Responses that are not normal have asymptotic tests, whatever the method.

        Parameters
        ----------
        model : FittedModel
        data : TrainingData or None
            The rows of the fit; not needed where tests are asymptotic.
        ddf : {"satterthwaite", "kenward-roger", "asymptotic"}
        asks : str
            The call that asks, for errors.
        """
        check_choice("ddf", ddf, DDF)
        coefficients, note = coefficients_of(model), ""
        if not model.likelihood.is_quadratic and ddf != ASYMPTOTIC:
            ddf = ASYMPTOTIC
            note = f"asymptotic, because a {model.likelihood.name} response has no noise variance"
        if ddf == ASYMPTOTIC:
            covariance = model.result.coefficient_covariance
            return cls(coefficients, Asymptotic(covariance), ddf, note)
        if reason := why_no_t_test(model, f"ddf={ddf!r}"):
            raise ValueError(reason)
        assert data is not None
        with restrained_blas(model.settings.options(model.encoder).n_threads):
            tests = _tests(model, data, ddf)
            if tests.trace_error:
                note = (
                    f"{ddf}, traces with a Monte Carlo error of {100.0 * tests.trace_error:.1g} %"
                )
            return cls(coefficients, tests, ddf, note)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the published coefficients, (p, p)."""
        change = self.coefficients.from_centred
        return change @ self.tests.covariance @ change.T

    def estimates(self, L: np.ndarray, level: float) -> dict[str, np.ndarray]:
        """Columns estimate, std_error, lower, upper, df, statistic, p_value of functions (k, p)."""
        change = self.coefficients.from_centred
        values = L @ self.coefficients.estimates
        variances = np.einsum("kp,pq,kq->k", L, self.covariance, L)
        df = self.tests.degrees_of_freedom(L @ change)
        return interval_and_test(values, np.sqrt(np.maximum(variances, 0.0)), df, level)

    def joint_test(self, L: np.ndarray) -> JointTest:
        """Test that linear functions (k, p) of the published coefficients are all zero."""
        values = L @ self.coefficients.estimates
        return self.tests.joint_test(L @ self.coefficients.from_centred, values)
