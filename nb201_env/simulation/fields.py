"""Random fields over the space of cells: what makes many tasks of one table.

A field is a sum of normal terms of single edges and of pairs of edges, so that similar cells move alike. It is added to
accuracies, which are then kept within 0 and 1.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.space import ALL_OPS, EDGES, OPS

Floats = npt.NDArray[np.float64]

_PAIRS = np.array(list(combinations(range(len(EDGES)), 2)))
_PAIR_WEIGHT = 0.5
_SINGLE, _JOINT = len(EDGES) * len(OPS), len(_PAIRS) * len(OPS) ** 2
_SCALE = np.sqrt(len(EDGES) + _PAIR_WEIGHT**2 * len(_PAIRS))


class RandomFields:
    """One field for each of many searches.

    Args:
        rows: number of searches.
        deviation: standard deviation of a field.
    """

    def __init__(self, rows: int, deviation: float):
        self._deviation = deviation
        self._terms = np.zeros((rows, _SINGLE + _JOINT))

    def draw(self, rows: npt.NDArray[np.intp], seeds: npt.NDArray[np.uint64]) -> None:
        """Draw new fields for some searches, each from its seed."""
        for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True):
            self._terms[row] = np.random.default_rng([seed, 0]).standard_normal(_SINGLE + _JOINT)

    def everywhere(self, row: int) -> Floats:
        """What one search's field adds to every cell, (15625,)."""
        terms, ops = self._terms[row], ALL_OPS.astype(np.int64)
        total = np.zeros(len(ops))
        for edge in range(len(EDGES)):
            total += terms[edge * len(OPS) + ops[:, edge]]
        for pair, (one, other) in enumerate(_PAIRS.tolist()):
            total += _PAIR_WEIGHT * terms[_SINGLE + (pair * len(OPS) + ops[:, one]) * len(OPS) + ops[:, other]]
        return np.asarray(self._deviation * total / _SCALE)

    def add(
        self, rows: npt.NDArray[np.intp], cells: npt.NDArray[np.integer[Any]], accuracy: npt.NDArray[Any]
    ) -> Floats:
        """Accuracies (n, …) of cells (n,) as the searches `rows` (n,) see them, float64."""
        ops = ALL_OPS[cells].astype(np.int64)
        single = np.arange(len(EDGES)) * len(OPS) + ops
        joint = np.arange(len(_PAIRS)) * len(OPS) ** 2 + ops[:, _PAIRS[:, 0]] * len(OPS) + ops[:, _PAIRS[:, 1]]
        terms = self._terms[rows[:, None], np.concatenate((single, _SINGLE + joint), axis=1)]
        terms[:, len(EDGES) :] *= _PAIR_WEIGHT
        total = np.add.accumulate(terms, axis=1)[:, -1]  # in order, so that it is the same for any number of rows
        moved = (self._deviation * total / _SCALE).reshape(-1, *(1,) * (accuracy.ndim - 1))
        return np.asarray(np.clip(accuracy + moved, 0.0, 1.0), np.float64)
