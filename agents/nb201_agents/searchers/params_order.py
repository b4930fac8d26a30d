"""Cells from most to fewest parameters: the bar that any prior knowledge must clear."""

from typing import ClassVar

import numpy as np

from nb201_agents.searcher import Query, Task
from nb201_env import NUM_CELLS, PARAMS, Evaluation


class ParamsOrder:
    """Asks for each cell once, after the task's start by falling parameter count, ties in random order."""

    is_asynchronous: ClassVar[bool] = True

    def __init__(self, task: Task, rng: np.random.Generator):
        order = np.lexsort((rng.random(NUM_CELLS), -PARAMS))
        self._order = iter(dict.fromkeys([*task.start, *order[task.present[order]].tolist()]))

    def ask(self) -> Query | None:
        """The next cell in order, None after the last."""
        cell = next(self._order, None)
        return None if cell is None else Query(cell)

    def tell(self, result: Evaluation) -> None:
        """Nothing is learnt."""
