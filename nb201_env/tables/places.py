"""Reading the files of a table from a server, through obstore: one object each, or ranges of an archive."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from datetime import timedelta
from functools import cached_property
from typing import Any

from nb201_env.errors import NB201Error, TableFormatError, UnreachableError

try:
    import obstore
    from obstore.exceptions import BaseError, NotFoundError
except ImportError:
    raise NB201Error("reading tables at an address needs obstore: pip install 'nb201-env[remote]'") from None

MOST_BYTES = 1 << 28
"""How large one file of a table may be; those that this project writes have a few megabytes."""

CLIENT: dict[str, Any] = {"connect_timeout": "10s", "timeout": "120s"}
RETRIES: dict[str, Any] = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
"""Of a request that fails or stops in the middle, before it is an error."""


_threads_of: list[int] = []
"""The process in which obstore has threads, once it has any: they do not survive a fork."""


def can_read_here() -> bool:
    """Whether this process can read from servers: not if its parent did so before it forked."""
    return not _threads_of or _threads_of[0] == os.getpid()


class Place:
    """Where obstore reads."""

    def __init__(self, url: str):
        self.url = url

    @cached_property
    def _client(self) -> Any:
        _threads_of[:] = [os.getpid()]
        # options that are given hide what the environment says
        allow_http = self.url.startswith("http://") or os.environ.get("AWS_ALLOW_HTTP", "").upper() == "TRUE"
        settings: Any = {"client_options": CLIENT | {"allow_http": allow_http}, "retry_config": RETRIES}
        try:
            return obstore.store.from_url(self.url, **settings)
        except (BaseError, ValueError) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> UnreachableError:
        why = " ".join(str(error).split("Debug source:")[0].split())
        return UnreachableError(f"{self.url} cannot be read: {why[:300]}")

    def whole(self, name: str) -> bytes:
        """A file. KeyError if it is not there."""
        try:
            found = obstore.get(self._client, name)
            self._check_size(name, found.meta["size"])
            return bytes(found.bytes())
        except (NotFoundError, FileNotFoundError):
            raise KeyError(name) from None
        except (BaseError, OSError, ValueError) as error:
            raise error if isinstance(error, NB201Error) else self._unreachable(error) from None

    def part(self, name: str, start: int, end: int) -> bytes:
        """Some bytes of a file."""
        try:
            return bytes(obstore.get_range(self._client, name, start=start, end=end))
        except (BaseError, OSError, ValueError) as error:
            raise self._unreachable(error) from None

    def size(self, name: str) -> int:
        """Bytes of a file. KeyError if it is not there."""
        try:
            return int(obstore.head(self._client, name)["size"])
        except (NotFoundError, FileNotFoundError):
            raise KeyError(name) from None
        except (BaseError, OSError, ValueError) as error:
            raise self._unreachable(error) from None

    def _check_size(self, name: str, size: int) -> None:
        if size > MOST_BYTES:
            raise TableFormatError(f"{self.url}: {name} has {size:,} bytes, more than a table's files may have")


class Folder:
    """A table as a folder: each of its files is an object."""

    def __init__(self, url: str):
        self._place = Place(url)

    def get(self, name: str) -> bytes:
        """A file. KeyError if it is not there."""
        return self._place.whole(name)


class Archive:
    """A table as an archive: each of its files is a range of bytes of one object."""

    def __init__(self, url: str):
        folder, _, self._name = url.rpartition("/")
        self._url, self._place, self._lock = url, Place(folder), threading.Lock()

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            size = self._place.size(self._name)
        except KeyError:
            raise UnreachableError(f"no table at {self._url}: nothing is there") from None
        try:
            return zipfile.ZipFile(io.BufferedReader(Ranges(self._place, self._name, size), _READ_AHEAD))
        except zipfile.BadZipFile:
            raise TableFormatError(f"{self._url} is no table: it is cut short or no zip archive") from None

    def get(self, name: str) -> bytes:
        """A file. KeyError if it is not there."""
        with self._lock:
            if self._archive.getinfo(name).file_size > MOST_BYTES:
                raise TableFormatError(f"{self._url}: {name} is larger than a table's files may be")
            try:
                return self._archive.read(name)
            except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
                raise TableFormatError(f"{self._url} is damaged: {name} cannot be read ({error})") from None


_READ_AHEAD = 1 << 12


class Ranges(io.RawIOBase):
    """An object elsewhere as a file to read."""

    def __init__(self, place: Place, name: str, size: int):
        self._place, self._name, self._size, self._position = place, name, size, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read as much as the buffer holds, or what is left."""
        end = min(self._size, self._position + len(buffer))
        if end <= self._position:
            return 0
        content = self._place.part(self._name, self._position, end)
        if not content:
            raise UnreachableError(f"{self._place.url}/{self._name} cannot be read: the server sends nothing")
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)
