"""Searches over what no source of an agent includes: shared by the scripts that hold each data set of a table out.

No published value is looked at: the tables are the project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from nb201_agents.harness.run import search
from nb201_agents.harness.truth import TOP_CELLS
from nb201_agents.searcher import Searcher, Task

from nb201_env import Column, Oracle, Rules
from nb201_env.envs.rewards import regret_scale
from nb201_env.simulation.family import TRIAL_TASKS, Law, TaskFamily

Floats = npt.NDArray[np.float64]

LAW = Law(params=0.5, field=0.3, cell=0.0)
"""Of the perturbed tasks: near the held-out data set, but not it."""

KINDS = ("plain", "perturbed")

TRIAL_DEVIATION = {"digits": 0.0436, "shapes": 0.0783, "gratings": 0.0774, "backdrops": 0.0478}
"""Between two trainings of the 50 best cells of `mini`, which has one: `python benchmarks/mini_gate.py NAME 8 --best
50`."""


class Course(NamedTuple):
    """How a search went, an entry for each query.

    Attributes:
        regret: of the incumbent's mean accuracy, in units of what random search has left after 20 queries.
        trainings: seconds used, in mean costs of a full training.
        is_near: whether the incumbent's mean is within one trial deviation of the best.
    """

    regret: Floats
    trainings: Floats
    is_near: npt.NDArray[np.bool_]

    @property
    def until_near(self) -> tuple[float, float]:
        """Queries and mean full trainings until the incumbent is near the best; inf if it never is."""
        if not self.is_near.any():
            return np.inf, np.inf
        first = int(self.is_near.argmax())
        return first + 1.0, float(self.trainings[first])

    def after_queries(self, queries: Sequence[int]) -> list[float]:
        """Regret after numbers of queries."""
        return [float(self.regret[min(one, len(self.regret)) - 1]) for one in queries]

    def after_trainings(self, trainings: Sequence[float]) -> list[float]:
        """Regret at shares of the budget; that of the first query where there was none yet."""
        at = np.searchsorted(self.trainings, trainings, side="right") - 1
        return self.regret[np.maximum(at, 0)].tolist()


def columns_of(table: str, dataset: str, tasks: int, rungs: tuple[int, ...] | None = None) -> dict[str, list[Column]]:
    """What can be searched of a held-out data set: itself, and tasks that the family makes of it alone."""
    column = Column.open(table, dataset, rungs=rungs)
    family = TaskFamily([column], LAW)
    return {"plain": [column], "perturbed": [family.column(number) for number in TRIAL_TASKS[:tasks]]}


def trial_deviation(column: Column) -> float:
    """Standard deviation between trials, over the best cells; of one trial, as measured for `mini`, else NaN."""
    top = np.argsort(-column.mean, kind="stable")[:TOP_CELLS]
    trials = column.accuracy[-1, top]
    if trials.shape[1] > 1:
        return float(np.sqrt(trials.var(axis=1, ddof=1).mean()))
    return TRIAL_DEVIATION.get(column.dataset, np.nan) if column.table.name == "mini" else np.nan


def follow(
    make: Callable[..., Searcher], settings: Mapping[str, Any], column: Column, rules: Rules, seed: int
) -> Course:
    """One search of an agent over a column."""
    oracle, scale = Oracle(column, rules), regret_scale(column, None)
    oracle.new_search(seed)
    task = Task(column.dataset, column.epoch, column.rungs, rules.budget, rules.max_queries)
    results = search(make(task, np.random.default_rng(seed), **settings), oracle)
    best, incumbents = (-1, -np.inf), []
    for result in results:
        if (standing := (column.rung_of(result.epoch), result.worth)) > best:
            best, cell = standing, result.index
        incumbents.append(cell)
    short = scale.best - column.mean[incumbents].astype(np.float64)
    trainings = np.cumsum([result.seconds for result in results]) / column.full
    return Course(short / scale.unit, trainings, short <= trial_deviation(column))
