"""Settings of the whole test suite."""

import os

# scikit-learn's array API checks run only where SciPy was told to take other arrays
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import matplotlib

matplotlib.use("Agg")
