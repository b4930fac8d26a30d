"""Ranks and how well two orders of cells agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def ranks(values: npt.ArrayLike) -> Floats:
    """Ranks from 0, the lowest value first, ties at their mean."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    means: Floats = np.cumsum(counts) - (counts + 1) / 2
    return means[inverse.reshape(-1)]


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Spearman's rank correlation over the cells that have both values; NaN if either is the same for all of them."""
    one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 2:
        return float("nan")
    x, y = ranks(one[both]), ranks(other[both])
    if x.std() == 0 or y.std() == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def correlation_matrix(columns: Sequence[npt.ArrayLike]) -> Floats:
    """Spearman's correlations of columns with one another, (columns, columns)."""
    found = np.ones((len(columns), len(columns)))
    for i in range(len(columns)):
        for j in range(i):
            found[i, j] = found[j, i] = spearman(columns[i], columns[j])
    return found
