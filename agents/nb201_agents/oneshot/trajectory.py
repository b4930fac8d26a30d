"""What a search by weight sharing came through, read from its file and judged by a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env import NUM_CELLS, Cell, NB201Error, Table, TableFormatError
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
        found: the cell that was found.
    """

    about: dict[str, Any]
    cells: npt.NDArray[np.int64]
    entropy: npt.NDArray[np.float64]
    found: Cell

    @property
    def skips(self) -> npt.NDArray[np.int64]:
        """How many edges skip, (epochs,)."""
        return np.array([Cell(int(index)).ops.count(1) for index in self.cells])

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
        cells = [_cell(row["cell"]) for row in rows]
        entropy = np.array([row["entropy"] for row in rows], np.float64).reshape(len(rows), 6)
        if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)) or not np.isfinite(entropy).all():
            raise ValueError("its epochs are not those from 1")
        if not {"method", "recipe", "images", "hashes", "seed"} <= set(about):
            raise ValueError("its first line does not say what was searched")
        return Trajectory(about, np.array(cells, np.int64), entropy, Cell(_cell(last["found"])))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise TableFormatError(f"{path} is no search by weight sharing ({error})") from None


def _cell(index: Any) -> int:
    if not is_whole(index) or not 0 <= index < NUM_CELLS:
        raise ValueError(f"{shown(index)} is no cell")
    return int(index)
