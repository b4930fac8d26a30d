"""NATS-Bench's topology space: a `-simple` folder of one file a cell, or the single `.pickle.pbz2` file.

Files are read in confined worker processes; see `nb201_env.importers.unpickle`. What they say goes block by block into
`{out}.parts/`, so that an interrupted import goes on by the same command, and a folder that has only some of the files
can be completed later.
"""

from __future__ import annotations

import bz2
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nb201_env.errors import NB201Error, TableFormatError
from nb201_env.files import in_folder, locked, sweep
from nb201_env.importers.official import Block, Imported, assemble, compact
from nb201_env.importers.unpickle import OFFICIAL, bounded, read_files, restricted_load
from nb201_env.space import NUM_CELLS, Cell
from nb201_env.tables.writer import checked_path

SUFFIX = ".pickle.pbz2"
META = f"meta{SUFFIX}"

BLOCK = 125
"""Cells a block: what an interruption can lose, for each process."""

SINGLE_FILE_GB = 34
"""Memory that the single official file takes when it is unpickled, with all its Python objects."""


Progress = Callable[[int, int], None]


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
        NB201Error: if `out` cannot be written, or another process imports to it.
    """
    folder, out = Path(folder), checked_path(out, replace=True)
    files = _files(folder)
    if not files:
        raise TableFormatError(
            f"{folder} has no file like 000000{SUFFIX}: expected an unpacked NATS-tss-…-simple folder"
        )
    if (folder / META).exists():
        for _ in read_files(_check_meta, [(folder / META, None)]):
            pass
    parts = in_folder(out.with_name(out.name + ".parts"))
    with locked(parts):
        parts.mkdir(exist_ok=True)
        sweep(parts)
        _stage(files, parts, jobs, progress)
        blocks = (Block.load(path) for path in sorted(parts.glob("*.npz")))
        about = {"source": "NATS-Bench topology space, -simple folder"}
        imported = assemble(blocks, out, "nats-tss", about)
        if imported.cells == NUM_CELLS:
            shutil.rmtree(parts)
    return imported


def import_file(
    path: str | os.PathLike[str], out: str | os.PathLike[str], progress: Progress = lambda done, total: None
) -> Imported:
    """Make a table from the single official file, which takes about 34 GB of memory to unpickle.

    Raises:
        TableFormatError: if it is the meta file, or not of the official layout.
        NB201Error: if `out` cannot be written.
    """
    return import_whole(_whole_file, Path(path), Path(out), "NATS-Bench topology space, single file", progress)


def import_whole(
    read: Callable[[tuple[Path, None]], Iterator[tuple[int, Block]]],
    path: Path,
    out: Path,
    about: str,
    progress: Progress,
) -> Imported:
    """Make a table from a file of all records, of which `read` yields the number of records and a block at a time."""
    checked_path(out, replace=True)

    def blocks() -> Iterator[Block]:
        done = 0
        for _, (total, block) in read_files(read, [(path, None)]):
            done += len(block.cells)
            progress(done, total)
            yield block

    return assemble(blocks(), out, path.name, {"source": about})


def blocks_of(whole: Any, source: str) -> Iterator[tuple[int, Block]]:
    """The number of records in an unpickled whole file, a dict of `meta_archs` and `arch2infos`, and each block."""
    if not isinstance(whole, dict) or "meta_archs" not in whole or "arch2infos" not in whole:
        raise TableFormatError(f"{source}: expected a dict of meta_archs and arch2infos")
    _check_archs(whole["meta_archs"], source)
    records = whole["arch2infos"]
    if records is None:
        raise TableFormatError(f"{source} holds only the list of cells; import the folder that it came in")
    if not isinstance(records, dict) or not all(type(i) is int and 0 <= i < NUM_CELLS for i in records):
        raise TableFormatError(f"{source}: arch2infos must be a dict from the indices of cells to their records")
    for start in sorted({index // BLOCK * BLOCK for index in records}):
        cells = [i for i in range(start, start + BLOCK) if i in records]
        try:
            block = compact(((i, records[i]) for i in cells), cells)
        except TableFormatError as error:
            raise TableFormatError(f"{source}: {error}") from None
        yield len(records), block


def read_record(path: Path) -> Any:
    """Unpickle one `.pickle.pbz2` that may name nothing but what official files need.

    Raises:
        TableFormatError: if it is cut short, is no such file, or names anything else.
    """
    try:
        with bz2.open(path) as file:
            return restricted_load(bounded(file, path.stat().st_size), str(path), OFFICIAL)
    except OSError as error:
        raise TableFormatError(f"{path}: no complete bz2 file ({error})") from None


def _whole_file(task: tuple[Path, None]) -> Iterator[tuple[int, Block]]:
    path, _ = task
    return blocks_of(read_record(path), str(path))


def _one_cell(task: tuple[Path, int]) -> Block:
    path, index = task
    record = read_record(path)
    try:
        return compact([(index, record)], [index])
    except TableFormatError as error:
        raise TableFormatError(f"{path}: {error}") from None


def _check_meta(task: tuple[Path, None]) -> None:
    path, _ = task
    meta = read_record(path)
    _check_archs(meta.get("meta_archs") if isinstance(meta, dict) else None, str(path))


def _check_archs(archs: Any, source: str) -> None:
    known = (Cell(index).arch for index in range(NUM_CELLS))
    whole = type(archs) is list and len(archs) == NUM_CELLS
    if not whole or not all(type(a) is str and a == b for a, b in zip(archs, known, strict=True)):
        raise TableFormatError(f"{source}: its list of cells is not the official one of {NUM_CELLS}, in official order")


def _files(folder: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        stem = path.name.removesuffix(SUFFIX)
        if stem.isascii() and stem.isdecimal() and len(stem) <= 6 and int(stem) < NUM_CELLS:
            if int(stem) in found:
                raise NB201Error(f"{folder} has two files of cell {int(stem)}: {found[int(stem)].name} and {path.name}")
            found[int(stem)] = path
    return found


def _part(parts: Path, start: int) -> Path:
    return parts / f"{start:06d}.npz"


def _stage(files: Mapping[int, Path], parts: Path, jobs: int, progress: Progress) -> None:
    """Read the files that no part has yet, and write each block of them when it is whole."""
    todo: dict[int, list[int]] = {}
    for start in range(0, NUM_CELLS, BLOCK):
        cells = [index for index in range(start, start + BLOCK) if index in files]
        staged = Block.load(_part(parts, start)).cells if cells and _part(parts, start).exists() else []
        if not set(cells) <= set(staged):
            todo[start] = cells
    tasks = [(files[index], index) for cells in todo.values() for index in cells]
    done = len(files) - len(tasks)
    progress(done, len(files))
    found: dict[int, list[Block]] = {start: [] for start in todo}
    for position, block in read_files(_one_cell, tasks, jobs):
        start = tasks[position][1] // BLOCK * BLOCK
        found[start].append(block)
        done += 1
        progress(done, len(files))
        if len(found[start]) == len(todo[start]):
            _save(found.pop(start), _part(parts, start))


def _save(blocks: Iterable[Block], part: Path) -> None:
    """Write a part, beside the cells that it has from another folder."""
    before = [Block.load(part)] if part.exists() else []
    Block.joined([*before, *sorted(blocks, key=lambda block: block.cells)]).save(part)
