"""How fast a device trains a block as one fused network, against its nets one after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import torch

from nb201_env import Cell
from nb201_env.integrations.devices import checked_device, one_thread
from nb201_env.space import all_macs
from nb201_generator.fused import FusedNetwork, loss_of
from nb201_generator.network import Network
from nb201_generator.plan import Plan
from nb201_generator.timing import wait
from nb201_generator.train import arithmetic, compile_network, keep_freed_memory

STEPS, WARM_UP = 10, 3
SINGLES = 5
"""Nets that are timed alone: as many cells of the block, evenly chosen by their MACs."""

FLOPS_A_MAC = 6
"""Of a training step: a multiplication and an addition forward, and twice as many backward."""


def measured(plan: Plan) -> Iterator[str]:
    """Lines of what was measured: of the plan's first block, with its batch size and arithmetic, on random images."""
    keep_freed_memory()
    images, recipe, device = plan.images(), plan.settings(), checked_device(plan.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "one thread of the CPU"
    options = f"{plan.precision}, channels last: {plan.channels_last}, compiled: {plan.compiled}"
    yield f"{name}, PyTorch {torch.__version__}, {options}"
    cells = [Cell(index) for index in plan.blocks()[0].cells]
    network = recipe.channels, recipe.cells_per_stage
    macs = all_macs(images.num_classes, images.size, *network)[[cell.index for cell in cells]].tolist()
    layout = torch.channels_last if plan.channels_last else torch.contiguous_format
    batch = torch.randn(recipe.batch_size, 3, images.size, images.size, device=device).contiguous(memory_format=layout)
    labels = torch.zeros(recipe.batch_size, dtype=torch.long, device=device)

    def seconds(net: torch.nn.Module, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> float:
        net = net.to(device, memory_format=layout)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(net.parameters(), 1e-3, recipe.momentum, nesterov=True)
        forward = compile_network(net, plan.compiled)

        def step() -> None:
            optimizer.zero_grad()
            loss(forward(batch), labels).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        with one_thread(), arithmetic(plan.precision, device):
            return _median_seconds(step, device)

    fused = seconds(FusedNetwork(cells, images.num_classes, *network), loss_of)
    yield _line(f"{len(cells)} nets fused", fused, sum(macs), recipe.batch_size)
    ranked = sorted(range(len(cells)), key=macs.__getitem__)
    chosen = [ranked[round(at * (len(ranked) - 1) / max(1, SINGLES - 1))] for at in range(min(SINGLES, len(ranked)))]
    cross_entropy = torch.nn.functional.cross_entropy
    alone = [seconds(Network(cells[one], images.num_classes, *network), cross_entropy) for one in chosen]
    mean, work = statistics.mean(alone), round(statistics.mean(macs[one] for one in chosen))
    yield _line(f"one net alone, mean of {len(chosen)}", mean, work, recipe.batch_size)
    yield f"a net of the block takes 1/{mean / (fused / len(cells)):.1f} of the time of one alone"


def _line(what: str, seconds: float, macs: int, batch: int) -> str:
    rate = FLOPS_A_MAC * macs * batch / seconds / 1e12
    return f"{what}: {1e3 * seconds:.2f} ms a step of {batch} images, {rate:.4f} TFLOP/s"


def _median_seconds(step: Callable[[], None], device: torch.device) -> float:
    found = []
    for number in range(WARM_UP + STEPS):
        wait(device)
        began = time.perf_counter()
        step()
        wait(device)
        if number >= WARM_UP:
            found.append(time.perf_counter() - began)
    return statistics.median(found)
