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
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nb201_env import NUM_CELLS, Cell, NB201Error, TableFormatError, checks, open_table
from nb201_env.cell import all_macs, all_params
from nb201_env.files import locked, read_npz, replacing, sweep, write_text
from nb201_env.isomorphism import representatives
from nb201_env.parallel import run_tasks
from nb201_env.writer import TableWriter, checked_path
from nb201_generator.blocks import blocks_of
from nb201_generator.images import ImageSet, load_images
from nb201_generator.recipe import RECIPES, Recipe
from nb201_generator.timing import time_cell
from nb201_generator.train import PRECISIONS, arithmetic, train

PLAN = "plan.json"
TIMED = ("train_step", "eval_image", "latency", "spread")
ATTEMPTS = 2
"""How often a call tries a block."""
TRIAL_SEEDS = (777, 888, 999)
"""Seeds of the trials, in order: those of NAS-Bench-201."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """What a campaign trains.

    Attributes:
        dataset: name of a data set, or path of an `.npz`.
        recipe: name of a recipe.
        epochs: length of the schedule, if not the recipe's.
        start: first official index.
        stop: one past the last.
        trials: number of repeat trainings.
        dedupe: train one representative of each class of exactly equal cells; the others' rows are copies.
        device: that trains and is timed.
        data: folder with the archives, for data sets that are read from them.
        precision: of the arithmetic, see `nb201_generator.train.PRECISIONS`.
        channels_last: whether activations are laid out with the channels innermost.
    """

    dataset: str
    recipe: str = "mini"
    epochs: int | None = None
    start: int = 0
    stop: int = NUM_CELLS
    trials: int = 1
    dedupe: bool = False
    device: str = "cpu"
    data: str | None = None
    precision: str = "float32"
    channels_last: bool = False

    def check(self) -> None:
        """Raise NB201Error for a plan that cannot be carried out."""
        for name in ("dataset", "device"):
            checks.text(name, getattr(self, name), "digits" if name == "dataset" else "cpu")
        checks.one_of("recipe", self.recipe, tuple(RECIPES))
        start, stop = (checks.whole(f"cells: {name}", getattr(self, name), 0, NUM_CELLS) for name in ("start", "stop"))
        if start >= stop:
            raise NB201Error(f"cells must be a range a:b within 0:{NUM_CELLS}, got {self.start}:{self.stop}")
        checks.whole("trials", self.trials, 1, len(TRIAL_SEEDS))
        if self.epochs is not None:
            checks.whole("epochs", self.epochs, 1, 10**5)
        checks.one_of("precision", self.precision, PRECISIONS)
        checks.truth("dedupe", self.dedupe)
        checks.truth("channels_last", self.channels_last)
        if self.data is not None:
            checks.text("data", self.data, "archives")
        try:
            device = torch.device(self.device)
        except RuntimeError:
            raise NB201Error(f"unknown device {self.device!r}; use cpu, cuda or auto") from None
        if device.type == "cuda" and not torch.cuda.is_available():
            raise NB201Error(f"device {self.device!r}: this PyTorch sees no CUDA device; use cpu")

    def settings(self) -> Recipe:
        """The recipe."""
        recipe = RECIPES[self.recipe]
        if self.epochs is None:
            return recipe
        return replace(recipe, name=f"{self.epochs}ep-{recipe.name}", epochs=self.epochs)

    def trained(self) -> list[int]:
        """Indices of the cells that are trained, ascending."""
        cells = range(self.start, self.stop)
        return sorted(set(representatives("exact")[cells].tolist())) if self.dedupe else list(cells)

    def blocks(self) -> list[Block]:
        """All blocks of all trials, in order."""
        cells = blocks_of(self.trained())
        return [Block(seed, i, tuple(b)) for seed in TRIAL_SEEDS[: self.trials] for i, b in enumerate(cells)]


@dataclass(frozen=True)
class Block:
    """Cells that are trained together under one seed."""

    seed: int
    number: int
    cells: tuple[int, ...]

    @property
    def file(self) -> str:
        """Name of its part."""
        return f"{self.seed}-{self.number:05d}.npz"


@lru_cache(maxsize=2)
def _images(name: str, folder: str | None) -> ImageSet:
    return load_images(name, folder)


def train_block(plan: Plan, block: Block, parts: Path) -> None:
    """Train and time a block and write its part."""
    torch.set_num_threads(1)
    images, recipe, device = _images(plan.dataset, plan.data), plan.settings(), torch.device(plan.device)
    cells = [Cell(index) for index in block.cells]
    curves = train(cells, images, recipe, block.seed, device, plan.precision, plan.channels_last)
    with arithmetic(plan.precision, device):
        seconds = [time_cell(cell, images.num_classes, images.size, recipe, device) for cell in cells]
    arrays: dict[str, Any] = {"cells": np.array(block.cells)}
    arrays |= {"device": np.array(_device_name(plan.device)), "torch": np.array(torch.__version__)}
    for split, curve in curves.items():
        arrays |= {f"{split}/correct": curve.correct, f"{split}/loss": curve.loss}
    for name in TIMED:
        arrays[name] = np.array([getattr(one, name) for one in seconds])
    with replacing(parts / block.file) as fragment, fragment.open("wb") as file:
        np.savez(file, **arrays)


def generate(
    plan: Plan,
    out: str | os.PathLike[str],
    jobs: int = 1,
    shard: tuple[int, int] = (0, 1),
    progress: Progress = lambda done, total: None,
) -> list[str]:
    """Train what a plan says and write the table; go on where an earlier call of the same plan stopped.

    A block that fails is tried once more. What failed and was tried again is appended to `{out}.log`.

    Args:
        plan: what to train.
        out: the table.
        jobs: number of processes, each on one thread.
        shard: (i, n) trains every n-th block from the i-th and writes no table; `merge` joins the parts of all shards.
        progress: called with blocks done and all blocks of this shard.

    Returns:
        What failed, one line a block; then no table is written, and the same call tries those blocks again.

    Raises:
        NB201Error: if the plan is bad, the table exists, `out` has parts of another plan, or another process trains it.
        OSError: if the table cannot be written; its parts are kept.
    """
    plan.check()
    index, count = shard
    if not 0 <= index < count:
        raise NB201Error(f"shard must be i/n with 0 <= i < n, got {index}/{count}")
    checks.whole("jobs", jobs, 1)
    parts = _parts(Path(out))
    if Path(out).exists() and parts.exists() and not open_table(out).verify():
        with locked(parts):  # the last call was interrupted when the table was written already
            _claim(parts, plan)
            shutil.rmtree(parts)
        return []
    out = checked_path(out)
    _images(plan.dataset, plan.data)
    with locked(parts):
        _claim(parts, plan)
        failures = _train_all(plan, plan.blocks()[index::count], out, jobs, progress)
        if not failures and count == 1:
            merge([out], out)
            shutil.rmtree(parts)
    return [f"block {block.file}: {error}" for block, error in failures.items()]


def _train_all(plan: Plan, blocks: list[Block], out: Path, jobs: int, progress: Progress) -> dict[Block, str]:
    """Train the blocks that have no part yet, those that fail once more; what went wrong with the rest."""
    parts = _parts(out)
    failures: dict[Block, str] = {}
    for attempt in range(ATTEMPTS):
        todo = [block for block in blocks if not (parts / block.file).exists()]
        progress(len(blocks) - len(todo), len(blocks))
        failures = _attempt(plan, todo, parts, jobs, lambda left: progress(len(blocks) - left, len(blocks)))
        last = attempt + 1 == ATTEMPTS
        for block, error in failures.items():
            _log(out, f"block {block.file} failed: {error}; " + ("given up" if last else "it is tried again"))
        if not failures:
            break
    return failures


def _attempt(
    plan: Plan, todo: Sequence[Block], parts: Path, jobs: int, progress: Callable[[int], None]
) -> dict[Block, str]:
    """Train blocks, calling `progress` with how many are left; what went wrong with those that failed."""
    left, failures = len(todo), {}
    for block, error in _run_all(plan, todo, parts, jobs):
        if error is not None:
            failures[block] = error
        else:
            left -= 1
            progress(left)
    return failures


def _log(out: Path, line: str) -> None:
    """Append a line to the campaign's log, if the disk takes it."""
    with suppress(OSError), out.with_name(out.name + ".log").open("a", encoding="utf-8") as file:
        file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n")


def _run_all(plan: Plan, blocks: Sequence[Block], parts: Path, jobs: int) -> Iterator[tuple[Block, str | None]]:
    """Each block as it ends, with what went wrong."""
    for done in run_tasks(partial(_train_one, plan, parts), blocks, jobs):
        error = done.error
        yield blocks[done.task], None if error is None else f"{type(error).__name__}: {error}"


def _train_one(plan: Plan, parts: Path, block: Block) -> None:
    train_block(plan, block, parts)


def _parts(out: Path) -> Path:
    return out.with_name(out.name + ".parts")


def _claim(parts: Path, plan: Plan) -> None:
    """Store the plan beside its parts, or refuse if another one is there."""
    parts.mkdir(exist_ok=True)
    sweep(parts)
    path = parts / PLAN
    if path.exists():
        other, mine = asdict(read_plan(path)), asdict(plan)
        if other != mine:
            differing = sorted(key for key in mine if other[key] != mine[key])
            raise NB201Error(
                f"{parts} holds parts of another plan ({', '.join(differing)} differ); choose another name"
            )
        return
    write_text(path, json.dumps(asdict(plan)))


def read_plan(path: Path) -> Plan:
    """The plan that a campaign stored.

    Raises:
        NB201Error: if it is damaged, or of another version.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or set(found) != {field.name for field in fields(Plan)}:
            raise ValueError("it is no plan of this version")
        plan = Plan(**found)
        plan.check()
    except (ValueError, RecursionError) as error:
        raise NB201Error(f"{path} is no plan ({error}); remove the folder and generate again") from None
    return plan


def merge(outs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> None:
    """Assemble a table from the parts of one or more shards of one plan.

    Args:
        outs: what the shards were told to write; their parts stand beside.
        out: the table.

    Raises:
        NB201Error: if there are no parts, or they belong to different plans.
        TableFormatError: if a block is missing or damaged.
    """
    folders = [_parts(Path(name)) for name in outs]
    plans = []
    for folder in folders:
        if not (folder / PLAN).exists():
            raise NB201Error(f"{folder} has no {PLAN}: no campaign was begun there")
        plans.append(read_plan(folder / PLAN))
    plan = plans[0]
    if any(other != plan for other in plans):
        raise NB201Error("the parts belong to different plans")
    blocks = plan.blocks()
    found = {block: next((f / block.file for f in folders if (f / block.file).exists()), None) for block in blocks}
    if missing := [block.file for block, path in found.items() if path is None]:
        raise TableFormatError(f"{len(missing)} of {len(blocks)} blocks are missing, the first of them {missing[0]}")
    _write(plan, {block: path for block, path in found.items() if path is not None}, Path(out))


def _write(plan: Plan, files: dict[Block, Path], out: Path) -> None:
    images, recipe = _images(plan.dataset, plan.data), plan.settings()
    seeds = TRIAL_SEEDS[: plan.trials]
    shapes = {split: (plan.trials, len(recipe.evaluated(split)), NUM_CELLS) for split in images.splits}
    correct = {split: np.full(shape, -1, np.int64) for split, shape in shapes.items()}
    loss = {split: np.full(shape, np.nan) for split, shape in shapes.items()}
    made_with: dict[str, set[str]] = {"device": set(), "torch": set()}
    seconds = {name: np.full((plan.trials, NUM_CELLS), np.nan) for name in TIMED}
    for block, path in files.items():
        trial, cells = seeds.index(block.seed), list(block.cells)
        try:
            part = read_npz(path)
            if part["cells"].tolist() != cells:
                raise ValueError("other cells")
            for split in images.splits:
                correct[split][trial][:, cells] = part[f"{split}/correct"]
                loss[split][trial][:, cells] = part[f"{split}/loss"]
            for name, values in seconds.items():
                values[trial, cells] = part[name]
            for name, found in made_with.items():
                found.add(str(part[name]))
        except (ValueError, KeyError, TypeError):
            raise TableFormatError(f"{path} is damaged; remove it and generate again") from None
    trained_as = np.where(np.isin(np.arange(NUM_CELLS), range(plan.start, plan.stop)), np.arange(NUM_CELLS), -1)
    if plan.dedupe:
        trained_as = np.where(trained_as >= 0, representatives("exact"), -1)
    rows = np.maximum(trained_as, 0)

    def spread(values: Any, nothing: float) -> Any:
        """The row of each cell's representative, nothing for cells outside the plan."""
        return np.where(trained_as >= 0, values[..., rows], nothing)

    step, image, latency = (spread(np.median(seconds[name], axis=0), np.nan) for name in TIMED[:3])
    steps = -(-len(images.splits["train"].labels) // recipe.batch_size)
    provenance = {
        "source": "nb201 generate",
        "splits": images.split_source,
        **{name: ", ".join(sorted(found)) for name, found in made_with.items()},
        "precision": plan.precision,
        "seconds": "each cell alone, median of three steps and batches; of its representative where rows are copies",
        "seconds_spread": round(float(np.nanmedian(seconds["spread"])), 4),
        "cells": int((trained_as >= 0).sum()),
    }
    network = recipe.channels, recipe.cells_per_stage
    with TableWriter(out, images.name, provenance=provenance) as writer:
        writer.add_dataset(
            images.name,
            num_classes=images.num_classes,
            image_size=images.size,
            image_hashes=images.hashes(),
            latency=latency,
            params=all_params(images.num_classes, *network),
            macs=all_macs(images.num_classes, images.size, *network),
        )
        train_images = len(images.splits["train"].labels)
        writer.add_training(
            images.name,
            recipe.name,
            images.trained_on,
            epochs=recipe.epochs,
            images=train_images,
            settings=recipe.settings(images.size),
            epoch_seconds=step * steps,
            trained_as=trained_as if plan.dedupe else None,
        )
        for split in images.splits:
            count = len(images.splits[split].labels)
            writer.add_split(
                images.name,
                recipe.name,
                images.trained_on,
                split,
                images=count,
                epochs=recipe.evaluated(split),
                trial_seeds=seeds,
                correct=spread(correct[split], -1).astype(np.int64),
                loss=spread(loss[split], np.nan),
                eval_seconds=image * count,
            )


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, one thread, {platform.machine()}"
