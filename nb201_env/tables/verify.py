"""Checking a table against its format, its manifest and what was written."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from nb201_env.errors import UnreachableError
from nb201_env.tables.fingerprint import chunk_digests, digest, fingerprints
from nb201_env.tables.metadata import read_manifest
from nb201_env.tables.packing import ZIP_HASH, hash_of_start
from nb201_env.tables.schema import MANIFEST, attribute_problems, place, shape_problems, value_problems
from nb201_env.tables.table import Table

NOT_REGULAR = "is no regular file"


def problems_of(table: Table) -> list[str]:
    """What is wrong with a table, each with its place; empty if nothing is.

    Every byte is read: files are compared with the manifest, an archive as a whole with the hash at its end, and the
    content of each array with the hash that was stored when it was written, so that a missing chunk is found although
    it reads as missing values. What another tool added to the table is named as foreign.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zarr warns of files that it does not know; they are named below
            problems = [*_file_problems(table)]
            if not any(problem.endswith(NOT_REGULAR) for problem in problems):  # to read a pipe could take for ever
                problems += _content_problems(table)
    except UnreachableError:
        raise
    except Exception as error:  # whatever a damaged archive makes of itself
        return [f"{table.path.name}: cannot be read ({type(error).__name__})"]
    if not problems:
        found = fingerprints(table.root)
        for name, value in zip(("fingerprint", "timing_fingerprint"), found, strict=True):
            if table.attributes.get(name) != value:
                problems.append(f"/: the stored {name} is not that of the content: an attribute was changed")
    return problems


def _file_problems(table: Table) -> Iterator[str]:
    files, path = table.files(), table.path
    if MANIFEST not in files:  # of version 1
        return
    if path.is_file():
        yield from _archive_problems(path)
    try:
        manifest = read_manifest(files.read(MANIFEST))
    except Exception as error:
        yield f"{MANIFEST} cannot be read ({type(error).__name__})"
        return
    there = set(files.names()) - {MANIFEST}
    odd = {name for name in there if not files.is_regular(name)}
    yield from (f"{name} {NOT_REGULAR}" for name in sorted(odd))
    there -= odd
    for name in sorted(set(manifest) - there - odd):
        yield f"{name} is missing"
    for name in sorted(there & set(manifest)):
        try:
            sound = hashlib.sha256(files.read_afresh(name)).hexdigest() == manifest[name]
        except Exception as error:  # as above
            yield f"{name} cannot be read ({type(error).__name__})"
        else:
            if not sound:
                yield f"{name} is not what was written"
    foreign = sorted(there - set(manifest))
    nodes = {name.removesuffix("/zarr.json") for name in foreign if name.endswith("/zarr.json")}
    yield from (f"{node}: foreign, added after the table was written" for node in sorted(nodes))
    for name in foreign:
        if not any(name.startswith(f"{node}/") for node in nodes):
            yield f"{name}: a foreign file, added after the table was written"


def _archive_problems(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        names = archive.namelist()
        if len(set(names)) < len(names):
            yield f"{path.name}: a file is in the archive twice"
        size = path.stat().st_size
        comment = archive.comment
        if not comment.startswith(ZIP_HASH) or hash_of_start(file, size - 64) != comment[len(ZIP_HASH) :].decode():
            yield f"{path.name}: the archive is not byte for byte what was written"


def _content_problems(table: Table) -> Iterator[str]:
    members = dict(table.root.members(max_depth=None))
    for path, node in sorted(members.items()):
        if hasattr(node, "shape"):
            yield from (f"{path}: {problem}" for problem in _array_problems(path, node, members))
        elif path.count("/") < 4:
            yield from (f"{path}: {problem}" for problem in attribute_problems(path, node.attrs))


def _array_problems(path: str, array: Any, members: dict[str, Any]) -> Iterator[str]:
    yield from shape_problems(path, array.shape)
    try:
        values = array[...]
    except (
        Exception
    ):  # any error of a codec or of the store means damage; which chunk it is in, the next lines find out
        yield from [f"{where} cannot be read" for where in _unreadable(array)] or ["cannot be read"]
        return
    parent, _, name = path.rpartition("/")
    group = members.get(parent)
    yield from value_problems(name, values, group.attrs.get("images") if group is not None else None)
    if name in ("correct", "accuracy", "loss") and group is not None and "epoch" in group:
        epochs = group["epoch"].shape[0]
        if values.shape[-2] != epochs:
            yield f"{values.shape[-2]} epochs where `epoch` lists {epochs}"
    if "chunks" in array.attrs and array.attrs["chunks"] != chunk_digests(values):
        yield "its attribute chunks is not that of its values"
    if digest(values) != array.attrs.get("sha256"):
        yield "not what was written: a chunk is missing or a value was changed"


def _unreadable(array: Any) -> list[str]:
    places = []
    for where in product(*(range(size) for size in array.shape[:-1])):
        try:
            array[where]
        except Exception:  # as above
            places.append(place((*where, 0)).rpartition(", ")[0])
    return places
