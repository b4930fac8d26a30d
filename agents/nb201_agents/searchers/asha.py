"""Asynchronous successive halving (Li et al., MLSys 2020): promote a cell once it is among the best of its rung."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from nb201_agents.searcher import Draws, Query, Task
from nb201_env import Evaluation, checks


class ASHA:
    """Whenever it is asked: the best cell of the highest rung that may be promoted, else a new one at the first rung.

    A cell of a rung may be promoted if it is among the best 1/eta of those told there and was not before (algorithm 2
    of the paper). It needs no answer before the next question, so that any number of workers may ask.

    Args:
        task: what is searched; its epochs are the rungs.
        rng: source of all randomness.
        eta: share of a rung that is promoted, as 1/eta; 4, the authors' default.
    """

    is_asynchronous: ClassVar[bool] = True

    def __init__(self, task: Task, rng: np.random.Generator, eta: int = 4):
        self._draws, self._num_cells = Draws(task, rng), task.cells.size
        self._epochs, self._eta = task.epochs, checks.whole("eta", eta, 2, 100)
        self._told: list[list[tuple[float, int]]] = [[] for _ in task.epochs]  # accuracy and cell, by rung
        self._promoted: list[set[int]] = [set() for _ in task.epochs]
        self._asked: set[int] = set()

    def ask(self) -> Query | None:
        """A promotion or a new cell; None when every cell was asked for and none may be promoted."""
        for rung in range(self.num_rungs - 2, -1, -1):
            best = sorted(self._told[rung], key=lambda told: -told[0])[: len(self._told[rung]) // self._eta]
            for _, cell in best:
                if cell not in self._promoted[rung]:
                    self._promoted[rung].add(cell)
                    return Query(cell, self._epochs[rung + 1])
        if len(self._asked) == self._num_cells:
            return None
        cell = self._draws.cell(self._asked)
        self._asked.add(cell)
        return Query(cell, self._epochs[0])

    @property
    def num_rungs(self) -> int:
        """Number of rungs to which cells may be promoted."""
        return len(self._epochs)

    def tell(self, result: Evaluation) -> None:
        """Note the cell in its rung."""
        self._told[self._epochs.index(result.epoch)].append((result.worth, result.index))
