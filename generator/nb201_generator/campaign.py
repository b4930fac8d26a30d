"""Training a set of cells into a table, block by block, so that an interruption loses at most the blocks in flight.

Each block of a trial is one file in `{out}.parts/`, renamed into place when it is whole. When all are there, the table
is assembled in official order. The plan is stored beside the parts, and another plan is refused.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nb201_env import Cell, NB201Error, checks, open_table
from nb201_env.files import locked, replacing, sweep, write_text
from nb201_env.integrations.devices import checked_device, one_thread
from nb201_env.integrations.engines import Engine
from nb201_env.parallel import Done, run_tasks
from nb201_env.tables.weights import pack_weights
from nb201_env.tables.writer import checked_path
from nb201_generator.assemble import TIMED, images_hash, merge
from nb201_generator.fused import FusedNetwork
from nb201_generator.images import ImageSet
from nb201_generator.plan import IMAGES, PLAN, Block, Plan, parts_of, read_plan
from nb201_generator.timing import time_cell
from nb201_generator.train import arithmetic, keep_freed_memory, train

ATTEMPTS = 2
"""How often a call tries a block."""
Progress = Callable[[int, int], None]


@one_thread()
def train_block(plan: Plan, block: Block) -> dict[str, Any]:
    """Train and time a block: the arrays of its part, by name."""
    keep_freed_memory()
    images, recipe, device = plan.images(), plan.settings(), checked_device(plan.device)
    cells = [Cell(index) for index in block.cells]
    arrays: dict[str, Any] = {"cells": np.array(block.cells)}

    def keep(network: FusedNetwork) -> None:
        if plan.weights:
            nets = zip(block.cells, network.state_dicts(), strict=True)
            content = pack_weights({cell: {n: one.numpy() for n, one in net.items()} for cell, net in nets})
            arrays["weights"] = np.frombuffer(content, np.uint8)

    how = plan.precision, plan.channels_last, plan.compiled, keep
    curves = train(cells, images, recipe, block.seed, device, *how)
    with arithmetic(plan.precision, device):
        seconds = [time_cell(cell, images.num_classes, images.size, recipe, device) for cell in cells]
    arrays["images"] = np.array(images_hash(images))
    arrays |= {"device": np.array(_device_name(plan.device)), "torch": np.array(torch.__version__)}
    for split, curve in curves.items():
        arrays |= {f"{split}/correct": curve.correct, f"{split}/loss": curve.loss}
    for name in TIMED:
        arrays[name] = np.array([getattr(one, name) for one in seconds])
    return arrays


def generate(
    plan: Plan,
    out: str | os.PathLike[str],
    jobs: int = 1,
    shard: tuple[int, int] = (0, 1),
    progress: Progress = lambda done, total: None,
    engine: Engine = run_tasks,
) -> list[str]:
    """Train what a plan says and write the table; go on where an earlier call of the same plan stopped.

    A block that fails is tried once more. What failed and was tried again is appended to `{out}.log`.

    Args:
        plan: what to train.
        out: the table.
        jobs: number of blocks at once, each on one thread.
        shard: (i, n) trains every n-th block from the i-th and writes no table; `merge` joins the parts of all shards.
        progress: called with blocks done and all blocks of this shard.
        engine: where they are trained; archives of images are read from the same path everywhere.

    Returns:
        What failed, one line a block; then no table is written, and the same call tries those blocks again.

    Raises:
        NB201Error: if the plan is bad, the table exists, `out` has parts of another plan, or another process trains it.
        OSError: if the table cannot be written; its parts are kept.
    """
    plan.check()
    if engine is run_tasks:
        checked_device(plan.device)  # else the machines that train say
    index, count = shard
    if not 0 <= index < count:
        raise NB201Error(f"shard must be i/n with 0 <= i < n, got {index}/{count}")
    checks.whole("jobs", jobs, 1)
    parts, images = parts_of(Path(out)), plan.images()
    if Path(out).exists() and parts.exists() and _is_table_of(plan, images, Path(out)):
        with locked(parts):  # the last call was interrupted when the table was written already
            _claim(parts, plan, images)
            shutil.rmtree(parts)
        return []
    out = checked_path(out)
    with locked(parts):
        _claim(parts, plan, images)
        failures = _train_all(
            plan, plan.blocks()[index::count], out, lambda function, tasks: engine(function, tasks, jobs), progress
        )
        if not failures and count == 1:
            merge([out], out)
            shutil.rmtree(parts)
    return [f"block {block.file}: {error}" for block, error in failures.items()]


def _train_all(
    plan: Plan, blocks: list[Block], out: Path, run: Callable[..., Iterator[Done]], progress: Progress
) -> dict[Block, str]:
    """Train the blocks that have no part yet, those that fail once more; what went wrong with the rest."""
    parts = parts_of(out)
    failures: dict[Block, str] = {}
    for attempt in range(ATTEMPTS):
        todo = [block for block in blocks if not (parts / block.file).exists()]
        progress(len(blocks) - len(todo), len(blocks))
        failures = _attempt(plan, todo, parts, run, lambda left: progress(len(blocks) - left, len(blocks)))
        last = attempt + 1 == ATTEMPTS
        for block, error in failures.items():
            _log(out, f"block {block.file} failed: {error}; " + ("given up" if last else "it is tried again"))
        if not failures:
            break
    return failures


def _attempt(
    plan: Plan,
    todo: Sequence[Block],
    parts: Path,
    run: Callable[..., Iterator[Done]],
    progress: Callable[[int], None],
) -> dict[Block, str]:
    """Train blocks and write their parts, calling `progress` with how many are left; what went wrong with the rest."""
    left, failures = len(todo), {}
    for done in run(partial(train_block, plan), todo):
        block, error = todo[done.task], done.error
        if error is not None:
            failures[block] = f"{type(error).__name__}: {error}"
            continue
        with replacing(parts / block.file) as fragment, fragment.open("wb") as file:
            np.savez(file, **done.value)
        left -= 1
        progress(left)
    return failures


def _log(out: Path, line: str) -> None:
    """Append a line to the campaign's log, if the disk takes it."""
    with suppress(OSError), out.with_name(out.name + ".log").open("a", encoding="utf-8") as file:
        file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n")


def _is_table_of(plan: Plan, images: ImageSet, out: Path) -> bool:
    """Whether a sound table is what the plan comes to."""
    table, recipe = open_table(out), plan.settings().name
    split = next(name for name in images.splits if name != "train")
    where = f"{images.name}/{recipe}/{images.trained_on}/{split}"
    if table.datasets != (images.name,) or table.recipes(images.name) != (recipe,) or where not in table:
        return False
    present = ~np.isnan(table.accuracy(images.name, split=split, trained_on=images.trained_on))
    return (
        table.attrs(images.name).get("image_hashes") == images.hashes()
        and tuple(table.attrs(where)["trial_seeds"]) == plan.seeds
        and np.flatnonzero(present).tolist() == list(range(plan.start, plan.stop))
        and not table.verify()
    )


def _claim(parts: Path, plan: Plan, images: ImageSet) -> None:
    """Store the plan and the hashes of its images beside its parts, or refuse if others are there."""
    parts.mkdir(exist_ok=True)
    sweep(parts)
    path, hashes = parts / PLAN, json.dumps(images.hashes())
    if path.exists():
        other, mine = asdict(read_plan(path)), asdict(plan)
        if other != mine:
            differing = sorted(key for key in mine if other[key] != mine[key])
            raise NB201Error(
                f"{parts} holds parts of another plan ({', '.join(differing)} differ); choose another name"
            )
        known = parts / IMAGES
        if not known.exists() and any(parts.glob("*.npz")):
            raise NB201Error(f"{parts} holds parts of an earlier version, which do not say their images; remove it")
        if known.exists() and known.read_text(encoding="utf-8") != hashes:
            raise NB201Error(
                f"{parts} holds parts that were trained on other images of {plan.dataset}; choose another name"
            )
    write_text(parts / IMAGES, hashes)
    write_text(path, json.dumps(asdict(plan), default=lambda number: number.item()))


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, one thread, {platform.machine()}"
