"""Efficient neural architecture search by parameter sharing (Pham, Guan, Zoph, Le and Dean, ENAS, ICML 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nb201_agents.oneshot.method import Batch, Shared
from nb201_agents.searchers.lstm_controller import Policy
from nb201_env.space import EDGES, Cell

RATE, DECAY = 1e-3, 0.99
"""Learning rate of the controller and decay of its baseline, as NAS-Bench-201 and NATS-Bench set them."""

PATHS = 20
"""Of which each step of the controller takes the mean gradient, as there."""


class ENAS:
    """An epoch of weights on paths of a controller, then steps of the controller by REINFORCE, and so on."""

    def __init__(self, shared: Shared):
        self._shared = shared
        self.policy = Policy(int(shared.rng.integers(2**32)), RATE)
        self._baseline: float | None = None
        self._cell = Cell.parse(self._path())

    def _path(self) -> list[int]:
        return self.policy.sample(self._shared.rng.random(len(EDGES)))

    def step(self, train: Batch, valid: Batch) -> None:
        """One step of the weights on a path."""
        self._shared.descend(self._shared.loss(train, ops=self._path()))

    def after_epoch(self, batches: Iterator[Batch]) -> None:
        """Steps of the controller, each by the mean gradient of some paths, each on one batch."""
        for _ in range(self._shared.recipe.controller_steps):
            self.learn([next(batches) for _ in range(PATHS)])

    def learn(self, batches: Sequence[Batch]) -> None:
        """One step of the controller, on a path for each batch."""
        paths, advantages = [self._path() for _ in batches], []
        for reward in self._shared.accuracies(batches, paths):
            before = reward if self._baseline is None else self._baseline
            self._baseline = DECAY * before + (1 - DECAY) * reward
            advantages.append(reward - self._baseline)
        self.policy.learn(paths, advantages)
        self._cell = Cell.parse(paths[-1])

    def current(self) -> Cell:
        """The last path of the controller."""
        return self._cell

    def probabilities(self) -> Tensor:
        """Shares of ops in a hundred paths."""
        paths = torch.tensor([self._path() for _ in range(100)])
        return torch.nn.functional.one_hot(paths, 5).double().mean(dim=0)

    def final(self, batches: Sequence[Batch]) -> Cell:
        """The best of paths of the controller, each seen on one batch."""
        return self._shared.best_of([self._path() for _ in range(self._shared.recipe.samples)], batches)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"policy": self.policy.state(), "baseline": self._baseline, "cell": self._cell.index}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.policy.restore(state["policy"])
        self._baseline, self._cell = state["baseline"], Cell(state["cell"])
