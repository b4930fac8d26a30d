"""Successive halving (Jamieson and Talwalkar, AISTATS 2016): many cells for a few epochs, the best of them for more."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import numpy as np

from nb201_agents.searcher import Draws, Query, Task
from nb201_env import Evaluation, checks

Steps = Generator[Query, Evaluation, None]
"""Yields a query and is sent what it observed."""


def bracket(cells: Iterable[int], epochs: tuple[int, ...], eta: int) -> Steps:
    """Train cells to the first epoch, the best 1/eta of them to the next, and so on to the last."""
    for epoch in epochs:
        seen: list[tuple[float, int, int]] = []
        for cell in cells:
            result = yield Query(cell, epoch)
            seen.append((result.worth, -len(seen), cell))  # of equals, the first
        keep = max(1, len(seen) // eta)
        cells = [cell for _, _, cell in sorted(seen, reverse=True)[:keep]]


class StepwiseSearcher:
    """A searcher that is written as one generator of queries; a subclass says what it yields."""

    def __init__(self, task: Task, rng: np.random.Generator):
        self._task, self._rng, self._draws = task, rng, Draws(task, rng)
        self._steps = self.steps()
        self._next: Query | None = next(self._steps, None)

    def steps(self) -> Steps:
        """The whole search."""
        raise NotImplementedError

    def ask(self) -> Query | None:
        """The next query, None after the last."""
        return self._next

    def tell(self, result: Evaluation) -> None:
        """Go on from what the query observed."""
        try:
            self._next = self._steps.send(result)
        except StopIteration:
            self._next = None

    def random_cells(self, count: int) -> list[int]:
        """Different cells, drawn uniformly from those on offer."""
        cells: dict[int, None] = {}
        while len(cells) < min(count, self._task.cells.size):
            cells[self._draws.cell(cells)] = None
        return list(cells)


class SuccessiveHalving(StepwiseSearcher):
    """Brackets of random cells, one after the other, until the budget ends.

    A bracket begins with eta to the power of the number of rungs less one, so that one cell reaches the last epoch.
    With a single rung it is random search.

    Args:
        task: what is searched; its epochs are the rungs.
        rng: source of all randomness.
        eta: by which a rung's number of cells is divided; 3, the authors' default.
    """

    def __init__(self, task: Task, rng: np.random.Generator, eta: int = 3):
        self._eta = checks.whole("eta", eta, 2, 100)
        super().__init__(task, rng)

    def steps(self) -> Steps:
        """Bracket after bracket."""
        epochs = self._task.epochs
        while True:
            yield from bracket(self.random_cells(self._eta ** (len(epochs) - 1)), epochs, self._eta)
