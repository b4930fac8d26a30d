"""Random search: cells drawn uniformly, with replacement, as NAS-Bench-201's script does."""

import numpy as np

from nb201_agents.searcher import Query, Task
from nb201_env import NUM_CELLS
from nb201_env.simulation.oracle import Evaluation


class RandomSearch:
    """Asks for uniformly drawn cells; repeats may occur."""

    def __init__(self, task: Task, rng: np.random.Generator):
        self._rng = rng

    def ask(self) -> Query:
        """A uniformly drawn cell."""
        return Query(int(self._rng.integers(NUM_CELLS)))

    def tell(self, result: Evaluation) -> None:
        """Nothing is learnt."""
