"""Several simulated workers on one search: an event queue that hands results out in the order in which they finish.

    workers = Workers(Oracle.open("published", "cifar10", budget=200_000), count=4)
    while workers.has_free and workers.submit(choose()):
        ...
    result, started, number = workers.wait()

Time on the wall is simulated too: a query takes as long as it costs, and nothing else takes any.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

from nb201_env import checks
from nb201_env.simulation.oracle import Evaluation, Oracle
from nb201_env.space import Cell


class Finished(NamedTuple):
    """A query that has ended: what it observed, when it began in seconds on the wall, and which it was, from 0."""

    result: Evaluation
    started: float
    number: int


class Workers:
    """Workers that train one cell each at a time, and the time on the wall.

    A query is charged when it begins. What has begun is finished and seen, even where the budget ends meanwhile. Unless
    every query pays in full, one of a cell that is being trained waits for that training, on which it builds.

    The oracle knows what a query observes as soon as it begins: while queries run, its incumbent and its accounts are
    ahead of what a searcher may know.

    Args:
        oracle: the search, whose budget is that of all workers together.
        count: number of workers.

    Attributes:
        now: simulated seconds on the wall.
    """

    def __init__(self, oracle: Oracle, count: int):
        self._oracle = oracle
        self._count = checks.whole("workers", count, 1, 10**6)
        self._running: list[tuple[float, int, Finished]] = []  # by the time of their end, then of their beginning
        self._submitted = 0
        self._builds_on_what_was = oracle.rules.charge != "fresh"
        self._trained_until: dict[int, float] = {}  # by cell, when its last query ends
        self.now = 0.0

    @property
    def has_free(self) -> bool:
        """Whether a query can begin now, since a worker is idle and the search goes on."""
        return len(self._running) < self._count and not self._oracle.exhausted

    def submit(self, cell: int | Cell, epoch: int | None = None) -> bool:
        """Begin a query on an idle worker; False, and nothing is charged, if it does not fit the budget.

        Raises:
            NB201Error: if no worker is idle, and as `Oracle.query`.
        """
        checks.whole("idle workers", self._count - len(self._running), 1)
        result = self._oracle.query(cell, epoch)
        if result.observed:
            starts = max(self.now, self._trained_until.get(result.index, 0.0)) if self._builds_on_what_was else self.now
            ends = self._trained_until[result.index] = starts + result.seconds
            heapq.heappush(self._running, (ends, self._submitted, Finished(result, starts, self._submitted)))
            self._submitted += 1
        return result.observed

    def wait(self) -> Finished | None:
        """The next query to end, at whose end it is now; of those that end together, the first to have begun.

        None if none is running.
        """
        if not self._running:
            return None
        self.now, _, finished = heapq.heappop(self._running)
        return finished
