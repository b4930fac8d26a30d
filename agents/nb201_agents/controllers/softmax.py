"""The softmax over all cells: what may be drawn, drawing it edge by edge, and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nb201_env import EDGES, OPS

_IMPOSSIBLE = -1e9


def without(scores: Tensor, closed: Tensor) -> Tensor:
    """Scores (n, 15625) by which cells cannot be drawn whose codes (n, length) are given, -1 for none."""
    rows, places = (closed >= 0).nonzero(as_tuple=True)
    return scores.index_put((rows, closed[rows, places]), scores.new_tensor(_IMPOSSIBLE))


def draw(shares: Tensor, generator: torch.Generator) -> Tensor:
    """Cells built edge by edge, each op by the summed share of the cells that go on with it; their codes, (n,)."""
    codes = torch.zeros(len(shares), dtype=torch.long)
    for _ in EDGES:
        following = shares.reshape(len(shares), len(OPS), -1)
        ops = torch.multinomial(following.sum(dim=2), 1, generator=generator)[:, 0]
        codes = codes * len(OPS) + ops
        shares = following[torch.arange(len(ops)), ops]
    return codes


def judged(scores: Tensor, cells: Tensor, good: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of cells by the softmax of scores, entropies, and log-probabilities of other cells, (n,) each.

    The last are 0 for cells that cannot be drawn.

    Args:
        scores: of all cells, (n, 15625).
        cells: codes of those that were drawn, (n,).
        good: codes of others, (n,).
    """
    found: tuple[Tensor, Tensor, Tensor] = _Judged.apply(scores, cells, good)  # type: ignore[no-untyped-call]
    return found


class _Judged(torch.autograd.Function):
    """Written out because a chain of operations passes over all cells of all searches four times as often."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, cells: Tensor, good: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shares = scores.softmax(dim=1)
        total, mean = scores.logsumexp(dim=1), torch.einsum("nc,nc->n", shares, scores)
        of_good = scores.gather(1, good[:, None])[:, 0]
        is_open = of_good > 0.5 * _IMPOSSIBLE
        ctx.save_for_backward(scores, shares, mean, cells, good, is_open)
        likelihood = (of_good - total).masked_fill(~is_open, 0.0)
        return scores.gather(1, cells[:, None])[:, 0] - total, total - mean, likelihood

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        of_cells, of_entropy, of_good = gradients
        scores, shares, mean, cells, good, is_open = ctx.saved_tensors
        of_good = of_good * is_open
        # of the entropy: -share (score - mean); of a log-probability: 1 at its cell, less the shares
        found = torch.addcmul((of_entropy * mean - of_cells - of_good)[:, None], scores, of_entropy[:, None], value=-1)
        found.mul_(shares)
        found.scatter_add_(1, cells[:, None], of_cells[:, None])
        found.scatter_add_(1, good[:, None], of_good[:, None])
        return found, None, None
