"""Settings of the whole test suite."""

import os

# scikit-learn's array API checks run only where SciPy was told to take other arrays
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import matplotlib
import pytest
from threadpoolctl import threadpool_limits

matplotlib.use("Agg")


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread():
    """Matrices of tests are small: threads that wait for each other cost far more than they save.

    Above all where processes of tests share the cores.
    """
    with threadpool_limits(1, user_api="blas"):
        yield
