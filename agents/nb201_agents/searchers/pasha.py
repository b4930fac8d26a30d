"""Progressive ASHA (Bohdal et al., ICLR 2023): cells are trained further while further epochs change the ranking."""

from __future__ import annotations

import numpy as np

from nb201_agents.searcher import Task
from nb201_agents.searchers.asha import ASHA
from nb201_env import Evaluation, checks


class PASHA(ASHA):
    """ASHA with two rungs at first, and one more whenever the two highest disagree.

    Two rungs agree if every cell that both have seen stands at the higher one where it stands at the lower one, or in
    the place of a cell that the lower one has within `epsilon` of it (soft ranking, section 4.1 of the paper).

    Args:
        task: what is searched; its epochs are the rungs.
        rng: source of all randomness.
        eta: share of a rung that is promoted, as 1/eta; 4, as in ASHA; the paper has 3.
        epsilon: difference in accuracy up to which two cells are as good. The paper derives it from the noise of
            learning curves; it names 0.025 as the fixed value that it compares with.
    """

    def __init__(self, task: Task, rng: np.random.Generator, eta: int = 4, epsilon: float = 0.025):
        self._epsilon = checks.number("epsilon", epsilon, 0.0)
        self._open_rungs = min(2, len(task.epochs))
        super().__init__(task, rng, eta)

    @property
    def num_rungs(self) -> int:
        """Number of rungs that are open so far."""
        return self._open_rungs

    def tell(self, result: Evaluation) -> None:
        """Note the cell in its rung, and open another one if the order of cells changes at the highest."""
        super().tell(result)
        is_highest = self._epochs.index(result.epoch) == self._open_rungs - 1
        if is_highest and self._open_rungs < len(self._epochs) and not self._agree():
            self._open_rungs += 1

    def _agree(self) -> bool:
        """Whether the two highest open rungs rank the cells that both have seen alike, but for near ties."""
        higher = {cell: accuracy for accuracy, cell in self._told[self._open_rungs - 1]}
        lower = {cell: accuracy for accuracy, cell in self._told[self._open_rungs - 2] if cell in higher}
        before = sorted(lower, key=lambda cell: -lower[cell])
        after = sorted(lower, key=lambda cell: -higher[cell])
        return all(abs(lower[a] - lower[b]) <= self._epsilon for a, b in zip(before, after, strict=True))
