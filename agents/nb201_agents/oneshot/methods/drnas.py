"""Dirichlet neural architecture search (Chen, Wang, Cheng, Tang and Hsieh, DrNAS, ICLR 2021), without its stages."""

from __future__ import annotations

import torch
from torch import Tensor

from nb201_agents.oneshot.method import Batch
from nb201_agents.oneshot.methods.darts import DARTS


class DrNAS(DARTS):
    """DARTS whose weights of ops are drawn from a Dirichlet distribution, which learns."""

    def concentration(self) -> Tensor:
        """Of the distribution of each edge, (6, 5): elu(alpha) + 1."""
        return torch.nn.functional.elu(self.alphas.values) + 1.0

    def weights(self) -> Tensor:
        """A draw, whose gradient is pathwise; from PyTorch's generator, seeded by the search's."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._shared.rng.integers(2**63)))
            return torch.distributions.Dirichlet(self.concentration()).rsample()

    def step(self, train: Batch, valid: Batch) -> None:
        """One step of the weights on a draw, then one of the alphas on another."""
        self._shared.descend(self._shared.loss(train, self.weights().detach()))
        self.alphas.descend(self.gradient(train, valid))

    def probabilities(self) -> Tensor:
        """Means of the distributions."""
        found = self.concentration().detach()
        return found / found.sum(dim=1, keepdim=True)
