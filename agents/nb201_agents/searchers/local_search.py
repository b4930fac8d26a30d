"""First-improvement local search with restarts, the strong baseline of White, Nolen and Savani (UAI 2021)."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from nb201_agents.searcher import Draws, Query, Task
from nb201_env import NEIGHBORS, Evaluation, checks

_NEIGHBORS_OF_ONE = int(NEIGHBORS.shape[1])


class LocalSearch:
    """Climbs from the best of a few random cells to the first better neighbour until no neighbour is better.

    The neighbours of a cell are those of the 24 that differ in one edge that are on offer, tried in random order. No
    cell is asked for twice: what is known of it is remembered.

    Args:
        task: what is searched.
        rng: source of all randomness.
        initial: number of random cells before the first climb, more if the task's start has more; every later climb
            starts from one.
    """

    def __init__(self, task: Task, rng: np.random.Generator, initial: int = 10):
        self._draws, self._rng = Draws(task, rng), rng
        self._num_cells, self._present = task.cells.size, task.present
        self._initial = max(checks.whole("initial", initial, 1), len(task.start))
        self._known: dict[int, float] = {}
        self._search = self._climb_and_restart()

    def ask(self) -> Query | None:
        """The next unknown cell on the way, None when all are known."""
        cell = next(self._search, None)
        return None if cell is None else Query(cell)

    def tell(self, result: Evaluation) -> None:
        """Remember the accuracy; the search goes on from it."""
        self._known[result.index] = result.worth

    def _climb_and_restart(self) -> Generator[int]:
        """Yields each cell that must be told before the generator is resumed."""
        starts = self._initial
        while len(self._known) < self._num_cells:
            current, best = -1, -np.inf
            for _ in range(min(starts, self._num_cells - len(self._known))):
                cell = self._draws.cell(self._known)
                yield cell
                if self._known[cell] > best:
                    current, best = cell, self._known[cell]
            starts = 1
            while current >= 0:
                current = yield from self._first_improvement(current)

    def _first_improvement(self, current: int) -> Generator[int, None, int]:
        """The first better neighbour in random order, -1 if there is none."""
        neighbors = NEIGHBORS[current][self._rng.random(_NEIGHBORS_OF_ONE).argsort()]
        for neighbor in neighbors[self._present[neighbors]].tolist():
            if neighbor not in self._known:
                yield neighbor
            if self._known[neighbor] > self._known[current]:
                return int(neighbor)
        return -1
