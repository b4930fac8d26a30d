"""All cells as one network whose ops share their weights: Dong and Yang, NAS-Bench-201, ICLR 2020, section 4.

Every edge of every cell holds all five ops. What a pass computes is chosen by the caller: one op an edge (a path), the
sum of all of them by weights, or one op times its weight, whose gradient reaches the other weights as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from nb201_generator.network import Network, ResidualBlock, Skeleton, make_op
from torch import Tensor, nn

from nb201_env.space import EDGES, OPS, Cell


class SharedCell(nn.Module):
    """A cell that has every op on every edge."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList(make_op(op, channels) for op in range(len(OPS))) for _ in EDGES)

    def forward(self, x: Tensor, weights: Tensor | None, ops: Sequence[int] | None) -> Tensor:
        """(batch, channels, height, width) to the same shape; see `Supernet.forward`."""
        nodes = [x]
        for target in (1, 2, 3):
            into = [(edge, source) for edge, (source, end) in enumerate(EDGES) if end == target]
            parts = [self._edge(edge, nodes[source], weights, ops) for edge, source in into]
            nodes.append(torch.stack(parts).sum(dim=0))
        return nodes[-1]

    def _edge(self, edge: int, x: Tensor, weights: Tensor | None, ops: Sequence[int] | None) -> Tensor:
        layers = self.layers[edge]
        assert isinstance(layers, nn.ModuleList)
        if ops is None:
            assert weights is not None
            return torch.stack([weight * layer(x) for weight, layer in zip(weights[edge], layers, strict=True)]).sum(0)
        chosen: Tensor = layers[ops[edge]](x)
        if weights is None:
            return chosen
        # what GDAS computes: the others are weighted by zero, and their weights still have a gradient
        own = weights[edge, ops[edge]]
        return chosen * own + (weights[edge].sum() - own)


class Supernet(Skeleton):
    """The network of all cells.

    Args:
        num_classes: width of the classifier.
        channels: width of the first stage.
        cells_per_stage: how often each stage repeats the cell.
        affine: whether the norms of the cells' ops have a scale and a shift of their own.
        running: whether these norms keep running statistics and evaluate by them; else always by those of the batch.
    """

    def __init__(
        self,
        num_classes: int = 10,
        channels: int = 16,
        cells_per_stage: int = 5,
        affine: bool = False,
        running: bool = False,
    ):
        super().__init__(
            lambda width: with_norms(SharedCell(width), affine, running), num_classes, channels, cells_per_stage
        )
        self.sizes = num_classes, channels, cells_per_stage
        self.norms = affine, running

    def forward(self, images: Tensor, weights: Tensor | None = None, ops: Sequence[int] | None = None) -> Tensor:
        """Logits (batch, num_classes) of images (batch, 3, size, size).

        Args:
            images: size a multiple of 4.
            weights: of the ops of each edge, (6, 5). Without `ops`, an edge is the sum of its ops by them.
            ops: one an edge: a path. With weights, each op is multiplied by its own.
        """
        return self.logits(images, lambda cell, x: cell(x, weights, ops))

    @torch.no_grad()
    def network_of(self, cell: Cell) -> Network:
        """The network of one cell, with copies of the weights that it has here."""
        network = Network(cell, *self.sizes)
        for block in network.cells:
            if not isinstance(block, ResidualBlock):
                with_norms(block, *self.norms)
        network.to(self.classifier.weight.device, self.classifier.weight.dtype)
        own, state = self.state_dict(), {}
        for name in network.state_dict():
            pieces = name.split(".")
            if "layers" in pieces:
                edge = pieces.index("layers") + 1
                pieces.insert(edge + 1, str(cell.ops[int(pieces[edge])]))
            state[name] = own[".".join(pieces)].clone()
        network.load_state_dict(state)
        return network.train(self.training)


def with_norms(module: nn.Module, affine: bool, running: bool) -> nn.Module:
    """A module with norms of another kind in the place of its own."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.BatchNorm2d(child.num_features, affine=affine, track_running_stats=running))
        else:
            with_norms(child, affine, running)
    return module
