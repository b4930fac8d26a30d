"""NAS-Bench-201's `.pth` files, v1_0 and v1_1, in either container of PyTorch, read without PyTorch.

The newer container is a zip with the pickle as `…/data.pkl`. The older one is a row of pickles: a magic number, a
protocol number, facts about the system, then the content; what follows are the bytes of tensors, which are not kept.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from nb201_env.errors import TableFormatError
from nb201_env.importers.nats import Progress, blocks_of, import_whole
from nb201_env.importers.official import Block, Imported
from nb201_env.importers.unpickle import OFFICIAL, bounded, restricted_load

_MAGIC = 0x1950A86A20F9469CFC6C
"""That the older container begins with (torch.serialization.MAGIC_NUMBER)."""


def import_pth(
    path: str | os.PathLike[str], out: str | os.PathLike[str], progress: Progress = lambda done, total: None
) -> Imported:
    """Make a table from a `.pth` file. Takes tens of gigabytes of memory for the official files.

    What v1_0 lacks, training times of 200 epochs and evaluation times, is missing in the table.

    Raises:
        TableFormatError: if the file is damaged, names a foreign type, or is not of the official layout.
        NB201Error: if there is no such file, or `out` cannot be written.
    """
    return import_whole(_whole_pth, Path(path), Path(out), "NAS-Bench-201 .pth file", progress)


def _whole_pth(task: tuple[Path, None]) -> Iterator[tuple[int, Block]]:
    path, _ = task
    try:
        with path.open("rb") as file:
            whole = _read(file, path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        raise TableFormatError(f"{path}: no NAS-Bench-201 file: it is no complete .pth file") from None
    return blocks_of(whole, str(path))


def _read(file: IO[bytes], path: Path) -> Any:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise TableFormatError(f"{path}: no NAS-Bench-201 file: the archive has {len(names)} files data.pkl")
            with archive.open(names[0]) as content:
                return restricted_load(bounded(content, path.stat().st_size), str(path), OFFICIAL)
    file.seek(0)
    magic = restricted_load(file, str(path))
    if type(magic) is not int or magic != _MAGIC:
        raise TableFormatError(f"{path}: no NAS-Bench-201 file: it is no .pth file")
    for _ in range(2):  # the protocol, and byte order and sizes of types
        restricted_load(file, str(path))
    return restricted_load(file, str(path), OFFICIAL)
