"""Named protocols: what is searched, under which rules, how often, and by what the chosen cells are judged.

They are frozen, so that results by one name can be compared: a change of rules is another name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nb201_agents.harness.results import read_runs, table_of
from nb201_agents.harness.setup import Setup
from nb201_env import Column, MissingDataError, NB201Error, Table, open_table

ON_THE_PAPERS_SETS = ("cifar10", "cifar100", "ImageNet16-120")


@dataclass(frozen=True)
class Protocol:
    """The rules of a comparison.

    Attributes:
        about: where they come from.
        table: that is searched unless another is named.
        datasets: that are searched; None for all that the table has.
        recipe: by which nets are trained; None for the table's only one.
        budgets: simulated seconds by data set.
        trainings: a budget in mean costs of a full training, instead of seconds.
        max_queries: of a search.
        charge: see `nb201_env.Rules`.
        overrun: likewise.
        trial: likewise; where a table has means alone, the mean.
        rungs: epochs at which cells can be seen.
        workers: simulated GPUs.
        runs: of each agent on each data set.
        final_recipe: by which the chosen cells are judged on test images of every data set, None where they are judged
            on what was searched.
    """

    about: str
    table: str = "published"
    datasets: tuple[str, ...] | None = ON_THE_PAPERS_SETS
    recipe: str | None = None
    budgets: Mapping[str, float] = field(default_factory=dict)
    trainings: float | None = None
    max_queries: int | None = None
    charge: str = "fresh"
    overrun: str = "stop-before"
    trial: str = "per-search"
    rungs: tuple[int, ...] | None = None
    workers: int = 1
    runs: int = 1_000
    final_recipe: str | None = None


PROTOCOLS = {
    "published": Protocol("nets of 200 epochs, one trial visible, 300 queries", max_queries=300),
    "workers-4": Protocol("as published, 200,000 s on four workers", budgets=dict.fromkeys(ON_THE_PAPERS_SETS, 2e5),
                          workers=4),
    "nas-bench-201": Protocol(
        "Dong and Yang, ICLR 2020: CIFAR-10 by nets of 12 epochs for 12,000 s, judged by nets of 200 on every set",
        datasets=("cifar10",), recipe="12ep", budgets={"cifar10": 12_000.0}, trial="per-query", runs=500,
        final_recipe="200ep"),
    "nats-bench": Protocol(
        "Dong et al., TPAMI 2021: nets of 12 epochs for 20,000, 40,000 and 120,000 s, judged by nets of 200",
        recipe="12ep", budgets={"cifar10": 2e4, "cifar100": 4e4, "ImageNet16-120": 1.2e5}, overrun="stop-after",
        trial="per-query", runs=500, final_recipe="200ep"),
    "mini": Protocol("epochs bought rung by rung, 20 mean trainings", table="mini", datasets=None, trainings=20.0,
                     charge="resume", rungs=(1, 3, 8), runs=200),
}  # fmt: skip
"""By name."""


def setups_of(protocol: Protocol, table: str | None = None) -> tuple[list[Setup], list[str]]:
    """The setups of a protocol on the data sets that a table has, and why there are none on others.

    Raises:
        NB201Error: if the table has none of them.
    """
    name = protocol.table if table is None else table
    opened, setups, skipped = open_table(name), [], []
    for dataset in opened.datasets if protocol.datasets is None else protocol.datasets:
        try:
            setups.append(_setup(protocol, name, opened, dataset))
        except MissingDataError as error:
            skipped.append(f"{dataset} is left out: {error}")
    if not setups:
        raise NB201Error(f"table {opened.name!r} has none of the protocol's data: {'; '.join(skipped)}")
    return setups, skipped


def _setup(protocol: Protocol, name: str, table: Table, dataset: str) -> Setup:
    has_trials = bool(table.trials(dataset, recipe=protocol.recipe))
    trial = protocol.trial if has_trials else "mean"
    column = Column.open(table, dataset, recipe=protocol.recipe, trial=trial, rungs=protocol.rungs)
    budget = protocol.budgets.get(dataset)
    if protocol.trainings is not None:
        budget = protocol.trainings * column.full
    return Setup(
        name, dataset, protocol.recipe, trial=trial, budget=budget, charge=protocol.charge, overrun=protocol.overrun,
        max_queries=protocol.max_queries, rungs=protocol.rungs, workers=protocol.workers,
    )  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """How the cells that one agent chose on one data set do on test images of another, in percent.

    Attributes:
        searched: data set that was searched.
        agent: name.
        dataset: on which the nets were trained and tested.
        mean: over runs, of the mean over trials.
        deviation: standard deviation over runs.
    """

    searched: str
    agent: str
    dataset: str
    mean: float
    deviation: float


def verdicts(folder: str | os.PathLike[str], recipe: str, table: str | None = None) -> list[Verdict]:
    """Test accuracy, by nets of a recipe at its last epoch, of the cells that searches chose, on every data set."""
    found = []
    for (searched, agent), runs in read_runs(folder).items():
        opened = table_of(runs[0], table)
        chosen = np.array([run.cell[run.incumbent[-1]] for run in runs if run.cell.size], np.int64)
        for dataset in opened.datasets:
            if not chosen.size or "test" not in _splits(opened, dataset, recipe):
                continue
            accuracy = 100.0 * opened.accuracy(dataset, recipe=recipe, split="test")[chosen].astype(np.float64)
            found.append(Verdict(searched, agent, dataset, float(accuracy.mean()), float(accuracy.std())))
    return found


def _splits(table: Table, dataset: str, recipe: str) -> tuple[str, ...]:
    return table.splits(dataset, recipe=recipe) if recipe in table.recipes(dataset) else ()
