"""Reading a folder of results back, and what a run achieved by the table it searched."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nb201_env import NB201Error, Table, open_table
from nb201_env.errors import MissingDataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TOP_CELLS = 200
"""How many of the best cells the trial standard deviation of a target is taken over."""


@dataclass(frozen=True)
class Run:
    """One search, its queries as arrays of one length in the order of observation.

    Attributes:
        header: as written by `nb201_agents.bench`.
        cell: indices.
        epoch: at which each was evaluated.
        trial: seen, -1 for the mean.
        reward: observed accuracies, fractions.
        seconds: simulated GPU-seconds charged.
    """

    header: dict[str, Any]
    cell: Ints
    epoch: Ints
    trial: Ints
    reward: Floats
    seconds: Floats

    @cached_property
    def incumbent(self) -> Ints:
        """Position of the query that observed the incumbent, after each query: the best, the first of equals."""
        best = np.maximum.accumulate(self.reward)
        is_new = np.concatenate(([True], self.reward[1:] > best[:-1])) if self.reward.size else np.zeros(0, bool)
        return np.maximum.accumulate(np.where(is_new, np.arange(self.reward.size), 0))

    @cached_property
    def seconds_used(self) -> Floats:
        """Simulated seconds after each query."""
        return np.cumsum(self.seconds)

    @cached_property
    def distinct(self) -> Ints:
        """Number of different cells after each query."""
        first = np.zeros(self.cell.size, np.int64)
        first[np.unique(self.cell, return_index=True)[1]] = 1
        return np.cumsum(first)


def read_runs(folder: str | os.PathLike[str]) -> dict[tuple[str, str], list[Run]]:
    """All runs of a folder by (dataset, agent).

    Raises:
        NB201Error: if there are none, or a file is not a result file.
    """
    files = sorted(Path(folder).glob("*/*.jsonl"))
    if not files:
        raise NB201Error(f"no results in {os.fspath(folder)!r}: `nb201 bench … --out FOLDER` writes them")
    return {(file.parent.name, file.stem): list(_read(file)) for file in files}


def _read(file: Path) -> Iterator[Run]:
    try:
        header: dict[str, Any] | None = None
        rows: list[list[float]] = []
        with file.open() as lines:
            for line in lines:
                record = json.loads(line)
                if isinstance(record, dict):
                    if header is not None:
                        yield _run(header, rows)
                    header, rows = record, []
                else:
                    rows.append(record)
        if header is not None:
            yield _run(header, rows)
    except (json.JSONDecodeError, UnicodeDecodeError, ValueError) as error:
        raise NB201Error(f"{file} is not a complete result file: {error}") from None


def _run(header: dict[str, Any], rows: list[list[float]]) -> Run:
    columns = np.array(rows, np.float64).reshape(-1, len(header["row"])).T
    cell, epoch, trial, reward, seconds = columns
    return Run(header, cell.astype(np.int64), epoch.astype(np.int64), trial.astype(np.int64), reward, seconds)


@dataclass(frozen=True)
class Truth:
    """What the table knows and a search does not: mean accuracies of all cells in percent, and the target.

    Attributes:
        table: that was searched.
        dataset: whose accuracies were searched.
        split: that rewards came from.
        recipe: that the nets were trained by.
        epoch: at which they were evaluated.
    """

    table: Table
    dataset: str
    split: str
    recipe: str
    epoch: int

    def _accuracy(self, trial: Literal["mean", "all"]) -> Floats:
        return 100.0 * self.table.accuracy(self.dataset, self.split, self.recipe, self.epoch, trial).astype(np.float64)

    @cached_property
    def mean(self) -> Floats:
        """Mean accuracy over trials in percent, (15625,)."""
        return self._accuracy("mean")

    @cached_property
    def by_trial(self) -> Floats:
        """Accuracy of each trial in percent, (15625, trials), NaN where missing; of the mean if there are no trials."""
        has_trials = self.table.trials(self.dataset, self.recipe, self.split)
        return self._accuracy("all") if has_trials else self.mean[:, None]

    @cached_property
    def best(self) -> int:
        """The cell of highest mean accuracy."""
        return int(self.mean.argmax())

    @cached_property
    def trial_deviation(self) -> float:
        """Standard deviation between trials, in points: root mean square over the 200 best cells by mean."""
        top = np.argsort(-self.mean, kind="stable")[:TOP_CELLS]
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = np.nanvar(self.by_trial[top], axis=1, ddof=1) if self.by_trial.shape[1] > 1 else np.zeros(1)
        return float(np.sqrt(np.nanmean(variance)))

    def regret(self, run: Run) -> Floats:
        """Points by which the incumbent's mean accuracy is below the best mean, after each query."""
        return np.asarray(self.mean[self.best] - self.mean[run.cell[run.incumbent]])

    def first(self, run: Run, reached: npt.NDArray[np.bool_]) -> tuple[float, float]:
        """Distinct queries and simulated seconds at the first query where `reached` holds; inf if it never does."""
        if not reached.any():
            return np.inf, np.inf
        position = int(reached.argmax())
        return float(run.distinct[position]), float(run.seconds_used[position])

    def until_target(self, run: Run) -> tuple[float, float]:
        """Distinct queries and seconds until the incumbent's mean is within one trial deviation of the best mean."""
        return self.first(run, self.regret(run) <= self.trial_deviation)

    def until_best(self, run: Run) -> tuple[float, float]:
        """Distinct queries and seconds until the incumbent is the cell of highest mean."""
        return self.first(run, run.cell[run.incumbent] == self.best)

    @cached_property
    def has_test(self) -> bool:
        """Whether the table can say how a chosen cell does on test images."""
        return "test" in self.table.splits(self.dataset, self.recipe)

    def final(self, run: Run) -> Final:
        """How good the chosen cell is, in percent. The one place where test accuracy is read.

        Raises:
            MissingDataError: if the run observed nothing.
        """
        if not run.cell.size:
            raise MissingDataError(f"run {run.header['seed']} of {run.header['agent']} observed nothing")
        position = run.incumbent[-1]
        cell, trial = run.cell[position], run.trial[position]
        if self.has_test:
            honest = 100.0 * float(self.table.accuracy(self.dataset, "test", self.recipe)[cell])
        else:
            trials = self.by_trial[cell].copy()
            if trial >= 0:
                trials[trial] = np.nan
            unseen = trials[~np.isnan(trials)]
            honest = float(unseen.mean()) if unseen.size else np.nan
        return Final(honest, observed=100.0 * float(run.reward[position]), mean=float(self.mean[cell]))


@dataclass(frozen=True)
class Final:
    """The value of the cell that a search chose, in percent.

    Attributes:
        honest: mean test accuracy at the last epoch; on a table without test split, the mean of the trials that the
            search did not see, which for trial="mean" is the mean itself. NaN if the cell has no other trial.
        observed: what the search saw, flattered by having been chosen for it.
        mean: over all trials.
    """

    honest: float
    observed: float
    mean: float


def truth_of(run: Run) -> Truth:
    """The truth about the column that a run searched, by its header.

    Raises:
        NB201Error: if the table of that name is not the one that was searched.
    """
    kwargs, header = run.header["env"]["kwargs"], run.header
    table = open_table(kwargs["table"])
    if table.fingerprint != header["fingerprint"]:
        raise NB201Error(
            f"table {kwargs['table']!r} is not the one that the results come from: its fingerprint differs"
        )
    return _truth(table, kwargs["dataset"], kwargs["split"], header["recipe"], header["epoch"])


@lru_cache(maxsize=8)
def _truth(table: Table, dataset: str, split: str, recipe: str, epoch: int) -> Truth:
    return Truth(table, dataset, split, recipe, epoch)
