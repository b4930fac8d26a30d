"""REINFORCE (Williams, 1992) as NATS-Bench sets it: independent logits for the six edges, Adam, a moving baseline."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nb201_agents.searcher import Query, Task
from nb201_env import ALL_OPS, EDGES, OPS, Evaluation, NB201Error, checks, index_of

Floats = npt.NDArray[np.float64]

# Adam as in Kingma and Ba (2015), its default settings.
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8

_TRIES = 1_000  # to draw a cell on offer, before a uniform one is taken


class Reinforce:
    """Samples each edge's op from its own softmax and raises the probability of what was rewarded.

    The reward is the accuracy in percent less a bias-corrected exponential mean of the rewards so far, this one
    included.

    Args:
        task: what is searched.
        rng: source of all randomness.
        learning_rate: of Adam.
        momentum: of the baseline.
    """

    def __init__(self, task: Task, rng: np.random.Generator, learning_rate: float = 0.01, momentum: float = 0.9):
        self._rng, self._cells, self._present = rng, task.cells, task.present
        self._learning_rate = checks.number("learning_rate", learning_rate, above=0.0)
        self._momentum = checks.number("momentum", momentum, 0.0)
        if self._momentum >= 1.0:
            raise NB201Error(f"momentum must be below 1, got {momentum}")
        self._logits = 1e-3 * rng.standard_normal((len(EDGES), len(OPS)))
        self._first_moment = np.zeros_like(self._logits)
        self._second_moment = np.zeros_like(self._logits)
        self._mean_reward = 0.0
        self._step = 0

    def ask(self) -> Query:
        """A cell drawn from the policy, of those on offer."""
        upto = self._probabilities().cumsum(axis=1)
        for _ in range(_TRIES):
            ops = (upto < self._rng.random((len(EDGES), 1))).sum(axis=1)
            self._ops = np.minimum(ops, len(OPS) - 1)  # a sum of probabilities may end a rounding below 1
            cell = int(index_of(self._ops))
            if self._present[cell]:
                return Query(cell)
        cell = self._cells.item(self._rng.integers(self._cells.size))
        self._ops = ALL_OPS[cell].astype(np.int64)
        return Query(cell)

    def tell(self, result: Evaluation) -> None:
        """One gradient step on -log p(cell) (reward - baseline)."""
        reward = 100.0 * result.accuracy
        self._step += 1
        self._mean_reward = self._momentum * self._mean_reward + (1 - self._momentum) * reward
        baseline = self._mean_reward / (1 - self._momentum**self._step)
        gradient = self._probabilities()
        gradient[np.arange(len(EDGES)), self._ops] -= 1.0
        self._adam(gradient * (reward - baseline))

    def _probabilities(self) -> Floats:
        weights = np.exp(self._logits - self._logits.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def _adam(self, gradient: Floats) -> None:
        self._first_moment = _BETA1 * self._first_moment + (1 - _BETA1) * gradient
        self._second_moment = _BETA2 * self._second_moment + (1 - _BETA2) * gradient**2
        first = self._first_moment / (1 - _BETA1**self._step)
        second = self._second_moment / (1 - _BETA2**self._step)
        self._logits -= self._learning_rate * first / (np.sqrt(second) + _EPSILON)
