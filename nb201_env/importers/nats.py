"""NATS-Bench's topology space: a `-simple` folder of one file a cell, or the single `.pickle.pbz2` file.

The pickles name three harmless things, and nothing else is allowed. Work goes block by block into `{out}.parts/`, so
that an interrupted import goes on by the same command, and a folder that has only some of the files can be completed
later.
"""

from __future__ import annotations

import bz2
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nb201_env.cell import NUM_CELLS, Cell
from nb201_env.errors import TableFormatError
from nb201_env.importers.official import Block, assemble, compact
from nb201_env.importers.unpickle import restricted_load
from nb201_env.parallel import worker_map

SUFFIX = ".pickle.pbz2"
META = f"meta{SUFFIX}"

BLOCK = 125
"""Cells a block: what an interruption can lose, for each process."""

SINGLE_FILE_GB = 34
"""Memory that the single official file takes when it is unpickled, with all its Python objects."""


def _scalar(dtype: np.dtype[Any], value: bytes) -> float:
    return float(np.frombuffer(value, dtype)[0])


_ALLOWED = {
    "collections.OrderedDict": OrderedDict,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        cells: number of cells with any value.
        complaints: stored values that disagree with what the cell is.
    """

    cells: int
    complaints: list[str]


def import_folder(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    jobs: int = 1,
    progress: Progress = lambda done, total: None,
) -> Imported:
    """Make a table from a `-simple` folder: `000000.pickle.pbz2` to `015624.pickle.pbz2`, or `0.pickle.pbz2` and so on.

    Args:
        folder: with any number of the files.
        out: the table; an incomplete one of that name is completed.
        jobs: number of processes.
        progress: called with files done and all files.

    Raises:
        TableFormatError: if the folder has none of the files, or one is not of the official layout.
    """
    folder, out = Path(folder), Path(out)
    _check_meta(folder)
    files = _files(folder)
    if not files:
        raise TableFormatError(
            f"{folder} has no file like 000000{SUFFIX}: expected an unpacked NATS-tss-…-simple folder"
        )
    parts = out.with_name(out.name + ".parts")
    parts.mkdir(parents=True, exist_ok=True)
    work = [(start, [i for i in range(start, start + BLOCK) if i in files]) for start in range(0, NUM_CELLS, BLOCK)]
    todo = [(start, cells) for start, cells in work if cells and not _has(parts, start, cells)]
    total = len(files)
    done = total - sum(len(cells) for _, cells in todo)
    tasks = [([files[i] for i in cells], cells, _part(parts, start)) for start, cells in todo]
    with worker_map(jobs) as apply:
        for count in apply(_stage, tasks):
            done += count
            progress(done, total)
    blocks = (Block.load(path) for path in sorted(parts.glob("*.npz")))
    cells_found, complaints = assemble(blocks, out, "nats-tss", {"source": "NATS-Bench topology space, -simple folder"})
    if cells_found == NUM_CELLS:
        shutil.rmtree(parts)
    return Imported(cells_found, complaints)


def import_file(
    path: str | os.PathLike[str], out: str | os.PathLike[str], progress: Progress = lambda done, total: None
) -> Imported:
    """Make a table from the single official file, which takes about 34 GB of memory to unpickle.

    Raises:
        TableFormatError: if it is the meta file, or not of the official layout.
    """
    whole = read_record(Path(path))
    return import_records(whole, str(path), Path(out), "NATS-Bench topology space, single file", progress)


def import_records(whole: Any, source: str, out: Path, about: str, progress: Progress) -> Imported:
    """Make a table from an unpickled whole file: a dict of `meta_archs` and `arch2infos`."""
    if not isinstance(whole, dict) or "meta_archs" not in whole or "arch2infos" not in whole:
        raise TableFormatError(f"{source}: expected a dict of meta_archs and arch2infos")
    _check_archs(whole["meta_archs"], source)
    records = whole["arch2infos"]
    if records is None:
        raise TableFormatError(f"{source} holds only the list of cells; import the folder that it came in")
    block_starts = sorted({index // BLOCK for index in records})

    def blocks() -> Iterator[Block]:
        done = 0
        for start in block_starts:
            cells = [i for i in range(start * BLOCK, (start + 1) * BLOCK) if i in records]
            yield compact(((i, records[i]) for i in cells), cells)
            done += len(cells)
            progress(done, len(records))

    return Imported(*assemble(blocks(), out, Path(source).name, {"source": about}))


def read_record(path: Path) -> Any:
    """Unpickle one `.pickle.pbz2` that may name nothing but what official files need.

    Raises:
        TableFormatError: if it is cut short, is no such file, or names anything else.
    """
    try:
        with bz2.open(path) as file:
            return restricted_load(file, str(path), _ALLOWED)
    except OSError as error:
        raise TableFormatError(f"{path}: no complete bz2 file ({error})") from None


def _files(folder: Path) -> dict[int, Path]:
    found = {}
    for path in folder.glob(f"*{SUFFIX}"):
        stem = path.name.removesuffix(SUFFIX)
        if stem.isdecimal() and int(stem) < NUM_CELLS:
            found[int(stem)] = path
    return found


def _check_meta(folder: Path) -> None:
    if (folder / META).exists():
        _check_archs(read_record(folder / META)["meta_archs"], str(folder / META))


def _check_archs(archs: Sequence[str], source: str) -> None:
    if list(archs) != [Cell(index).arch for index in range(NUM_CELLS)]:
        raise TableFormatError(f"{source}: its list of cells is not the official one of {NUM_CELLS}, in official order")


def _part(parts: Path, start: int) -> Path:
    return parts / f"{start:06d}.npz"


def _has(parts: Path, start: int, cells: list[int]) -> bool:
    """Whether a block is staged with at least these cells."""
    path = _part(parts, start)
    return path.exists() and Block.cells_in(path) >= set(cells)


def _stage(task: tuple[list[Path], list[int], Path]) -> int:
    """Compact some files into one part, beside the cells that it has from another folder."""
    paths, cells, part = task
    block = compact(zip(cells, map(read_record, paths), strict=True), cells)
    if part.exists():
        block = block.joined(Block.load(part))
    block.save(part)
    return len(cells)
