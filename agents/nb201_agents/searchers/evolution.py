"""Regularised (aging) evolution: Real, Aggarwal, Huang and Le, AAAI 2019, in the settings used on NAS-Bench-201."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import ClassVar

import numpy as np

from nb201_agents.searcher import Draws, Query, Task
from nb201_env import EDGES, NEIGHBORS, NUM_CELLS, OPS, Evaluation, checks

MUTATIONS = ("edge", "node-first")

MOVES = len(OPS) - 1  # other ops an edge can change to; a row of NEIGHBORS lists them edge by edge
TRIES = 100  # to mutate a cell into one on offer, before a random one is taken
EDGES_INTO = [[edge for edge, (_, end) in enumerate(EDGES) if end == node] for node in (1, 2, 3)]


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
        population = checks.whole("population", population, 1, NUM_CELLS)
        sample = checks.whole("sample", sample, 1, NUM_CELLS)
        self._draws, self._num_cells, self._present = Draws(task, rng), task.cells.size, task.present
        self._size = population
        self._sample = sample
        self._mutation = mutation
        self._repeats = repeats
        self._population: deque[tuple[float, int]] = deque(maxlen=population)
        self._asked: set[int] = set()

    def ask(self) -> Query | None:
        """A random cell until the population is full, then a child; None if repeats are off and none is left."""
        if not self._repeats and len(self._asked) == self._num_cells:
            return None
        cell = self._draws.started()
        if cell is None or (not self._repeats and cell in self._asked):
            cell = self._random() if len(self._population) < self._size else self._child()
        self._asked.add(cell)
        return Query(cell)

    def tell(self, result: Evaluation) -> None:
        """The told cell joins the population, and the oldest leaves."""
        self._population.append((result.worth, result.index))

    def _child(self) -> int:
        draws = [self._draws.below(len(self._population)) for _ in range(self._sample)]
        _, parent = max((self._population[draw] for draw in draws), key=lambda member: member[0])
        for _ in range(TRIES):
            child = self._mutate(parent)
            if self._present[child]:
                return child if self._repeats or child not in self._asked else self._random()
        return self._random()

    def _mutate(self, parent: int) -> int:
        if self._mutation == "edge":
            move = self._draws.below(len(EDGES) * MOVES)
        else:
            edges = EDGES_INTO[self._draws.below(len(EDGES_INTO))]
            move = edges[self._draws.below(len(edges))] * MOVES + self._draws.below(MOVES)
        return NEIGHBORS.item(parent, move)

    def _random(self) -> int:
        return self._draws.cell(() if self._repeats else self._asked)


rea = RegularizedEvolution
"""Population 10, sample 3: the setting of NAS-Bench-201 and NATS-Bench."""

rea_50 = partial(RegularizedEvolution, population=50, sample=10, repeats=False)
"""Population 50, sample 10, no cell twice."""
