"""How long a supernet's step takes, side by side with a step of one cell's network on the same images.

A step of DARTS computes all five ops of every edge: its floor is what is around the edges once, and every op's own
time, measured on networks of which all edges have that op. Paths that are only evaluated go through it at once.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import torch
from nb201_agents.oneshot.paths import logits_of_paths
from nb201_agents.oneshot.recipe import RECIPES
from nb201_agents.oneshot.supernet import Supernet
from nb201_generator.images import load_images
from nb201_generator.network import Network
from side_by_side import ROUNDS, ratio, seconds_of
from torch import nn
from torch.nn import functional

from nb201_env import OPS, Cell, open_table

REPEAT = 10
PATHS = 16


def mean_cell() -> Cell:
    """The cell whose multiply-accumulates are nearest to the mean of all."""
    macs = open_table("mini").macs("digits").astype(float)
    return Cell(int(np.abs(macs - macs.mean()).argmin()))


def stepper(net: nn.Module, images: torch.Tensor, labels: torch.Tensor, *choice: object) -> Callable[[], None]:
    """A step of plain gradient descent."""
    optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(net(images, *choice), labels).backward()
        optimizer.step()

    return step


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    digits, recipe = load_images("digits"), RECIPES["mini"]
    images = torch.from_numpy(digits.splits["train"].images[: recipe.batch_size])
    labels = torch.from_numpy(digits.splits["train"].labels[: recipe.batch_size])
    sizes = digits.num_classes, recipe.channels, recipe.cells_per_stage
    cell, supernet = mean_cell(), Supernet(*sizes)
    print(f"batch of {recipe.batch_size} digits, {recipe.channels} channels, cell {cell.index}, one thread")
    alone = stepper(Network(cell, *sizes), images, labels)
    path = stepper(supernet, images, labels, None, cell.ops)
    weights = torch.full((6, 5), 0.2)
    everything = stepper(supernet, images, labels, weights)
    ratio("a path's step against its cell's own network", path, alone, REPEAT)
    ratio("a step of all ops against the mean cell's network", everything, alone, REPEAT)
    nets = [stepper(Network(Cell.parse([op] * 6), *sizes), images, labels) for op in range(1, len(OPS))]
    rounds = [[seconds_of(step, REPEAT) for step in (everything, *nets)] for _ in range(ROUNDS)]
    shares = [whole / (skip + sum(one - skip for one in others)) for whole, skip, *others in rounds]
    print(f"a step of all ops against its floor: {statistics.median(shares):.2f} of it")
    evaluated = digits.splits["valid"].images[: recipe.batch_size]
    of_paths = torch.from_numpy(evaluated).expand(PATHS, *evaluated.shape)
    paths = np.random.default_rng(0).integers(len(OPS), size=(PATHS, 6)).tolist()
    for norms, running in (("the batch's statistics", False), ("running statistics", True)):
        net = Supernet(*sizes, running=running).eval()

        def one_by_one() -> None:
            with torch.no_grad():
                for images, ops in zip(of_paths, paths, strict=True):
                    net(images, ops=ops)  # noqa: B023

        ratio(
            f"{PATHS} paths on a batch each, norms by {norms}, at once against one by one",
            lambda: logits_of_paths(net, of_paths, paths),  # noqa: B023
            one_by_one,
            REPEAT,
        )


if __name__ == "__main__":
    main()
