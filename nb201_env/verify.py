"""Checking a table against its format and against what was written."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from nb201_env.cell import NUM_CELLS
from nb201_env.fingerprint import digest, fingerprints
from nb201_env.schema import GROUPS, MISSING_COUNT, SPLITS, Group
from nb201_env.table import Table


def problems_of(table: Table) -> list[str]:
    """What is wrong with a table, each with its place; empty if nothing is.

    Every value is read, so that checksums are verified; the content of each array is compared with the hash that was
    stored when it was written, so that a missing chunk is found although it reads as missing values.
    """
    root = table.root
    members = dict(root.members(max_depth=None))
    problems = _required(_level("/"), "/", root)
    for path, node in sorted(members.items()):
        if hasattr(node, "shape"):
            problems += _array_problems(path, node, members)
        else:
            problems += _required(_level(path), path, node)
    if not problems:
        found = fingerprints(root)
        for name, value in zip(("fingerprint", "timing_fingerprint"), found, strict=True):
            if table.attributes.get(name) != value:
                problems.append(f"/: the stored {name} is not that of the content: an attribute was changed")
    return problems


def _level(path: str) -> Group:
    return GROUPS[0 if path == "/" else path.count("/") + 1]


def _required(group: Group, path: str, node: Any) -> list[str]:
    missing = [field.name for field in group.attributes if field.required and field.name not in node.attrs]
    missing += [field.name for field in group.arrays if field.required and field.name not in node]
    return [f"{path}: {name} is missing" for name in missing]


def _array_problems(path: str, array: Any, members: dict[str, Any]) -> list[str]:
    try:
        values = array[...]
    except (
        Exception
    ):  # any error of a codec or of the store means damage; which chunk it is in, the next lines find out
        return [f"{path}: {place} cannot be read" for place in _unreadable(array)] or [f"{path}: cannot be read"]
    name = path.rpartition("/")[2]
    parent: Any = members.get(path.rpartition("/")[0])
    problems = []
    if values.shape[-1] != NUM_CELLS and name != "epoch":
        problems.append(f"{path}: shape {values.shape} does not end in {NUM_CELLS} cells")
    if name in SPLITS or parent is None:
        problems.append(f"{path}: an array stands where a group should be")
    if name in ("correct", "accuracy", "loss") and "epoch" in parent and values.shape[-2] != parent["epoch"].shape[0]:
        problems.append(f"{path}: {values.shape[-2]} epochs where `epoch` lists {parent['epoch'].shape[0]}")
    if name == "correct":
        images = parent.attrs.get("images", np.inf)  # its absence is reported for the group
        missing = values == MISSING_COUNT[values.dtype.name]
        if ((values > images) & ~missing).any():
            where = np.argwhere((values > images) & ~missing)[0]
            problems.append(f"{path}: {int(values[tuple(where)])} correct of {images} images at {_place(where)}")
    if name in ("latency", "epoch_seconds", "train_seconds", "eval_seconds"):
        problems += _seconds_problems(path, values)
    if digest(values) != array.attrs.get("sha256"):
        problems.append(f"{path}: not what was written: a chunk is missing or a value was changed")
    return problems


def _seconds_problems(path: str, values: Any) -> list[str]:
    """A cell has all of its seconds or none: a single NaN among numbers is no missing cell."""
    rows = values.reshape(-1, values.shape[-1])
    holes = np.isnan(rows).any(axis=0) & ~np.isnan(rows).all(axis=0)
    problems = [f"{path}: NaN in a part of cell {int(np.argmax(holes))}"] if holes.any() and len(rows) == 1 else []
    with np.errstate(invalid="ignore"):
        if (rows < 0).any():
            problems.append(f"{path}: negative seconds at cell {int(np.argwhere(rows < 0)[0][1])}")
    return problems


def _unreadable(array: Any) -> list[str]:
    places = []
    for where in product(*(range(size) for size in array.shape[:-1])):
        try:
            array[where]
        except Exception:  # as above
            places.append(_place(where))
    return places


def _place(where: Any) -> str:
    names = ("trial", "epoch", "cell")[-3 if len(where) > 1 else 0 :]
    return ", ".join(f"{name} {int(number)}" for name, number in zip(names, where, strict=False))
