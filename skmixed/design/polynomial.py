"""Orthogonal polynomials of a column, as ``poly`` of R makes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Polynomial:
    """Polynomials that are orthonormal over the training rows.

    Each is computed from the two before, p[k+1] = (t - shifts[k]) p[k] - ratios[k] p[k-1], in
    t = (x - center) / scale. Divided by its size over the training rows it has the values of
    R's ``poly``, in new data those of R's ``predict``.

    Attributes
    ----------
    center, scale : float
    shifts, ratios, sizes : ndarray (degree,)

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.design.polynomial import Polynomial
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> Polynomial.learn(x, 2, "'poly(x, 2)'").columns(x)[0].round(4).tolist()
    [-0.7071, 0.0, 0.7071]
    """

    center: float
    scale: float
    shifts: FloatArray
    ratios: FloatArray
    sizes: FloatArray

    @classmethod
    def learn(cls, values: FloatArray, degree: int, label: str) -> Polynomial:
        """Orthogonalise powers over the training rows, one degree after the other.

        Parameters
        ----------
        values : ndarray (n,)
            Finite.
        degree : int
        label : str
            As the polynomial is written, for errors.

        Raises
        ------
        ValueError
            If the column has too few distinct values.
        """
        n_values = len(np.unique(values))
        if n_values <= degree:
            raise ValueError(
                f"{label} needs a column with more than {degree} distinct values, but this one has "
                f"{n_values}; lower the degree, or make the column categorical with C()."
            )
        center = float(values.mean())
        scale = float(np.abs(values - center).max())
        t = (values - center) / scale
        before, current = np.zeros_like(t), np.ones_like(t)
        square_before, square = 1.0, float(len(t))
        shifts, ratios, sizes = [], [], []
        for k in range(degree):
            shifts.append(float(t @ current**2) / square)
            ratios.append(square / square_before if k else 0.0)
            before, current = current, (t - shifts[-1]) * current - ratios[-1] * before
            square_before, square = square, float(current @ current)
            sizes.append(square**0.5)
        return cls(center, scale, np.array(shifts), np.array(ratios), np.array(sizes))

    def columns(self, values: FloatArray) -> list[FloatArray]:
        """Values of the polynomials of degree 1, 2, ...; infinite where they overflow."""
        t = (values - self.center) / self.scale
        before, current = np.zeros_like(t), np.ones_like(t)
        found = []
        for shift, ratio, size in zip(self.shifts, self.ratios, self.sizes, strict=True):
            before, current = current, (t - shift) * current - ratio * before
            found.append(current / size)
        return found
