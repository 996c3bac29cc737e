"""Reports of the iterations of a fit: printed lines, and scikit-learn's callback interface.

From version 1.9 on an estimator can report every iteration to callbacks such as
``ProgressBar`` and ``ScoringMonitor``. Before, the same calls do nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in for scikit-learn's class, without callbacks."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:  # type: ignore[misc]
        """Return the method as it is, for versions without the decorator."""
        return method


class IterationCallbacks:
    """Tells an estimator's callbacks about the iterations of one fit.

    Parameters
    ----------
    estimator : estimator
        With or without callbacks set.
    X, y : array-like
        Training data, handed to callbacks that ask for them.
    sample_weight : array-like or None
        Handed on as metadata.
    max_iter : int
        Most iterations there can be.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, max_iter: int):
        self._estimator = estimator
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._data = {"X": X, "y": y, "metadata": metadata}
        start = getattr(estimator, "_init_callback_context", None)
        self._root = None if start is None else start(max_subtasks=max_iter)
        if self._root is not None:
            self._root.call_on_fit_task_begin(estimator=estimator, **self._data)

    def iteration_done(self, attributes: Callable[[], Mapping[str, Any]]) -> bool:
        """Report one iteration; a true answer asks the fit to stop.

        `attributes` makes the fitted attributes of the model as it stands, if a
        callback wants to predict with it.
        """
        if self._root is None:
            return False
        iteration = self._root.subcontext(task_name="iteration")
        iteration.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return bool(
            iteration.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=attributes, **self._data
            )
        )

    def fit_done(self, attributes: Callable[[], Mapping[str, Any]]) -> None:
        """Report the end of the fit."""
        if self._root is not None:
            self._root.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=attributes, **self._data
            )


def progress_reporter(
    estimator: Any,
    callbacks: IterationCallbacks | None = None,
    attributes: Callable[[Any], Mapping[str, Any]] | None = None,
) -> Callable[[int, float, float, Callable[[], Any], str], bool]:
    """What a fit calls at the start and after every step; a true answer stops it.

    Parameters
    ----------
    estimator : estimator
        With `verbose`, a line a call is printed.
    callbacks : IterationCallbacks or None
    attributes : callable or None
        Makes the fitted attributes of the result of a step, for `callbacks`.
    """
    began = time.perf_counter()

    def report(
        n_iter: int, elbo: float, gradient: float, publish: Callable[[], Any], method: str
    ) -> bool:
        if estimator.verbose:
            print(
                f"[{type(estimator).__name__}] iteration {n_iter:3d}  ELBO {elbo:.6f}  "
                f"scaled gradient {gradient:.2e}  {time.perf_counter() - began:.2f} s"
                + (f"  {method}" if method else "")
            )
        if n_iter == 0 or callbacks is None or attributes is None:
            return False
        return callbacks.iteration_done(lambda: attributes(publish()))

    return report
