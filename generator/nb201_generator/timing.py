"""Honest seconds: each cell timed alone, since a fused run's time is no cell's own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from nb201_env import Cell
from nb201_generator.network import Network
from nb201_generator.recipe import Recipe

LATENCY_BATCH = 256
_WARM_UP, _REPEATS = 1, 3


@dataclass(frozen=True)
class Seconds:
    """Of one network alone on a device; medians of a few repetitions after a warm-up.

    On a CPU they are seconds of this process, which trains on one thread: what else the machine does is not counted.

    Attributes:
        train_step: one optimiser step on a batch of the recipe's size.
        eval_image: evaluation, for each image, in batches of 256.
        latency: one evaluated batch of 256.
        spread: slowest less fastest repetition as a fraction of the median, of the step or the batch, the larger.
    """

    train_step: float
    eval_image: float
    latency: float
    spread: float


def time_cell(cell: Cell, num_classes: int, size: int, recipe: Recipe, device: torch.device) -> Seconds:
    """Time the network of a cell alone."""
    network = Network(cell, num_classes, recipe.channels, recipe.cells_per_stage).to(device)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, recipe.momentum, nesterov=True)
    images = torch.randn(LATENCY_BATCH, 3, size, size, device=device)
    labels = torch.zeros(recipe.batch_size, dtype=torch.long, device=device)

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(network(images[: recipe.batch_size]), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @torch.no_grad()
    def evaluate() -> None:
        network(images)

    train_step, step_spread = _median_seconds(step, device)
    network.eval()
    latency, batch_spread = _median_seconds(evaluate, device)
    return Seconds(train_step, latency / LATENCY_BATCH, latency, max(step_spread, batch_spread))


def _median_seconds(call: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """Median seconds of a few calls, and their relative spread."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    seconds = []
    for repeat in range(_WARM_UP + _REPEATS):
        wait(device)
        began = clock()
        call()
        wait(device)
        if repeat >= _WARM_UP:
            seconds.append(clock() - began)
    median = statistics.median(seconds)
    return median, (max(seconds) - min(seconds)) / median


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was told; the CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
