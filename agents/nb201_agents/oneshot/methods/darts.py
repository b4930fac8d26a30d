"""Differentiable architecture search (Liu, Simonyan and Yang, DARTS, ICLR 2019), by its first and second order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nb201_agents.oneshot.method import Alphas, Batch, Shared
from nb201_env.space import Cell

DIFFERENCE = 0.01
"""Length of the step of the weights over which gradients are compared (DARTS, section 2.3)."""


class DARTS:
    """Every edge is the sum of all ops by softmax; weights and alphas descend in turn.

    Args:
        shared: what it searches with.
        order: 1, where alphas descend on the loss as it is, or 2, on what it would be after a step of the weights.
    """

    def __init__(self, shared: Shared, order: int = 1):
        self._shared, self._order = shared, order
        self.alphas = Alphas(shared.recipe, shared.rng, next(shared.net.parameters()).device)

    def weights(self) -> Tensor:
        """Of the ops of each edge in the sum, (6, 5)."""
        return self.alphas.softmax()

    def step(self, train: Batch, valid: Batch) -> None:
        """One step of the weights, then one of the alphas."""
        self._shared.descend(self._shared.loss(train, self.weights().detach()))
        self.alphas.descend(self.gradient(train, valid) if self._order == 1 else self.unrolled_gradient(train, valid))

    def gradient(self, train: Batch, valid: Batch) -> Tensor:
        """Of the validation loss, (6, 5)."""
        return self._gradient(self._shared.loss(valid, self.weights()))

    def _gradient(self, loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss + self.penalty(), self.alphas.values)[0]

    def penalty(self) -> Tensor:
        """What is added to the loss of the alphas; nothing here."""
        return self.alphas.values.new_zeros(())

    def unrolled_gradient(self, train: Batch, valid: Batch) -> Tensor:
        """Of the validation loss after one step of the weights (equations 7 and 8 of DARTS), (6, 5).

        The product of second derivatives and a vector is a difference of two gradients, a little along the vector.
        """
        parameters = [one for one in self._shared.net.parameters() if one.requires_grad]
        before = [one.detach().clone() for one in parameters]
        rate = self._shared.optimizer.param_groups[0]["lr"]
        self._move(parameters, before, self._next_step(parameters, train), -rate)
        loss = self._shared.loss(valid, self.weights())
        direct, *along = torch.autograd.grad(loss, [self.alphas.values, *parameters], allow_unused=True)
        along = [torch.zeros_like(p) if one is None else one for one, p in zip(along, parameters, strict=True)]
        size = DIFFERENCE / torch.sqrt(sum((one**2).sum() for one in along) + 1e-30)  # type: ignore[arg-type]
        sides = []
        for sign in (1.0, -1.0):
            self._move(parameters, before, along, sign * float(size))
            sides.append(torch.autograd.grad(self._shared.loss(train, self.weights()), self.alphas.values)[0])
        self._move(parameters, before, along, 0.0)
        unrolled: Tensor = direct - rate * (sides[0] - sides[1]) / (2 * size)
        return unrolled

    def _next_step(self, parameters: list[nn.Parameter], train: Batch) -> list[Tensor]:
        """What a step would move the weights along by plain momentum, without the look ahead of Nesterov's."""
        loss = self._shared.loss(train, self.weights().detach())
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        group = self._shared.optimizer.param_groups[0]
        found = []
        for parameter, gradient in zip(parameters, gradients, strict=True):
            moment = self._shared.optimizer.state[parameter].get("momentum_buffer")
            step = group["weight_decay"] * parameter.detach()
            step = step if gradient is None else step + gradient
            found.append(step if moment is None else step + group["momentum"] * moment)
        return found

    @torch.no_grad()
    def _move(self, parameters: list[nn.Parameter], before: list[Tensor], along: Sequence[Tensor], size: float) -> None:
        for parameter, start, one in zip(parameters, before, along, strict=True):
            parameter.copy_(start + size * one)

    def after_epoch(self, batches: Iterator[Batch]) -> None:
        """Nothing: it learns at every step."""

    def current(self) -> Cell:
        """The likeliest op of each edge."""
        return self.alphas.argmax()

    def probabilities(self) -> Tensor:
        """Of the alphas."""
        return self.alphas.softmax().detach()

    def final(self, batches: Sequence[Batch]) -> Cell:
        """The likeliest op of each edge."""
        return self.alphas.argmax()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return self.alphas.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.alphas.restore(state)
