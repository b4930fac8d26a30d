"""Speed of fused training against one network after the other, on one thread: `make bench-generator`."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from nb201_generator.blocks import reed_solomon_blocks
from nb201_generator.fused import FusedNetwork, loss_of
from nb201_generator.network import Network
from torch.utils._python_dispatch import TorchDispatchMode

from nb201_env import Cell

CHANNELS, SIZE, CLASSES = 8, 8, 10
BLOCK = [Cell(index) for index in reed_solomon_blocks(3)[0]]
ROUNDS = 3


class CountOps(TorchDispatchMode):
    """Counts dispatched operations, each of which would be about one kernel launch on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def stepper(
    network: torch.nn.Module, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], batch: int
) -> Callable[[], None]:
    optimizer = torch.optim.SGD(network.parameters(), 0.01, 0.9, nesterov=True, weight_decay=5e-4)
    images, labels = torch.randn(batch, 3, SIZE, SIZE), torch.randint(CLASSES, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        loss(network(images), labels).sum().backward()
        optimizer.step()

    return step


def seconds_of(steps: list[Callable[[], None]]) -> float:
    began = time.perf_counter()
    for step in steps:
        step()
    return time.perf_counter() - began


def dispatched(step: Callable[[], None]) -> int:
    step()
    with CountOps() as counter:
        step()
    return counter.count


def peak_megabytes(nets: int, batch: int) -> float:
    """Memory of a fresh process that trains some nets for two steps, as Linux counts it."""
    torch.set_num_threads(1)
    step = stepper(FusedNetwork(BLOCK[:nets], CLASSES, CHANNELS, 1), loss_of, batch)
    step()
    step()
    # a process inherits the ru_maxrss of the one that started it, but not this
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1e3


def main() -> None:
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}, one thread, {CHANNELS} channels, one cell a stage, {SIZE}x{SIZE} images")
    alone = torch.nn.functional.cross_entropy
    for batch in (32, 64):
        singles = [stepper(Network(cell, CLASSES, CHANNELS, 1), alone, batch) for cell in BLOCK]
        alone_ops = sum(dispatched(step) for step in singles[:25]) / 25
        for nets in (1, 5, 25, 125):
            cells = BLOCK[:nets] if nets < 125 else BLOCK
            fused = stepper(FusedNetwork(cells, CLASSES, CHANNELS, 1), loss_of, batch)
            ops = dispatched(fused) / nets
            pairs = [(seconds_of(singles[:nets]), seconds_of([fused])) for _ in range(ROUNDS)]
            speedup = float(np.median([single / together for single, together in pairs]))
            rate = nets * batch / min(together for _, together in pairs)
            print(
                f"batch {batch}, {nets:3d} nets: {rate:,.0f} cell-images a second, {speedup:.2f} times as alone; "
                f"operations a net and step {ops:.0f}, alone {alone_ops:.0f}: 1/{alone_ops / ops:.0f}",
                flush=True,
            )
    for number in (0, 60, 124):
        cells = [Cell(index) for index in reed_solomon_blocks(3)[number]]
        step = stepper(FusedNetwork(cells, CLASSES, CHANNELS, 1), loss_of, 32)
        step()
        print(f"coset block {number}: {1e3 * min(seconds_of([step]) for _ in range(5)):.0f} ms a step")
    blocks = [
        stepper(FusedNetwork([Cell(index) for index in block], CLASSES, CHANNELS, 1), loss_of, 32)
        for block in reed_solomon_blocks(2)[:8]
    ]
    seconds_of(blocks)
    for count in (1, 2, 4, 8):
        milliseconds = 1e3 * min(seconds_of(blocks[:count]) for _ in range(5))
        print(f"{25 * count:3d} cells in blocks of 25: {milliseconds:.0f} ms a step of all, "
              f"{milliseconds / 25 / count:.2f} a cell")  # fmt: skip
    spawn = multiprocessing.get_context("spawn")
    for nets in (1, 25, 125):
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            print(f"{nets:3d} nets: peak memory {pool.submit(peak_megabytes, nets, 32).result():.0f} MB")


if __name__ == "__main__":
    main()
