"""The space as a landscape: cells are neighbours if they differ in one edge, 24 each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nb201_env.space import ALL_OPS, EDGES, NEIGHBORS, NUM_CELLS

Floats = npt.NDArray[np.float64]

WALKS, LENGTH, LAGS = 200, 200, 12


@dataclass(frozen=True)
class Landscape:
    """What a search by small steps meets.

    Attributes:
        maxima: strict local maxima, the best first.
        distance: edges in which each cell differs from the best, (15625,).
        by_distance: 10, 50 and 90 % quantiles of the values at each distance from 0 to 6, (3, 7).
        steps: of a climb to the best neighbour, how many it takes from each cell until none is better, (15625,).
        ends: where that climb ends, (15625,).
        autocorrelation: of values along uniform random walks, at lags from 0, (lags,).
    """

    maxima: npt.NDArray[np.intp]
    distance: npt.NDArray[np.int64]
    by_distance: Floats
    steps: npt.NDArray[np.int64]
    ends: npt.NDArray[np.intp]
    autocorrelation: Floats


def landscape(values: Floats, rng: np.random.Generator) -> Landscape:
    """The landscape of values of cells, (15625,); a cell without a value is below every other."""
    best = int(np.nanargmax(values))
    distance = steps_to(best)
    known = np.isfinite(values)
    by_distance = np.full((3, len(EDGES) + 1), np.nan)
    for apart in range(len(EDGES) + 1):
        there = values[known & (distance == apart)]
        if there.size:
            by_distance[:, apart] = np.quantile(there, (0.1, 0.5, 0.9))
    steps, ends = _climbs(values)
    maxima = local_maxima(values)
    return Landscape(
        maxima[np.argsort(-values[maxima], kind="stable")], distance, by_distance, steps, ends,
        walk_autocorrelation(values, rng),
    )  # fmt: skip


def local_maxima(values: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Cells whose value is above those of all 24 neighbours, ascending."""
    heights = _heights(np.asarray(values, np.float64))
    return np.flatnonzero((heights[:, None] > heights[NEIGHBORS]).all(axis=1))


def steps_to(cell: int) -> npt.NDArray[np.int64]:
    """Edges in which each cell differs from one, (15625,)."""
    return np.asarray((ALL_OPS[cell] != ALL_OPS).sum(axis=1), np.int64)


def walk_autocorrelation(values: Floats, rng: np.random.Generator, lags: int = LAGS) -> Floats:
    """Correlation of values some steps apart on uniform random walks, at lags 0 to `lags`, (lags + 1,).

    Weinberger, Correlated and uncorrelated fitness landscapes, Biological Cybernetics 1990. Pairs of which a value is
    missing are left out.
    """
    cells = np.empty((LENGTH, WALKS), np.int64)
    cells[0] = rng.integers(NUM_CELLS, size=WALKS)
    for step in range(1, LENGTH):
        cells[step] = NEIGHBORS[cells[step - 1], rng.integers(NEIGHBORS.shape[1], size=WALKS)]
    walked = values[cells] - np.nanmean(values)
    variance = np.nanmean(walked**2)
    if not variance > 0:
        return np.full(lags + 1, np.nan)
    return np.array([np.nanmean(walked[lag:] * walked[: LENGTH - lag]) / variance for lag in range(lags + 1)])


def _heights(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, -np.inf)


def _climbs(values: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """Steps of steepest climbs from each cell, and where they end."""
    heights = _heights(values)
    best = NEIGHBORS[np.arange(NUM_CELLS), heights[NEIGHBORS].argmax(axis=1)].astype(np.intp)
    onward = np.where(heights[best] > heights, best, np.arange(NUM_CELLS))
    steps, at = np.zeros(NUM_CELLS, np.int64), np.arange(NUM_CELLS)
    while (moves := onward[at] != at).any():
        steps += moves
        at = onward[at]
    return steps, at
