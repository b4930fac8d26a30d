"""The network of one cell, written to be read: Dong and Yang, NAS-Bench-201, ICLR 2020, section 2.2 and figure 1.

A stem, three stages of repeated cells with a residual block before the second and third, and a linear classifier.
Names of modules are those of the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from nb201_env.space import AVG_POOL, CONV_1X1, CONV_3X3, EDGES, NONE, Cell


class Zero(nn.Module):
    """The op `none`: its output is zero, and so is the gradient that flows back."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros shaped as x, (batch, channels, height, width)."""
        return x * 0.0


class ReLUConvBN(nn.Module):
    """ReLU, convolution without bias, batch norm; `nor_conv_1x1`, `nor_conv_3x3` and the parts of a residual block."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1):
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(inplace=False),
            nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, height, width) to (batch, channels_out, height / stride, width / stride)."""
        return self.op(x)  # type: ignore[no-any-return]


def make_op(op: int, channels: int) -> nn.Module:
    """The module of an op code."""
    if op == NONE:
        return Zero()
    if op in (CONV_1X1, CONV_3X3):
        return ReLUConvBN(channels, channels, kernel=1 if op == CONV_1X1 else 3)
    if op == AVG_POOL:
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Identity()


class CellModule(nn.Module):
    """A cell: each node is the sum of its incoming edges' outputs, and the last node is the output."""

    def __init__(self, cell: Cell, channels: int):
        super().__init__()
        self.layers = nn.ModuleList(make_op(op, channels) for op in cell.ops)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to the same shape."""
        nodes = [x]
        for target in (1, 2, 3):
            into = [(layer, source) for layer, (source, end) in zip(self.layers, EDGES, strict=True) if end == target]
            nodes.append(torch.stack([layer(nodes[source]) for layer, source in into]).sum(dim=0))
        return nodes[-1]


class ResidualBlock(nn.Module):
    """Halves the image and changes the width; nothing follows the sum."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.conv_a = ReLUConvBN(channels_in, channels_out, kernel=3, stride=2)
        self.conv_b = ReLUConvBN(channels_out, channels_out, kernel=3)
        self.downsample = nn.Sequential(nn.AvgPool2d(2, stride=2), nn.Conv2d(channels_in, channels_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, height, width) to (batch, channels_out, height / 2, width / 2)."""
        return self.conv_b(self.conv_a(x)) + self.downsample(x)  # type: ignore[no-any-return]


def _alone(cell: nn.Module, x: Tensor) -> Tensor:
    return cell(x)  # type: ignore[no-any-return]


class Skeleton(nn.Module):
    """What is around the cells: three stages that repeat a cell, between a stem and a classifier.

    Args:
        make_cell: a cell of a width, which leaves shapes as they are.
        num_classes: width of the classifier.
        channels: width of the first stage; the second and third are twice and four times as wide.
        cells_per_stage: how often each stage repeats the cell.
    """

    def __init__(self, make_cell: Callable[[int], nn.Module], num_classes: int, channels: int, cells_per_stage: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        blocks: list[nn.Module] = []
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                blocks.append(ResidualBlock(width // 2, width))
            blocks += [make_cell(width) for _ in range(cells_per_stage)]
        self.cells = nn.ModuleList(blocks)
        self.lastact = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(width, num_classes)

    def logits(self, images: Tensor, through: Callable[[nn.Module, Tensor], Tensor] = _alone) -> Tensor:
        """Logits (batch, num_classes) of images (batch, 3, size, size), size a multiple of 4.

        Args:
            images: normalised.
            through: from a cell and its input to its output, where a cell is to be told more than its input.
        """
        x = self.stem(images)
        for block in self.cells:
            x = block(x) if isinstance(block, ResidualBlock) else through(block, x)
        features = functional.adaptive_avg_pool2d(self.lastact(x), 1).flatten(1)
        return self.classifier(features)  # type: ignore[no-any-return]


class Network(Skeleton):
    """The network of a cell.

    Args:
        cell: the cell that every stage repeats.
        num_classes: width of the classifier.
        channels: width of the first stage; the second and third are twice and four times as wide.
        cells_per_stage: how often each stage repeats the cell.
    """

    def __init__(self, cell: Cell, num_classes: int = 10, channels: int = 16, cells_per_stage: int = 5):
        super().__init__(partial(CellModule, cell), num_classes, channels, cells_per_stage)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, num_classes) of images (batch, 3, size, size), size a multiple of 4."""
        return self.logits(images)
