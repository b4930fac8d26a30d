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


def censored_median_interval(times: npt.ArrayLike, level: float = 0.95, resamples: int = 2000) -> tuple[float, float]:
    """Percentile bootstrap interval of `censored_median`; an end may be inf."""
    sample = np.asarray(times, np.float64)
    if not sample.size:
        return math.inf, math.inf
    rng = np.random.default_rng(0)
    medians = np.sort(np.median(sample[rng.integers(sample.size, size=(resamples, sample.size))], axis=1))
    low, high = (math.floor((resamples - 1) * share) for share in ((1 - level) / 2, (1 + level) / 2))
    return float(medians[low]), float(medians[high])


def paired_p(differences: npt.ArrayLike, resamples: int = 10_000) -> float:
    """Two-sided p-value that paired differences have mean 0, by the bootstrap of their mean about itself.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 16.4, with the share counted from one, so
    that it is never 0. Differences that are all 0 give 1.
    """
    sample = np.asarray(differences, np.float64)
    if not sample.any():
        return 1.0
    rng = np.random.default_rng(0)
    centred = sample - sample.mean()
    if np.ptp(sample) == 0.0:  # the same difference in every pair: no more than their signs can say
        return max(2.0 ** (1 - sample.size), 1.0 / (resamples + 1))
    drawn = centred[rng.integers(sample.size, size=(resamples, sample.size))]
    with np.errstate(divide="ignore", invalid="ignore"):  # in units of its own error, to which the level owes its truth
        scores = np.abs(drawn.mean(axis=1)) / drawn.std(axis=1, ddof=1)
    extreme = np.count_nonzero(~(scores < abs(sample.mean()) / sample.std(ddof=1)))
    return float(extreme + 1) / (resamples + 1)


def holm(p_values: npt.ArrayLike) -> Floats:
    """p-values of several tests, adjusted so that the chance of any false alarm is kept (Holm, 1979)."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return adjusted


def probability_of_improvement(values: npt.ArrayLike, others: npt.ArrayLike) -> float:
    """How likely a run of one agent ends lower than one of another, ties counting half (Agarwal et al., 2021)."""
    mine, theirs = np.asarray(values, np.float64)[:, None], np.asarray(others, np.float64)
    return float((mine < theirs).mean() + 0.5 * (mine == theirs).mean())


def log_area(times: Floats, values: Floats, start: float, end: float) -> float:
    """Mean of a step function over the logarithm of time between two times; its first value counts before it."""
    inside = (times > start) & (times < end)
    edges = np.log(np.concatenate(([start], times[inside], [end])))
    held = values[np.maximum(np.searchsorted(times, np.exp(edges[:-1]) * (1 + 1e-12), side="right") - 1, 0)]
    return float((held * np.diff(edges)).sum() / (edges[-1] - edges[0]))


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
