"""What searchers share that fit a model to all that was observed, and then ask for a batch of cells."""

from __future__ import annotations

import numpy as np

from nb201_agents.searcher import Draws, Query, Task
from nb201_env import Evaluation, checks


class BatchSearcher:
    """Random cells first, then batch after batch of those that `choose` names; no cell twice.

    Args:
        task: what is searched; cells are seen at its last epoch.
        rng: source of all randomness.
        initial: number of random cells before the first fit.
        batch: queries from one fit to the next.
    """

    def __init__(self, task: Task, rng: np.random.Generator, initial: int, batch: int):
        self._rng, self._draws = rng, Draws(task, rng)
        self._initial = max(checks.whole("initial", initial, 2), len(task.start))
        self._batch = checks.whole("batch", batch, 1)
        self._is_open = task.present.copy()
        self._next: list[int] = []
        self._cells: list[int] = []
        self._values: list[float] = []

    def choose(self) -> list[int]:
        """The next batch of cells that were not asked for yet, the first first."""
        raise NotImplementedError

    def ask(self) -> Query | None:
        """The next cell of the batch; None when all were seen."""
        if not self._is_open.any():
            return None
        if len(self._cells) < self._initial:
            cell = self._draws.cell(self._cells)
        else:
            if not self._next:
                self._next = self.choose()[::-1]
            cell = self._next.pop()
        self._is_open[cell] = False
        return Query(cell)

    def tell(self, result: Evaluation) -> None:
        """Remember what the cell is worth for the next fit."""
        self._cells.append(result.index)
        self._values.append(result.worth)
