"""Many random searches at once."""

from collections.abc import Sequence

import numpy as np

from nb201_agents.many.draws import Floats, Ints, ManyDraws, Rows
from nb201_agents.searcher import Task


class RandomSearches:
    """`RandomSearch`, one in each row."""

    def __init__(self, task: Task, rngs: Sequence[np.random.Generator]):
        self._draws = ManyDraws(task, rngs)

    def ask(self, rows: Rows) -> Ints:
        """Uniformly drawn cells."""
        return self._draws.cells(rows)

    def tell(self, rows: Rows, cells: Ints, worth: Floats) -> None:
        """Nothing is learnt."""
