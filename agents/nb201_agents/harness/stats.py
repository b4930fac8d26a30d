"""Statistics of independent runs: robust means, intervals, step functions and medians of censored times.

The interquartile mean with a bootstrap interval is the convention of Agarwal et al., "Deep Reinforcement Learning at
the Edge of the Statistical Precipice", NeurIPS 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from nb201_env.analysis import pareto_front as front_of

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


def bootstrap_band(curves: npt.ArrayLike, level: float = 0.95, resamples: int = 2000) -> tuple[Floats, Floats]:
    """`bootstrap_interval` of the mean at each point of curves, by the same resamples of runs.

    Args:
        curves: one for each run; NaN makes an end NaN.
        level: of confidence.
        resamples: number of resamples.
    """
    sample = np.asarray(curves, np.float64)
    runs = len(sample)
    drawn = np.random.default_rng(0).integers(runs, size=(resamples, runs)) + runs * np.arange(resamples)[:, None]
    weights = np.bincount(drawn.reshape(-1), minlength=resamples * runs).reshape(resamples, runs) / runs
    low, high = np.quantile(weights @ sample, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def censored_median(times: npt.ArrayLike, ends: npt.ArrayLike = math.inf) -> float:
    """Median of times by Kaplan and Meier's estimate (1958); inf if it is not reached.

    Where half of the runs have come to the event, and none comes between two times, it is the middle of the two, as the
    median of whole samples is.

    Args:
        times: at which the event came in each run, inf where it never came.
        ends: when each run ended, after which nobody knows; inf for runs that saw everything.
    """
    at, survival, _ = _survival(times, ends)
    return (_first(at, survival <= 0.5 + _ROUNDING) + _first(at, survival < 0.5 - _ROUNDING)) / 2


def censored_median_interval(
    times: npt.ArrayLike, ends: npt.ArrayLike = math.inf, level: float = 0.95
) -> tuple[float, float]:
    """Interval of `censored_median` (Brookmeyer and Crowley, 1982) by log-log intervals; an end may be inf."""
    at, survival, error = _survival(times, ends)
    score = NormalDist().inv_cdf((1 + level) / 2)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        spread = score * error / np.abs(np.log(survival))
        low, high = (np.nan_to_num(survival ** np.exp(sign * spread)) for sign in (1.0, -1.0))
    return _first(at, low <= 0.5), _first(at, high <= 0.5)


_ROUNDING = 1e-9


def _survival(times: npt.ArrayLike, ends: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Times of events, the share of runs without it after each, and Greenwood's error of that share's logarithm."""
    when = np.asarray(times, np.float64)
    has = np.isfinite(when)
    until = np.where(has, when, np.broadcast_to(np.asarray(ends, np.float64), when.shape))
    at, events = np.unique(when[has], return_counts=True)
    at_risk = (until[:, None] >= at).sum(axis=0)
    with np.errstate(divide="ignore"):
        greenwood = np.cumsum(events / (at_risk * (at_risk - events)))
    return at, np.cumprod(1.0 - events / at_risk), np.sqrt(greenwood)


def _first(at: Floats, holds: npt.NDArray[np.bool_]) -> float:
    return float(at[holds.argmax()]) if holds.any() else math.inf


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
    observed, extreme = abs(sample.mean()) / sample.std(ddof=1), 0
    for start in range(0, resamples, _AT_ONCE):
        size = min(_AT_ONCE, resamples - start), sample.size
        drawn = centred[rng.integers(sample.size, size=size)]
        with np.errstate(divide="ignore", invalid="ignore"):  # in units of its own error, which keeps the level
            scores = np.abs(drawn.mean(axis=1)) / drawn.std(axis=1, ddof=1)
        extreme += int(np.count_nonzero(~(scores < observed)))
    return float(extreme + 1) / (resamples + 1)


_AT_ONCE = 1_000  # resamples, so that their memory is bounded


def stratified_interval(
    strata: Sequence[npt.ArrayLike], statistic: Callable[..., npt.ArrayLike] = iqm, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of all runs together, resampled within each stratum alone.

    Args:
        strata: one array of runs for each task, such as a data set.
        statistic: takes an array and an axis.
        level: of confidence.
    """
    rng, resamples = np.random.default_rng(0), 2_000
    drawn = [np.asarray(one, np.float64)[rng.integers(np.size(one), size=(resamples, np.size(one)))] for one in strata]
    low, high = np.quantile(
        np.asarray(statistic(np.concatenate(drawn, axis=1), axis=-1)), [(1 - level) / 2, (1 + level) / 2]
    )
    return float(low), float(high)


def performance_profile(values: npt.ArrayLike, grid: Floats) -> Floats:
    """Share of runs whose value is at most each point of a grid (Agarwal et al., 2021, for values that are costs)."""
    ordered = np.sort(np.asarray(values, np.float64))
    return np.searchsorted(ordered, grid, side="right") / ordered.size


def hypervolume(points: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Area that points (n, 2), both columns to be made small, dominate below a reference point (Zitzler, 1999)."""
    reference = np.asarray(reference, np.float64)
    front = pareto_front(np.minimum(np.asarray(points, np.float64), reference))
    widths = np.diff(np.append(front[:, 0], reference[0]))
    return float((widths * (reference[1] - front[:, 1])).sum())


def pareto_front(points: npt.ArrayLike) -> Floats:
    """The points of (n, 2) that no other one is better than in one column and not worse in the other, by the first."""
    table = np.asarray(points, np.float64).reshape(-1, 2)
    return table[front_of(-table[:, 1], table[:, 0])]


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
