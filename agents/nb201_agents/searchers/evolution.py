"""Regularised (aging) evolution: Real, Aggarwal, Huang and Le, AAAI 2019, in the settings used on NAS-Bench-201."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import ClassVar

import numpy as np

from nb201_agents.searcher import Query, Task
from nb201_env import EDGES, NEIGHBORS, OPS, Evaluation, checks

MUTATIONS = ("edge", "node-first")

_MOVES = len(OPS) - 1  # other ops an edge can change to; a row of NEIGHBORS lists them edge by edge
_TRIES = 100  # to mutate a cell into one on offer, before a random one is taken
_EDGES_INTO = [[edge for edge, (_, end) in enumerate(EDGES) if end == node] for node in (1, 2, 3)]


class RegularizedEvolution:
    """Keeps the youngest cells; each child is a mutation of the best of a random sample of them.

    Args:
        task: what is searched.
        rng: source of all randomness.
        population: number of living cells, the first of them drawn at random.
        sample: how many compete to be the parent, drawn with replacement.
        mutation: `edge` changes one of the six edges, each as likely; `node-first` draws a node and then one of the
            edges into it, as the script of NAS-Bench-201 does, so that edge (0→1) changes in a third of all mutations.
        repeats: whether a cell may be asked for again; if not, a child that was is replaced by a random new cell.
    """

    is_asynchronous: ClassVar[bool] = True

    def __init__(
        self,
        task: Task,
        rng: np.random.Generator,
        population: int = 10,
        sample: int = 3,
        mutation: str = "edge",
        repeats: bool = True,
    ):
        checks.one_of("mutation", mutation, MUTATIONS)
        checks.truth("repeats", repeats)
        population, sample = checks.whole("population", population, 1), checks.whole("sample", sample, 1)
        self._rng, self._cells, self._present = rng, task.cells, task.present
        self._size = population
        self._sample = sample
        self._mutation = mutation
        self._repeats = repeats
        self._population: deque[tuple[float, int]] = deque(maxlen=population)
        self._asked: set[int] = set()

    def ask(self) -> Query | None:
        """A random cell until the population is full, then a child; None if repeats are off and none is left."""
        if not self._repeats and len(self._asked) == self._cells.size:
            return None
        cell = self._random() if len(self._population) < self._size else self._child()
        self._asked.add(cell)
        return Query(cell)

    def tell(self, result: Evaluation) -> None:
        """The told cell joins the population, and the oldest leaves."""
        self._population.append((result.accuracy, result.index))

    def _child(self) -> int:
        draws = self._rng.integers(len(self._population), size=self._sample).tolist()
        _, parent = max((self._population[draw] for draw in draws), key=lambda member: member[0])
        for _ in range(_TRIES):
            child = self._mutate(parent)
            if self._present[child]:
                return child if self._repeats or child not in self._asked else self._random()
        return self._random()

    def _mutate(self, parent: int) -> int:
        if self._mutation == "edge":
            move = int(self._rng.integers(len(EDGES) * _MOVES))
        else:
            edges = _EDGES_INTO[self._rng.integers(len(_EDGES_INTO))]
            move = edges[self._rng.integers(len(edges))] * _MOVES + int(self._rng.integers(_MOVES))
        return NEIGHBORS.item(parent, move)

    def _random(self) -> int:
        while True:
            cell = self._cells.item(self._rng.integers(self._cells.size))
            if self._repeats or cell not in self._asked:
                return cell


rea = RegularizedEvolution
"""Population 10, sample 3: the setting of NAS-Bench-201 and NATS-Bench."""

rea_50 = partial(RegularizedEvolution, population=50, sample=10, repeats=False)
"""Population 50, sample 10, no cell twice."""
