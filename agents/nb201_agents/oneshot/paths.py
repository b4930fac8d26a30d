"""Many paths of a supernet at once, each on images of its own: an op of an edge runs once for all that chose it.

What a path computes is what `Supernet.forward` computes for it alone, up to the order of sums; norms that go by the
statistics of the batch go by those of the path's own images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from nb201_generator.network import ReLUConvBN
from torch import Tensor, nn
from torch.nn import functional

from nb201_agents.oneshot.supernet import SharedCell, Supernet
from nb201_env.space import EDGES


@torch.no_grad()
def logits_of_paths(net: Supernet, images: Tensor, paths: Sequence[Sequence[int]]) -> Tensor:
    """Logits (paths, batch, num_classes) of a supernet in evaluation mode.

    Args:
        net: the supernet.
        images: of each path, (paths, batch, 3, size, size).
        paths: ops, one an edge.
    """
    count, ops = len(images), torch.tensor([list(path) for path in paths], device=images.device)

    def through(cell: nn.Module, x: Tensor) -> Tensor:
        return _cell(cell, x.reshape(count, -1, *x.shape[1:]), ops).flatten(0, 1)

    found = net.logits(images.flatten(0, 1), through)
    return found.reshape(count, -1, found.shape[1])


def _cell(cell: nn.Module, x: Tensor, ops: Tensor) -> Tensor:
    assert isinstance(cell, SharedCell)
    nodes = [x]
    for target in (1, 2, 3):
        node = torch.zeros_like(x)
        for edge, (source, end) in enumerate(EDGES):
            if end == target:
                layers = cell.layers[edge]
                assert isinstance(layers, nn.ModuleList)
                for op, layer in enumerate(layers):
                    chosen = (ops[:, edge] == op).nonzero()[:, 0]
                    if len(chosen):
                        node.index_add_(0, chosen, _layer(layer, nodes[source][chosen]))
        nodes.append(node)
    return nodes[-1]


def _layer(layer: nn.Module, x: Tensor) -> Tensor:
    """An op on images of several paths, (paths, batch, channels, height, width) to the same shape."""
    norm = layer.op[2] if isinstance(layer, ReLUConvBN) else None
    if not isinstance(norm, nn.BatchNorm2d) or norm.track_running_stats:
        return torch.reshape(layer(x.flatten(0, 1)), x.shape)
    assert isinstance(layer, ReLUConvBN)
    found = torch.reshape(layer.op[:2](x.flatten(0, 1)), x.shape)
    by_path = found.transpose(0, 1).flatten(1, 2)  # channels of all paths, so that each has statistics of its own
    weight, bias = (None if one is None else one.repeat(len(x)) for one in (norm.weight, norm.bias))
    normed = functional.batch_norm(by_path, None, None, weight, bias, training=True, eps=norm.eps)
    return normed.reshape(x.shape[1], x.shape[0], *x.shape[2:]).transpose(0, 1)
