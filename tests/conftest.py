"""Settings of the whole test suite."""

import os

# scikit-learn's array API checks run only where SciPy was told to take other arrays
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import matplotlib
import pytest
from threadpoolctl import threadpool_limits

matplotlib.use("Agg")

SLOW_FILES = """
bootstrap borders bound_moves callbacks cases class_weight classifier_inputs classifier_usage
comparison contracts_classes contracts_input contracts_interruption contracts_kernel_files
contracts_memory contracts_process corrected coverage_of_intervals crossed design_merge
diagnose displays displays_answers displays_rows encoder estimator_checks expectations
formula_hostile from_r fuzz_short glmm_cases glmm_optima house inference influence
invariants iterative kenward_roger lmertest nearer_start persistence properties_bounds
properties_invariance properties_kernels_rows properties_predictions properties_solvers
properties_weights quantiles questions regressor_counts regressor_dask regressor_degenerate
regressor_graphs regressor_iterative regressor_partial_fit row_variances silent_errors
structures variance_posterior variance_prior variance_shares variational variational_fits
"""
"""Files, without ``test_``, that take several seconds each: all others together take a minute."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each process a half of the files, and at the end what another one has left.

    xdist's default deals tests out one by one: both processes would make the models and oracles
    that the tests of a file share.
    """
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_collection_modifyitems(items):
    """Mark the tests of slow files, which ``-m "not slow"`` leaves out; contracts come last.

    Tests of contracts start processes. Before any kernel is on disk, processes that run at once
    would compile the same ones.
    """
    items.sort(key=lambda item: item.path.parent.name == "contracts")
    slow = set(SLOW_FILES.split())
    for item in items:
        if item.path.stem.removeprefix("test_") in slow:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread():
    """Matrices of tests are small: threads that wait for each other cost far more than they save.

    Above all where processes of tests share the cores.
    """
    with threadpool_limits(1, user_api="blas"):
        yield
