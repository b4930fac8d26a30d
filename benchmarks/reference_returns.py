"""What searches of the family's trial tasks return, in Markdown: `python benchmarks/reference_returns.py [TABLE]`.

The sources are all data sets of a table, `mini` unless another is named; a search has the budget of ten full trainings
and three rungs. A return is that of the environment with `reward="regret"`, and of `reward="regret-area"`.
"""

from __future__ import annotations

import sys

import numpy as np
from held_out import follow
from nb201_agents.searcher import agent_of

from nb201_env import Column, Rules, open_table
from nb201_env.envs.rewards import regret_scale
from nb201_env.simulation.family import TRIAL_TASKS, TaskFamily

AGENTS = ("random", "params", "local-search", "successive-halving")
TASKS, TRAININGS, RUNGS = 200, 10.0, (1, 3, 8)


def returns(agent: str, column: Column, seed: int) -> tuple[float, float]:
    """Of the two rewards: how far the regret fell, and less its mean over the budget."""
    make, settings = agent_of(agent)
    course = follow(make, settings, column, Rules(budget=TRAININGS * column.full), seed)
    start = -regret_scale(column, None).start
    held = np.concatenate(([start], course.regret))
    until = np.concatenate((course.trainings, [TRAININGS]))
    return start - held[-1], -float(held @ np.diff(until, prepend=0.0)) / TRAININGS


def main(table: str = "mini") -> None:
    family = TaskFamily([Column.open(table, name, rungs=RUNGS) for name in open_table(table).datasets])
    columns = [family.column(number) for number in TRIAL_TASKS[:TASKS]]
    print("| agent | return by `regret` | by `regret-area` |\n| --- | ---: | ---: |")
    rows = {agent: [returns(agent, column, seed) for seed, column in enumerate(columns)] for agent in AGENTS}
    rows["best possible"] = [(-regret_scale(column, None).start, 0.0) for column in columns]
    for agent, found in rows.items():
        error = np.std(found, axis=0, ddof=1) / np.sqrt(TASKS)
        cells = [f"{mean:.2f} ± {one:.2f}" for mean, one in zip(np.mean(found, axis=0), error, strict=True)]
        print(f"| {agent} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
