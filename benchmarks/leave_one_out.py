"""Controllers and their bars on a data set that none of their sources is: `python benchmarks/leave_one_out.py FOLDER`.

Each data set of a table, `mini` unless another is named, is held out in turn, and a controller is trained on the
others, into FOLDER/no-NAME-SEED.safetensors (interrupted, the same command goes on). It and the bars then search the
held-out set itself, and tasks that the family makes of it alone. With `--controllers` several are trained of each, of
seeds from 0, and have a line each: they may differ by more than agents do. With `--rungs` cells can be seen at three
epochs, and a search has a budget of seconds.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from held_out import KINDS, Course, columns_of, follow
from nb201_agents.controllers.ppo import Recipe
from nb201_agents.controllers.pretrain import pretrain
from nb201_agents.searcher import agent_of
from recurrent_ppo import follow_lanes
from recurrent_ppo import train as train_recurrent

from nb201_env import Column, Rules, open_table
from nb201_env.parallel import run_tasks

RUNS = 200
QUERIES, QUERIES_SHOWN = 50, (10, 20, 50)
RUNGS, TRAININGS, TRAININGS_SHOWN = (1, 3, 8), 10.0, (2.5, 5.0, 10.0)
BARS: Mapping[bool, tuple[str, ...]] = {
    False: ("random", "params", "local-search"),
    True: ("random", "params", "local-search", "successive-halving", "asha"),
}
"""Agents that know no other table, and whether they choose among rungs."""

SOURCES = ("source-order", "ridge-source", "gp-source")
"""Agents that know the same tables as the controller; they ask for the last rung alone."""

RECURRENT = "recurrent-ppo:"
"""Before the file of a policy of `recurrent_ppo.py`, which no agent of the package stands for."""


@dataclass(frozen=True)
class Searches:
    """Of one agent over one kind of task of one data set."""

    agent: str
    table: str
    dataset: str
    kind: str
    has_rungs: bool
    runs: int


def trained(
    table: str, dataset: str, folder: Path, batches: int, controllers: int, has_rungs: bool, is_short: bool
) -> list[str]:
    """Agents that have not seen a data set, and their files."""
    others = [name for name in open_table(table).datasets if name != dataset]
    agents = []
    for seed in range(controllers):
        path = folder / f"no-{dataset}{'-rungs' * has_rungs}-{seed}.safetensors"
        if not path.exists():
            budget = {"rungs": RUNGS, "trainings": TRAININGS} if has_rungs else {}
            recipe = Recipe(tuple((table, name) for name in others), batches=batches, seed=seed, **budget)
            pretrain(recipe, path, progress=partial(_say, path.name))
            print(file=sys.stderr)
        agents.append(f"controller(file={path})")
    if not has_rungs and not is_short:
        recurrent = folder / f"no-{dataset}.zip"
        if not recurrent.exists():
            train_recurrent(Recipe(tuple((table, name) for name in others), batches=batches), recurrent)
        agents.append(f"{RECURRENT}{recurrent}")
    return agents


def _say(name: str, done: int, total: int, what: str) -> None:
    print(f"\r{name}: update {done} of {total}, {what}", end="", file=sys.stderr, flush=True)


def searched(which: Searches) -> npt.NDArray[np.float64]:
    """Of each run: queries and mean full trainings until near the best, and the regrets that are shown."""
    columns = columns_of(which.table, which.dataset, which.runs, RUNGS if which.has_rungs else None)[which.kind]
    found = []
    for course in _courses(which, columns):
        shown = course.after_trainings(TRAININGS_SHOWN) if which.has_rungs else course.after_queries(QUERIES_SHOWN)
        found.append([*course.until_near, *shown])
    return np.array(found)


def _courses(which: Searches, columns: Sequence[Column]) -> list[Course]:
    if which.agent.startswith(RECURRENT):
        path = Path(which.agent.removeprefix(RECURRENT))
        return follow_lanes(path, which.table, columns, which.runs, QUERIES)
    make, settings = agent_of(which.agent)
    over = [columns[seed % len(columns)] for seed in range(which.runs)]
    budgets = [Rules(budget=TRAININGS * one.full) if which.has_rungs else Rules(max_queries=QUERIES) for one in over]
    return [
        follow(make, settings, one, rules, seed) for seed, (one, rules) in enumerate(zip(over, budgets, strict=True))
    ]


def name_of(agent: str) -> str:
    """An agent's name without its files, a controller's with its seed."""
    name, seed = agent.partition("(")[0].partition(":")[0], re.search(r"-(\d+)\.safetensors\)$", agent)
    return f"{name} {seed[1]}" if seed else name


def row(agent: str, runs: npt.NDArray[np.float64]) -> str:
    """A line of the table: medians, and means with standard errors."""
    medians = [f"{one:.3g}" if np.isfinite(one) else "never" for one in np.median(runs[:, :2], axis=0)]
    regrets = runs[:, 2:]
    errors = regrets.std(axis=0, ddof=1) / np.sqrt(len(regrets))
    means = [f"{mean:.2f} ± {error:.2f}" for mean, error in zip(regrets.mean(axis=0), errors, strict=True)]
    return " | ".join(["", agent, *medians, *means, ""]).strip()


def lines(found: Mapping[str, list[npt.NDArray[np.float64]]], shown: Sequence[float], has_rungs: bool) -> str:
    """Lines of a table, an agent in each, over all its runs."""
    unit = "trainings" if has_rungs else "queries"
    columns = ["agent", "queries", "trainings", *(f"regret after {one:g} {unit}" for one in shown)]
    head = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join(head + [row(agent, np.concatenate(runs)) for agent, runs in found.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--table", default="mini")
    parser.add_argument("--batches", type=int, default=60, help="of tasks, in each training")
    parser.add_argument("--controllers", type=int, default=1, help="of seeds that follow, for each data set")
    parser.add_argument("--rungs", action="store_true", help="let agents choose among three epochs")
    parser.add_argument("--short", action="store_true", help="without RecurrentPPO, which takes longest")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    datasets, shown = open_table(given.table).datasets, TRAININGS_SHOWN if given.rungs else QUERIES_SHOWN
    every = []
    for dataset in datasets:
        learnt = trained(given.table, dataset, given.folder, given.batches, given.controllers, given.rungs, given.short)
        sources = [f"{name}(table={given.table})" for name in SOURCES]
        agents = (*BARS[given.rungs], *sources, *learnt)
        more = given.rungs, given.runs
        every += [Searches(agent, given.table, dataset, kind, *more) for kind in KINDS for agent in agents]
    found = dict[Searches, npt.NDArray[np.float64]]()
    for done in run_tasks(searched, every, given.jobs):
        if done.error is not None:
            raise done.error
        found[every[done.task]] = done.value
        print(f"\r{len(found)} of {len(every)} agents and tasks", end="", file=sys.stderr, flush=True)
    for kind in KINDS:
        by_agent = dict[str, list[npt.NDArray[np.float64]]]()
        for which in every:
            if which.kind == kind:
                by_agent.setdefault(name_of(which.agent), []).append(found[which])
        for number, dataset in enumerate(datasets):
            one = {agent: runs[number : number + 1] for agent, runs in by_agent.items()}
            print(f"\n{dataset}, {kind}\n\n{lines(one, shown, given.rungs)}")
        print(f"\nall data sets, {kind}\n\n{lines(by_agent, shown, given.rungs)}")


if __name__ == "__main__":
    main()
