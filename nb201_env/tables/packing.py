"""From a folder of arrays to a table on disk: consolidated metadata, the manifest of hashes, the archive."""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

from nb201_env.tables.schema import MANIFEST

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever the same table is written


def consolidate(folder: Path) -> None:
    """Copy all metadata into the root's, so that one read opens a table."""
    import zarr

    with warnings.catch_warnings():
        # Version 3 of the Zarr specification does not mention consolidated metadata yet; readers may ignore it.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(str(folder))


def _files_of(folder: Path) -> list[tuple[str, Path]]:
    """Every file in a folder by its path within it."""
    return sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())


def write_manifest(folder: Path) -> None:
    """Write down the hash of every file."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n" for name, path in _files_of(folder)]
    (folder / MANIFEST).write_text("".join(lines), encoding="utf-8", newline="\n")


ZIP_HASH = b"sha256:"
"""An archive ends with a comment of this and the SHA-256, in hexadecimal, of all bytes before those digits."""


def pack(folder: Path, archive: Path) -> None:
    """Copy a folder into a zip that stores its files uncompressed, as zarr.storage.ZipStore reads them."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for name, path in _files_of(folder):
            target.writestr(zipfile.ZipInfo(name, _ZIP_DATE), path.read_bytes())
        target.comment = ZIP_HASH + b"0" * 64
    with archive.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        end = file.tell() - 64
        file.seek(0)
        found = hash_of_start(file, end)
        file.seek(end)
        file.write(found.encode())


def hash_of_start(file: Any, count: int) -> str:
    """SHA-256 of the first bytes of an open file, in hexadecimal."""
    found = hashlib.sha256()
    while count > 0 and (block := file.read(min(count, 1 << 20))):
        found.update(block)
        count -= len(block)
    return found.hexdigest()


def settle() -> None:
    """Let what zarr is writing in its own thread come to an end, after an interruption say."""
    import asyncio

    from zarr.core.sync import sync

    async def cancel() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    sync(cancel())
