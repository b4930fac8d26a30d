"""Statistics of independent runs: robust means, intervals, step functions and medians of censored times.

The interquartile mean with a bootstrap interval is the convention of Agarwal et al., "Deep Reinforcement Learning at
the Edge of the Statistical Precipice", NeurIPS 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def iqm(values: npt.ArrayLike, axis: int = -1) -> Floats:
    """Interquartile mean: the mean of the middle half, with fractional weights where a quarter is no whole number."""
    ordered = np.sort(np.asarray(values, np.float64), axis=axis)
    count = ordered.shape[axis]
    ranks = np.arange(count)
    weights = np.clip(np.minimum(ranks + 1, 0.75 * count) - np.maximum(ranks, 0.25 * count), 0.0, 1.0)
    return np.asarray(np.moveaxis(ordered, axis, -1) @ weights / weights.sum())


def bootstrap_interval(
    values: npt.ArrayLike,
    statistic: Callable[..., npt.ArrayLike] = np.mean,
    rng: np.random.Generator | None = None,
    level: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of independent runs.

    Args:
        values: one for each run, (runs,).
        statistic: takes an array and an axis.
        rng: source of the resamples; by default one with a fixed seed, so that a report is reproducible.
        level: of confidence.
        resamples: number of resamples.
    """
    sample = np.asarray(values, np.float64)
    rng = rng or np.random.default_rng(0)
    resampled = statistic(sample[rng.integers(sample.size, size=(resamples, sample.size))], axis=-1)
    low, high = np.quantile(np.asarray(resampled), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def censored_median(times: npt.ArrayLike) -> float:
    """Median of times, inf where the event never came; inf if it came in half of the runs or fewer."""
    return float(np.median(np.asarray(times, np.float64))) if np.size(times) else math.inf


def step_function(times: Floats, values: Floats, grid: Floats) -> Floats:
    """The last value at or before each point of a grid, NaN before the first; nothing is interpolated.

    Args:
        times: ascending, (n,).
        values: one for each time, (n,).
        grid: any points, (m,).
    """
    position = np.searchsorted(times, grid, side="right") - 1
    if not times.size:
        return np.full(grid.shape, np.nan)
    return np.where(position < 0, np.nan, values[np.maximum(position, 0)])
