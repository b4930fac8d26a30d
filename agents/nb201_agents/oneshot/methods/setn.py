"""Self-evaluated template network (Dong and Yang, One-Shot NAS via Self-Evaluated Template Network, ICCV 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nb201_agents.oneshot.method import Alphas, Batch, Shared
from nb201_env.space import Cell


class SETN:
    """Weights learn on uniform paths, alphas on the sum of all ops by softmax; the best of sampled paths is found."""

    def __init__(self, shared: Shared):
        self._shared = shared
        self.alphas = Alphas(shared.recipe, shared.rng, next(shared.net.parameters()).device)

    def step(self, train: Batch, valid: Batch) -> None:
        """One step of the weights, then one of the alphas."""
        self._shared.descend(self._shared.loss(train, ops=self._shared.uniform_path()))
        loss = self._shared.loss(valid, weights=self.alphas.softmax())
        self.alphas.descend(torch.autograd.grad(loss, self.alphas.values)[0])

    def after_epoch(self, batches: Iterator[Batch]) -> None:
        """Nothing: it learns at every step."""

    def current(self) -> Cell:
        """The likeliest op of each edge."""
        return self.alphas.argmax()

    def probabilities(self) -> Tensor:
        """Of the alphas."""
        return self.alphas.softmax().detach()

    def final(self, batches: Sequence[Batch]) -> Cell:
        """The best of paths drawn by the alphas, each seen on one batch."""
        paths = [self.alphas.sample(self._shared.rng) for _ in range(self._shared.recipe.samples)]
        return self._shared.best_of(paths, batches)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return self.alphas.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.alphas.restore(state)
