"""Gradient-based search by a differentiable sampler (Dong and Yang, GDAS, CVPR 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from nb201_agents.oneshot.method import Batch
from nb201_agents.oneshot.methods.darts import DARTS

HOT, COLD = 10.0, 0.1
"""Temperatures of the first and of the last epoch, and in a line between."""


class GDAS(DARTS):
    """Every step computes one op an edge, drawn by Gumbel's trick; the gradient is that of the softened draw."""

    def step(self, train: Batch, valid: Batch) -> None:
        """One step of the weights on a draw, then one of the alphas on another."""
        weights, ops = self.draw()
        self._shared.descend(self._shared.loss(train, weights.detach(), ops))
        weights, ops = self.draw()
        self.alphas.descend(torch.autograd.grad(self._shared.loss(valid, weights, ops), self.alphas.values)[0])

    def temperature(self) -> float:
        """At this share of the epochs."""
        return HOT + (COLD - HOT) * self._shared.progress

    def draw(self) -> tuple[Tensor, list[int]]:
        """Weights (6, 5) that are 1 for the op that was drawn and 0 else, with the gradient of the softened draw."""
        uniform = torch.tensor(self._shared.rng.random(self.alphas.values.shape)).to(self.alphas.values)
        noise = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
        soft = ((self.alphas.values.log_softmax(dim=1) + noise) / self.temperature()).softmax(dim=1)
        ops = soft.argmax(dim=1)
        hard = torch.nn.functional.one_hot(ops, soft.shape[1]).to(soft)
        return hard - soft.detach() + soft, ops.tolist()
