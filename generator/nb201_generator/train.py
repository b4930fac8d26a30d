"""Training many cells together on shared batches, and what comes out of it.

A net's result does not depend on which others it is trained with, but for rounding: its initial weights come from the
trial's seed as they would for the net alone, and batches and augmentation from another generator of that seed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from nb201_env import Cell
from nb201_generator.fused import FusedNetwork, loss_of
from nb201_generator.images import ImageSet, Split
from nb201_generator.network import Network
from nb201_generator.recipe import Recipe

EVAL_BATCH, CPU_EVAL_BATCH = 256, 64
"""On a CPU, the activations of many nets on larger batches leave its caches and take twice as long."""


PRECISIONS = ("float32", "tf32", "bfloat16")
"""Arithmetic of convolutions and products: full float32, float32 through NVIDIA's TensorFloat-32, or bfloat16 by
autocast with float32 weights. Only the first makes a net's result independent of the device but for rounding."""


COMPILED: dict[str, dict[str, Any] | None] = {
    "no": None,
    "yes": {},
    "cuda-graphs": {"mode": "reduce-overhead"},
}
"""What `torch.compile` is called with, if it is: plainly, or so that a GPU replays recorded steps as CUDA graphs."""


def compile_network(network: nn.Module, compiled: str) -> nn.Module:
    """A network whose calls are compiled, for each size of batch; or itself.

    The first step of each block compiles, which takes longer than training for a few epochs.
    """
    settings = COMPILED[compiled]
    if settings is None:
        return network
    torch.compiler.reset()  # the last block's network, which had other groups
    return torch.compile(network, dynamic=False, **settings)  # type: ignore[return-value]


@dataclass(frozen=True)
class Curves:
    """What nets reached on one split: correct images, int64 (epochs, nets), and mean cross-entropy.

    The epochs are those after which the recipe evaluates the split. On the train split, both are running values of
    the epoch, in training mode on augmented images.
    """

    correct: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]


class DeviceImages:
    """A data set on the device that trains: batches, augmentation and normalisation without leaving it."""

    def __init__(self, images: ImageSet, device: torch.device, layout: torch.memory_format = torch.contiguous_format):
        self.device, self._layout = device, layout
        self._mean = torch.tensor(images.mean, device=device, dtype=torch.float32).view(1, -1, 1, 1)
        self._std = torch.tensor(images.std, device=device, dtype=torch.float32).view(1, -1, 1, 1)
        self.splits = {name: self._on_device(split) for name, split in images.splits.items()}

    def _on_device(self, split: Split) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(split.images).to(self.device), torch.from_numpy(split.labels).to(self.device)

    def training_batches(self, recipe: Recipe, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of shuffled, augmented, normalised batches."""
        images, labels = self.splits["train"]
        order = torch.randperm(len(labels), generator=generator).to(self.device)
        for start in range(0, len(labels), recipe.batch_size):
            chosen = order[start : start + recipe.batch_size]
            yield self._normalise(augment(images[chosen], recipe, generator)), labels[chosen]

    def whole_batches(self, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches of the train split as evaluation sees it, all of one size, which is at most the split's."""
        images, labels = self.splits["train"]
        size = min(size, len(labels))
        order = torch.randperm(len(labels), generator=generator).to(self.device)
        for start in range(0, len(labels) - size + 1, size):
            chosen = order[start : start + size]
            yield self._normalise(images[chosen]), labels[chosen]

    def evaluation_batches(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """All images of a split in order, normalised."""
        images, labels = self.splits[split]
        size = CPU_EVAL_BATCH if self.device.type == "cpu" else EVAL_BATCH
        for start in range(0, len(labels), size):
            part = slice(start, start + size)
            yield self._normalise(images[part]), labels[part]

    def _normalise(self, images: Tensor) -> Tensor:
        return ((images - self._mean) / self._std).contiguous(memory_format=self._layout)


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Images mirrored at random, then cropped at random from their zero-padded selves, as the recipe says."""
    count, device = len(images), images.device
    if recipe.flip:
        mirrored = torch.rand(count, generator=generator).to(device) < 0.5
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    size = images.shape[-1]
    if pad := recipe.padding(size):
        corner = torch.randint(2 * pad + 1, (2, count, 1), generator=generator).to(device)
        rows, columns = corner + torch.arange(size, device=device)
        padded = functional.pad(images, (pad, pad, pad, pad))
        which = torch.arange(count, device=device).view(-1, 1, 1, 1)
        channel = torch.arange(images.shape[1], device=device).view(1, -1, 1, 1)
        images = padded[which, channel, rows[:, None, :, None], columns[:, None, None, :]]
    return images


def initial_network(
    cells: Sequence[Cell], num_classes: int, recipe: Recipe, seed: int, device: torch.device
) -> FusedNetwork:
    """The fused network whose every net starts as PyTorch initialises it alone under the seed."""
    singles = []
    for cell in cells:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            singles.append(Network(cell, num_classes, recipe.channels, recipe.cells_per_stage))
    fused = FusedNetwork(cells, num_classes, recipe.channels, recipe.cells_per_stage)
    fused.load(singles)
    return fused.to(device)


def keep_freed_memory() -> None:
    """Have glibc hand freed memory out again, where it would return large pieces to the system at every step.

    Fused activations are megabytes each, which would be mapped anew, page by page.
    """
    with suppress(OSError, AttributeError, TypeError):  # another C library
        set_option = ctypes.CDLL(None).mallopt
        for option, value in _MALLOC_OPTIONS.items():
            set_option(option, value)


_MALLOC_OPTIONS = {-1: 1 << 30, -3: 1 << 25}
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h, in bytes; the latter is the highest that every glibc takes."""


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in one of `PRECISIONS`, and as before afterwards."""
    settings: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [setting.allow_tf32 for setting in settings]
    try:
        for setting in settings:
            setting.allow_tf32 = precision == "tf32"
        # a cache of cast weights would outlive the optimiser's steps
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False):
            yield
    finally:
        for setting, allowed in zip(settings, before, strict=True):
            setting.allow_tf32 = allowed


def train(
    cells: Sequence[Cell],
    images: ImageSet,
    recipe: Recipe,
    seed: int,
    device: torch.device | str = "cpu",
    precision: str = "float32",
    channels_last: bool = False,
    compiled: str = "no",
    keep: Callable[[FusedNetwork], None] = lambda network: None,
) -> dict[str, Curves]:
    """Train one net for each cell and evaluate the splits after the epochs that the recipe says.

    Args:
        cells: one for each net.
        images: the data set.
        recipe: how to train.
        seed: of the trial: initial weights, batches and augmentation.
        device: that trains.
        precision: one of `PRECISIONS`.
        channels_last: whether weights and images are laid out with the channels innermost.
        compiled: one of `COMPILED`.
        keep: called with the network when it is trained.

    Returns:
        Curves of train and of every other split that the data set has.
    """
    device = torch.device(device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    data = DeviceImages(images, device, layout)
    network = initial_network(cells, images.num_classes, recipe, seed, device).to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    generator = torch.Generator().manual_seed(seed)
    forward = compile_network(network, compiled)
    epochs: list[dict[str, tuple[Tensor, Tensor]]] = []
    for epoch in range(recipe.epochs):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(epoch)
        with arithmetic(precision, device):
            found = {"train": _train_epoch(forward, optimizer, data.training_batches(recipe, generator))}
            for split in images.splits:
                if split != "train" and epoch + 1 in recipe.evaluated(split):
                    found[split] = _evaluate(forward, data.evaluation_batches(split))
        epochs.append(found)
    keep(network)
    return {
        name: _curves([found[name] for found in epochs if name in found], split)
        for name, split in images.splits.items()
    }


def _train_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Correct images and summed losses of each net over one epoch, (nets,) each."""
    network.train()
    correct, total = torch.zeros(()), torch.zeros(())
    for images, labels in batches:
        logits = network(images)
        losses = loss_of(logits, labels)
        optimizer.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        for parameter in network.parameters():  # of ops that reach no output: their weights decay as in a net alone
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        correct = correct.to(labels.device) + (logits.detach().argmax(dim=2) == labels).sum(dim=1)
        total = total.to(labels.device) + losses.detach().double() * len(labels)
    return correct, total


@torch.no_grad()
def _evaluate(network: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Correct images and summed losses of each net, (nets,) each."""
    network.eval()
    correct, total = torch.zeros(()), torch.zeros(())
    for images, labels in batches:
        logits = network(images)
        correct = correct.to(labels.device) + (logits.argmax(dim=2) == labels).sum(dim=1)
        total = total.to(labels.device) + loss_of(logits, labels).double() * len(labels)
    return correct, total


def _curves(epochs: list[tuple[Tensor, Tensor]], split: Split) -> Curves:
    correct = np.stack([correct.cpu().numpy() for correct, _ in epochs]).astype(np.int64)
    loss = np.stack([total.cpu().numpy() for _, total in epochs]) / len(split.labels)
    return Curves(correct, loss)
