"""Many searches of one kind in lockstep, on the rows of a ledger; each is what the searcher alone would do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from nb201_agents.many.draws import Bools, Floats, Ints, Rows
from nb201_agents.many.evolution import RegularizedEvolutions
from nb201_agents.many.local_search import LocalSearches
from nb201_agents.many.random_search import RandomSearches
from nb201_agents.many.reinforce import Reinforces
from nb201_agents.searcher import Task, agent_of, started
from nb201_agents.searchers.evolution import RegularizedEvolution
from nb201_agents.searchers.local_search import LocalSearch
from nb201_agents.searchers.random_search import RandomSearch
from nb201_agents.searchers.reinforce import Reinforce
from nb201_env import Column, Evaluation, Rules
from nb201_env.simulation.ledger import Ledger


class Searchers(Protocol):
    """Many searchers of one kind; row for row what a `Searcher` is, at the task's epoch alone."""

    def ask(self, rows: Rows) -> Ints:
        """The next cell of each of some rows, (n,), -1 where nothing is left to ask."""

    def tell(self, rows: Rows, cells: Ints, worth: Floats) -> None:
        """Take in what the last queries of some rows are worth."""


MANY: dict[Any, Callable[..., Searchers]] = {
    RandomSearch: RandomSearches,
    RegularizedEvolution: RegularizedEvolutions,
    LocalSearch: LocalSearches,
    Reinforce: Reinforces,
}
"""The form for many searches of those searchers that have one."""


def searchers_of(name: str, task: Task, rngs: Sequence[np.random.Generator]) -> Searchers:
    """Many agents of a name that has a form in `MANY`, one for each generator."""
    make: Any
    make, options = agent_of(name)
    if isinstance(make, partial):
        make, options = make.func, make.keywords | options
    task = started(task, options)
    make(task, rngs[0].spawn(1)[0], **options)  # checks the options
    defaults = {key: value.default for key, value in list(inspect.signature(make).parameters.items())[2:]}
    return MANY[make](task, rngs, **defaults | options)


class Queries(NamedTuple):
    """What many searches observed, as arrays of one length, in the order in which queries were made.

    Attributes:
        search: number of the search, from 0.
        index, accuracy, seconds, trial, repeat, worth: as in `Evaluation`.
    """

    search: Rows
    index: Ints  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    accuracy: Floats
    seconds: Floats
    trial: Ints
    repeat: Bools
    worth: Floats


def search_many(searchers: Searchers, column: Column, rules: Rules, seeds: Sequence[int]) -> Queries:
    """What searches observe, one for each seed, until their budgets end or they have nothing left to ask."""
    ledger = Ledger([column], [rules], len(seeds))
    rows = np.arange(len(seeds))
    ledger.new_search(rows, np.array(seeds, np.uint64))
    waves = []
    while rows.size:
        cells = searchers.ask(rows)
        asks = cells >= 0
        rows, cells = rows[asks], cells[asks]
        found = ledger.query(rows, cells)
        seen = found.observed
        rows, cells, worth = rows[seen], cells[seen], found.worth[seen]
        searchers.tell(rows, cells, worth)
        columns = found.accuracy, found.query_seconds, found.trial, found.repeat
        waves.append((rows, cells, *(column[seen] for column in columns), worth))
        rows = rows[~ledger.exhausted[rows]]
    return Queries(*map(np.concatenate, zip(*waves, strict=True)))


def by_search(queries: Queries, count: int, epoch: int) -> list[list[Evaluation]]:
    """The queries of each search, made at an epoch."""
    results: list[list[Evaluation]] = [[] for _ in range(count)]
    for at, cell, accuracy, seconds, trial, repeat, worth in zip(*(part.tolist() for part in queries), strict=True):
        results[at].append(Evaluation(cell, epoch, accuracy, seconds, trial, True, repeat, worth))
    return results
