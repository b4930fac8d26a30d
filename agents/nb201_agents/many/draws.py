"""The random numbers and cells of many searchers at once: what `Draws` is to one of them, in rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_agents.searcher import Task

Rows = npt.NDArray[np.intp]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_AHEAD = 256


class ManyDraws:
    """Each row draws from its own generator what a searcher alone would draw, in the same order.

    Args:
        task: that all search.
        rngs: one generator a row.
    """

    def __init__(self, task: Task, rngs: Sequence[np.random.Generator]):
        self._rngs, self._cells, self._all = rngs, task.cells, np.arange(len(rngs))
        self._ahead = np.zeros((len(rngs), _AHEAD))  # numbers drawn and not used yet, from `used` on
        self._used = np.full(len(rngs), _AHEAD)
        self._start = np.array([cell for cell in task.start if task.present[cell]], np.int64)
        self._started = np.zeros(len(rngs), np.int64)

    def uniform(self, rows: Rows, count: int) -> Floats:
        """The next numbers from 0 to 1 of some rows, (n, count)."""
        if count > _AHEAD:
            return np.concatenate((self.uniform(rows, _AHEAD), self.uniform(rows, count - _AHEAD)), axis=1)
        for row in rows[self._used[rows] + count > _AHEAD].tolist():
            left = _AHEAD - self._used[row]
            self._ahead[row, :left] = self._ahead[row, self._used[row] :]
            self._ahead[row, left:] = self._rngs[row].random(_AHEAD - left)
            self._used[row] = 0
        place = (rows * _AHEAD + self._used[rows])[:, None] + np.arange(count)
        self._used[rows] += count
        return np.asarray(self._ahead.take(place))

    def below(self, rows: Rows, count: Any) -> Ints:
        """A whole number from 0 to `count` - 1 in each of some rows."""
        return np.asarray((self.uniform(rows, 1)[:, 0] * count).astype(np.int64))

    def started(self, rows: Rows) -> Ints:
        """The next cell of the task's start in each of some rows, -1 where it is used up."""
        place = self._started[rows]
        has = place < self._start.size
        self._started[rows] += has
        return (
            np.where(has, self._start[np.minimum(place, self._start.size - 1)], -1) if self._start.size else place - 1
        )

    def cells(self, rows: Rows, known: Bools | None = None) -> Ints:
        """The next cell of the start, then a uniform one on offer, in each of some rows; none that is known there.

        Args:
            rows: any.
            known: which cells each of all rows knows, (rows, 15625); None to allow them.
        """
        found = np.full(rows.size, -1, np.int64)
        open_ = np.arange(rows.size)
        while open_.size:
            cells = self.started(rows[open_])
            drawn = cells < 0
            cells[drawn] = self._cells[self.below(rows[open_[drawn]], self._cells.size)]
            found[open_] = cells
            open_ = open_[known[rows[open_], cells]] if known is not None else open_[:0]
        return found
