"""A table from columns: an `.npz` or a CSV with values of some or all cells, from wherever.

Columns are called `{dataset}/{recipe}/{what}`, where recipes are called `{epochs}ep` and `what` is one of those below,
or `{dataset}/{name}`, perhaps with a unit, as `cifar10/edgegpu_latency [ms]`: a column of one's own, which objectives
and masks call by its name. `{dataset}/latency` are the seconds of a batch of 256 images.

* `train_accuracy`, `valid_accuracy`, `test_accuracy`: percent, NaN or empty where missing. A column of one trial whose
  values are no whole numbers of images is kept as a mean over trials.
* `train_seconds_per_epoch`, `valid_seconds`, `test_seconds`: GPU-seconds of one epoch and of one evaluation pass.

In an `.npz`, a column has a row for each cell: of `ops`, op codes (cells, 6), or of `index`, official indices (cells,),
or, without either, of all 15,625 in official order. Accuracies are those at the recipe's last epoch, of shape (cells,)
or (cells, trials). With an array `{dataset}/{recipe}/epochs` they are those at its epochs, of shape (cells, epochs) or
(cells, trials, epochs).

A -1 in a column of one's own that has no other value below 0 stands for what was not measured, and is missing.

A CSV has a column `index` or `arch`. Trials are headed `{column}/0`, `{column}/1` and so on, epochs other than the last
`{column}@{epoch}`, and both `{column}@{epoch}/{trial}`.
"""

from __future__ import annotations

import csv
import os
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.checks import shown
from nb201_env.errors import NB201Error, TableFormatError
from nb201_env.files import read_npz, regular
from nb201_env.importers.official import to_counts
from nb201_env.space import NUM_CELLS, Cell, index_of
from nb201_env.tables.join import join_tables
from nb201_env.tables.official import SOURCES, Source
from nb201_env.tables.opening import open_table
from nb201_env.tables.schema import COLUMN_NAME, MAX_EPOCH
from nb201_env.tables.table import Table
from nb201_env.tables.writer import TableWriter

MAX_TRIALS = 20
"""More columns than this side by side are more likely epochs than trials."""

_NAME = re.compile(r"(?P<dataset>[^/]+)/(?P<recipe>(?P<epochs>[1-9][0-9]{0,9})ep)/(?P<what>\w+)")
_HEADING = re.compile(r"(?P<column>.*?)(@(?P<epoch>[0-9]{1,10}))?(/(?P<trial>[0-9]{1,3}))?")
_ACCURACIES = ("train_accuracy", "valid_accuracy", "test_accuracy")
_SECONDS = ("train_seconds_per_epoch", "valid_seconds", "test_seconds")


_OWN = re.compile(rf"(?P<dataset>[^/]+)/(?P<name>{COLUMN_NAME.pattern})(\s*\[(?P<unit>[^\[\]]{{1,20}})\])?")
_OWN_COLUMN = "a column of one's own"
_ONE_NUMBER = (*_SECONDS, _OWN_COLUMN)
_NOT_MEASURED = -1.0


@dataclass(frozen=True)
class Column:
    """Values of one column at some epochs, float64 (cells, trials, epochs), NaN where missing; rows are all cells."""

    values: npt.NDArray[np.float64]
    epochs: tuple[int, ...]


@dataclass
class ImportedColumns:
    """What an import of columns did.

    Attributes:
        means: columns that were kept as means over trials.
        missing: by column, number of values that are missing, if any.
        not_measured: likewise, of those that were -1.
    """

    means: list[str] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)
    not_measured: dict[str, int] = field(default_factory=dict)


def import_columns(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    extend: str | os.PathLike[str] | Table | None = None,
    origin: str = "",
) -> ImportedColumns:
    """Make a table from an `.npz` or a `.csv`.

    Args:
        path: of the file.
        out: the table to write.
        extend: a table of which everything is written too: an embedded one's name, a path, or an open table.
        origin: where the values come from, as columns of one's own say; the file's name if empty.

    Raises:
        TableFormatError: if the file or one of its columns is not as described above.
        NB201Error: if there is no such file, or `out` cannot be written.
    """
    path, out = Path(path), Path(out)
    if path.suffix not in (".npz", ".csv"):
        raise NB201Error(f"{path}: columns come in an .npz or a .csv")
    base = None if extend is None else open_table(extend)
    regular(path)
    columns = _read_npz(path) if path.suffix == ".npz" else _read_csv(path)
    imported = ImportedColumns()
    if base is None:
        _write(path, out, columns, None, origin, imported)
        return imported
    with tempfile.TemporaryDirectory() as folder:
        added = Path(folder) / "columns.zarr"
        _write(path, added, columns, base, origin, imported)
        join_tables([base, added], out, base.name)
    return imported


def _write(
    path: Path, out: Path, columns: Mapping[str, Column], base: Table | None, origin: str, imported: ImportedColumns
) -> None:
    """Write columns as a table of data sets that are known, or that the table has which they are to extend."""
    by_dataset: dict[str, dict[str, Column]] = defaultdict(dict)
    for name, column in columns.items():
        by_dataset[name.partition("/")[0]][name] = column
    with TableWriter(out, path.stem, provenance={"source": f"columns of {path.name}"}) as writer:
        for dataset, found in by_dataset.items():
            latency = found.pop(f"{dataset}/latency", None)
            sources = _add_dataset(writer, path, dataset, base, latency)
            by_recipe: dict[str, dict[str, Column]] = defaultdict(dict)
            for name, column in found.items():
                if own := _OWN.fullmatch(name):
                    values = _measured(name, column, imported)
                    writer.add_column(dataset, own["name"], values, unit=own["unit"] or "", source=origin or path.name)
                else:
                    _, recipe, _, what = _parsed(path, name)
                    by_recipe[recipe][what] = column
                    values = column.values
                if missing := int(np.count_nonzero(np.isnan(values))):
                    imported.missing[name] = missing
            if by_recipe and not sources:
                raise TableFormatError(f"{path}: {dataset} can be given columns of its own alone, not accuracies")
            for recipe, parts in by_recipe.items():
                for source in sources:
                    imported.means += _write_training(writer, source, recipe, parts, len(sources) > 1)


def _add_dataset(
    writer: TableWriter, path: Path, dataset: str, base: Table | None, latency: Column | None
) -> list[Source]:
    """Begin a data set as a table has it, or as its publication says; and its training sets, if it was published."""
    sources = [source for source in SOURCES.values() if source.dataset == dataset]
    own: dict[str, Any] = {} if latency is None else {"latency": latency.values[:, 0, 0]}
    if base is not None and dataset in base.datasets:
        own |= {name: base.array(f"{dataset}/{name}") for name in ("params", "macs") if f"{dataset}/{name}" in base}
        about: dict[str, Any] = {"num_classes": base.num_classes(dataset), "image_size": base.image_size(dataset)}
        writer.add_dataset(dataset, **about, **own)
    elif sources:
        writer.add_dataset(dataset, num_classes=sources[0].num_classes, image_size=sources[0].image_size, **own)
    else:
        known = dict.fromkeys([source.dataset for source in SOURCES.values()] + list(base.datasets if base else ()))
        raise TableFormatError(f"{path}: unknown data set {shown(dataset)}; known are {', '.join(known)}")
    return sources


def _measured(name: str, column: Column, imported: ImportedColumns) -> npt.NDArray[np.float64]:
    """Values of a column of one's own, (15625,), without those that stand for what was not measured."""
    values = column.values[:, 0, 0]
    below = values < 0.0
    if below.any() and (values[below] == _NOT_MEASURED).all():
        imported.not_measured[name] = int(below.sum())
        return np.where(below, np.nan, values)
    return values


def _parsed(path: Path, name: str) -> tuple[str, str, int, str]:
    """Data set, recipe, its length and what it is, of a column's name; a column of one's own has no recipe."""
    if own := _OWN.fullmatch(name):
        return own["dataset"], "", 1, _OWN_COLUMN
    match = _NAME.fullmatch(name)
    if match is None or match["what"] not in (*_ACCURACIES, *_SECONDS) or int(match["epochs"]) > MAX_EPOCH:
        raise TableFormatError(
            f"{path}: unknown column {shown(name)}; expected DATASET/EPOCHSep/WHAT with WHAT one of "
            f"{', '.join(sorted((*_ACCURACIES, *_SECONDS)))}, or DATASET/NAME [UNIT] for any other column"
        )
    return match["dataset"], match["recipe"], int(match["epochs"]), match["what"]


def _write_training(
    writer: TableWriter, source: Source, recipe: str, found: Mapping[str, Column], has_half: bool
) -> list[str]:
    """Write what belongs to one training set: on CIFAR-10, test to the full one and the rest to the half."""
    splits = [split for split in ("train", "valid", "test") if f"{split}_accuracy" in found]
    if has_half:
        splits = [split for split in splits if (split == "test") == (source.trained_on == "full")]
    if not splits:
        return []
    where = source.dataset, recipe, source.trained_on
    seconds = found.get("train_seconds_per_epoch")
    if has_half and source.trained_on == "full":
        seconds = None  # the column is of the nets that the validation accuracies belong to
    writer.add_training(
        *where,
        epochs=int(recipe.removesuffix("ep")),
        images=source.images["train"],
        epoch_seconds=None if seconds is None else seconds.values[:, 0, 0],
    )
    means = []
    for split in splits:
        column = found[f"{split}_accuracy"]
        percent = np.moveaxis(column.values, 0, -1)
        values: dict[str, Any]
        try:
            counts = to_counts(percent.copy(), source.images[split], f"{recipe} {split}")
            values = {"correct": np.where(np.isnan(counts), -1, counts).astype(np.int64)}
        except TableFormatError:
            if len(percent) > 1:
                raise
            values = {"accuracy": percent[0] / 100}
            means.append(f"{source.dataset}/{recipe}/{split}_accuracy")
        passes = found.get(f"{split}_seconds")
        writer.add_split(
            *where,
            split,
            images=source.images[split],
            epochs=column.epochs,
            eval_seconds=None if passes is None else passes.values[:, 0, 0],
            **values,
        )
    return means


def _read_npz(path: Path) -> dict[str, Column]:
    arrays = read_npz(path)
    rows = _rows(path, arrays)
    epochs = {name.removesuffix("/epochs"): arrays.pop(name) for name in list(arrays) if name.endswith("/epochs")}
    columns = {}
    for name, values in arrays.items():
        dataset, recipe, last, what = _parsed(path, name)
        if values.ndim == 0 or len(values) != len(rows) or values.dtype.kind not in "fiu":
            raise TableFormatError(
                f"{path}: column {name!r} is {values.dtype} of shape {values.shape}, not {len(rows)} numbers"
            )
        chosen = epochs.get(f"{dataset}/{recipe}") if what in _ACCURACIES else None
        known = (last,) if chosen is None else _checked_epochs(path, f"{dataset}/{recipe}/epochs", chosen, last)
        whole = np.full((NUM_CELLS, *_shape(path, name, values, what, known, chosen is not None)), np.nan)
        whole[rows] = values.reshape(len(rows), *whole.shape[1:])
        columns[name] = Column(whole, known)
    if unused := set(epochs) - {name.rpartition("/")[0] for name in columns}:
        raise TableFormatError(f"{path}: {sorted(unused)[0]}/epochs belongs to no column")
    return columns


def _rows(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Official index of each row; takes out the array that says it."""
    if "ops" in arrays:
        rows = index_of(arrays.pop("ops"))
    elif "index" in arrays:
        given = arrays.pop("index")
        if given.dtype.kind not in "iu" or given.ndim != 1 or (given.size and not given.min() >= 0):
            raise TableFormatError(f"{path}: index must be integers (cells,) from 0 to {NUM_CELLS - 1}")
        if given.size and given.max() >= NUM_CELLS:
            raise TableFormatError(f"{path}: index {given.max()} is no cell: the last is {NUM_CELLS - 1}")
        rows = given.astype(np.int64)
    else:
        rows = np.arange(NUM_CELLS)
    if rows.ndim != 1 or not rows.size:
        raise TableFormatError(f"{path}: ops must be of shape (cells, 6) with a cell at least")
    cells, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise TableFormatError(f"{path}: cell {cells[counts.argmax()]} has {counts.max()} rows")
    return rows


def _checked_epochs(path: Path, name: str, epochs: npt.NDArray[Any], last: int) -> tuple[int, ...]:
    whole = epochs.ndim == 1 and epochs.size > 0 and epochs.dtype.kind in "iu"
    if not whole or (np.diff(epochs.astype(np.int64)) <= 0).any() or epochs[0] < 1 or epochs[-1] > last:
        raise TableFormatError(f"{path}: {name} must be ascending whole numbers from 1 to {last}")
    return tuple(epochs.tolist())


def _shape(
    path: Path, name: str, values: npt.NDArray[Any], what: str, epochs: Sequence[int], has_epochs: bool
) -> tuple[int, int]:
    """Trials and epochs of a column of an `.npz`."""
    if values.ndim == 1 and not has_epochs:
        return 1, 1
    if what in _ONE_NUMBER:
        raise TableFormatError(f"{path}: column {name!r} must have one number a cell, got shape {values.shape}")
    if has_epochs and values.ndim in (2, 3) and values.shape[-1] == len(epochs):
        return (1 if values.ndim == 2 else values.shape[1]), len(epochs)
    if has_epochs or values.ndim != 2 or not values.shape[1]:
        raise TableFormatError(
            f"{path}: column {name!r} of shape {values.shape} is neither (cells,) nor (cells, trials), nor, with "
            f"{name.rpartition('/')[0]}/epochs, (cells, epochs) or (cells, trials, epochs)"
        )
    if values.shape[1] > MAX_TRIALS or values.shape[1] == epochs[-1] > 1:
        raise TableFormatError(
            f"{path}: column {name!r} of shape {values.shape} may be trials or epochs: add an array "
            f"{name.rpartition('/')[0]}/epochs of the epochs, or make it (cells, trials, 1) with the last alone"
        )
    return values.shape[1], 1


def _read_csv(path: Path) -> dict[str, Column]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            headings = next(reader, [])
            return _columns_of(path, headings, _values(path, headings, reader))
    except UnicodeDecodeError:
        raise TableFormatError(f"{path} is not a text file in UTF-8") from None
    except csv.Error as error:
        raise TableFormatError(f"{path} is no CSV ({error})") from None


def _values(path: Path, headings: Sequence[str], reader: Any) -> npt.NDArray[np.float64]:
    """Numbers of all cells, (15625, headings without the first that names the cell)."""
    keys = [name for name in headings if name in ("index", "arch")]
    if not keys or set(headings) <= {"index", "arch"}:
        raise TableFormatError(
            f"{path}: expected a heading with 'index' or 'arch' and columns, got {shown(list(headings))}"
        )
    name, times = Counter(headings).most_common(1)[0]
    if times > 1:
        raise TableFormatError(f"{path} has {times} columns {shown(name)}")
    kept = [position for position, name in enumerate(headings) if name not in ("index", "arch")]
    table, seen = np.full((NUM_CELLS, len(kept)), np.nan), np.zeros(NUM_CELLS, bool)
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if len(row) != len(headings):
            raise TableFormatError(f"{where}: {len(row)} fields where the heading has {len(headings)}")
        try:
            cell = _cell_of({name: row[headings.index(name)] for name in keys})
            table[cell] = [float(_plain(row[position])) if row[position] else np.nan for position in kept]
        except ValueError as error:
            raise TableFormatError(f"{where}: {str(error)[:200]}") from None
        if seen[cell]:
            raise TableFormatError(f"{where}: cell {cell} had a row before")
        seen[cell] = True
    return table


def _cell_of(named: Mapping[str, str]) -> int:
    """The cell of a row, which may be named by its index, its arch or both."""
    cells = {Cell.parse(int(_plain(text)) if name == "index" else text).index for name, text in named.items()}
    if len(cells) > 1:
        raise ValueError(f"index {named['index']} is not the cell {shown(named['arch'])}")
    return cells.pop()


def _plain(text: str) -> str:
    """What stands for a number, without what Python alone reads as one."""
    if "_" in text:
        raise ValueError(f"{shown(text)} is no number")
    return text


def _columns_of(path: Path, headings: Sequence[str], table: npt.NDArray[np.float64]) -> dict[str, Column]:
    names = [name for name in headings if name not in ("index", "arch")]
    places: dict[str, dict[tuple[int, int], int]] = defaultdict(dict)
    for position, name in enumerate(names):
        match = _HEADING.fullmatch(name)
        column = match["column"] if match else name
        _, _, last, what = _parsed(path, column)
        epoch = int(match["epoch"]) if match and match["epoch"] else last
        if not 1 <= epoch <= last or (epoch != last and what in _ONE_NUMBER):
            raise TableFormatError(f"{path}: column {name!r}: expected an epoch from 1 to {last} of an accuracy")
        places[column][int(match["trial"] or 0) if match else 0, epoch] = position
    columns = {}
    for column, found in places.items():
        trials, epochs = (sorted(set(values)) for values in zip(*found, strict=True))
        if len(found) != len(trials) * len(epochs) or trials != list(range(len(trials))):
            raise TableFormatError(f"{path}: {column!r} must have the trials 0 to {len(trials) - 1} at every epoch")
        if len(trials) > 1 and _parsed(path, column)[3] in _ONE_NUMBER:
            raise TableFormatError(f"{path}: {column!r} must have one number a cell, got {len(trials)} trials")
        order = [found[trial, epoch] for trial in trials for epoch in epochs]
        columns[column] = Column(table[:, order].reshape(NUM_CELLS, len(trials), len(epochs)), tuple(epochs))
    return columns
