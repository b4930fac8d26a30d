"""What environments pay for an observed cell. To add a reward, write its function here and name it in `REWARDS`.

A reward depends on a cell and the trial that was seen of it alone, so it is a column of the table: an array that is
computed once and read by single environments and lanes alike. There are three ways to pay by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nb201_env.simulation.column import Column
from nb201_env.simulation.objectives import Objectives, worth_of_all
from nb201_env.space import NUM_CELLS

Floats = npt.NDArray[np.float64]


class Reward(NamedTuple):
    """A reward that an environment can pay.

    Attributes:
        pays: `value`, what the column says of the observed cell; `change`, by how much that differs from the cell
            before; `rise`, by how much the worth of the search's incumbent rose (0 before any), so that the rewards of
            a search add up to what its last incumbent is worth.
        column: makes the values of all cells and trials at the last rung, float64 (15625, trials).
        about: what it is, for the documentation.
    """

    pays: Literal["value", "rise", "change"]
    column: Callable[[Column, Objectives | None], Floats]
    about: str


def _worth(column: Column, objectives: Objectives | None) -> Floats:
    """The accuracy, less what objectives subtract."""
    return np.asarray(worth_of_all(objectives, column)[-1], np.float64)


def _log_error(column: Column, objectives: Objectives | None) -> Floats:
    """-log(1 - accuracy), less what objectives subtract; an error of nothing counts as half an image."""
    accuracy = column.accuracy[-1].astype(np.float64)
    value = -np.log(np.maximum(1.0 - accuracy, 0.5 / column.images))
    return value if objectives is None else objectives.score(value, np.arange(NUM_CELLS)[:, None], accuracy)


def _regret(column: Column, objectives: Objectives | None) -> Floats:
    """The worth less that of the best mean over trials. Privileged knowledge, for study alone."""
    mean = column.mean.astype(np.float64)
    best = mean if objectives is None else objectives.score(mean, np.arange(NUM_CELLS), mean)
    return _worth(column, objectives) - np.nanmax(best)


REWARDS = {
    "accuracy": Reward("value", _worth, "the observed accuracy as a fraction"),
    "log-error": Reward("value", _log_error, "-log(1 - accuracy); an error of nothing counts as half an image"),
    "improvement": Reward(
        "rise", _worth, "by how much the worth of the search's incumbent rose, 0 counting before any"
    ),
    "regret": Reward("value", _regret, "the accuracy less the best mean of all cells; it uses privileged knowledge"),
    "change": Reward("change", _worth, "by how much the accuracy differs from that of the cell before"),
}
"""Rewards of the environments that query cells one by one."""


class SearchReward(NamedTuple):
    """A reward of an environment whose episode is a whole search, for numbers and arrays alike.

    Attributes:
        at_purchase: from the incumbent's worth before and after a purchase, its price and the search's budget.
        at_end: from the incumbent's worth, the seconds left, the budget, and what the incumbent is truly worth.
        about: what it is, for the documentation.
        pays_by: what counts as the incumbent's worth: that `observed`, that with its `truth` at the end, or its truth
            `scaled` alike for all tasks, see `regret_scale`.
    """

    at_purchase: Callable[[Any, Any, Any, Any], Any]
    at_end: Callable[[Any, Any, Any, Any], Any]
    about: str
    pays_by: Literal["observed", "truth", "scaled"] = "observed"


def _nothing(*numbers: Any) -> Any:
    return 0.0


def _rise(before: Any, after: Any, price: Any, budget: Any) -> Any:
    """By how much the incumbent's worth rose."""
    return after - before


def _held(before: Any, after: Any, price: Any, budget: Any) -> Any:
    """The incumbent's worth times the share of the budget that passes with it."""
    return before * price / budget


def _held_to_the_end(worth: Any, left: Any, budget: Any, true: Any) -> Any:
    return worth * left / budget


def _true(worth: Any, left: Any, budget: Any, true: Any) -> Any:
    """What the incumbent's mean over trials at the last rung is worth: privileged knowledge."""
    return true


RANDOM_QUERIES = 20


class Scale(NamedTuple):
    """Of a task's regret: `(true - best) / unit` is 0 for the best cell and -1 for what random search reaches.

    Attributes:
        best: worth of the best mean over trials.
        unit: how much less the best of `RANDOM_QUERIES` cells drawn at random is worth, on average over draws.
        start: the mean cell on this scale, which counts before anything was bought.
    """

    best: float
    unit: float
    start: float


def regret_scale(column: Column, objectives: Mapping[str, float | str] | None) -> Scale:
    """The scale of a task's regret, of the means over trials of all its cells."""
    mean = column.mean.astype(np.float64)
    if objectives:
        mean = Objectives(objectives, column).score(mean, np.arange(NUM_CELLS), mean)
    worth = np.sort(mean[column.present])
    below = (np.arange(worth.size + 1) / worth.size) ** RANDOM_QUERIES  # that all draws are among the lowest so many
    unit = float(worth[-1] - worth @ np.diff(below))
    unit = unit if unit > 0.0 else 1.0
    return Scale(float(worth[-1]), unit, float((worth.mean() - worth[-1]) / unit))


SEARCH_REWARDS = {
    "improvement": SearchReward(
        _rise,
        _nothing,
        "by how much the worth of the recommended cell as observed rose; less than 0 where a cell at a higher rung "
        "replaces a better one at a lower. A search's rewards add up to what it saw of its last incumbent",
    ),
    "area": SearchReward(
        _held,
        _held_to_the_end,
        "the incumbent's worth times the share of the budget that passes with it, paid as it passes. A search's "
        "rewards add up to the mean over its time",
    ),
    "true": SearchReward(
        _nothing,
        _true,
        "at the end, what the recommended cell's mean accuracy over trials at the last epoch is worth. It uses "
        "privileged knowledge, for training on source tables",
        "truth",
    ),
    "regret": SearchReward(
        _rise,
        _nothing,
        "by how much the regret of the recommended cell fell, from that of a random cell, in units of what random "
        "search has after 20 queries. It uses privileged knowledge",
        "scaled",
    ),
    "regret-area": SearchReward(
        _held,
        _held_to_the_end,
        "less the mean over a search's time of the regret, in the same units. It uses privileged knowledge",
        "scaled",
    ),
}
"""Rewards of `NB201/Search-v0`."""

PRIVILEGED = ("regret", *(name for name, reward in SEARCH_REWARDS.items() if reward.pays_by != "observed"))
"""Rewards that pay by what no search can know: for study, and for training on tables of one's own."""
