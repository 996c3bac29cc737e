"""The dense models of the linear algebra's tests serve the inference as well."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "solvers"))
