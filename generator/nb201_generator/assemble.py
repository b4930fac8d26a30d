"""Putting the parts of a campaign together as a table."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nb201_env import NUM_CELLS, NB201Error, TableFormatError
from nb201_env.files import read_npz
from nb201_env.space import all_macs, all_params
from nb201_env.space.isomorphism import representatives
from nb201_env.tables.weights import add_weights
from nb201_env.tables.writer import TableWriter
from nb201_generator.images import ImageSet
from nb201_generator.plan import PLAN, Block, Plan, parts_of, read_plan

TIMED = ("train_step", "eval_image", "latency", "spread")
"""What is measured of each cell alone."""


def merge(outs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> None:
    """Assemble a table from the parts of one or more shards of one plan.

    Args:
        outs: what the shards were told to write; their parts stand beside.
        out: the table.

    Raises:
        NB201Error: if there are no parts, or they belong to different plans.
        TableFormatError: if a block is missing or damaged.
    """
    folders = [parts_of(Path(name)) for name in outs]
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


def images_hash(images: ImageSet) -> str:
    """One hash of all splits, by which a part says what it was trained on."""
    return hashlib.sha256(json.dumps(images.hashes()).encode()).hexdigest()


def _checked(part: Mapping[str, Any], name: str, kind: str, shape: tuple[int, ...]) -> Any:
    """An array of a part. ValueError if it is of another kind or shape."""
    if part[name].dtype.kind not in kind or part[name].shape != shape:
        raise ValueError(name)
    return part[name]


def _write(plan: Plan, files: dict[Block, Path], out: Path) -> None:
    images, recipe = plan.images(), plan.settings()
    trained_on = images_hash(images)
    seeds = plan.seeds
    shapes = {split: (plan.trials, len(recipe.evaluated(split)), NUM_CELLS) for split in images.splits}
    correct = {split: np.full(shape, -1, np.int64) for split, shape in shapes.items()}
    loss = {split: np.full(shape, np.nan) for split, shape in shapes.items()}
    made_with: dict[str, set[str]] = {"device": set(), "torch": set()}
    seconds = {name: np.full((plan.trials, NUM_CELLS), np.nan) for name in TIMED}
    curves = (f"{split}/{what}" for split in shapes for what in ("correct", "loss"))
    small = {"cells", "images", *seconds, *made_with, *curves}
    for block, path in files.items():
        trial, cells = seeds.index(block.seed), list(block.cells)
        try:
            part = read_npz(path, names=small)
            if part["cells"].tolist() != cells:
                raise ValueError("other cells")
            other_images = str(part["images"]) != trained_on
            for split, every in shapes.items():
                correct[split][trial][:, cells] = _checked(part, f"{split}/correct", "iu", (every[1], len(cells)))
                loss[split][trial][:, cells] = _checked(part, f"{split}/loss", "f", (every[1], len(cells)))
            for name, values in seconds.items():
                values[trial, cells] = _checked(part, name, "f", (len(cells),))
            for name, found in made_with.items():
                found.add(str(part[name]))
        except (ValueError, KeyError, TypeError):
            raise TableFormatError(f"{path} is damaged; remove it and generate again") from None
        if other_images:
            raise TableFormatError(f"{path} was trained on other images than {plan.dataset} is now")
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
        "channels_last": plan.channels_last,
        "compiled": plan.compiled,
        "seconds": "each cell alone, neither compiled nor channels last, median of three steps and batches; of its "
        "representative where rows are copies",
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
        if plan.weights:
            where = f"{images.name}/{recipe.name}/{images.trained_on}"
            for block, path in files.items():  # one after the other: together they may be hundreds of gigabytes
                content = read_npz(path, names={"weights"}).get("weights")
                if content is None or content.dtype != np.uint8:
                    raise TableFormatError(f"{path} holds no weights; remove it and generate again")
                add_weights(writer, where, block.seed, block.number, list(block.cells), content.tobytes())
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
