"""Many cells as one network: K nets trained together on shared batches, each exactly as if alone.

Activations are (batch, K·channels, height, width): the channels of net 0, then of net 1, and so on. Convolutions are
grouped by net, batch norm sees K·channels independent channels, and the classifier is one batched product. Within a
cell, the convs of an edge are computed only for the nets that have one there: on each edge, the nets with a 1x1, a 3x3
and a pooling are gathered, computed together and added to the node, so that nothing is computed to be thrown away.

A gradient never crosses from one net to another, so the sum of the nets' losses trains each as its own loss would.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nb201_env.cell import AVG_POOL, CONV_1X1, CONV_3X3, EDGES, SKIP, Cell
from nb201_generator.network import Network


class FusedBatchNorm(nn.BatchNorm2d):
    """Batch norm of K nets: every channel is normalised by itself, so K·channels channels are as good as K norms."""

    def __init__(self, nets: int, channels: int):
        super().__init__(nets * channels)


def grouped_conv(nets: int, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution of each net by its own weights, without bias, padded to keep the size at stride 1."""
    return nn.Conv2d(
        nets * channels_in, nets * channels_out, kernel, stride, padding=kernel // 2, groups=nets, bias=False
    )


class FusedReLUConvBN(nn.Module):
    """`nb201_generator.network.ReLUConvBN` of K nets."""

    def __init__(self, nets: int, channels_in: int, channels_out: int, kernel: int, stride: int = 1):
        super().__init__()
        self.conv = grouped_conv(nets, channels_in, channels_out, kernel, stride)
        self.bn = FusedBatchNorm(nets, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, nets·channels_in, h, w) to (batch, nets·channels_out, h / stride, w / stride)."""
        return self.bn(self.conv(functional.relu(x)))  # type: ignore[no-any-return]


class FusedCell(nn.Module):
    """One cell of each of K nets, whose ops differ from net to net.

    Args:
        cells: one for each net.
        channels: of one net.
    """

    def __init__(self, cells: Sequence[Cell], channels: int):
        super().__init__()
        self.nets, self.channels = len(cells), channels
        self.convs = nn.ModuleDict()
        for edge in range(len(EDGES)):
            for op in (SKIP, CONV_1X1, CONV_3X3, AVG_POOL):
                members = [net for net, cell in enumerate(cells) if cell.ops[edge] == op]
                self.register_buffer(f"members_{edge}_{op}", torch.tensor(members, dtype=torch.long), persistent=False)
                if op in (CONV_1X1, CONV_3X3) and members:
                    kernel = 1 if op == CONV_1X1 else 3
                    self.convs[f"{edge}_{op}"] = FusedReLUConvBN(len(members), channels, channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, nets·channels, h, w) to the same shape."""
        batch, _, *size = x.shape
        nodes = [x.view(batch, self.nets, self.channels, *size)]
        for target in (1, 2, 3):
            total = torch.zeros_like(nodes[0])
            for edge, (source, end) in enumerate(EDGES):
                if end == target:
                    total = self._add_edge(total, edge, nodes[source])
            nodes.append(total)
        return nodes[3].flatten(1, 2)

    def _add_edge(self, total: Tensor, edge: int, source: Tensor) -> Tensor:
        for op in (SKIP, CONV_1X1, CONV_3X3, AVG_POOL):
            members = self.get_buffer(f"members_{edge}_{op}")
            if not len(members):
                continue
            y = source.index_select(1, members)
            if op == AVG_POOL:
                y = average(y)
            elif op != SKIP:
                y = self.convs[f"{edge}_{op}"](y.flatten(1, 2)).view_as(y)
            total = total.index_add(1, members, y)
        return total


def average(x: Tensor) -> Tensor:
    """3x3 average pooling that does not count the padding, of (batch, nets, channels, h, w).

    Small images are pooled as two matrix products, which on a CPU is several times faster than the pooling kernel.
    """
    height, width = x.shape[-2:]
    if max(height, width) <= _MATRIX_POOL_SIZE:
        rows, columns = (_band(size, x.dtype, x.device) for size in (height, width))
        pooled: Tensor = rows @ (x @ columns.T)
        return pooled
    return functional.avg_pool2d(x.flatten(1, 2), 3, 1, 1, count_include_pad=False).reshape(x.shape)


_MATRIX_POOL_SIZE = 16


def _band(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix that averages each position with its neighbours, (size, size): the pooling is separable."""
    near = (torch.arange(size, device=device)[:, None] - torch.arange(size, device=device)).abs() <= 1
    return near.to(dtype) / near.sum(dim=1, keepdim=True)


class FusedResidualBlock(nn.Module):
    """`nb201_generator.network.ResidualBlock` of K nets."""

    def __init__(self, nets: int, channels_in: int, channels_out: int):
        super().__init__()
        self.conv_a = FusedReLUConvBN(nets, channels_in, channels_out, kernel=3, stride=2)
        self.conv_b = FusedReLUConvBN(nets, channels_out, channels_out, kernel=3)
        self.downsample = grouped_conv(nets, channels_in, channels_out, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, nets·channels_in, h, w) to (batch, nets·channels_out, h / 2, w / 2)."""
        return self.conv_b(self.conv_a(x)) + self.downsample(functional.avg_pool2d(x, 2, 2))  # type: ignore[no-any-return]


class FusedNetwork(nn.Module):
    """The networks of K cells as one.

    Args:
        cells: one for each net; a cell may occur more than once, with weights of its own each time.
        num_classes: width of the classifier.
        channels: width of the first stage of one net.
        cells_per_stage: how often each stage repeats the cell.
    """

    def __init__(self, cells: Sequence[Cell], num_classes: int = 10, channels: int = 16, cells_per_stage: int = 5):
        super().__init__()
        self.cells, self.num_classes, self.channels = tuple(cells), num_classes, channels
        self.cells_per_stage = cells_per_stage
        nets = len(self.cells)
        # All nets see the same images, so the stem is one plain convolution with the filters of all.
        self.stem = nn.Conv2d(3, nets * channels, 3, padding=1, bias=False)
        self.stem_bn = FusedBatchNorm(nets, channels)
        blocks: list[nn.Module] = []
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                blocks.append(FusedResidualBlock(nets, width // 2, width))
            blocks += [FusedCell(self.cells, width) for _ in range(cells_per_stage)]
        self.blocks = nn.ModuleList(blocks)
        self.last_bn = FusedBatchNorm(nets, width)
        self.weight = nn.Parameter(torch.empty(nets, width, num_classes))
        self.bias = nn.Parameter(torch.empty(nets, 1, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (nets, batch, num_classes) of images (batch, 3, size, size), size a multiple of 4."""
        x = self.stem_bn(self.stem(images))
        for block in self.blocks:
            x = block(x)
        x = functional.relu(self.last_bn(x)).mean(dim=(2, 3))
        features = x.view(len(x), len(self.cells), -1).transpose(0, 1)
        return torch.baddbmm(self.bias, features, self.weight)

    @torch.no_grad()
    def load(self, networks: Sequence[Network]) -> None:
        """Take over the parameters and running statistics of single networks of the same cells, in order."""
        for name, tensor in self.named_tensors():
            for net, part in self.parts(name, tensor):
                part.copy_(_single_tensor(networks[net], self, name, net))

    def named_tensors(self) -> list[tuple[str, Tensor]]:
        """Parameters and running statistics by name."""
        buffers = [(n, b) for n, b in self.named_buffers() if n.endswith(("running_mean", "running_var"))]
        return [*self.named_parameters(), *buffers]

    def parts(self, name: str, tensor: Tensor) -> list[tuple[int, Tensor]]:
        """The share of each net in a tensor of `named_tensors`, as (net, view), for the nets that have one."""
        pieces = name.split(".")
        nets = range(len(self.cells))
        if "convs" in pieces:
            block = self.blocks[int(pieces[1])]
            edge, op = pieces[3].split("_")
            members = block.get_buffer(f"members_{edge}_{op}").tolist()
            return list(zip(members, tensor.chunk(len(members)), strict=True))
        return list(zip(nets, tensor.chunk(len(nets)), strict=True))


def _single_tensor(network: Network, fused: FusedNetwork, name: str, net: int) -> Tensor:
    """The tensor of a single network that corresponds to a net's share of a fused tensor, in its shape."""
    tensors = dict([*network.named_parameters(), *network.named_buffers()])
    tensor = tensors[single_name(name)]
    if name == "weight":
        return tensor.T[None]
    return tensor[None, None] if name == "bias" else tensor


def single_name(name: str) -> str:
    """What a fused tensor is called in the single network."""
    top = {"stem": "stem.0", "stem_bn": "stem.1", "last_bn": "lastact.0"}
    pieces = name.split(".")
    if pieces[0] in ("weight", "bias"):
        return f"classifier.{pieces[0]}"
    if pieces[0] in top:
        return f"{top[pieces[0]]}.{pieces[1]}"
    inner = {"conv": "op.1", "bn": "op.2"}
    if pieces[2] == "convs":
        edge = pieces[3].split("_")[0]
        return f"cells.{pieces[1]}.layers.{edge}.{inner[pieces[4]]}.{pieces[5]}"
    if pieces[2] == "downsample":
        return f"cells.{pieces[1]}.downsample.1.weight"
    return f"cells.{pieces[1]}.{pieces[2]}.{inner[pieces[3]]}.{pieces[4]}"


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each net, (nets,), of logits (nets, batch, classes) and labels (batch,)."""
    nets, batch, _ = logits.shape
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.repeat(nets), reduction="none")
    return losses.view(nets, batch).mean(dim=1)
