"""Lengths of the loadings of rows: combinations of columns of all coefficients.

The fixed effects and the effects of all levels stand below one another, with J columns. A row
combines those of its *terms*, its fixed effects and the effects of its levels, by amounts.
"""

import numpy as np

from skmixed._kernels.cell_passes import LANES
from skmixed._kernels.compile import lane_kernel


@lane_kernel
def add_squared_loadings(places, amounts, columns, out, fourths):
    """Add the squared length of the loading of every row (J,) to `out` (n,).

    Parameters
    ----------
    places, amounts : (n, K)
        Rows of `columns`, and what they are multiplied by.
    columns : (coefficients, J)
        J is a multiple of `LANES`.
    out : (n,)
    fourths : (n,) or (0,)
        Receives the sum of the fourth powers, unless it is empty.
    """
    for i in range(places.shape[0]):
        squares, fourth = 0.0, 0.0
        for j in range(0, columns.shape[1], LANES):
            # as sums over cells in `cell_passes`; called from here they take a fifth longer
            a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for k in range(places.shape[1]):
                row, amount = np.uint64(places[i, k]), amounts[i, k]
                a += amount * columns[row, j]
                b += amount * columns[row, j + 1]
                c += amount * columns[row, j + 2]
                d += amount * columns[row, j + 3]
                e += amount * columns[row, j + 4]
                f += amount * columns[row, j + 5]
                g += amount * columns[row, j + 6]
                h += amount * columns[row, j + 7]
            a, b, c, d, e, f, g, h = a * a, b * b, c * c, d * d, e * e, f * f, g * g, h * h
            squares += ((a + b) + (c + d)) + ((e + f) + (g + h))
            if fourths.shape[0]:
                a, b, c, d, e, f, g, h = a * a, b * b, c * c, d * d, e * e, f * f, g * g, h * h
                fourth += ((a + b) + (c + d)) + ((e + f) + (g + h))
        out[i] += squares
        if fourths.shape[0]:
            fourths[i] = fourth
