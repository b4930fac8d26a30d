"""What a search is over: one column of a table, read once, as arrays. Nothing else reads the table during a search."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.errors import MissingDataError, NB201Error
from nb201_env.space import NUM_CELLS
from nb201_env.tables.opening import open_table
from nb201_env.tables.table import Floats32, Floats64, Table

REWARD_SPLITS = ("train", "valid")
TRIALS = ("per-search", "per-query", "mean")
MISSING = ("refuse", "mask")
MAX_RUNGS = 1000

DRAWN = ("per-search", "per-query")
"""Kinds of trials that depend on the search."""

NO_TRIAL = -1
"""Stands for the trial of a mean over trials."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Column:
    """Accuracies and seconds of all cells at some epochs; made by `Column.open`.

    Attributes:
        table: that it is of.
        dataset: its data set.
        recipe: the training schedule.
        split: that rewards come from.
        trial: which repeat training a query sees, see `open`.
        rungs: epochs at which a cell can be seen, ascending.
        accuracy: fractions, float32 (rungs, 15625, trials), NaN where missing; a single trial, or the mean, is one.
        numbers: of the trials, (trials,); -1 for the mean.
        order: for each cell the trials that it has at every rung, first, int16 (15625, trials).
        count: how many those are, int16 (15625,).
        train: GPU-seconds of training through each rung, float64 (rungs, 15625).
        evaluation: GPU-seconds of one pass over the split, float64 (15625,); 0 where the table does not say.
        mean: accuracy over all trials at the last rung, float32 (15625,), NaN for cells not on offer: no search may
            see it.
        present: whether a cell has accuracy and seconds at every rung, bool (15625,).
        images: number of images of the split.
    """

    table: Table
    dataset: str
    recipe: str
    split: str
    trial: str | int
    rungs: tuple[int, ...]
    accuracy: Floats32
    numbers: Ints
    order: npt.NDArray[np.int16]
    count: npt.NDArray[np.int16]
    train: Floats64
    evaluation: Floats64
    mean: Floats32
    present: npt.NDArray[np.bool_]
    images: int

    @classmethod
    def open(
        cls,
        table: str | os.PathLike[str] | Table,
        dataset: str,
        *,
        recipe: str | None = None,
        epoch: int | None = None,
        split: str = "valid",
        trial: str | int = "per-search",
        rungs: Sequence[int] | None = None,
        missing: str = "refuse",
    ) -> Column:
        """Read a column.

        Args:
            table: an open table, a name or a path.
            dataset: one of the table's data sets.
            recipe: a training schedule; None means the only one.
            epoch: the last rung; None means the last of `rungs`, or of the recipe.
            split: that rewards come from, valid or train. Searching on test images is refused.
            trial: which repeat training a query sees. `per-search`: one draw for each cell and search, a hash of the
                seed and the cell, so that all agents with one seed see the same and asking again tells nothing new.
                `per-query`: a new draw every time, as nats_bench. `mean`: the mean, free of noise. A number: that
                trial.
            rungs: epochs at which a cell can be seen, ascending; None means the last alone.
            missing: what becomes of cells that lack a value. `refuse`: the column is refused. `mask`: they are not on
                offer.

        Raises:
            MissingDataError: if the table does not have the column, or not of every cell where `missing` is refuse.
            NB201Error: if an argument is not as described.
        """
        table = open_table(table)
        if not isinstance(split, str) or split not in REWARD_SPLITS:
            raise NB201Error(
                f"rewards come from the splits {' or '.join(REWARD_SPLITS)}, not {checks.shown(split)}: a search must "
                "not see test images"
            )
        if not checks.is_whole(trial) and not (isinstance(trial, str) and trial in TRIALS):
            raise NB201Error(f"trial must be one of {', '.join(TRIALS)} or a number, got {checks.shown(trial)}")
        checks.one_of("missing", missing, MISSING)
        recipe = table.recipes(dataset)[0] if recipe is None and len(table.recipes(dataset)) == 1 else recipe
        where: dict[str, Any] = {"recipe": recipe, "split": split}
        rungs = _checked_rungs(rungs, table.last_epoch(dataset, recipe=recipe) if epoch is None else epoch, epoch)
        kind: Any = trial if isinstance(trial, str) else int(trial)
        wanted: Any = "all" if kind in DRAWN else kind
        if kind != "mean" and not table.trials(dataset, **where):
            raise MissingDataError(
                f"{dataset} / {recipe} / {split} of {table.name} holds only means over trials: use trial='mean'"
            )
        by_rung = [table.accuracy(dataset, epoch=rung, trial=wanted, **where) for rung in rungs]
        accuracy = np.stack([one.reshape(NUM_CELLS, -1) for one in by_rung])
        train = np.stack([table.train_seconds(dataset, recipe=recipe, epoch=rung) for rung in rungs])
        is_timed = table.has_eval_seconds(dataset, **where)
        evaluation = table.eval_seconds(dataset, **where) if is_timed else np.zeros(NUM_CELLS)
        has: npt.NDArray[np.bool_] = np.asarray(~np.isnan(accuracy).any(axis=0))
        present = has.any(axis=1) & ~np.isnan(train).any(axis=0) & ~np.isnan(evaluation)
        mean = table.accuracy(dataset, epoch=rungs[-1], **where)
        trials = np.arange(has.shape[1]) if wanted == "all" else np.array([NO_TRIAL if kind == "mean" else kind])
        column = cls(
            table,
            dataset,
            str(recipe),
            split,
            kind,
            tuple(map(int, rungs)),
            accuracy,
            numbers=trials,
            order=np.argsort(~has, axis=1, kind="stable").astype(np.int16),
            count=np.count_nonzero(has, axis=1).astype(np.int16),
            train=train,
            evaluation=evaluation,
            mean=np.where(present, mean, np.float32(np.nan)),
            present=present,
            images=table.num_images(dataset, **where),
        )
        _refuse_missing(column, missing)
        return column

    @property
    def epoch(self) -> int:
        """The last rung."""
        return self.rungs[-1]

    @property
    def where(self) -> str:
        """The column's name in messages."""
        rungs = ", ".join(map(str, self.rungs))
        epochs = f"epoch {rungs}" if len(self.rungs) == 1 else f"some of the epochs {rungs}"
        return f"{self.dataset} / {self.recipe} / {self.split} at {epochs}"

    @property
    def is_drawn(self) -> bool:
        """Whether what a query sees of a cell depends on the search."""
        return self.trial in DRAWN

    @property
    def is_partial(self) -> bool:
        """Whether some cells are not on offer."""
        return not self.present.all()

    @cached_property
    def cheapest(self) -> float:
        """Seconds of the cheapest cell, trained from nothing to the first rung and evaluated."""
        return float((self.train[0] + self.evaluation)[self.present].min())

    @cached_property
    def full(self) -> float:
        """Mean seconds of training a cell through the last rung and evaluating it."""
        return float((self.train[-1] + self.evaluation)[self.present].mean())

    def rung_of(self, epoch: int) -> int:
        """Position of an epoch among the rungs.

        Raises:
            MissingDataError: if it is none.
        """
        try:
            return self.rungs.index(checks.whole("epoch", epoch, 1))
        except ValueError:
            rungs = ", ".join(map(str, self.rungs))
            raise MissingDataError(
                f"{self.dataset} / {self.recipe} can be seen at the epochs {rungs}, not {epoch}: name it in rungs"
            ) from None

    def places(self, seed: int) -> Ints:
        """Position, on the axis of trials, of what a search of a seed sees of each cell, (15625,)."""
        if not self.is_drawn:
            return np.zeros(NUM_CELLS, np.int64)
        cells = np.arange(NUM_CELLS)
        return self.order[cells, drawn_trials(seed, cells, np.maximum(self.count, 1))].astype(np.int64)

    def first_present(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values (…, 15625, trials) with each cell's present trials first, in the order of `order`."""
        return np.take_along_axis(values, np.broadcast_to(self.order, values.shape).astype(np.intp), axis=-1)

    def refuse_absent(self, cells: npt.NDArray[np.integer[Any]]) -> None:
        """Raise MissingDataError if one of some cells is not on offer."""
        absent = ~self.present[cells]
        if absent.any():
            cell = np.asarray(cells)[absent].flat[0]
            raise MissingDataError(f"cell {cell} is not on offer: the table has no value of it on {self.where}")


def _refuse_missing(column: Column, missing: str) -> None:
    """Refuse cells that lack a value or their seconds, all cells lacking one, and seconds that are none."""
    way_out = "complete the table, or search the cells that are there with missing='mask'"
    value, fix = "value", way_out
    if isinstance(column.trial, int):
        value, fix = f"trial {column.trial}", f"choose another trial, or 'mean' or 'per-search', or {way_out}"
    for lacks, what, how in (
        (column.count == 0, value, fix),
        (np.isnan(column.train).any(axis=0), "seconds of training", way_out),
        (np.isnan(column.evaluation), "seconds of evaluation", way_out),
    ):
        if lacks.any() and (missing == "refuse" or not column.present.any()):
            raise MissingDataError(
                f"{np.count_nonzero(lacks)} of {NUM_CELLS} cells have no {what} on {column.where}: {how}"
            )
    for seconds in (*column.train, column.evaluation):
        known = seconds[column.present]
        if not 0.0 <= known.min() <= known.max() < math.inf:
            raise NB201Error(
                f"{column.where}: seconds must be finite and from 0, got {known.min():g} to {known.max():g}"
            )


def _checked_rungs(rungs: Sequence[int] | None, last: object, epoch: int | None) -> Sequence[int]:
    """Epochs that are ascending and end with the last; that the table has them is checked when they are read."""
    if rungs is None:
        return (checks.whole("epoch", last, 1),)
    if not isinstance(rungs, list | tuple | range) or not rungs:
        raise NB201Error(f"rungs must be a list of epochs, got {checks.shown(rungs)}")
    last = rungs[-1] if epoch is None else epoch
    whole = all(checks.is_whole(rung) and rung > 0 for rung in rungs)
    if not whole or len(rungs) > MAX_RUNGS or list(rungs) != sorted(set(rungs)) or rungs[-1] != last:
        raise NB201Error(
            f"rungs must be 1 to {MAX_RUNGS} ascending epochs that end with {checks.shown(last)}, got "
            f"{checks.shown(rungs)}"
        )
    return rungs


def drawn_trials(
    seed: int | npt.NDArray[np.uint64], cells: npt.NDArray[np.int64], counts: npt.NDArray[np.integer[Any]]
) -> Ints:
    """Which of a cell's present trials a search sees: a hash of its seed and the cell, modulo the number of trials.

    Args:
        seed: of one search, or of one for each cell.
        cells: indices.
        counts: number of present trials of each.
    """
    return hashed_trials(seed_states(np.atleast_1d(np.asarray(seed, np.uint64))), cells, counts)


def seed_states(seeds: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """What the hash of a search's cells starts from; arrays wrap round, where scalars would warn."""
    return seeds * _U64(0xD1342543DE82EF95)


def hashed_trials(
    states: npt.NDArray[np.uint64], cells: npt.NDArray[np.int64], counts: npt.NDArray[np.integer[Any]]
) -> Ints:
    """As `drawn_trials`, from the states of the searches' seeds.

    The finaliser of SplitMix64 mixes them with the cells (Steele, Lea and Flood, OOPSLA 2014).
    """
    state = cells.astype(np.uint64)
    state *= _U64(0x9E3779B97F4A7C15)
    state += states
    state ^= state >> _U64(30)
    state *= _U64(0xBF58476D1CE4E5B9)
    state ^= state >> _U64(27)
    state *= _U64(0x94D049BB133111EB)
    state ^= state >> _U64(31)
    state %= counts.astype(np.uint64)
    return state.view(np.int64)


_U64 = np.uint64
