"""How long a campaign will take, by training and timing a little of it."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import torch

from nb201_env import Cell
from nb201_generator.images import load_images
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


def describe(plan: Plan, jobs: int, shard: tuple[int, int]) -> str:
    """Cells, blocks, steps, memory, and the time that a short timing on this device foretells, in two lines."""
    torch.set_num_threads(1)
    keep_freed_memory()
    images, recipe, blocks = load_images(plan.dataset, plan.data), plan.settings(), plan.blocks()[shard[0] :: shard[1]]
    steps = -(-len(images.splits["train"].labels) // recipe.batch_size) * recipe.epochs
    sample = [Cell(index) for index in blocks[0].cells]
    began = time.perf_counter()
    train(
        sample,
        images,
        replace(recipe, epochs=1),
        blocks[0].seed,
        plan.device,
        plan.precision,
        plan.channels_last,
        plan.compiled,
    )
    epoch = time.perf_counter() - began
    few = sample[:5]
    began = time.perf_counter()
    with arithmetic(plan.precision, torch.device(plan.device)):
        for cell in few:
            time_cell(cell, images.num_classes, images.size, recipe, torch.device(plan.device))
    alone = (time.perf_counter() - began) / len(few)
    training = epoch * recipe.epochs * len(blocks) / jobs
    timing = alone * sum(len(block.cells) for block in blocks) / jobs
    return (
        f"{len(plan.trained())} cells x {plan.trials} trials: here {len(blocks)} blocks of up to {len(sample)} cells, "
        f"{steps} steps each{_peak_memory(plan.device)}\n"
        f"about {_duration(training)} of training and {_duration(timing)} of timing each cell alone, with {jobs} "
        f"process{'es' * (jobs > 1)} on {plan.device}, by one epoch of the first block and {len(few)} cells timed"
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
