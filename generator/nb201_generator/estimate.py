"""How long a campaign will take, by training and timing a little of it."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import torch

from nb201_env import Cell
from nb201_env.integrations.devices import checked_device, one_thread
from nb201_generator.plan import Plan
from nb201_generator.timing import time_cell
from nb201_generator.train import arithmetic, keep_freed_memory, train


def _peak_memory(device: str) -> str:
    """Of this process or on its GPU, in words; nothing where the system does not say."""
    if torch.device(device).type == "cuda":
        return f"; peak memory {torch.cuda.max_memory_allocated(device) / 1e6:,.0f} MB a process"
    try:
        import resource
    except ImportError:  # on Windows
        return ""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes or kibibytes
    peak = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"; peak memory {peak / 1e6:,.0f} MB a process"


@one_thread()
def describe(plan: Plan, jobs: int, shard: tuple[int, int]) -> str:
    """Cells, blocks, steps, memory, and the time that a short timing on this device foretells, in two lines."""
    keep_freed_memory()
    checked_device(plan.device)
    images, recipe, blocks = plan.images(), plan.settings(), plan.blocks()[shard[0] :: shard[1]]
    if not blocks:
        return f"shard {shard[0]}/{shard[1]} has no block: there is nothing to train in it"
    steps = -(-len(images.splits["train"].labels) // recipe.batch_size) * recipe.epochs
    sample = [Cell(index) for index in blocks[0].cells]
    how = plan.device, plan.precision, plan.channels_last, plan.compiled

    def seconds(epochs: int) -> float:
        began = time.perf_counter()
        train(sample, images, replace(recipe, epochs=epochs), blocks[0].seed, *how)
        return time.perf_counter() - began

    seconds(1)  # what is slow the first time alone
    one, two = seconds(1), seconds(2)
    epoch = max(two - one, 0.0)  # without what every block has once: a network, its compilation, the test split
    few = sample[:5]
    began = time.perf_counter()
    with arithmetic(plan.precision, torch.device(plan.device)):
        for cell in few:
            time_cell(cell, images.num_classes, images.size, recipe, torch.device(plan.device))
    alone = (time.perf_counter() - began) / len(few)
    rounds = -(-len(blocks) // jobs)
    training = (one + epoch * (recipe.epochs - 1)) * rounds
    timing = alone * len(sample) * rounds
    return (
        f"{len(plan.trained())} cells x {plan.trials} trials: here {len(blocks)} blocks of up to {len(sample)} cells, "
        f"{steps} steps each{_peak_memory(plan.device)}\n"
        f"about {_duration(training)} of training and {_duration(timing)} of timing each cell alone, with {jobs} "
        f"process{'es' * (jobs > 1)} on {plan.device}, by four epochs of the first block and {len(few)} cells timed"
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
