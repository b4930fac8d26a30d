"""A table from columns: an `.npz` or a CSV with one value a cell, from wherever.

Columns are called `{dataset}/{recipe}/{what}`, where `what` is

* `train_accuracy`, `valid_accuracy`, `test_accuracy`: percent at the recipe's last epoch, (15625,) or (15625, trials),
  NaN where a trial is missing. A single column whose values are no whole numbers of images is kept as a mean over
  trials.
* `train_seconds_per_epoch`, `valid_seconds`, `test_seconds`: GPU-seconds of one epoch and of one evaluation pass.

An `.npz` may have `ops`, the op codes (15625, 6) of its rows; without it, rows are in official order. A CSV has a
column `index` or `arch`; trials of one column are headed `{column}/0`, `{column}/1` and so on. Recipes are called
`{epochs}ep`.
"""

from __future__ import annotations

import csv
import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.cell import NUM_CELLS, Cell, index_of
from nb201_env.errors import NB201Error, TableFormatError
from nb201_env.importers.official import SOURCES, Source, to_counts
from nb201_env.writer import TableWriter

Columns = dict[str, npt.NDArray[np.float64]]

_NAME = re.compile(r"(?P<dataset>[^/]+)/(?P<recipe>(?P<epochs>\d+)ep)/(?P<what>\w+)")
_KNOWN = {f"{split}_accuracy" for split in ("train", "valid", "test")} | {
    "train_seconds_per_epoch",
    "valid_seconds",
    "test_seconds",
}


def import_columns(path: str | os.PathLike[str], out: str | os.PathLike[str]) -> list[str]:
    """Make a table from an `.npz` or a `.csv`.

    Returns:
        The columns that were kept as means over trials.

    Raises:
        TableFormatError: if the file or one of its columns is not as described above.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".csv"):
        raise NB201Error(f"{path}: columns come in an .npz or a .csv")
    if not path.exists():
        raise NB201Error(f"{path} does not exist")
    columns = _read_npz(path) if path.suffix == ".npz" else _read_csv(path)
    by_recipe: dict[str, dict[tuple[str, int], Columns]] = defaultdict(lambda: defaultdict(dict))
    for name, values in columns.items():
        match = _NAME.fullmatch(name)
        if match is None or match["what"] not in _KNOWN:
            raise TableFormatError(
                f"{path}: unknown column {name!r}; expected DATASET/EPOCHSep/WHAT with WHAT one of "
                f"{', '.join(sorted(_KNOWN))}"
            )
        by_recipe[match["dataset"]][match["recipe"], int(match["epochs"])][match["what"]] = values
    means: list[str] = []
    with TableWriter(out, path.stem, provenance={"source": f"columns of {path.name}"}) as writer:
        for dataset, recipes in by_recipe.items():
            sources = [source for source in SOURCES.values() if source.dataset == dataset]
            if not sources:
                known = dict.fromkeys(source.dataset for source in SOURCES.values())
                raise TableFormatError(f"{path}: unknown data set {dataset!r}; known are {', '.join(known)}")
            writer.add_dataset(dataset, num_classes=sources[0].num_classes, image_size=sources[0].image_size)
            for (recipe, epochs), found in recipes.items():
                for source in sources:
                    means += _write_training(writer, source, recipe, epochs, found, len(sources) > 1)
    return means


def _write_training(
    writer: TableWriter, source: Source, recipe: str, epochs: int, found: Mapping[str, Any], has_half: bool
) -> list[str]:
    """Write what belongs to one training set: on CIFAR-10, test to the full one and the rest to the half."""
    splits = [split for split in ("train", "valid", "test") if f"{split}_accuracy" in found]
    if has_half:
        splits = [split for split in splits if (split == "test") == (source.trained_on == "full")]
    if not splits:
        return []
    where = source.dataset, recipe, source.trained_on
    seconds = found.get("train_seconds_per_epoch")
    if seconds is not None and has_half and source.trained_on == "full":
        seconds = None  # the column is of the nets that the validation accuracies belong to
    writer.add_training(*where, epochs=epochs, images=source.images["train"], epoch_seconds=seconds)
    means = []
    for split in splits:
        percent = found[f"{split}_accuracy"].reshape(NUM_CELLS, -1).T
        values: dict[str, Any]
        try:
            counts = to_counts(percent.copy(), source.images[split], f"{recipe} {split}")
            values = {"correct": np.where(np.isnan(counts), -1, counts)[:, None].astype(np.int64)}
        except TableFormatError:
            if len(percent) > 1:
                raise
            values = {"accuracy": percent / 100}
            means.append(f"{source.dataset}/{recipe}/{split}_accuracy")
        images, passes = source.images[split], found.get(f"{split}_seconds")
        writer.add_split(*where, split, images=images, epochs=[epochs], eval_seconds=passes, **values)
    return means


def _read_npz(path: Path) -> Columns:
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise TableFormatError(f"{path}: no plain .npz ({error})") from None
    rows = index_of(columns.pop("ops")) if "ops" in columns else np.arange(NUM_CELLS)
    return {name: _in_order(path, name, values, rows) for name, values in columns.items()}


def _in_order(path: Path, name: str, values: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    if len(values) != len(rows) or values.dtype.kind not in "fiu":
        raise TableFormatError(
            f"{path}: column {name!r} is {values.dtype} of shape {values.shape}, not {len(rows)} numbers"
        )
    ordered = np.full((NUM_CELLS, *values.shape[1:]), np.nan)
    ordered[rows] = values
    return ordered


def _read_csv(path: Path) -> Columns:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = [name for name in reader.fieldnames or [] if name not in ("index", "arch")]
        key = next((name for name in ("index", "arch") if name in (reader.fieldnames or [])), None)
        if key is None or not names:
            raise TableFormatError(
                f"{path}: expected a heading with 'index' or 'arch' and columns, got {reader.fieldnames}"
            )
        table = np.full((NUM_CELLS, len(names)), np.nan)
        for number, row in enumerate(reader, start=2):
            try:
                cell = Cell.parse(int(row[key]) if key == "index" else row[key])
                table[cell.index] = [float(row[name]) if row[name] else np.nan for name in names]
            except (ValueError, TypeError) as error:
                raise TableFormatError(f"{path}, line {number}: {error}") from None
    grouped: dict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(names):
        grouped[re.sub(r"/\d+$", "", name)].append(position)
    return {name: np.squeeze(table[:, positions]) for name, positions in grouped.items()}
