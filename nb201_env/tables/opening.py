"""Finding a table by its name, path or address."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nb201_env.checks import shown
from nb201_env.errors import NB201Error, TableFormatError
from nb201_env.tables.table import Table

if TYPE_CHECKING:
    from nb201_env.tables.remote import RemoteFiles

EMBEDDED = {"published": "published.zarr.zip", "mini": "mini.zarr.zip"}
"""Tables that come with the package."""

DATA = Path(__file__).parent / "data"


@lru_cache(maxsize=32)
def _open(path: Path, stamp: tuple[int, ...]) -> Table:
    return Table(path)


@lru_cache(maxsize=32)
def _open_remote(files: RemoteFiles) -> Table:
    return Table(files.folder, files)


def open_table(where: str | os.PathLike[str] | Table) -> Table:
    """Open a table for reading. Nothing but metadata is read yet.

    Args:
        where: the name of an embedded table, the path of a `.zarr` folder or a `.zarr.zip` archive, its address
            (`s3://`, `gs://`, `az://`, `https://`), or an open table.

    Raises:
        NB201Error: if nothing is there.
        UnreachableError: if an address cannot be read.
        TableFormatError: if it is no table, is damaged, or is of a newer format.
    """
    if isinstance(where, Table):
        return where
    if not isinstance(where, str | os.PathLike):
        raise NB201Error(f"a table is named by a name ({', '.join(EMBEDDED)}) or a path, got {shown(where)}")
    name = os.fspath(where)
    if isinstance(name, str) and "://" in name:
        from nb201_env.tables.remote import remote_files

        return _open_remote(remote_files(name))
    path = DATA / EMBEDDED[name] if name in EMBEDDED else Path(name).absolute()
    metadata = path / "zarr.json" if os.path.isdir(path) else path
    if not os.path.exists(path):  # which, unlike the path's own method, bears a name of any length
        raise NB201Error(f"no table {shown(name)}: neither a path nor an embedded table ({', '.join(EMBEDDED)})")
    if not metadata.is_file():
        what = "the folder has no zarr.json" if path.is_dir() else "it is no regular file"
        raise TableFormatError(f"{name} is no table: {what}")
    stat = metadata.stat()
    return _open(path, (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size))
