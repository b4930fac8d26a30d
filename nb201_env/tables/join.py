"""Several tables as one: other data sets, other recipes, or CIFAR-10's nets of half and of all training images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from nb201_env.errors import NB201Error
from nb201_env.tables.table import Table, open_table
from nb201_env.tables.writer import TableWriter


def join_tables(tables: Sequence[str | os.PathLike[str] | Table], out: str | os.PathLike[str], name: str) -> None:
    """Write a table that holds everything that several tables hold.

    Args:
        tables: names, paths or open tables. Where two measured the latency of one data set, the first one's counts.
        out: the table to write.
        name: its short name.

    Raises:
        NB201Error: if two tables hold the same nets, or disagree about a data set or recipe.
    """
    opened = [open_table(table) for table in tables]
    if not opened:
        raise NB201Error("name at least one table to join")
    _refuse_other_networks(opened)
    provenance = {"joined": [{"name": table.name, **table.provenance} for table in opened]}
    licenses = dict.fromkeys(table.attributes["license"] for table in opened if "license" in table.attributes)
    citation = dict.fromkeys(work for table in opened for work in table.attributes.get("citation", []))
    with TableWriter(out, name, provenance, "; ".join(licenses) or None, tuple(citation)) as writer:
        for table in opened:
            for path, node in sorted(table.root.members(max_depth=None)):
                _copy(writer, table, path, node)


def _refuse_other_networks(tables: Sequence[Table]) -> None:
    """Tables that share a data set must hold nets of one shape: params and MACs are stored once for all of them."""
    first: dict[str, Table] = {}
    for table in tables:
        for dataset in table.datasets:
            other = first.setdefault(dataset, table)
            for name in ("params", "macs"):
                if not np.array_equal(getattr(table, name)(dataset), getattr(other, name)(dataset)):
                    raise NB201Error(f"{table.path}: the {name} of {dataset} differ from those in {other.path}")


def _copy(writer: TableWriter, table: Table, path: str, node: Any) -> None:
    """Copy a group or array that is not there yet, or make sure that the one that is there agrees."""
    there: Any = writer.root.get(path)
    is_array = hasattr(node, "shape")
    if there is None:
        (writer.copy_array if is_array else writer.copy_group)(path, node)
        return
    level = path.count("/")
    if not is_array and level < 2:
        writer.copy_group(path, node, _united(dict(there.attrs), dict(node.attrs), f"{table.path}: {path}"))
    elif not is_array:
        raise NB201Error(f"{table.path} holds the nets {path}, and so does a table before it")
    elif not path.endswith("/latency") and not np.array_equal(there[...], node[...]):
        raise NB201Error(f"{table.path}: {path} differs from a table before it")


def _united(one: dict[str, Any], other: dict[str, Any], where: str) -> dict[str, Any]:
    """Both attributes; of those that are objects, both entries."""
    united = one | other
    for key in one.keys() & other.keys():
        if isinstance(one[key], dict) and isinstance(other[key], dict):
            united[key] = _united(one[key], other[key], f"{where}, {key}")
        elif one[key] != other[key]:
            raise NB201Error(f"{where}: {key} is {other[key]!r}, but {one[key]!r} in a table before it")
    return united
