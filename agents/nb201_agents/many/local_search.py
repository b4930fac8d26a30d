"""Many local searches at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nb201_agents.many.draws import Floats, Ints, ManyDraws, Rows
from nb201_agents.searcher import Task
from nb201_env import NEIGHBORS, NUM_CELLS


class LocalSearches:
    """`LocalSearch`, one in each row.

    A row is at a start, while `starts` is above 0, or on a climb: then `order` has the neighbours of `current` and
    `next` says which of them is to be looked at.
    """

    def __init__(self, task: Task, rngs: Sequence[np.random.Generator], initial: int):
        rows = len(rngs)
        self._draws, self._present, self._num_cells = ManyDraws(task, rngs), task.present, task.cells.size
        self._is_known = np.zeros((rows, NUM_CELLS), bool)
        self._worth = np.zeros((rows, NUM_CELLS))
        self._num_known = np.zeros(rows, np.int64)
        self._starts = np.full(rows, max(initial, len(task.start)))
        self._current, self._best = np.full(rows, -1), np.full(rows, -np.inf)
        self._order = np.zeros((rows, NEIGHBORS.shape[1]), np.int64)
        self._next = np.zeros(rows, np.int64)

    def ask(self, rows: Rows) -> Ints:
        """The next unknown cell on the way of each row, -1 where all are known."""
        cells = np.full(rows.size, -1, np.int64)
        open_ = np.flatnonzero(self._num_known[rows] < self._num_cells)
        while open_.size:
            at_start = self._starts[rows[open_]] > 0
            starting, climbing = open_[at_start], open_[~at_start]
            cells[starting] = self._draws.cells(rows[starting], self._is_known)
            cells[climbing] = self._climb(rows[climbing])
            open_ = climbing[cells[climbing] < 0]
        return cells

    def tell(self, rows: Rows, cells: Ints, worth: Floats) -> None:
        """Remember what cells are worth; where it is more, climbs go on from them."""
        self._is_known[rows, cells], self._worth[rows, cells] = True, worth
        self._num_known[rows] += 1
        is_start, better = self._starts[rows] > 0, worth > self._best[rows]
        self._current[rows[better]], self._best[rows[better]] = cells[better], worth[better]
        self._starts[rows] -= is_start
        self._next[rows] += ~is_start
        self._face(rows[(is_start & (self._starts[rows] == 0)) | (~is_start & better)])

    def _climb(self, rows: Rows) -> Ints:
        """One step of each climb: an unknown neighbour, or -1 after a known one was looked at."""
        done = self._next[rows] == self._order.shape[1]  # an optimum: a random cell is the next start
        ended = rows[done]
        self._starts[ended], self._current[ended], self._best[ended] = 1, -1, -np.inf
        cells = np.full(rows.size, -1, np.int64)
        on = np.flatnonzero(~done)
        neighbor = self._order[rows[on], self._next[rows[on]]]
        is_known = self._is_known[rows[on], neighbor]
        asks = ~is_known & self._present[neighbor]
        cells[on[asks]] = neighbor[asks]
        on, neighbor, is_known = on[~asks], neighbor[~asks], is_known[~asks]
        self._next[rows[on]] += 1
        worth = self._worth[rows[on], neighbor]
        better = is_known & (worth > self._best[rows[on]])
        moved = rows[on[better]]
        self._current[moved], self._best[moved] = neighbor[better], worth[better]
        self._face(moved)
        return cells

    def _face(self, rows: Rows) -> None:
        """Look at the neighbours of the current cells in random order."""
        order = self._draws.uniform(rows, NEIGHBORS.shape[1]).argsort(axis=1)
        self._order[rows] = np.take_along_axis(NEIGHBORS[self._current[rows]], order, axis=1)
        self._next[rows] = 0
