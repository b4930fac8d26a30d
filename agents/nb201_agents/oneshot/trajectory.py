"""What a search by weight sharing came through, read from its file and judged by a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_agents.oneshot.cost import PARTS, seconds_of_parts
from nb201_env import EDGES, NUM_CELLS, Cell, NB201Error, Table, TableFormatError, checks
from nb201_env.checks import is_whole, shown
from nb201_env.files import regular

MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Trajectory:
    """Of one search.

    Attributes:
        about: method, recipe, images, their hashes and the seed.
        cells: the cell that the method would have taken after each epoch, (epochs,).
        entropy: of each edge, as a share of that of a uniform choice, (epochs, 6).
        work: images that went through every part of the supernet by then, (epochs, 31); see `cost`.
        found: the cell that was found.
    """

    about: dict[str, Any]
    cells: npt.NDArray[np.int64]
    entropy: npt.NDArray[np.float64]
    work: npt.NDArray[np.float64]
    found: Cell

    @property
    def skips(self) -> npt.NDArray[np.int64]:
        """How many edges skip, (epochs,)."""
        return np.array([Cell(int(index)).ops.count(1) for index in self.cells])

    def seconds(self, table: Table) -> npt.NDArray[np.float64]:
        """Simulated seconds until the end of each epoch, (epochs,), by the seconds of a table.

        Raises:
            NB201Error: as `column`, or if the table does not say how long cells take.
        """
        self.column(table)
        name = self.about["images"]
        images = table.last_epoch(name) * self.about["train_images"]
        return self.work @ seconds_of_parts(table.train_seconds(name).astype(np.float64), images)

    def column(self, table: Table) -> npt.NDArray[np.float64]:
        """Mean validation accuracy of all cells by a table, on the images that were searched, (15625,).

        Raises:
            NB201Error: if the table has not this data set, or has it of other images.
        """
        name = self.about["images"]
        if name not in table.datasets:
            raise NB201Error(
                f"the search was on {name}, which table {table.name!r} has not: {', '.join(table.datasets)}"
            )
        known = table.attrs(name).get("image_hashes")
        if known is not None and known != self.about["hashes"]:
            raise NB201Error(f"the search was on other images of {name} than those of table {table.name!r}")
        return table.accuracy(name).astype(np.float64)


def read_trajectory(path: Path) -> Trajectory:
    """The trajectory in a file.

    Raises:
        NB201Error: if there is no such file.
        TableFormatError: if it is no trajectory.
    """
    if regular(path).stat().st_size > MOST_BYTES:
        raise TableFormatError(f"{path} is no search by weight sharing: it is too large")
    try:
        about, *rows, last = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        cells, entropy = checked_epochs(rows)
        work = np.array([row["work"] for row in rows], np.float64).reshape(len(rows), PARTS)
        if not (np.diff(work, axis=0, prepend=0.0) >= 0).all() or not np.isfinite(work).all():
            raise ValueError("its work does not grow")
        if not {"method", "recipe", "images", "hashes", "seed", "train_images"} <= set(about):
            raise ValueError("its first line does not say what was searched")
        checks.whole("train_images", about["train_images"], 1)
        return Trajectory(about, cells, entropy, work, Cell(_cell(last["found"])))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise TableFormatError(f"{path} is no search by weight sharing ({error})") from None


def checked_epochs(rows: Sequence[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Cells (epochs,) and entropies (epochs, 6) of rows, one for each epoch from 1.

    Raises:
        ValueError: if a row is not as described; or whatever else comes of what is no row.
    """
    cells = [_cell(row["cell"]) for row in rows]
    entropy = np.array([row["entropy"] for row in rows], np.float64).reshape(len(rows), len(EDGES))
    if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)) or not np.isfinite(entropy).all():
        raise ValueError("its epochs are not those from 1")
    return np.array(cells, np.int64), entropy


def _cell(index: Any) -> int:
    if not is_whole(index) or not 0 <= index < NUM_CELLS:
        raise ValueError(f"{shown(index)} is no cell")
    return int(index)
