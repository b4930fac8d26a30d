"""Many REINFORCE searches at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nb201_agents.many.draws import Floats, Ints, ManyDraws, Rows
from nb201_agents.searcher import Task
from nb201_agents.searchers.reinforce import BETA1, BETA2, TRIES, adam_step, initial_logits, probabilities
from nb201_env import ALL_OPS, EDGES, OPS, index_of


class Reinforces:
    """`Reinforce`, one in each row."""

    def __init__(self, task: Task, rngs: Sequence[np.random.Generator], learning_rate: float, momentum: float):
        self._learning_rate, self._momentum, self._present = learning_rate, momentum, task.present
        self._logits = np.stack([initial_logits(rng) for rng in rngs])
        self._draws = ManyDraws(task, rngs)
        self._first_moment, self._second_moment = np.zeros_like(self._logits), np.zeros_like(self._logits)
        self._mean_reward, self._decays = np.zeros(len(rngs)), np.array([momentum, BETA1, BETA2])
        self._decayed = np.ones((len(rngs), 3))

    def ask(self, rows: Rows) -> Ints:
        """Cells drawn from the policies, of those on offer."""
        cells = self._draws.started(rows)
        open_ = np.flatnonzero(cells < 0)
        upto = probabilities(self._logits[rows]).cumsum(axis=2)
        for _ in range(TRIES):
            uniform = self._draws.uniform(rows[open_], len(EDGES))
            ops = (upto[open_] < uniform[..., None]).sum(axis=2)
            cells[open_] = index_of(np.minimum(ops, len(OPS) - 1))
            open_ = open_[~self._present[cells[open_]]]
            if not open_.size:
                return cells
        cells[open_] = self._draws.cells(rows[open_])
        return cells

    def tell(self, rows: Rows, cells: Ints, worth: Floats) -> None:
        """One gradient step a row."""
        reward, momentum = 100.0 * worth, self._momentum
        self._decayed[rows] *= self._decays
        decayed = self._decayed[rows]
        self._mean_reward[rows] = momentum * self._mean_reward[rows] + (1 - momentum) * reward
        baseline = self._mean_reward[rows] / (1 - decayed[:, 0])
        gradient = probabilities(self._logits[rows])
        gradient -= ALL_OPS[cells][..., None] == np.arange(len(OPS))
        gradient *= (reward - baseline)[:, None, None]
        moments = self._first_moment[rows], self._second_moment[rows]
        change, first, second = adam_step(gradient, *moments, *decayed.T[1:, :, None, None])
        self._first_moment[rows], self._second_moment[rows] = first, second
        self._logits[rows] -= self._learning_rate * change
