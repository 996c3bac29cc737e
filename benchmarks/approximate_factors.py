"""Approximate Cholesky factors of skmixed and of approx-chol (Rust, MIT), side by side.

    pip install approx-chol
    python benchmarks/approximate_factors.py
    python benchmarks/approximate_factors.py --workers 100000 --firms 10000

The matrix is that of two intercept factors, nothing eliminated: 1,000,000 workers of six years,
100,000 firms, 10 % moves, variances twice the noise. On one thread: seconds to factorise it, and to
solve with a random right-hand side to a relative residual of 1e-8, in turns.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.sparse import block_array, csr_array, csr_matrix, diags_array
from weakly_connected import workers

from skmixed.solvers.approximate_factor import ApproximateFactor

RATIO = 2.0
TOLERANCE = 1e-8

Apply = Callable[[np.ndarray], np.ndarray]


def make_matrix(n_workers: int, n_firms: int) -> csr_array:
    """[D1 C; C' D2] with the sign of one factor changed."""
    X, _ = workers(n_workers, n_firms, 0.10, 0.5)
    cells = csr_array((np.ones(len(X)), (X["a"], X["b"])), shape=(n_workers, n_firms))
    own = [np.asarray(cells.sum(axis=k)).ravel() + 1.0 / RATIO for k in (1, 0)]
    matrix = block_array(
        [[diags_array(own[0]), -cells], [-cells.T, diags_array(own[1])]], format="csr"
    )
    matrix.sort_indices()
    return csr_array(matrix)


def iterations(matrix: csr_array, apply: Apply, right: np.ndarray) -> int:
    """Conjugate gradient steps that a preconditioner needs."""
    x, r = np.zeros_like(right), right.copy()
    z = apply(r)
    direction, size, n_steps = z.copy(), r @ z, 0
    while np.linalg.norm(r) > TOLERANCE * np.linalg.norm(right):
        product = matrix @ direction
        length = size / (direction @ product)
        x += length * direction
        r -= length * product
        z = apply(r)
        size, before = r @ z, size
        direction = z + size / before * direction
        n_steps += 1
    return n_steps


def ours(matrix: csr_array) -> Apply:
    """One sample for an edge, as approx-chol has it."""
    start, columns = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    factor = ApproximateFactor(start, columns, matrix.data, copies=1)
    return lambda r: factor.apply(factor.apply_transposed(r[:, None]))[:, 0]


def theirs(matrix: csr_array) -> Apply:
    """approx-chol with its defaults."""
    import approx_chol

    factor = approx_chol.factorize(csr_matrix(matrix))
    return lambda r: np.asarray(factor.solve(r))


def main() -> None:
    """Measure in turns and print the least of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1_000_000)
    parser.add_argument("--firms", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    matrix = make_matrix(arguments.workers, arguments.firms)
    print(f"{matrix.shape[0]:,} vertices, {matrix.nnz:,} entries")
    right = np.random.default_rng(0).standard_normal(matrix.shape[0])
    ours(make_matrix(1000, 100))  # loads compiled code
    times: dict[str, list[tuple[float, float, int]]] = {"skmixed": [], "approx-chol": []}
    for _ in range(arguments.repeats):
        for name, factorise in (("skmixed", ours), ("approx-chol", theirs)):
            began = time.perf_counter()
            apply = factorise(matrix)
            made = time.perf_counter()
            n_steps = iterations(matrix, apply, right)
            times[name].append((made - began, time.perf_counter() - made, n_steps))
    for name, found in times.items():
        factor, solve, n_steps = (min(values) for values in zip(*found, strict=True))
        print(f"{name:12s} factor {factor:.2f} s, solve {solve:.2f} s, {n_steps} iterations")


if __name__ == "__main__":
    main()
