"""Choosing the settings of agents with source tables, on source tables alone: `python benchmarks/tune_sources.py`.

Each data set of `mini` is held out in turn: its own column and tasks that the family makes of it alone are searched by
agents whose sources are the others. Each agent has the same budget of settings, drawn at random. What counts is the
mean over queries and tasks of the regret, in units of what random search has after 20 queries.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
from held_out import KINDS, columns_of, follow
from nb201_agents.searchers.sources import GPSource, RidgeSource, SourceOrder

from nb201_env import Rules, open_table

SETTINGS, TASKS = 24, 16
RULES = Rules(max_queries=20)

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


def main() -> None:
    tasks = []
    for dataset in open_table("mini").datasets:
        columns = columns_of("mini", dataset, TASKS)
        tasks += [column for kind in KINDS for column in columns[kind]]
    for make, names in AGENTS.items():
        rng = np.random.default_rng(0)
        found = []
        for number in range(SETTINGS):
            settings = draw(names, rng)
            courses = [follow(make, settings, task, RULES, seed) for seed, task in enumerate(tasks)]
            found.append((float(np.mean([course.regret.mean() for course in courses])), settings))
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
