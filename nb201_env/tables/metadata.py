"""The files and the metadata of a table, checked when it is opened."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nb201_env.checks import is_whole, shown
from nb201_env.errors import NB201Error, TableFormatError
from nb201_env.tables.schema import FORMAT, MANIFEST, NAME, VERSION, attribute_problems, shape_problems


class TableFiles:
    """The files of a table, in a folder or an archive, by their paths within it."""

    def __init__(self, path: Path):
        self._folder = path if path.is_dir() else None
        self._archive = None if path.is_dir() else zipfile.ZipFile(path)

    def read(self, name: str) -> bytes:
        """The content of one. KeyError or OSError if it is not there."""
        if self._archive is not None:
            return self._archive.read(name)
        assert self._folder is not None
        return (self._folder / name).read_bytes()

    def read_afresh(self, name: str) -> bytes:
        """The content of one where the table is, and not of a copy. KeyError or OSError if it is not there."""
        return self.read(name)

    def names(self) -> list[str]:
        """All of them, with links and whatever else is no folder."""
        if self._archive is not None:
            return self._archive.namelist()
        assert self._folder is not None
        found = []
        for folder, folders, files in os.walk(self._folder):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            found += [Path(folder, name).relative_to(self._folder).as_posix() for name in (*files, *links)]
        return found

    def is_regular(self, name: str) -> bool:
        """Whether a name is that of a file, and not of a link, a pipe or the like."""
        return self._folder is None or stat.S_ISREG((self._folder / name).lstat().st_mode)

    def __contains__(self, name: str) -> bool:
        if self._archive is not None:
            return name in self._archive.NameToInfo
        assert self._folder is not None
        return (self._folder / name).is_file()

    def names_or_none(self) -> frozenset[str] | None:
        """All names of an archive, which its directory lists; None for a folder, where files may come later."""
        return None if self._archive is None else frozenset(self._archive.namelist())


def read_manifest(content: bytes) -> dict[str, str]:
    """SHA-256 of each file by its path, of the manifest's content.

    Raises:
        TableFormatError: if a line is not of that form, names a file twice, or one that is not within the table.
    """
    manifest: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
        hash_, _, name = line.partition("  ")
        if len(hash_) != 64 or name in manifest or not all(map(NAME.fullmatch, name.split("/"))):
            raise TableFormatError(f"{MANIFEST}, line {number}, is damaged: {shown(line)}")
        manifest[name] = hash_
    return manifest


def read_metadata(
    path: Path | str, open_files: Callable[[], TableFiles]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], frozenset[str] | None]:
    """Attributes of the table, the metadata of every group and array by path, and the names of an archive's files.

    Metadata stands in the root's zarr.json, where the writer consolidates it, so that opening a table is two reads:
    that file, and the manifest that says what it must be.
    """
    try:
        files = open_files()
        content = files.read("zarr.json")
        manifest = read_manifest(files.read(MANIFEST)) if MANIFEST in files else None
        root = parsed(content, path)
        attributes = root.get("attributes", {})
        if attributes.get("format") != FORMAT:
            raise TableFormatError(
                f"{path} is a Zarr store but no {FORMAT}; `nb201 import` makes one from other formats"
            )
        consolidated = root.get("consolidated_metadata")
        if consolidated is None:
            nodes = _walk(files, path, manifest)
        else:
            nodes = consolidated["metadata"]
            if manifest is not None:
                _check_hash("zarr.json", content, manifest, path)
        _check_metadata(path, attributes, nodes, manifest is not None)
        return attributes, nodes, files.names_or_none()
    except NB201Error:
        raise
    except zipfile.BadZipFile:
        raise TableFormatError(f"{path} is no table: it is cut short or no zip archive") from None
    except Exception as error:  # whatever an archive or a JSON from outside makes of itself
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise TableFormatError(f"{path} is no table, or damaged: it is no Zarr store ({why})") from None


def _check_hash(name: str, content: bytes, manifest: Mapping[str, str], path: Path | str) -> None:
    if hashlib.sha256(content).hexdigest() != manifest.get(name):
        raise TableFormatError(f"{path} is damaged: {name} is not what was written")


def parsed(content: bytes, path: Path | str) -> dict[str, Any]:
    """The JSON object of a zarr.json."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("attributes", {}), dict):
        raise TableFormatError(f"{path} is no table, or damaged: a zarr.json is no JSON object")
    return parsed


def _walk(files: TableFiles, path: Path | str, manifest: Mapping[str, str] | None) -> dict[str, dict[str, Any]]:
    """The metadata of every group and array of a store whose root does not repeat it."""
    nodes = {}
    there = files.names()
    for name in manifest or ():
        if name.endswith("/zarr.json") and name not in there:
            raise TableFormatError(f"{path} is damaged: {name} is missing")
    for name in sorted(there):
        if name.endswith("/zarr.json") and (manifest is None or name in manifest) and files.is_regular(name):
            content = files.read(name)
            if manifest is not None:
                _check_hash(name, content, manifest, path)
            nodes[name.removesuffix("/zarr.json")] = parsed(content, path)
    return nodes


def _check_metadata(path: Path | str, attributes: dict[str, Any], nodes: Any, has_manifest: bool) -> None:
    """Refuse metadata that a table of this format does not have, so that what reads it need not expect it."""
    version = attributes.get("version")
    if not is_whole(version) or version < 1:
        raise TableFormatError(f"{path} is damaged: its format version is {shown(version)}")
    if version > VERSION:
        raise TableFormatError(f"{path} has format version {version}; this nb201_env reads up to {VERSION}: upgrade it")
    if version > 1 and not has_manifest:
        raise TableFormatError(f"{path} is damaged: {MANIFEST} is missing")
    for problem in node_problems("", {"node_type": "group", "attributes": attributes}):
        raise TableFormatError(f"{path} is damaged: {problem}")
    for name, node in nodes.items():
        for problem in node_problems(name, node):
            raise TableFormatError(f"{path} is damaged: {shown(name)}: {problem}")


def node_problems(path: str, node: Any) -> Iterable[str]:
    """What is wrong with the metadata of a group or array."""
    if path and not all(map(NAME.fullmatch, path.split("/"))):
        yield "it is no name within a table"
    elif not isinstance(node, dict) or not isinstance(node.get("attributes", {}), dict):
        yield "its metadata is no object"
    elif node.get("node_type") == "group":
        if path.count("/") < 4:
            yield from attribute_problems(path, node.get("attributes", {}))
    elif node.get("node_type") == "array":
        shape = node.get("shape")
        if not isinstance(shape, list) or not all(map(is_whole, shape)):
            yield f"its shape is {shown(shape)}"
        else:
            yield from shape_problems(path, tuple(shape))
    else:
        yield "it is neither a group nor an array"
