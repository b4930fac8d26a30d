"""What one split of a table holds of all cells: counts, accuracies and losses, by epoch and trial."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nb201_env.checks import is_whole, shown
from nb201_env.errors import MissingDataError, NB201Error
from nb201_env.tables.arrays import StoredArrays
from nb201_env.tables.schema import MISSING_COUNT

Floats64 = npt.NDArray[np.float64]
Trial = int | Literal["mean", "all"]


class Curves:
    """Values of all cells on one split, of the nets of one recipe and training set; `Table.column` makes it.

    Attributes:
        path: of its group.
        images: number of images evaluated.
        epochs: evaluated epochs, ascending, from 1.
        num_trials: number of repeat trainings, 0 if only means over them are known.
        trial_seeds: training seed of each trial, None if not recorded.
    """

    def __init__(self, arrays: StoredArrays, path: str):
        about = arrays.attrs(path)
        seeds = about["trial_seeds"]
        self._arrays, self.path = arrays, path
        self.images = int(about["images"])
        self.epochs: tuple[int, ...] = tuple(arrays.array(f"{path}/epoch").tolist())
        self.num_trials = arrays.shape(f"{path}/correct")[0] if f"{path}/correct" in arrays else 0
        self.trial_seeds: tuple[int, ...] | None = None if seeds is None else tuple(seeds)

    def stored(self, name: str, epoch: int) -> npt.NDArray[Any] | None:
        """`correct`, `accuracy` or `loss` at an epoch as stored, (trials, 15625), or (15625,) of means; None if absent.

        Raises:
            MissingDataError: if the split was not evaluated at the epoch.
        """
        if epoch not in self.epochs:
            raise MissingDataError(f"{self._arrays.at(self.path)} has epochs {listed(self.epochs)}, not {epoch}")
        path = f"{self.path}/{name}"
        return self._arrays.read_epoch(path, self.epochs.index(epoch)) if path in self._arrays else None

    def per_trial(self, name: str, epoch: int) -> Floats64:
        """Accuracies or losses at an epoch, float64 (trials, 15625), NaN where missing; means are one trial.

        Raises:
            MissingDataError: if the table does not have them.
        """
        counts = self.stored("correct", epoch) if name == "accuracy" else None
        if counts is not None:
            return np.where(counts == MISSING_COUNT[counts.dtype.name], np.nan, counts / self.images)
        values = self.stored(name, epoch)
        if values is None:
            raise MissingDataError(f"{self._arrays.at(self.path)} has no {name}")
        return values[None] if values.ndim == 1 else values

    def values(self, name: str, epoch: int, trial: Trial) -> Floats64:
        """Accuracies or losses at an epoch of one trial or the mean over trials, (15625,), or of all, (15625, trials).

        Raises:
            MissingDataError: if the table does not have them.
        """
        if not is_whole(trial) and not (isinstance(trial, str) and trial in ("mean", "all")):
            raise NB201Error(f"trial must be 'mean', 'all' or a number, got {shown(trial)}")
        trials = self.per_trial(name, epoch)
        if trial == "mean":
            return over_trials(trials)
        where = self._arrays.at(self.path)
        if self.num_trials == 0:
            raise MissingDataError(f"{where} holds only means over trials, not trial {trial!r}")
        if trial == "all":
            return trials.T
        if not 0 <= int(trial) < self.num_trials:
            raise MissingDataError(f"{where} has trials 0 to {self.num_trials - 1}, not {trial!r}")
        return np.asarray(trials[int(trial)])


def over_trials(values: Floats64) -> Floats64:
    """Mean over the first axis of the trials that are there, NaN where none is."""
    present = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, values, 0.0).sum(axis=0) / present.sum(axis=0))


def listed(epochs: tuple[int, ...]) -> str:
    """1..200, or the numbers themselves where they are not all there."""
    if len(epochs) > 2 and epochs == tuple(range(epochs[0], epochs[-1] + 1)):
        return f"{epochs[0]}..{epochs[-1]}"
    return ", ".join(map(str, epochs)) or "none"
