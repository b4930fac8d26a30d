"""Beta-decay regularised DARTS (Ye, Li, Li, Fan, Ouyang and Wu, b-DARTS, CVPR 2022)."""

from __future__ import annotations

from torch import Tensor

from nb201_agents.oneshot.methods.darts import DARTS

MOST = 50.0
"""Weight of the decay after the last epoch, to which it grows in a line."""


class BetaDARTS(DARTS):
    """DARTS with a penalty that keeps alphas from growing apart."""

    def penalty(self) -> Tensor:
        """The mean of the edges' log-sum-exp of alphas, by a weight that grows (equation 13)."""
        return MOST * self._shared.progress * self.alphas.values.logsumexp(dim=1).mean()
