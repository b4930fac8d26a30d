"""REINFORCE (Williams, 1992) as NATS-Bench sets it: independent logits for the six edges, Adam, a moving baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_agents.searcher import Draws, Query, Task
from nb201_env import ALL_OPS, EDGES, OPS, Evaluation, NB201Error, checks, index_of

Floats = npt.NDArray[np.float64]

# Adam as in Kingma and Ba (2015), its default settings.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

TRIES = 1_000  # to draw a cell on offer, before a uniform one is taken


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
        self._draws, self._uniform, self._present = Draws(task, rng), rng.random, task.present
        self._learning_rate = checks.number("learning_rate", learning_rate, above=0.0, most=1e3)
        self._momentum = checks.number("momentum", momentum, 0.0)
        if self._momentum >= 1.0:
            raise NB201Error(f"momentum must be below 1, got {momentum}")
        self._logits = initial_logits(rng)
        self._first_moment = np.zeros_like(self._logits)
        self._second_moment = np.zeros_like(self._logits)
        self._mean_reward = 0.0
        self._decays = np.array([self._momentum, BETA1, BETA2])
        self._decayed = np.ones(3)  # the decays to the power of the number of steps

    def ask(self) -> Query:
        """A cell drawn from the policy, of those on offer."""
        cell = self._draws.started()
        if cell is not None:
            return Query(cell)
        upto = probabilities(self._logits).cumsum(axis=1)
        for _ in range(TRIES):
            ops = (upto < self._uniform((len(EDGES), 1))).sum(axis=1)
            cell = int(index_of(np.minimum(ops, len(OPS) - 1)))  # a sum of probabilities may end a rounding below 1
            if self._present[cell]:
                return Query(cell)
        return Query(self._draws.cell())

    def tell(self, result: Evaluation) -> None:
        """One gradient step on -log p(cell) (reward - baseline)."""
        reward = 100.0 * result.worth
        self._decayed *= self._decays
        self._mean_reward = self._momentum * self._mean_reward + (1 - self._momentum) * reward
        baseline = self._mean_reward / (1 - self._decayed[0])
        gradient = probabilities(self._logits)
        gradient[np.arange(len(EDGES)), ALL_OPS[result.index]] -= 1.0
        moments = self._first_moment, self._second_moment
        change, self._first_moment, self._second_moment = adam_step(
            gradient * (reward - baseline), *moments, *self._decayed[1:]
        )
        self._logits -= self._learning_rate * change


def initial_logits(rng: np.random.Generator) -> Floats:
    """Of a policy that has learnt nothing, (6, 5)."""
    return np.asarray(1e-3 * rng.standard_normal((len(EDGES), len(OPS))))


def probabilities(logits: Floats) -> Floats:
    """Of the ops, shaped as the logits (…, 5)."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def adam_step(gradient: Floats, first: Floats, second: Floats, decayed1: Any, decayed2: Any) -> tuple[Floats, ...]:
    """By how much Adam changes weights at a learning rate of 1, and its two moments.

    The decays come to the power of the step, from 1.
    """
    first = BETA1 * first + (1 - BETA1) * gradient
    second = BETA2 * second + (1 - BETA2) * gradient**2
    change = first / (1 - decayed1) / (np.sqrt(second / (1 - decayed2)) + EPSILON)
    return change, first, second
