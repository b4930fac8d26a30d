"""Choosing the settings of agents with source tables, on source tables alone: `python benchmarks/tune_sources.py`.

Each data set of `mini` is held out in turn: its own column and tasks that the family makes of it alone are searched by
agents whose sources are the others. Each agent has the same budget of settings, drawn at random. What counts is the
mean over queries and tasks of the regret, in units of what random search has after 20 queries.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from nb201_agents.harness.run import search
from nb201_agents.searcher import Task
from nb201_agents.searchers.sources import GPSource, RidgeSource, SourceOrder

from nb201_env import Column, Oracle, Rules, open_table
from nb201_env.envs.rewards import regret_scale
from nb201_env.simulation.family import TRIAL_TASKS, Law, TaskFamily

SETTINGS, TASKS, QUERIES = 24, 16, 20
LAW = Law(params=0.5, field=0.3, cell=0.0)

RANGES: Mapping[str, tuple[float, float]] = {
    "params": (0.0, 1.0),
    "deviation": (0.1, 2.0),
    "noise": (0.01, 1.0),
    "similarity": (0.3, 0.9),
}
"""From where settings are drawn; deviation and noise evenly in their logarithms."""

AGENTS = {
    SourceOrder: ("params",),
    RidgeSource: ("params", "deviation", "noise"),
    GPSource: ("params", "deviation", "noise", "similarity"),
}


def draw(names: tuple[str, ...], rng: np.random.Generator) -> dict[str, float]:
    found = {}
    for name in names:
        low, high = RANGES[name]
        is_log = name in ("deviation", "noise")
        found[name] = float(np.exp(rng.uniform(*np.log((low, high)))) if is_log else rng.uniform(low, high))
    return found


def regret(make: Any, settings: Mapping[str, float], column: Column, seed: int) -> float:
    """Mean over queries of the incumbent's regret."""
    oracle, scale = Oracle(column, Rules(max_queries=QUERIES)), regret_scale(column, None)
    oracle.new_search(seed)
    task = Task(column.dataset, column.epoch, column.rungs, max_queries=QUERIES)
    results = search(make(task, np.random.default_rng(seed), **settings), oracle)
    best = np.maximum.accumulate([result.worth for result in results])
    first = [next(result.index for result in results if result.worth == value) for value in best]
    return float(np.mean((scale.best - column.mean[first]) / scale.unit))


def main() -> None:
    tasks = []
    for dataset in open_table("mini").datasets:
        column = Column.open("mini", dataset)
        family = TaskFamily([column], LAW)
        tasks += [column, *(family.column(number) for number in TRIAL_TASKS[:TASKS])]
    for make, names in AGENTS.items():
        rng = np.random.default_rng(0)
        found = []
        for number in range(SETTINGS):
            settings = draw(names, rng)
            found.append(
                (float(np.mean([regret(make, settings, task, seed) for seed, task in enumerate(tasks)])), settings)
            )
            print(f"{make.__name__}: {number + 1} of {SETTINGS} settings", file=sys.stderr)
        found.sort(key=lambda pair: pair[0])
        for value, settings in found[:3]:
            text = ", ".join(f"{name} {one:.2f}" for name, one in settings.items())
            print(
                f"{make.__name__}: regret {value:.3f} with {text} (median setting {found[SETTINGS // 2][0]:.3f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
