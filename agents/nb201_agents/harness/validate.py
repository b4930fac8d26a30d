"""Whether results are what the table says: every query of every run is made again and compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np

from nb201_agents.harness.results import Run, read_runs, table_of
from nb201_env import Evaluation, NB201Error, Oracle


def validate(
    folder: str | os.PathLike[str],
    table: str | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> list[str]:
    """Make every query of a folder of results again.

    Args:
        folder: that `nb201 bench` wrote.
        table: where the table is now, if not where it was.
        progress: called with runs done, all runs, and what is being read.

    Returns:
        What is wrong, each with the run and the row; empty if every accuracy, trial, number of seconds and end is as
        the table and the rules have it.

    Raises:
        NB201Error: if the folder holds no results, damaged ones, or those of another table.
    """
    results = read_runs(folder)
    total = sum(map(len, results.values()))
    problems: list[str] = []
    done = 0
    for (dataset, agent), runs in results.items():
        oracle: Oracle | None = None
        rules: object = None
        for run in runs:
            if oracle is None or run.header["env"]["kwargs"] != rules:
                oracle, rules = oracle_of(run, table), run.header["env"]["kwargs"]
            problems += [f"{dataset}/{agent}, seed {run.header['seed']}: {one}" for one in problems_of(run, oracle)]
            done += 1
            progress(done, total, f"{dataset} {agent}")
    return problems


def oracle_of(run: Run, table: str | None = None) -> Oracle:
    """An oracle under the rules of a run."""
    kwargs = run.header["env"]["kwargs"]
    rules = {key: value for key, value in kwargs.items() if key != "workers"}
    return Oracle.open(**{**rules, "table": table_of(run, table)})


def problems_of(run: Run, oracle: Oracle) -> Iterator[str]:
    """What is wrong with a run, whose rules the oracle has; at most one problem, since the rest may follow from it."""
    header, column = run.header, oracle.column
    if (header["recipe"], header["epoch"]) != (column.recipe, column.epoch):
        yield f"it says recipe {header['recipe']}, epoch {header['epoch']}, not {column.recipe}, {column.epoch}"
        return
    oracle.new_search(header["seed"])
    columns = run.spent, run.cell, run.epoch, run.trial, run.reward, run.seconds, run.worth
    rows = zip((run.begun + 1).tolist(), *(column[run.begun].tolist() for column in columns), strict=True)
    for number, spent, cell, epoch, trial, accuracy, seconds, worth in rows:
        try:
            if spent:
                oracle.spend(spent)
            found = oracle.query(cell, epoch)
        except NB201Error as error:
            yield f"row {number}: {error}"
            return
        if not found.observed:
            yield f"row {number}: the search had ended by then"
            return
        said = Evaluation(cell, epoch, accuracy, seconds, trial, True, found.repeat, worth)
        if said != found:
            yield f"row {number} is {_shown(said)}, and the table has {_shown(found)}"
            return
    if problem := _worker_problem(run):
        yield problem
    elif not run.would_take.size and not _is_over(oracle):  # weight sharing asks for one cell, and no more
        yield (
            f"it ends after {oracle.n_queries} queries, with {oracle.seconds_left:,.0f} s left, enough for any cell of "
            f"{column.dataset}"
        )


def _worker_problem(run: Run) -> str | None:
    """What is wrong with the times at which several workers began, None if nothing is."""
    starts, ends = np.sort(run.started), np.sort(run.ended)
    for number, start in enumerate(starts[run.workers :].tolist() if run.workers > 1 else ()):
        if start < ends[number]:  # a query begins when one has ended for each before it, but for the first few
            return f"row {run.begun[number + run.workers] + 1} begins before any of {run.workers} workers is idle"
    return None


def _is_over(oracle: Oracle) -> bool:
    """Whether a search can have ended here: by its rules, by a query that did not fit, or with nothing left to ask."""
    column = oracle.column
    dearest = float((column.train[-1] + column.evaluation)[column.present].max())
    return oracle.exhausted or oracle.seconds_left < dearest or oracle.n_distinct == int(column.present.sum())


def _shown(row: Evaluation) -> str:
    return f"cell {row.index}, epoch {row.epoch}, trial {row.trial}, {row.accuracy!r}, {row.seconds!r} s, {row.worth!r}"
