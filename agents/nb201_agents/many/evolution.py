"""Many evolutions at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nb201_agents.many.draws import Bools, Floats, Ints, ManyDraws, Rows
from nb201_agents.searcher import Task
from nb201_agents.searchers.evolution import EDGES_INTO, MOVES, TRIES
from nb201_env import EDGES, NEIGHBORS, NUM_CELLS

_COUNT_INTO = np.array([len(edges) for edges in EDGES_INTO])
_INTO = np.array([[*edges, *edges[:1] * (len(EDGES) - len(edges))] for edges in EDGES_INTO])


class RegularizedEvolutions:
    """`RegularizedEvolution`, one in each row."""

    def __init__(
        self,
        task: Task,
        rngs: Sequence[np.random.Generator],
        population: int,
        sample: int,
        mutation: str,
        repeats: bool,
    ):
        rows = len(rngs)
        self._draws, self._present, self._num_cells = ManyDraws(task, rngs), task.present, task.cells.size
        self._size, self._sample, self._mutation, self._repeats = population, sample, mutation, repeats
        self._cells, self._worth = np.zeros((rows, population), np.int64), np.zeros((rows, population))
        self._told = np.zeros(rows, np.int64)  # how many cells joined a population, which is a ring
        self._asked = np.zeros((rows, 1 if repeats else NUM_CELLS), bool)
        self._num_asked = np.zeros(rows, np.int64)

    def ask(self, rows: Rows) -> Ints:
        """A random cell where the population is not full, else a child; -1 where no cell is left."""
        cells = self._draws.started(rows)
        left = np.ones(rows.size, bool)
        if not self._repeats:
            left = self._num_asked[rows] < self._num_cells
            cells[(cells >= 0) & self._asked[rows, np.maximum(cells, 0)]] = -1
        open_ = (cells < 0) & left
        is_young = self._told[rows] < self._size
        at = np.flatnonzero(open_ & is_young)
        cells[at] = self._random(rows[at])
        at = np.flatnonzero(open_ & ~is_young)
        cells[at] = self._children(rows[at])
        if not self._repeats:
            mine = np.flatnonzero(left)
            self._num_asked[rows[mine]] += ~self._asked[rows[mine], cells[mine]]
            self._asked[rows[mine], cells[mine]] = True
        return np.where(left, cells, -1)

    def tell(self, rows: Rows, cells: Ints, worth: Floats) -> None:
        """The told cells join the populations, and the oldest leave."""
        place = self._told[rows] % self._size
        self._cells[rows, place], self._worth[rows, place] = cells, worth
        self._told[rows] += 1

    def _random(self, rows: Rows) -> Ints:
        return self._draws.cells(rows, None if self._repeats else self._asked)

    def _children(self, rows: Rows) -> Ints:
        # the oldest member is number 0, as in a deque
        drawn = (self._draws.uniform(rows, self._sample) * self._size).astype(np.int64)
        members = (self._told[rows][:, None] + drawn) % self._size
        best = self._worth[rows[:, None], members].argmax(axis=1)
        parents = self._cells[rows, members[np.arange(rows.size), best]]
        children, open_ = np.full(rows.size, -1, np.int64), np.arange(rows.size)
        for _ in range(TRIES):
            children[open_] = NEIGHBORS[parents[open_], self._moves(rows[open_])]
            open_ = open_[~self._present[children[open_]]]
            if not open_.size:
                break
        replaced: Bools = np.zeros(rows.size, bool)
        replaced[open_] = True
        if not self._repeats:
            replaced |= self._asked[rows, children]
        if replaced.any():
            children[replaced] = self._random(rows[replaced])
        return children

    def _moves(self, rows: Rows) -> Ints:
        if self._mutation == "edge":
            return self._draws.below(rows, len(EDGES) * MOVES)
        node = self._draws.below(rows, len(EDGES_INTO))
        edge = _INTO[node, self._draws.below(rows, _COUNT_INTO[node])]
        return np.asarray(edge * MOVES + self._draws.below(rows, MOVES))
