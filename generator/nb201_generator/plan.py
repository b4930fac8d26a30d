"""What a campaign trains, as plain data: its cells, its blocks, and where their parts stand."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

from nb201_env import NUM_CELLS, NB201Error, checks
from nb201_env.space.isomorphism import representatives
from nb201_generator.blocks import blocks_of
from nb201_generator.images import ImageSet, load_images
from nb201_generator.recipe import RECIPES, Recipe
from nb201_generator.train import COMPILED, PRECISIONS

PLAN = "plan.json"
"""Name of the file beside the parts that says whose they are."""

IMAGES = "images.json"
"""Name of the file beside it with the hashes of the images that they are trained on."""

TRIAL_SEEDS = (777, 888, 999)
"""Seeds of the trials, in order: those of NAS-Bench-201."""


@dataclass(frozen=True)
class Plan:
    """What a campaign trains.

    Attributes:
        dataset: name of a data set, or path of an `.npz`.
        recipe: name of a recipe.
        epochs: length of the schedule, if not the recipe's.
        start: first official index.
        stop: one past the last.
        trials: number of repeat trainings.
        first_trial: the first of them, from 1; `nb201 table join` puts it behind those that another table has.
        dedupe: train one representative of each class of exactly equal cells; the others' rows are copies.
        device: that trains and is timed.
        data: folder with the archives, for data sets that are read from them.
        precision: of the arithmetic, see `nb201_generator.train.PRECISIONS`.
        channels_last: whether images, weights and what goes from block to block are laid out with the channels
            innermost; within a fused cell, what is gathered for an op is not.
        compiled: whether steps are compiled, see `nb201_generator.train.COMPILED`.
        weights: whether the table keeps the weights after the last epoch.
    """

    dataset: str
    recipe: str = "mini"
    epochs: int | None = None
    start: int = 0
    stop: int = NUM_CELLS
    trials: int = 1
    first_trial: int = 1
    dedupe: bool = False
    device: str = "cpu"
    data: str | None = None
    precision: str = "float32"
    channels_last: bool = False
    compiled: str = "no"
    weights: bool = False

    def check(self) -> None:
        """Raise NB201Error for a plan that cannot be carried out, on whatever machine."""
        for name in ("dataset", "device"):
            checks.text(name, getattr(self, name), "digits" if name == "dataset" else "cpu")
        checks.one_of("recipe", self.recipe, tuple(RECIPES))
        start, stop = (checks.whole(f"cells: {name}", getattr(self, name), 0, NUM_CELLS) for name in ("start", "stop"))
        if start >= stop:
            raise NB201Error(f"cells must be a range a:b within 0:{NUM_CELLS}, got {self.start}:{self.stop}")
        first = checks.whole("first_trial", self.first_trial, 1, len(TRIAL_SEEDS))
        checks.whole(f"trials, from trial {first},", self.trials, 1, len(TRIAL_SEEDS) - first + 1)
        if self.epochs is not None:
            checks.whole("epochs", self.epochs, 1, 10**5)
        checks.one_of("precision", self.precision, PRECISIONS)
        checks.truth("dedupe", self.dedupe)
        checks.one_of("compiled", self.compiled, tuple(COMPILED))
        checks.truth("channels_last", self.channels_last)
        checks.truth("weights", self.weights)
        if self.data is not None:
            checks.text("data", self.data, "archives")

    def settings(self) -> Recipe:
        """The recipe."""
        recipe = RECIPES[self.recipe]
        if self.epochs is None:
            return recipe
        return replace(recipe, name=f"{self.epochs}ep-{recipe.name}", epochs=self.epochs)

    def images(self) -> ImageSet:
        """The data set, read once.

        Raises:
            NB201Error: if it cannot be read, or the recipe cannot train on it.
        """
        found, recipe = images_of(self.dataset, self.data), self.settings()
        if found.size == 4 and len(found.splits["train"].labels) % recipe.batch_size == 1:
            raise NB201Error(
                f"{found.name}: the last batch of an epoch is one image of 4x4 pixels, one value a channel "
                "where batch norm needs more; leave an image out"
            )
        return found

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the trials, in order."""
        return TRIAL_SEEDS[self.first_trial - 1 :][: self.trials]

    def trained(self) -> list[int]:
        """Indices of the cells that are trained, ascending."""
        cells = range(self.start, self.stop)
        return sorted(set(representatives("exact")[cells].tolist())) if self.dedupe else list(cells)

    def blocks(self) -> list[Block]:
        """All blocks of all trials, in order."""
        cells = blocks_of(self.trained())
        return [Block(seed, i, tuple(b)) for seed in self.seeds for i, b in enumerate(cells)]


@dataclass(frozen=True)
class Block:
    """Cells that are trained together under one seed."""

    seed: int
    number: int
    cells: tuple[int, ...]

    @property
    def file(self) -> str:
        """Name of its part."""
        return f"{self.seed}-{self.number:05d}.npz"


def images_of(name: str, folder: str | None) -> ImageSet:
    """The data set of a name, read once; an `.npz` again when it has changed."""
    path = Path(name)
    changed = path.stat() if name.endswith(".npz") and path.is_file() else None
    return _images_of(name, folder, changed and (changed.st_size, changed.st_mtime_ns))


@lru_cache(maxsize=2)
def _images_of(name: str, folder: str | None, version: object) -> ImageSet:
    return load_images(name, folder)


def read_plan(path: Path) -> Plan:
    """The plan that a campaign stored.

    Raises:
        NB201Error: if it is damaged, or of another version.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not {"dataset"} <= set(found) <= {field.name for field in fields(Plan)}:
            raise ValueError("it is no plan of this version")
        plan = Plan(**found)
        plan.check()
    except (ValueError, RecursionError) as error:
        raise NB201Error(f"{path} is no plan ({error}); remove the folder and generate again") from None
    return plan


def parts_of(out: Path) -> Path:
    """The folder of parts of a table that is being made.

    Raises:
        NB201Error: if the table has no name.
    """
    if not out.name:
        raise NB201Error(f"a table's name ends in .zarr (a folder) or .zarr.zip (an archive), got {str(out)!r}")
    return out.with_name(out.name + ".parts")
