"""Several tables as one: other data sets, recipes or trials, or CIFAR-10's nets of half and of all training images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.errors import NB201Error
from nb201_env.tables.opening import open_table
from nb201_env.tables.table import Table
from nb201_env.tables.writer import TableWriter


def join_tables(tables: Sequence[str | os.PathLike[str] | Table], out: str | os.PathLike[str], name: str) -> None:
    """Write a table that holds everything that several tables hold.

    Args:
        tables: names, paths or open tables. Where two hold nets of the same training by other seeds, the later table's
            trials follow the earlier one's; where two measured the same seconds or latency, the first one's count.
        out: the table to write.
        name: its short name.

    Raises:
        NB201Error: if two tables hold nets of the same seeds, or of seeds that are not recorded, or disagree about a
            data set or recipe.
    """
    opened = [open_table(table) for table in tables]
    if not opened:
        raise NB201Error("name at least one table to join")
    _refuse_other_networks(opened)
    provenance = {"joined": [{"name": table.name, **table.provenance} for table in opened]}
    licenses = dict.fromkeys(table.attributes["license"] for table in opened if "license" in table.attributes)
    citation = dict.fromkeys(work for table in opened for work in table.attributes.get("citation", []))
    with TableWriter(out, name, provenance, "; ".join(licenses) or None, tuple(citation)) as writer:
        nodes: dict[str, list[tuple[Table, Any]]] = {}
        for table in opened:
            for path, node in table.root.members(max_depth=None):
                nodes.setdefault(path, []).append((table, node))
        for path in sorted(nodes):
            _write(writer, path, nodes)


def _refuse_other_networks(tables: Sequence[Table]) -> None:
    """Tables that share a data set must hold nets of one shape: params and MACs are stored once for all of them."""
    first: dict[str, Table] = {}
    for table in tables:
        for dataset in table.datasets:
            other = first.setdefault(dataset, table)
            for name in ("params", "macs"):
                if not np.array_equal(getattr(table, name)(dataset), getattr(other, name)(dataset)):
                    raise NB201Error(f"{table.path}: the {name} of {dataset} differ from those in {other.path}")


def _write(writer: TableWriter, path: str, nodes: Nodes) -> None:
    """Write a group or array that one or several tables have."""
    (first, node), *others = nodes[path]
    is_array = hasattr(node, "shape")
    for table, other in others:
        if hasattr(other, "shape") != is_array:
            has_column = first if is_array else table
            raise NB201Error(f"{has_column.path}: {path} is a column there and a recipe elsewhere; rename the column")
    if not others:
        parent = nodes[path.rpartition("/")[0]] if "/" in path else []
        if is_array and path.endswith(_BY_TRIAL) and len(parent) > 1:
            writer.write_array(path, node, _one_trial_after_another(path, nodes))
        else:
            (writer.copy_array if is_array else writer.copy_group)(path, node)
    elif not is_array:
        attributes = dict(node.attrs)
        for table, other in others:
            where = f"{table.path}: {path}"
            if "trial_seeds" in attributes:
                attributes["trial_seeds"] = _seeds(attributes, dict(other.attrs), where)
            attributes = _united(attributes, {**other.attrs, **_known(attributes)}, where)
        writer.copy_group(path, node, attributes)
    elif path.endswith(_BY_TRIAL):
        writer.write_array(path, node, _one_trial_after_another(path, nodes))
    elif path.endswith(_MEASURED):
        writer.copy_array(path, node)
    elif path.endswith("/trained_as"):
        writer.write_array(path, node, _united_rows(path, nodes[path]))
    else:
        for table, other in others:
            one, two = node[...], other[...]
            if not np.array_equal(one, two, equal_nan=one.dtype.kind == two.dtype.kind == "f"):
                raise NB201Error(f"{table.path}: {path} differs from {first.path}")
        writer.copy_array(path, node)


Nodes = dict[str, list[tuple[Table, Any]]]
"""Every path, with the tables that have it and what they have there."""

_BY_TRIAL = ("/correct", "/loss")
"""Arrays (trial, epoch, cell)."""

_MEASURED = ("/latency", "/epoch_seconds", "/train_seconds", "/eval_seconds")
"""Arrays of which the first table's counts."""


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: attributes[key] for key in ("trial_seeds",) if key in attributes}


def _seeds(one: dict[str, Any], other: dict[str, Any], where: str) -> list[int]:
    """Seeds of the trials of two splits, all different."""
    seeds, more = one["trial_seeds"], other.get("trial_seeds")
    if not seeds or not more or set(seeds) & set(more):
        raise NB201Error(
            f"{where} has trials of seeds {more}, a table before it of seeds {seeds}: only different ones can be joined"
        )
    return [*seeds, *more]


def _united_rows(path: str, found: Sequence[tuple[Table, Any]]) -> npt.NDArray[Any]:
    """Which cell was trained for each row, -1 for none, where tables may have trained other parts of the space."""
    (_, first), *others = found
    united = np.asarray(first[...])
    for table, node in others:
        other = np.asarray(node[...])
        if ((united >= 0) & (other >= 0) & (united != other)).any():
            raise NB201Error(f"{table.path}: {path} differs from a table before it: rows are copies of other cells")
        united = np.where(united >= 0, united, other)
    return united


def _one_trial_after_another(path: str, nodes: Nodes) -> npt.NDArray[Any]:
    """The arrays of all tables that have the split, missing where a table lacks them."""
    parts, has = [], {id(table): node for table, node in nodes[path]}
    shape = nodes[path][0][1].shape
    for table, split in nodes[path.rpartition("/")[0]]:
        node = has.get(id(table))
        if node is None:
            if path.endswith("/correct"):
                raise NB201Error(
                    f"{table.path} has no {path}, only means over trials: they cannot be joined with trials"
                )
            parts.append(np.full((len(split.attrs["trial_seeds"]), *shape[1:]), np.nan))
        elif node.shape[1:] != shape[1:]:
            raise NB201Error(f"{table.path}: {path} has other epochs than a table before it")
        else:
            parts.append(node[...])
    return np.concatenate(parts)


def _united(one: dict[str, Any], other: dict[str, Any], where: str) -> dict[str, Any]:
    """Both attributes; of those that are objects, both entries."""
    united = one | other
    for key in one.keys() & other.keys():
        if isinstance(one[key], dict) and isinstance(other[key], dict):
            united[key] = _united(one[key], other[key], f"{where}, {key}")
        elif one[key] != other[key]:
            raise NB201Error(f"{where}: {key} is {other[key]!r}, but {one[key]!r} in a table before it")
    return united
