"""A table in other shapes: CSV for spreadsheets, xarray for analysis."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nb201_env.errors import NB201Error
from nb201_env.files import locked, replacing
from nb201_env.space import NUM_CELLS, Cell
from nb201_env.tables.table import Table

if TYPE_CHECKING:
    import xarray


def columns_of(table: Table) -> dict[str, npt.NDArray[Any]]:
    """The last epoch of everything, named and in units as `nb201_env.importers.columns` reads published data sets."""
    columns: dict[str, npt.NDArray[Any]] = {}
    for dataset in table.datasets:
        if f"{dataset}/latency" in table:
            columns[f"{dataset}/latency"] = table.latency(dataset)
        for own in table.own_columns(dataset):
            unit = table.attrs(f"{dataset}/{own}").get("unit")
            columns[f"{dataset}/{own} [{unit}]" if unit else f"{dataset}/{own}"] = table.own_column(dataset, own)
        for recipe in table.recipes(dataset):
            name, epoch = f"{dataset}/{recipe}", table.last_epoch(dataset, recipe=recipe)
            for split in table.usual_splits(dataset, recipe=recipe):
                if split == "valtest" or epoch not in table.epochs(dataset, recipe=recipe, split=split):
                    continue
                trials = table.trials(dataset, recipe=recipe, split=split)
                choices: tuple[Any, ...] = trials or ("mean",)
                for trial in choices:
                    accuracy = table.accuracy(dataset, split=split, recipe=recipe, trial=trial)
                    suffix = f"/{trial}" if len(trials) > 1 else ""
                    columns[f"{name}/{split}_accuracy{suffix}"] = 100.0 * accuracy.astype(np.float64)
                if split != "train" and table.has_eval_seconds(dataset, recipe=recipe, split=split):
                    columns[f"{name}/{split}_seconds"] = table.eval_seconds(dataset, recipe=recipe, split=split)
            has_nets = table.usual_nets(dataset, "valid") in table.groups(name)
            if has_nets and table.has_train_seconds(dataset, recipe=recipe):
                columns[f"{name}/train_seconds_per_epoch"] = table.train_seconds(dataset, recipe=recipe) / epoch
    return columns


def write_csv(table: Table, path: str | os.PathLike[str]) -> None:
    """Write one row a cell: index, arch, and `columns_of`; an empty field where a value is missing."""
    columns = {"index": np.arange(NUM_CELLS), **columns_of(table)}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    with locked(path), replacing(path) as fragment, fragment.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "arch", *list(columns)[1:]])
        for index, *row in rows:
            writer.writerow([index, Cell(index).arch, *("" if value != value else value for value in row)])


def to_xarray(table: Table) -> xarray.DataTree:
    """The whole table as an xarray.DataTree, values read when they are used.

    Raises:
        NB201Error: if xarray is not installed.
    """
    try:
        import xarray
    except ImportError:
        raise NB201Error("to_xarray needs xarray: pip install 'nb201-env[xarray]'") from None
    tree: xarray.DataTree = xarray.open_datatree(table.store, engine="zarr", consolidated=True)
    return tree
