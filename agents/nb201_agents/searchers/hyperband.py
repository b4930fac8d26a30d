"""Hyperband (Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, JMLR 2018): halving from every rung in turn."""

from __future__ import annotations

import math
from collections.abc import Iterable

from nb201_agents.searchers.successive_halving import Steps, SuccessiveHalving, bracket


class Hyperband(SuccessiveHalving):
    """Successive halving that starts at the first rung with many cells, then at the second with fewer, and so on.

    With K + 1 rungs, bracket s of K, …, 0 begins at rung K - s with ceil((K + 1) / (s + 1) eta^s) cells (algorithm 1 of
    the paper, one bracket a rung instead of one a power of eta). After the last the first comes again.

    Args:
        task: what is searched; its epochs are the rungs.
        rng: source of all randomness.
        eta: by which a rung's number of cells is divided; 3, the authors' default.
    """

    def steps(self) -> Steps:
        """Bracket after bracket."""
        epochs = self._task.epochs
        while True:
            for rungs in bracket_sizes(len(epochs), self._eta):
                first, count = rungs[0]
                yield from bracket(self.first_cells(count), epochs[first:], self._eta)

    def first_cells(self, count: int) -> Iterable[int]:
        """With what a bracket begins."""
        return self.random_cells(count)


def bracket_sizes(num_rungs: int, eta: int) -> list[list[tuple[int, int]]]:
    """Of each bracket, its rungs and how many cells each has of them."""
    brackets = []
    for further in range(num_rungs - 1, -1, -1):
        count, rungs = math.ceil(num_rungs / (further + 1) * eta**further), []
        for rung in range(num_rungs - 1 - further, num_rungs):
            rungs.append((rung, count))
            count = max(1, count // eta)
        brackets.append(rungs)
    return brackets
