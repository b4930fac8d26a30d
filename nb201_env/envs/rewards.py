"""Rewards that an environment can pay for an observed accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from nb201_env.errors import NB201Error
from nb201_env.simulation.oracle import Oracle

Reward = Callable[[float, float], float]
"""From the observed accuracy and the incumbent's before it (0 without one), both fractions, to the reward."""

REWARDS = ("accuracy", "log-error", "improvement", "regret")
"""What every environment that queries cells one by one can pay."""


def make_reward(name: str, oracle: Oracle) -> Reward:
    """The reward function of a name.

    * accuracy: the observed accuracy.
    * change: the same; an environment that pays it takes the difference to the cell before.
    * log-error: -log(1 - accuracy); an error of nothing counts as half an image.
    * improvement: by how much the incumbent rose, so that the rewards of a search add up to its last incumbent.
    * regret: the observed accuracy less the best mean accuracy of all cells. Privileged knowledge, for study alone.

    Raises:
        NB201Error: for an unknown name.
    """
    if name in ("accuracy", "change"):
        return _accuracy
    if name == "improvement":
        return _improvement
    if name == "log-error":
        images = oracle.table.num_images(oracle.dataset, recipe=oracle.recipe, split=oracle.split)
        return partial(_log_error, 0.5 / images)
    if name == "regret":
        best = oracle.table.accuracy(oracle.dataset, split=oracle.split, recipe=oracle.recipe, epoch=oracle.epoch).max()
        return partial(_regret, float(best))
    raise NB201Error(f"reward must be one of {', '.join(REWARDS)}, got {name!r}")


# functions of the module, so that an environment that has one can be pickled


def _accuracy(accuracy: float, incumbent: float) -> float:
    return accuracy


def _improvement(accuracy: float, incumbent: float) -> float:
    return max(0.0, accuracy - incumbent)


def _log_error(least: float, accuracy: float, incumbent: float) -> float:
    return -math.log(max(1.0 - accuracy, least))


def _regret(best: float, accuracy: float, incumbent: float) -> float:
    return accuracy - best
