"""Official records of NAS-Bench-201 and NATS-Bench, compacted block by block and put together as a table.

An official record is a dict from `12` and `200` (in the `.pth` files `less` and `full`) to all runs of one cell. Every
accuracy in it is an exact count of images, so counts are stored. Every run is checked against what the cell is: its
arch string must be the one of its index, and parameters and FLOPs are recomputed; stored ones that disagree are
reported.

Top-5 accuracies and weights are not kept.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.errors import TableFormatError
from nb201_env.files import read_npz, replacing
from nb201_env.space import NUM_CELLS, Cell, all_macs, all_params
from nb201_env.tables.official import CITATION, EPOCHS, LICENSE, RECIPES, SOURCES, Source
from nb201_env.tables.opening import open_table
from nb201_env.tables.writer import TableWriter

Arrays = dict[tuple[str, str, str, int], npt.NDArray[Any]]


MAX_SEEDS = 4
"""Most training seeds of one training set and recipe; the official files have up to three."""

_KEYS = {**RECIPES, "less": "12ep", "full": "200ep"}

MAX_RUNS = 100
"""Most training runs that a record may hold; the official ones have up to 17."""

# A stored accuracy is a float32 percentage at best, so a count comes back to within a few thousandths of an image.
_COUNT_TOLERANCE = 0.02


@dataclass
class Block:
    """What the records of some cells say, as arrays whose last axis is the cells.

    Attributes:
        cells: indices, ascending.
        arrays: by (official name, recipe, column, seed): `{split}/correct` (float32, which holds such counts exactly)
            and `{split}/loss` of shape (epochs, cells); `train_seconds` and `{split}/seconds` alike, or (1, cells)
            where all epochs take the same; `latency` of shape (1, cells). NaN where missing.
        complaints: stored values that disagree with what the cell is.
        nans: number of stored values that are NaN, which counts as missing.
    """

    cells: list[int]
    arrays: Arrays = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    nans: int = 0

    def save(self, path: Path) -> None:
        """Write as an `.npz` that appears under its name only when complete."""
        arrays = {"|".join(map(str, key)): array for key, array in self.arrays.items()}
        about = json.dumps({"cells": self.cells, "complaints": self.complaints, "nans": self.nans})
        with replacing(path) as fragment, fragment.open("wb") as file:
            np.savez(file, about=np.array(about), **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Block:
        """Read what `save` wrote.

        Raises:
            TableFormatError: if the file is damaged.
        """
        try:
            arrays = read_npz(path)
            about = json.loads(str(arrays.pop("about")))
            return cls(
                about["cells"], {_key(name): a for name, a in arrays.items()}, about["complaints"], about["nans"]
            )
        except (ValueError, KeyError, TypeError):
            raise TableFormatError(f"{path} is damaged; remove it and import again") from None

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """Several blocks as one; where two share a cell, the later one counts."""
        complaints = [complaint for block in blocks for complaint in block.complaints]
        both = cls(
            sorted({cell for block in blocks for cell in block.cells}), {}, complaints, sum(b.nans for b in blocks)
        )
        for block in blocks:
            positions = np.searchsorted(both.cells, block.cells)
            for key, values in block.arrays.items():
                put(both.arrays, key, values, positions, len(both.cells))
        return both


def _key(name: str) -> tuple[str, str, str, int]:
    official, recipe, column, seed = name.split("|")
    return official, recipe, column, int(seed)


def compact(records: Iterable[tuple[int, Mapping[str, Any]]], cells: Sequence[int]) -> Block:
    """Take what a table holds out of official records.

    Args:
        records: (index, record) of each cell, in the order of `cells`.
        cells: their indices, ascending.

    Raises:
        TableFormatError: if a record is not what its index says, or is not of the official layout.
    """
    block = Block(list(cells))
    for position, (index, record) in enumerate(records):
        try:
            _add_record(block, position, index, record)
        except TableFormatError:
            raise
        except Exception as error:  # a record from outside can be anything, and fail in any way
            raise TableFormatError(
                f"the record of cell {index} is not of the official layout ({type(error).__name__})"
            ) from None
    for (official, _, column, _), array in block.arrays.items():
        split, _, kind = column.partition("/")
        if kind == "correct":
            to_counts(array, SOURCES[official].images[split], f"{official}, {split}")
    block.arrays = {key: a.astype(np.float32) if key[2].endswith("/correct") else a for key, a in block.arrays.items()}
    return block


def _add_record(block: Block, position: int, index: int, record: Mapping[str, Any]) -> None:
    arch = Cell(index).arch
    if not record:
        raise TableFormatError(f"the record of cell {index} is empty")
    for hp, runs in record.items():
        recipe = _KEYS[str(hp) if checks.is_whole(hp) else hp]
        said = runs["arch_index"], runs["arch_str"]
        if tuple(map(type, said)) != (int, str) or said != (index, arch):
            what = " and ".join(map(checks.shown, said))
            raise TableFormatError(f"the record of cell {index} says index {what}, not {arch!r}")
        results = runs["all_results"]
        if not 1 <= len(results) <= MAX_RUNS:
            raise TableFormatError(f"the record of cell {index} has {len(results)} runs, not 1 to {MAX_RUNS}")
        for (official, seed), run in results.items():
            if type(seed) is not int or not 0 <= seed < 2**32:
                raise TableFormatError(f"the record of cell {index} has a seed that is no integer from 0")
            for column, values in _columns(run, SOURCES[official], EPOCHS[recipe]):
                key = official, recipe, column, seed
                put(block.arrays, key, _floats(values, block), position, len(block.cells))
            _check_costs(run, official, index, seed, block.complaints)


def _floats(values: Sequence[float | None], block: Block) -> npt.NDArray[np.float64]:
    """Numbers as an array, NaN where missing; those that are stored as NaN are counted."""
    if not {type(value) for value in values} <= {float, int, type(None)}:
        raise TypeError("not numbers")
    block.nans += sum(value != value for value in values)
    return np.array(values, np.float64)


def put(arrays: Arrays, key: tuple[str, str, str, int], values: npt.NDArray[Any], cells: Any, num_cells: int) -> None:
    """Set the columns `cells` of an array, which is made or, from one row for all epochs, widened as needed.

    Args:
        arrays: to change.
        key: of the array.
        values: (epochs or 1,) for one cell, or (epochs or 1, cells).
        cells: position or positions.
        num_cells: length of the array's last axis.
    """
    old = arrays.get(key)
    rows = max(len(values), 0 if old is None else len(old))
    if old is None:
        seeds = {seed for official, recipe, _, seed in arrays if (official, recipe) == key[:2]} | {key[3]}
        if len(seeds) > MAX_SEEDS:
            raise TableFormatError(f"{key[0]} has the training seeds {sorted(seeds)}, more than {MAX_SEEDS}")
        arrays[key] = np.full((rows, num_cells), np.nan, values.dtype)
    elif len(old) < rows:
        arrays[key] = np.repeat(old, rows, axis=0)
    arrays[key][:, cells] = values


def _columns(run: Mapping[str, Any], source: Source, epochs: int) -> Iterable[tuple[str, Sequence[float | None]]]:
    """Columns of one run, each with a value an epoch."""
    if type(run["epochs"]) is not int or run["epochs"] != epochs:
        raise TableFormatError(f"a run of {checks.shown(run['epochs'])} epochs where the schedule has {epochs}")
    every = range(epochs)
    yield "train/correct", list(map(run["train_acc1es"].get, every))
    yield "train/loss", list(map(run["train_losses"].get, every))
    if run["train_times"]:
        yield "train_seconds", _once(list(map(run["train_times"].get, every)))
    for name in run["eval_names"]:
        split, keys = source.splits[name], _keys(name, epochs)
        yield f"{split}/correct", list(map(run["eval_acc1es"].get, keys))
        yield f"{split}/loss", list(map(run["eval_losses"].get, keys))
        if run["eval_times"]:
            yield f"{split}/seconds", _once(list(map(run["eval_times"].get, keys)))
    if latency := run["latency"]:
        if type(latency) is not list or len(latency) > MAX_RUNS or not set(map(type, latency)) <= {float, int}:
            raise TypeError("no list of latencies")
        yield "latency", [sum(latency) / len(latency)]


def _once(values: list[float | None]) -> list[float | None]:
    return values[:1] if len(set(values)) == 1 else values


@cache
def _keys(name: str, epochs: int) -> tuple[str, ...]:
    return tuple(f"{name}@{epoch}" for epoch in range(epochs))


@cache
def _costs(official: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    source = SOURCES[official]
    return all_params(source.num_classes), all_macs(source.num_classes, source.image_size)


def _check_costs(run: Mapping[str, Any], official: str, index: int, seed: int, complaints: list[str]) -> None:
    params, macs = _costs(official)
    for what, stored, right in (("params", run["params"], params[index]), ("FLOPs", run["flop"], macs[index])):
        if type(stored) not in (float, int):
            raise TypeError("no number")
        if not abs(stored * 1e6 - right) <= 0.5:
            complaints.append(
                f"cell {index}, {official}, seed {seed}: stored {what} {stored:.9g} M, in truth {right / 1e6:.9g} M"
            )


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        cells: number of cells with any value.
        complaints: stored values that disagree with what the cell is.
        nans: number of stored values that are NaN, which counts as missing.
    """

    cells: int
    complaints: list[str]
    nans: int


def assemble(blocks: Iterable[Block], out: Path, name: str, provenance: Mapping[str, Any]) -> Imported:
    """Write the table that blocks make together.

    An incomplete table of the same name is replaced; anything else at `out` is refused.
    """
    whole = _Whole()
    for block in blocks:
        whole.add(block)
    about = {**provenance, "cells": whole.num_cells, "note": "counts from accuracies; top-5 and weights not kept"}
    replace = out.exists() and open_table(out).provenance.get("cells", NUM_CELLS) < NUM_CELLS
    with TableWriter(out, name, provenance=about, license=LICENSE, citation=CITATION, replace=replace) as writer:
        whole.write(writer)
    return Imported(whole.num_cells, whole.complaints, whole.nans)


class _Whole:
    """The arrays of all blocks side by side, one (epochs, 15625) array for each key of a block."""

    def __init__(self) -> None:
        self.arrays: Arrays = {}
        self.complaints: list[str] = []
        self.num_cells = self.nans = 0

    def add(self, block: Block) -> None:
        """Put a block's cells in their places."""
        for key, values in block.arrays.items():
            put(self.arrays, key, values, block.cells, NUM_CELLS)
        self.complaints += block.complaints
        self.num_cells += len(block.cells)
        self.nans += block.nans

    def write(self, writer: TableWriter) -> None:
        """Write everything, data set by data set."""
        trainings: dict[tuple[str, str], set[int]] = defaultdict(set)
        for official, recipe, _, seed in self.arrays:
            trainings[official, recipe].add(seed)
        begun = set()
        for official in SOURCES:
            source = SOURCES[official]
            recipes = [recipe for name, recipe in trainings if name == official]
            if recipes and source.dataset not in begun:
                begun.add(source.dataset)
                latency = self._latency(source.dataset)
                writer.add_dataset(
                    source.dataset, num_classes=source.num_classes, image_size=source.image_size, latency=latency
                )
            for recipe in sorted(recipes, key=EPOCHS.__getitem__):
                self._write_training(writer, official, recipe, sorted(trainings[official, recipe]))

    def _latency(self, dataset: str) -> npt.NDArray[np.float64] | None:
        """Mean over all runs on a data set that have one; they are equal in the published files from 2020-08 on."""
        found = [
            array[0]
            for (official, _, column, _), array in self.arrays.items()
            if column == "latency" and SOURCES[official].dataset == dataset
        ]
        return _mean(found) if found else None

    def _write_training(self, writer: TableWriter, official: str, recipe: str, seeds: list[int]) -> None:
        source = SOURCES[official]
        where = source.dataset, recipe, source.trained_on
        seconds = self._stack(official, recipe, "train_seconds", seeds)
        writer.add_training(
            *where,
            epochs=EPOCHS[recipe],
            images=source.images["train"],
            epoch_seconds=None if seconds is None else _without_repetition(seconds),
        )
        for split, images in source.images.items():
            correct = self._stack(official, recipe, f"{split}/correct", seeds)
            if correct is None:
                continue
            loss = self._stack(official, recipe, f"{split}/loss", seeds)
            present = ~np.isnan(correct).all(axis=(0, 2))
            passes = self._stack(official, recipe, f"{split}/seconds", seeds)
            writer.add_split(
                *where,
                split,
                images=images,
                epochs=(np.flatnonzero(present) + 1).tolist(),
                trial_seeds=seeds,
                correct=np.where(np.isnan(correct), -1, correct)[:, present].astype(np.int32),
                loss=None if loss is None else loss[:, present],
                eval_seconds=None if passes is None else _without_repetition(passes),
            )

    def _stack(self, official: str, recipe: str, column: str, seeds: list[int]) -> npt.NDArray[Any] | None:
        """(trial, epoch, cell) of a column, None if no run has it."""
        found = [self.arrays.get((official, recipe, column, seed)) for seed in seeds]
        rows = max((len(array) for array in found if array is not None), default=0)
        if not rows:
            return None
        return np.stack([np.broadcast_to(np.nan if one is None else one, (rows, NUM_CELLS)) for one in found])


def to_counts(percent: npt.NDArray[np.float64], images: int, what: str) -> npt.NDArray[np.float64]:
    """Accuracies in percent as counts of correct images, in place; NaN stays NaN.

    Raises:
        TableFormatError: if an accuracy is no whole number of images.
    """
    exact = percent * images / 100
    np.rint(exact, out=percent)
    with np.errstate(invalid="ignore"):
        sound = (np.abs(exact - percent) <= _COUNT_TOLERANCE) & (percent >= 0) & (percent <= images)
    off = ~sound & ~np.isnan(exact)
    if off.any():
        value = 100 * float(exact[off][0]) / images
        raise TableFormatError(f"{what}: an accuracy of {value!r} % is no whole number of {images} images")
    return percent


def _without_repetition(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(trial, epoch, cell) with an axis cut to length 1 where all its present values are equal."""
    for axis in (0, 1):
        with np.errstate(invalid="ignore"):
            highest, lowest = np.fmax.reduce(seconds, axis=axis), np.fmin.reduce(seconds, axis=axis)
        if np.array_equal(highest, lowest, equal_nan=True):
            seconds = np.expand_dims(highest, axis)
    return seconds


def _mean(arrays: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Mean over arrays that ignores NaN and does not round where all agree."""
    stacked = np.stack(arrays)
    highest, lowest = np.fmax.reduce(stacked), np.fmin.reduce(stacked)
    counts = (~np.isnan(stacked)).sum(axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(np.where(highest == lowest, highest, np.nansum(stacked, axis=0) / counts))
