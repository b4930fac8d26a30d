"""Tables at an address: `s3://`, `gs://`, `az://`, `https://`, of which only what is asked for is read, once.

What is read is kept in a folder of this machine and compared with the manifest of the table whenever a process first
uses it, so that neither a server nor a damaged copy can change a number. The copy's folder is named by the hash of the
manifest, so that another table at the same address has another one. Imported only when an address is opened, because
obstore is an extra.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from nb201_env.errors import NB201Error, TableFormatError, UnreachableError
from nb201_env.files import cache_folder
from nb201_env.parallel import Limits, run_tasks
from nb201_env.tables.metadata import TableFiles, read_manifest
from nb201_env.tables.places import Archive, Folder, can_read_here
from nb201_env.tables.schema import MANIFEST

SCHEMES = ("s3", "gs", "az", "abfs", "https", "http")


@lru_cache(maxsize=32)
def remote_files(url: str) -> RemoteFiles:
    """The files of a table at an address, as they were when this process first asked for them.

    Raises:
        NB201Error: if it is no address of a table.
        UnreachableError: if it cannot be read.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # as of a bracket that is not closed
        parts = urlsplit("")
    if parts.scheme not in SCHEMES or not parts.netloc or not parts.path.strip("/") or parts.query or parts.fragment:
        raise NB201Error(
            f"a table's address is {', '.join(f'{one}://' for one in SCHEMES)} and the path of a .zarr folder or "
            f".zarr.zip archive, got {url!r}"
        )
    if not can_read_here():
        raise UnreachableError(f"{url} cannot be opened in a process that was forked from one that had read a table so")
    return RemoteFiles(url.rstrip("/"))


class RemoteFiles(TableFiles):
    """The files of a table at an address.

    Attributes:
        url: the address.
        folder: where copies of what was read are kept.
    """

    def __init__(self, url: str):
        self.url = url
        self._source = Archive(url) if url.endswith(".zip") else Folder(url)
        try:
            self._manifest_content = self._source.get(MANIFEST)
        except KeyError:
            raise UnreachableError(f"no table at {url}: there is no {MANIFEST}") from None
        self._manifest = read_manifest(self._manifest_content)
        self.folder = cache_folder() / "tables" / hashlib.sha256(self._manifest_content).hexdigest()[:32]
        self._sound: set[str] = set()

    def read(self, name: str) -> bytes:
        """The content of one, from the copy if there is a sound one, else as `read_afresh`."""
        with suppress(OSError, KeyError):
            hash_, content = self._manifest[name], (self.folder / name).read_bytes()
            if name in self._sound or hashlib.sha256(content).hexdigest() == hash_:
                self._sound.add(name)
                return content
        return self.read_afresh(name)

    def read_afresh(self, name: str) -> bytes:
        """The content of one from where it is, whatever copies there are. KeyError if it is not there.

        Raises:
            TableFormatError: if it is not what the manifest says.
            UnreachableError: if it cannot be read.
        """
        if name == MANIFEST:
            return self._manifest_content
        hash_, copy = self._manifest[name], self.folder / name
        content = self._source.get(name) if can_read_here() else _read_elsewhere(self.url, name)
        if hashlib.sha256(content).hexdigest() != hash_:
            raise TableFormatError(f"{self.url} is damaged, or was changed just now: {name} is not what was written")
        _keep(copy, content)
        self._sound.add(name)
        return content

    def names(self) -> list[str]:
        """All of them, by the manifest."""
        return [*self._manifest, MANIFEST]

    def is_regular(self, name: str) -> bool:
        """Every one is."""
        return True

    def __contains__(self, name: str) -> bool:
        return name in self._manifest or name == MANIFEST

    def names_or_none(self) -> frozenset[str]:
        """All of them: what others add to a table elsewhere is not seen."""
        return frozenset(self.names())

    def store(self) -> RemoteStore:
        """Them as zarr reads them."""
        return RemoteStore(self)


def _read_elsewhere(url: str, name: str) -> bytes:
    """A file, read by a process of its own, for one that was forked and cannot."""
    (done,) = run_tasks(_read, [(url, name)], limits=lambda task: _PATIENCE)
    if done.error is not None:
        raise done.error
    return bytes(done.value)


def _read(task: tuple[str, str]) -> bytes:
    url, name = task
    return remote_files(url).read_afresh(name)


_PATIENCE = Limits(seconds=600.0, memory=16 << 30)


def _keep(path: Path, content: bytes) -> None:
    """Write a copy, whole or not at all, whoever else does the same; without it all goes on."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, fragment = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}~")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(fragment, path)
        except OSError:
            os.unlink(fragment)
            raise


class RemoteStore(Store):
    """The files of a table elsewhere, as zarr reads them."""

    supports_writes = supports_deletes = supports_partial_writes = False
    supports_listing = True

    def __init__(self, files: RemoteFiles):
        super().__init__(read_only=True)
        self.files = files

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and self.files is other.files

    def __hash__(self) -> int:
        return hash(self.files.url)

    def __str__(self) -> str:
        return self.files.url

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """A file or a part of it; None if it is not there."""
        if key not in self.files:
            return None
        content = await asyncio.to_thread(self.files.read, key)
        buffer = prototype.buffer if prototype is not None else Buffer
        return buffer.from_bytes(content[_part(byte_range)])

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several parts."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether a file is there."""
        return key in self.files

    async def list(self) -> AsyncIterator[str]:
        """All files."""
        for name in self.files.names():
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Files whose path begins so."""
        for name in self.files.names():
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names within a folder."""
        start = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        inside = {name.removeprefix(start).split("/")[0] for name in self.files.names() if name.startswith(start)}
        for name in sorted(inside):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Refused."""
        self._check_writable()

    async def set_partial_values(self, key_start_values: Iterable[tuple[str, int, Any]]) -> None:
        """Refused."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refused."""
        self._check_writable()


def _part(byte_range: ByteRequest | None) -> slice:
    match byte_range:
        case RangeByteRequest(start, end):
            return slice(start, end)
        case OffsetByteRequest(offset):
            return slice(offset, None)
        case SuffixByteRequest(suffix):
            return slice(-suffix, None)
    return slice(None)
