"""Files that appear whole or not at all, that one process at a time writes, and that are read with care.

A file is written under another name beside its own, flushed to disk and renamed. Whoever writes something of a name
holds its lock, which ends with the process however that ends; so what a killed process left unfinished is removed by
the next that takes the lock.
"""

from __future__ import annotations

import glob
import os
import shutil
import socket
import time
import zipfile
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.errors import NB201Error, TableFormatError

UNFINISHED = ".unfinished"
LOCK = ".lock"


def in_folder(path: str | os.PathLike[str]) -> Path:
    """A path whose folder is there, so that something can be written under it.

    Raises:
        NB201Error: if the folder is not there, or what is at the path is a pipe or a device.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise NB201Error(f"cannot write {path}: it is a pipe or a device, which a file would replace; name a file")
    if not path.parent.is_dir():
        raise NB201Error(f"cannot write {path}: the folder {path.parent} does not exist; make it first")
    return path


def as_file(path: str | os.PathLike[str]) -> Path:
    """A path that a file can take the place of.

    Raises:
        NB201Error: if a folder or a link is there.
    """
    path = Path(path)
    if path.is_dir() or path.is_symlink():
        what = "a link, which a file would replace" if path.is_symlink() else "a folder"
        raise NB201Error(f"cannot write {path}: it is {what}; name a file")
    return path


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Be the only process that writes a path, and remove what killed ones left unfinished.

    The lock is the file `{path}.lock`, which names its holder; the system drops it when the holder ends.

    Raises:
        NB201Error: if another process holds it, or the folder is not there.
    """
    path = in_folder(path)
    lock = path.with_name(path.name + LOCK)
    handle = _acquire(lock, path)
    try:
        for fragment in fragments(path):
            remove(fragment)
        yield
    finally:
        if os.name == "nt":  # an open file cannot be removed there
            os.close(handle)
            with suppress(OSError):
                lock.unlink()
        else:
            lock.unlink(missing_ok=True)
            os.close(handle)


def _acquire(lock: Path, path: Path) -> int:
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(handle)
        except OSError:
            holder = os.read(handle, 200).decode(errors="replace") or "another process"
            os.close(handle)
            raise NB201Error(f"{path} is being written by {holder}; wait for it, or choose another name") from None
        try:
            same = os.path.samestat(os.fstat(handle), os.stat(lock))
        except FileNotFoundError:
            same = False
        if same:  # else its last holder removed it while this process opened it
            os.truncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
            return handle
        os.close(handle)


def _lock(handle: int) -> None:
    if os.name == "nt":
        import msvcrt

        os.lseek(handle, 1 << 20, os.SEEK_SET)  # beyond the name of the holder, which others may read
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        os.lseek(handle, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def unfinished(path: Path, what: str = "") -> Path:
    """A name beside a path that no other process uses."""
    return path.with_name(f"{path.name}~{what}{os.getpid()}{UNFINISHED}")


def fragments(path: Path) -> list[Path]:
    """What processes have left unfinished of a path."""
    return [Path(name) for name in glob.glob(f"{glob.escape(str(path))}~*{UNFINISHED}")]


def sweep(folder: Path) -> None:
    """Remove all that killed processes left unfinished in a folder whose lock this process holds."""
    for fragment in folder.rglob(f"*~*{UNFINISHED}"):
        remove(fragment)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for _ in range(_ATTEMPTS):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.05)  # after an interruption, a thread of zarr may still be writing a file


_ATTEMPTS = 40


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name to write a file under that takes the path's place, flushed to disk, if nothing goes wrong.

    Raises:
        NB201Error: as `in_folder` and `as_file`.
    """
    path = as_file(in_folder(path))
    fragment = unfinished(path)
    try:
        yield fragment
        flush(fragment)
        os.replace(fragment, path)
    except BaseException:
        remove(fragment)
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, whole or not at all, as the only writer.

    Raises:
        NB201Error: if another process writes it, or its folder is not there.
    """
    with locked(as_file(path)), replacing(path) as fragment:
        fragment.write_text(text, encoding="utf-8")


def flush(path: Path) -> None:
    """Flush a file, or a folder with all that is in it, to disk."""
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
    for file in files:
        handle = os.open(file, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def cache_folder() -> Path:
    """Where copies of what comes from the network are kept: `$NB201_CACHE`, or the system's place for caches."""
    if given := os.environ.get("NB201_CACHE"):
        return Path(given)
    try:
        import pooch
    except ImportError:
        raise NB201Error("what comes from the network needs pooch: pip install 'nb201-env[remote]'") from None

    return Path(pooch.os_cache("nb201_env"))


def regular(path: Path) -> Path:
    """A path that is a regular file: opening a pipe or a device could wait for ever.

    Raises:
        NB201Error: if it is anything else, or not there.
    """
    if not path.is_file():
        raise NB201Error(f"{path} {'is no regular file' if path.exists() else 'does not exist'}")
    return path


def read_npz(path: Path, most_bytes: int = 1 << 30, names: Container[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an `.npz`, none of them of objects.

    Args:
        path: of the file.
        most_bytes: how large all arrays together may be.
        names: of those to read; None for all.

    Raises:
        NB201Error: if there is no such file.
        TableFormatError: if it is no `.npz`, is damaged, or is larger than that.
    """
    try:
        with zipfile.ZipFile(regular(path)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > most_bytes:
            raise TableFormatError(f"{path} holds {size / 1e6:,.0f} MB, more than the {most_bytes / 1e6:,.0f} expected")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if names is None or name in names}
    except NB201Error:
        raise
    except Exception as error:  # zipfile and numpy raise many types; all mean that the file is not what it should be
        raise TableFormatError(f"{path} is no .npz, or damaged ({type(error).__name__})") from None
