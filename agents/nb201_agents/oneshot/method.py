"""What the methods share: a supernet, batches, and what chooses ops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nb201_agents.oneshot.cost import EVALUATION, PARTS, Floats, work_of
from nb201_agents.oneshot.paths import logits_of_paths
from nb201_agents.oneshot.recipe import OneShotRecipe
from nb201_agents.oneshot.supernet import Supernet
from nb201_env.space import EDGES, OPS, Cell

TOGETHER = 1 << 15
"""Pixels of images that go through the network at once. On a CPU, several paths on more than these are slower than one
after the other."""


class Batch(NamedTuple):
    """Images (n, 3, size, size) and labels (n,)."""

    images: Tensor
    labels: Tensor


@dataclass
class Shared:
    """What a method searches with.

    Attributes:
        net: the supernet.
        optimizer: of its weights.
        recipe: how both are trained.
        rng: source of the randomness of choices.
        progress: 0 in the first epoch, 1 in the last.
        work: images that went through every part of the network so far, forwards and backwards, (31,); see `cost`.
    """

    net: Supernet
    optimizer: torch.optim.Optimizer
    recipe: OneShotRecipe
    rng: np.random.Generator
    progress: float = 0.0
    work: Floats = field(default_factory=lambda: np.zeros(PARTS))

    def descend(self, loss: Tensor) -> None:
        """One step of the weights."""
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        self.optimizer.step()

    def loss(self, batch: Batch, weights: Tensor | None = None, ops: Sequence[int] | None = None) -> Tensor:
        """Mean cross-entropy of what is chosen, whose gradient will be taken."""
        self.work += len(batch.labels) * work_of(ops)
        return functional.cross_entropy(self.net(batch.images, weights, ops), batch.labels)

    @torch.no_grad()
    def accuracies(self, batches: Sequence[Batch], paths: Sequence[Sequence[int]]) -> list[float]:
        """Of paths, each on a batch of its own, evaluated by the norms as the recipe has them."""
        found = [0.0] * len(paths)
        self.net.eval()
        for alike in _alike(batches):
            images = torch.stack([batches[i].images for i in alike])
            if len(alike) == 1:
                logits = self.net(images[0], ops=paths[alike[0]])[None]
            else:
                logits = logits_of_paths(self.net, images, [paths[i] for i in alike])
            for i, of_path in zip(alike, logits, strict=True):
                self.work += EVALUATION * len(of_path) * work_of(paths[i])
                found[i] = float((of_path.argmax(dim=1) == batches[i].labels).double().mean())
        self.net.train()
        return found

    def best_of(self, cells: Sequence[Sequence[int]], batches: Sequence[Batch]) -> Cell:
        """The path of the highest accuracy, each seen on one batch, in turn."""
        found = self.accuracies([batches[i % len(batches)] for i in range(len(cells))], cells)
        return Cell.parse(list(cells[int(np.argmax(found))]))

    def uniform_path(self) -> list[int]:
        """One op an edge, each as likely as the others."""
        return [int(op) for op in self.rng.integers(len(OPS), size=len(EDGES))]


def _alike(batches: Sequence[Batch]) -> list[list[int]]:
    """Numbers of batches that are evaluated together: those of as many images, up to `TOGETHER` pixels."""
    by_shape = dict[torch.Size, list[int]]()
    for number, batch in enumerate(batches):
        by_shape.setdefault(batch.images.shape, []).append(number)
    found = []
    for shape, numbers in by_shape.items():
        most = max(1, TOGETHER // (shape[0] * shape[-1] ** 2))
        found += [numbers[start : start + most] for start in range(0, len(numbers), most)]
    return found


class Method(Protocol):
    """How a supernet is searched."""

    def step(self, train: Batch, valid: Batch) -> None:
        """Learn from a batch for the weights and one for the choices."""

    def after_epoch(self, batches: Iterator[Batch]) -> None:
        """Learn from batches for the choices between two epochs, if that is the method's way."""

    def current(self) -> Cell:
        """The cell that the method would take now."""

    def probabilities(self) -> Tensor:
        """Of the ops of each edge, (6, 5)."""

    def final(self, batches: Sequence[Batch]) -> Cell:
        """The cell that is found, by the method's own rule."""

    def state(self) -> dict[str, Any]:
        """All that it has learnt beside the supernet, for a checkpoint."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""


class Alphas:
    """A number for each op of each edge, and Adam for them.

    Attributes:
        values: (6, 5), normal with deviation 0.001 at first.
    """

    def __init__(self, recipe: OneShotRecipe, rng: np.random.Generator, device: torch.device | str):
        start = 1e-3 * rng.standard_normal((len(EDGES), len(OPS)))
        self.values = nn.Parameter(torch.tensor(start, dtype=torch.float32, device=device))
        self._optimizer = torch.optim.Adam(
            [self.values], recipe.arch_rate, betas=(0.5, 0.999), weight_decay=recipe.arch_decay
        )

    def descend(self, gradient: Tensor) -> None:
        """One step along a gradient (6, 5)."""
        self.values.grad = gradient.detach().clone()
        self._optimizer.step()

    def softmax(self) -> Tensor:
        """Probabilities, (6, 5)."""
        return self.values.softmax(dim=1)

    def argmax(self) -> Cell:
        """The cell of the largest of each edge."""
        return Cell.parse(self.values.argmax(dim=1).tolist())

    def sample(self, rng: np.random.Generator) -> list[int]:
        """A path drawn by the probabilities."""
        upto = self.softmax().detach().cpu().double().numpy().cumsum(axis=1)
        return [int((row < number * row[-1]).sum()) for row, number in zip(upto, rng.random(len(EDGES)), strict=True)]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"values": self.values.detach(), "optimizer": self._optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        with torch.no_grad():
            self.values.copy_(state["values"])
        self._optimizer.load_state_dict(state["optimizer"])
