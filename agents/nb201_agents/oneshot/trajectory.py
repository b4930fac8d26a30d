"""What a search by weight sharing came through, read from its file and judged by a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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

    def judged(self, table: Table, recipe: str | None = None) -> Judged:
        """By a table, on the images that were searched.

        Args:
            table: that judges.
            recipe: of the table; needed where it has several.

        Raises:
            NB201Error: as `judge_of`.
        """
        accuracy, seconds = judge_of(table, self.about["images"], self.about["hashes"], recipe)
        images = table.last_epoch(self.about["images"], recipe=recipe) * self.about["train_images"]
        return Judged(accuracy, self.work @ seconds_of_parts(seconds, images))


class Judged(NamedTuple):
    """What a table says of a search.

    Attributes:
        accuracy: mean validation accuracy of every cell, (15625,).
        seconds: simulated seconds until the end of each epoch, (epochs,).
    """

    accuracy: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]


def judge_of(table: Table, images: str, hashes: Mapping[str, str], recipe: str | None = None) -> Judged:
    """Mean validation accuracies and seconds of training of all cells by a table that has these images.

    Raises:
        NB201Error: if the table has not this data set, has it of other images, has several recipes and none is named,
            or does not say how long cells take.
    """
    if images not in table.datasets:
        raise NB201Error(f"table {table.name!r} has not the images {images}, only {', '.join(table.datasets)}")
    refuse_other_images(images, hashes, table.attrs(images).get("image_hashes", {}))
    accuracy, seconds = table.accuracy(images, recipe=recipe), table.train_seconds(images, recipe=recipe)
    return Judged(accuracy.astype(np.float64), seconds.astype(np.float64))


def refuse_other_images(name: str, hashes: Mapping[str, str], known: Mapping[str, str]) -> None:
    """Raise NB201Error if a table knows other images of a split than those that are there, by their hashes."""
    if unlike := [split for split, one in known.items() if hashes.get(split, one) != one]:
        raise NB201Error(f"the {unlike[0]} images of {name} are not those that the table was trained on")


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
        if not isinstance(about["hashes"], dict) or not isinstance(about["images"], str):
            raise ValueError("its first line does not say which images were searched")
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
