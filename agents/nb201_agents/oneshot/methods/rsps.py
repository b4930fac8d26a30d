"""Random search with parameter sharing (Li and Talwalkar, Random Search and Reproducibility for NAS, UAI 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nb201_agents.oneshot.method import Batch, Shared
from nb201_env.space import EDGES, OPS, Cell


class RSPS:
    """Every step trains a path drawn uniformly; the best of some random paths on validation images is found."""

    def __init__(self, shared: Shared):
        self._shared, self._cell = shared, Cell.parse(shared.uniform_path())

    def step(self, train: Batch, valid: Batch) -> None:
        """One step of the weights of a random path."""
        path = self._shared.uniform_path()
        self._shared.descend(self._shared.loss(train, ops=path))
        self._cell = Cell.parse(path)

    def after_epoch(self, batches: Iterator[Batch]) -> None:
        """Nothing: it learns at every step."""

    def current(self) -> Cell:
        """The path of the last step: the method prefers none while it trains."""
        return self._cell

    def probabilities(self) -> Tensor:
        """All alike."""
        return torch.full((len(EDGES), len(OPS)), 1 / len(OPS))

    def final(self, batches: Sequence[Batch]) -> Cell:
        """The best of random paths, each seen on one batch."""
        paths = [self._shared.uniform_path() for _ in range(self._shared.recipe.samples)]
        return self._shared.best_of(paths, batches)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"cell": self._cell.index}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._cell = Cell(state["cell"])
