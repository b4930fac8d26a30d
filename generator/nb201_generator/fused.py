"""Many cells as one network: K nets trained together on shared batches, each exactly as if alone.

Activations are (batch, K·channels, height, width): the channels of net 0, then of net 1, and so on. Convolutions are
grouped by net, batch norm sees K·channels independent channels, and the classifier is one batched product. Within a
cell, an op is computed only for the nets that have it: see `FusedCell`.

A gradient never crosses from one net to another, so the sum of the nets' losses trains each as its own loss would.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nb201_env.space import AVG_POOL, CONV_1X1, CONV_3X3, EDGES, SKIP, Cell
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

    All edges that leave a node are computed together: what they read is gathered once, then there is one grouped
    convolution for all their 1x1, one for all their 3x3 and one pooling, whose results are added to the nodes that the
    edges lead to.

    Args:
        cells: one for each net.
        channels: of one net.
    """

    def __init__(self, cells: Sequence[Cell], channels: int):
        super().__init__()
        self.nets, self.channels = len(cells), channels
        self.convs = nn.ModuleDict()
        self.users: dict[tuple[int, int], list[tuple[int, list[int]]]] = {}
        for source in (0, 1, 2):
            for op in _COMPUTED:
                users = [
                    (edge, _nets_with(cells, edge, op)) for edge, (start, _) in enumerate(EDGES) if start == source
                ]
                self.users[source, op] = [(edge, nets) for edge, nets in users if nets]
                for edge, nets in users:
                    self.register_buffer(f"nets_{edge}_{op}", torch.tensor(nets, dtype=torch.long), persistent=False)
                gathered = [net for _, nets in users for net in nets]
                self.register_buffer(f"read_{source}_{op}", torch.tensor(gathered, dtype=torch.long), persistent=False)
                if op in _KERNELS and gathered:
                    self.convs[f"{source}_{op}"] = FusedReLUConvBN(len(gathered), channels, channels, _KERNELS[op])

    def forward(self, x: Tensor) -> Tensor:
        """(batch, nets·channels, h, w) to the same shape."""
        batch, _, *size = x.shape
        first = x.view(batch, self.nets, self.channels, *size)
        nodes = [first, *(torch.zeros_like(first) for _ in range(3))]
        for (source, op), users in self.users.items():
            if not users:
                continue
            y = nodes[source].index_select(1, self.get_buffer(f"read_{source}_{op}"))
            if op == AVG_POOL:
                y = average(y)
            elif op in _KERNELS:
                y = self.convs[f"{source}_{op}"](y.flatten(1, 2)).view(y.shape)
            shares = torch.split(y, [len(nets) for _, nets in users], dim=1)
            for (edge, _), part in zip(users, shares, strict=True):
                nodes[EDGES[edge][1]].index_add_(1, self.get_buffer(f"nets_{edge}_{op}"), part)
        return nodes[3].flatten(1, 2)


_COMPUTED = (SKIP, CONV_1X1, CONV_3X3, AVG_POOL)
_KERNELS = {CONV_1X1: 1, CONV_3X3: 3}


def _nets_with(cells: Sequence[Cell], edge: int, op: int) -> list[int]:
    return [net for net, cell in enumerate(cells) if cell.ops[edge] == op]


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
            for net, single, part in self.parts(name, tensor):
                part.copy_(network_tensor(networks[net], single).reshape(part.shape))

    def named_tensors(self) -> list[tuple[str, Tensor]]:
        """Parameters and running statistics by name."""
        buffers = [(n, b) for n, b in self.named_buffers() if n.endswith(("running_mean", "running_var"))]
        return [*self.named_parameters(), *buffers]

    def parts(self, name: str, tensor: Tensor) -> list[tuple[int, str, Tensor]]:
        """The shares of the nets in a tensor of `named_tensors`.

        Returns:
            For each share the net, what the tensor is called in the net alone (see `network_tensor`), and a view.
        """
        pieces = name.split(".")
        if "convs" in pieces:
            block = self.blocks[int(pieces[1])]
            assert isinstance(block, FusedCell)
            source, op = map(int, pieces[3].split("_"))
            users = [(edge, net) for edge, nets in block.users[source, op] for net in nets]
            inner = f"{_INNER[pieces[4]]}.{pieces[5]}"
            names = [(net, f"cells.{pieces[1]}.layers.{edge}.{inner}") for edge, net in users]
        else:
            names = [(net, _single_name(pieces)) for net in range(len(self.cells))]
        return [(*found, part) for found, part in zip(names, tensor.chunk(len(names)), strict=True)]

    @torch.no_grad()
    def state_dicts(self) -> list[dict[str, Tensor]]:
        """The state dict of each net alone, on the CPU: what `load` would take over."""
        found: list[dict[str, Tensor]] = [{} for _ in self.cells]
        for name, tensor in self.named_tensors():
            for net, single, part in self.parts(name, tensor):
                if name in ("weight", "bias"):
                    part = part[0].T if name == "weight" else part[0, 0]
                found[net][single] = part.detach().cpu().contiguous()
                if single.endswith("running_mean"):
                    found[net][single.replace("running_mean", "num_batches_tracked")] = self._batches().clone()
        return found

    def _batches(self) -> Tensor:
        """How many batches the norms have seen, which is the same for all."""
        return self.get_buffer("stem_bn.num_batches_tracked").cpu()


_INNER = {"conv": "op.1", "bn": "op.2"}
_TOP = {"stem": "stem.0", "stem_bn": "stem.1", "last_bn": "lastact.0"}


def _single_name(pieces: list[str]) -> str:
    """What a tensor outside the cells is called in the single network."""
    if pieces[0] in ("weight", "bias"):
        return f"classifier.{pieces[0]}"
    if pieces[0] in _TOP:
        return f"{_TOP[pieces[0]]}.{pieces[1]}"
    if pieces[2] == "downsample":
        return f"cells.{pieces[1]}.downsample.1.weight"
    return f"cells.{pieces[1]}.{pieces[2]}.{_INNER[pieces[3]]}.{pieces[4]}"


def network_tensor(network: Network, name: str) -> Tensor:
    """A parameter or running statistic of a single network, laid out as in a fused one."""
    module, _, own = name.rpartition(".")
    tensor: Tensor = getattr(network.get_submodule(module), own)
    return tensor.T if name == "classifier.weight" else tensor


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each net, (nets,), of logits (nets, batch, classes) and labels (batch,)."""
    nets, batch, _ = logits.shape
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.repeat(nets), reduction="none")
    return losses.view(nets, batch).mean(dim=1)
