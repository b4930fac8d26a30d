"""The arrays of a table as they are stored: read lazily, remembered, and compared with the hashes beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from nb201_env.checks import shown
from nb201_env.errors import MissingDataError, NB201Error, TableFormatError
from nb201_env.space import NUM_CELLS
from nb201_env.tables.fingerprint import EPOCHS_PER_CHUNK, digest
from nb201_env.tables.metadata import TableFiles, node_problems, parsed, read_metadata
from nb201_env.tables.schema import NAME, is_own_column

if TYPE_CHECKING:
    from nb201_env.tables.remote import RemoteFiles

_CACHED_COLUMNS = 256


def _is_column(node: Mapping[str, Any]) -> bool:
    """Whether an array's metadata is that of one number a cell."""
    return node["node_type"] == "array" and node["shape"] == [NUM_CELLS] and node.get("data_type") == "float64"


class StoredArrays:
    """Groups and arrays of a table's folder or archive, which are never changed.

    Metadata is compared with the table's manifest when it is opened, and values with their hashes when they are first
    read, so that damage is an error and never a number.

    Args:
        path: the folder or archive.
        remote: the files of a table elsewhere, of which the folder holds copies.

    Attributes:
        path: the folder or archive.
        remote: as given.
        array: from the path of an array within the table to its values as stored, read-only and remembered.
        attributes: the table's own attributes, see `nb201_env.tables.schema`.
    """

    def __init__(self, path: Path, remote: RemoteFiles | None = None):
        self.path, self.remote = path, remote
        self.attributes, self._nodes, self._names = read_metadata(remote.url if remote else path, self.files)
        self._stores: dict[int, Any] = {}
        self._sound: set[tuple[str, int]] = set()  # arrays, and which of their chunks, that have been found sound
        self.array = remembered(self._read_array)
        self._foreign = lru_cache(_CACHED_COLUMNS)(self._find_foreign)
        self._files_are_regular = lru_cache(_CACHED_COLUMNS)(self._check_files)

    def files(self) -> TableFiles:
        """The files of the table."""
        return self.remote or TableFiles(self.path)

    @property
    def store(self) -> Any:
        """Where zarr reads the table from; one for each process, because a fork shares the position in an open file."""
        if os.getpid() not in self._stores:
            from zarr.core.sync import sync
            from zarr.storage import LocalStore, ZipStore

            if self.remote is not None:
                self._stores = {os.getpid(): self.remote.store()}
            else:
                kind = LocalStore if self.path.is_dir() else ZipStore
                self._stores = {os.getpid(): sync(kind.open(self.path, read_only=True))}
        return self._stores[os.getpid()]

    @property
    def root(self) -> Any:
        """The table as a zarr.Group, for what the methods do not cover."""
        import zarr

        return zarr.open_group(self.store, mode="r", zarr_format=3)

    def __contains__(self, path: str) -> bool:
        """Whether the table was written with a group or array at a path; what is foreign is none of its values."""
        return path in self._nodes

    def _node(self, path: str) -> dict[str, Any]:
        if not isinstance(path, str):
            raise MissingDataError(f"a path within a table is a string, got {shown(path)}")
        found = self._nodes.get(path) or self._foreign(path)
        if found is None:
            raise MissingDataError(f"table {self.name!r} has nothing at {shown(path)}")
        return found

    def _find_foreign(self, path: str) -> dict[str, Any] | None:
        """Metadata of what another tool added after the table was written, which its own metadata does not name."""
        if not all(map(NAME.fullmatch, path.split("/"))):
            return None
        name = f"{path}/zarr.json"
        there = (self.path / name).is_file() if self._names is None else name in self._names
        if not there:
            return None
        node = parsed(self.files().read(name), self.path)
        for problem in node_problems(path, node):
            raise TableFormatError(f"{self.at(path)} was added by another tool, and wrongly: {problem}")
        return node

    def attrs(self, path: str) -> Mapping[str, Any]:
        """Attributes of a group or array, by its path."""
        attributes: Mapping[str, Any] = self._node(path).get("attributes", {})
        return attributes

    def shape(self, path: str) -> tuple[int, ...]:
        """Shape of an array, by its path."""
        return tuple(self._node(path)["shape"])

    @property
    def name(self) -> str:
        """Short name of the table."""
        return str(self.attributes["name"])

    def groups(self, path: str) -> tuple[str, ...]:
        """Names of the groups in a group, short ones first."""
        below = [node.rpartition("/") for node, about in self._nodes.items() if about["node_type"] == "group"]
        return tuple(sorted((name for parent, _, name in below if parent == path), key=lambda name: (len(name), name)))

    def arrays(self, path: str) -> tuple[str, ...]:
        """Names of the arrays in a group, in order."""
        below = [node.rpartition("/") for node, about in self._nodes.items() if about["node_type"] == "array"]
        return tuple(sorted(name for parent, _, name in below if parent == path))

    def own_columns(self, dataset: str) -> tuple[str, ...]:
        """Names of a data set's columns of one's own: what was imported by a name, such as latencies of a device."""
        paths = [path.rpartition("/") for path, node in self._nodes.items() if is_own_column(path) and _is_column(node)]
        return tuple(sorted(name for parent, _, name in paths if parent == dataset))

    def own_column(self, dataset: str, name: str) -> npt.NDArray[np.float64]:
        """A column of one's own, float64 of shape (15625,), NaN where missing; `attrs` says its unit and source.

        Raises:
            MissingDataError: if there is none of that name.
        """
        if name not in (known := self.own_columns(dataset)):
            raise MissingDataError(
                f"{self.at(str(dataset))} has no column {shown(name)} of its own; it has {', '.join(known) or 'none'}"
            )
        return self.array(f"{dataset}/{name}")

    def at(self, path: str) -> str:
        """A path within the table as messages show it."""
        return f"table {self.name!r}, {path.replace('/', ' / ')}"

    def _read_array(self, path: str) -> npt.NDArray[Any]:
        return frozen(self._checked(path, self._read(path, ...), 0, self.attrs(path).get("sha256")))

    def read_epoch(self, path: str, position: int) -> npt.NDArray[Any]:
        """One epoch of an array whose last dimensions are epochs and cells; the chunk that holds it is checked."""
        attributes, epochs = self.attrs(path), self.shape(path)[-2]
        chunks = attributes.get("chunks", {"epochs": epochs, "sha256": [attributes.get("sha256")]})
        try:
            size = chunks["epochs"]
            number, row = divmod(position, size)
            hash_ = chunks["sha256"][number]
        except (TypeError, KeyError, IndexError, ZeroDivisionError):
            raise TableFormatError(f"{self.at(path)} is damaged: its attribute chunks is {shown(chunks)}") from None
        if size > EPOCHS_PER_CHUNK and "chunks" not in attributes:  # of version 1
            return self._read(path, (..., position, slice(None)))
        values = self._read(path, (..., slice(number * size, (number + 1) * size), slice(None)))
        return self._checked(path, values, number, hash_)[..., row, :]

    def _checked(self, path: str, values: npt.NDArray[Any], number: int, hash_: str | None) -> npt.NDArray[Any]:
        """Values that have the hash that was stored when they were written, if one was."""
        if hash_ is not None and (path, number) not in self._sound:
            if digest(values) != hash_:
                raise TableFormatError(f"{self.at(path)} is damaged: its values are not those that were written")
            self._sound.add((path, number))
        return values

    def _read(self, path: str, selection: Any) -> npt.NDArray[Any]:
        import zarr
        from zarr.storage import StorePath

        node = self._node(path)
        if node.get("node_type") != "array":
            raise MissingDataError(f"{self.at(path)} is no array")
        self._files_are_regular(path)
        try:
            return np.asarray(zarr.Array.from_dict(StorePath(self.store, path), node)[selection])
        except NB201Error:
            raise
        except Exception as error:  # a codec, a checksum or the store: all mean that the bytes are not what was written
            why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise TableFormatError(f"{self.at(path)} cannot be read: the file is damaged ({why})") from error

    def _check_files(self, path: str) -> bool:
        """Refuse an array with a link or a pipe among its files, which might be read for ever."""
        if self._names is None:  # a folder of this machine
            files = TableFiles(self.path / path)
            for name in files.names():
                if not files.is_regular(name):
                    raise TableFormatError(f"{self.at(path)} is damaged: its file {name} is no regular file")
        return True


_Result = TypeVar("_Result")


def remembered(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """The function with a memory of its last results, in which 1 is neither True nor 1.0."""
    cached = lru_cache(_CACHED_COLUMNS, typed=True)(function)

    def call(*arguments: Any) -> _Result:
        try:
            return cached(*arguments)
        except TypeError:
            for argument in arguments:
                if argument.__hash__ is None:
                    raise NB201Error(
                        f"a name, an epoch or a trial is a string, a whole number or None, got {shown(argument)}"
                    ) from None
            raise

    return call


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array, read-only from now on."""
    array.flags.writeable = False
    return array
