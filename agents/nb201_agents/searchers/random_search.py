"""Random search: cells drawn uniformly, with replacement, as NAS-Bench-201's script does."""

from typing import ClassVar

import numpy as np

from nb201_agents.searcher import Draws, Query, Task
from nb201_env import Evaluation


class RandomSearch:
    """Asks for uniformly drawn cells of those on offer; repeats may occur."""

    is_asynchronous: ClassVar[bool] = True

    def __init__(self, task: Task, rng: np.random.Generator):
        self._draws = Draws(task, rng)

    def ask(self) -> Query:
        """A uniformly drawn cell."""
        return Query(self._draws.cell())

    def tell(self, result: Evaluation) -> None:
        """Nothing is learnt."""
