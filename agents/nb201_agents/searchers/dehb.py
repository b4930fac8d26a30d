"""DEHB (Awad, Mallik and Hutter, IJCAI 2021): Hyperband whose cells are bred by differential evolution.

Written after the paper, because the authors' package asks for NumPy below 2.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import count as count_from

import numpy as np
import numpy.typing as npt

from nb201_agents.searcher import Query, Task
from nb201_agents.searchers.hyperband import Hyperband, bracket_sizes
from nb201_agents.searchers.successive_halving import Steps
from nb201_env import ALL_OPS, EDGES, OPS, Evaluation, checks, index_of

Floats = npt.NDArray[np.float64]
Member = tuple[Floats, float]
"""A vector and the accuracy that was observed of its cell."""

_PARENTS = 3
_LEAST_MEMBERS = 10

_TRIES = 100  # to breed a cell on offer, before a random one is taken


class DEHB(Hyperband):
    """A population of vectors from 0 to 1 at every rung, of which each edge's op is one of five equal parts.

    The first bracket is one of successive halving, which begins the populations. After it, every cell is bred: a mutant
    of three parents, who are the best at the rung below, or of the rung itself where a bracket begins there, crossed
    with a member of the rung's population, whose place the child takes if it is not worse. A population that is smaller
    than ten, or than the rung's largest share in a bracket, takes the child in beside the member; with fewer than four
    members, and no rung below, it takes in random cells.

    Args:
        task: what is searched; its epochs are the rungs.
        rng: source of all randomness.
        eta: by which a rung's number of cells is divided; 3, the authors' default.
        scale: of the difference of two parents; F in the paper, 0.5.
        crossover: share of edges that the mutant gives; p in the paper, 0.5.
    """

    def __init__(self, task: Task, rng: np.random.Generator, eta: int = 3, scale: float = 0.5, crossover: float = 0.5):
        self._scale = checks.number("scale", scale, 0.0, most=1e3)
        self._crossover = checks.number("crossover", crossover, 0.0, most=1.0)
        self._populations: list[list[Member]] = [[] for _ in task.epochs]
        self._turn = [0] * len(task.epochs)  # whose turn it is to be crossed
        super().__init__(task, rng, eta)

    def steps(self) -> Steps:
        """A bracket of halving, then brackets of breeding."""
        brackets = bracket_sizes(len(self._task.epochs), self._eta)
        shares = [max(dict(one).get(rung, 0) for one in brackets) for rung in range(len(self._task.epochs))]
        self._sizes = [max(share, _LEAST_MEMBERS) for share in shares]
        first = min(brackets[0][0][1], self._task.cells.size)  # no bracket needs more cells than there are
        members = [self._of_cell(self._draws.cell()) for _ in range(first)]
        for rung, count in brackets[0]:
            found = []
            for vector, _ in sorted(members, key=lambda member: -member[1])[:count]:
                found.append((yield from self._evaluate(vector, rung)))
            self._populations[rung] = members = found
        for number in count_from(1):
            rungs = brackets[number % len(brackets)]
            for rung, count in rungs:
                for _ in range(count):
                    yield from self._breed(rung, rung if rung == rungs[0][0] else rung - 1)

    def _evaluate(self, vector: Floats, rung: int) -> Generator[Query, Evaluation, Member]:
        result = yield Query(_cell_of(vector), self._task.epochs[rung])
        return vector, result.worth

    def _breed(self, rung: int, below: int) -> Generator[Query, Evaluation, None]:
        """One child at a rung, of parents at another."""
        population = self._populations[rung]
        turn = self._turn[rung] % max(len(population), 1)
        self._turn[rung] = turn + 1
        target = population[turn] if population else self._of_cell(self._draws.cell())
        new = self._draws.started()
        if new is None and rung == below and len(population) <= _PARENTS:
            new = self._draws.cell()
        vector = self._child(target[0], self._parents(below)) if new is None else self._of_cell(new)[0]
        child = yield from self._evaluate(vector, rung)
        if len(population) < self._sizes[rung]:
            population.append(child)
        elif child[1] >= target[1]:
            population[turn] = child

    def _parents(self, rung: int) -> list[Floats]:
        """The best of a rung, as many as the next one has; all, and members of other rungs, if they are too few."""
        best = sorted(self._populations[rung], key=lambda member: -member[1])
        share = self._sizes[min(rung + 1, len(self._sizes) - 1)]
        parents = [vector for vector, _ in best[: max(_PARENTS, share)]]
        others = [vector for population in self._populations for vector, _ in population]
        while len(parents) < _PARENTS:
            parents.append(others[self._rng.integers(len(others))])
        return parents

    def _child(self, target: Floats, parents: list[Floats]) -> Floats:
        """Of rand/1 mutation and binomial crossover, one on offer; a random vector after too many tries."""
        for _ in range(_TRIES):
            first, second, third = (parents[at] for at in self._rng.choice(len(parents), _PARENTS, replace=False))
            mutant = first + self._scale * (second - third)
            outside = (mutant < 0.0) | (mutant > 1.0)
            mutant = np.where(outside, self._rng.random(len(EDGES)), mutant)
            crossed = self._rng.random(len(EDGES)) < self._crossover
            crossed[self._rng.integers(len(EDGES))] = True
            child = np.where(crossed, mutant, target)
            if self._task.present[_cell_of(child)]:
                return child
        return self._of_cell(self._draws.cell())[0]

    def _of_cell(self, cell: int) -> Member:
        """A random vector that stands for a cell, worth nothing yet."""
        return (ALL_OPS[cell] + self._rng.random(len(EDGES))) / len(OPS), 0.0


def _cell_of(vector: Floats) -> int:
    return int(index_of(np.minimum((vector * len(OPS)).astype(np.int64), len(OPS) - 1)))
