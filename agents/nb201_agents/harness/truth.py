"""What the table knows and a search does not: how good a run was, and when it came close to the best."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from nb201_agents.harness.results import Floats, Run, table_of
from nb201_agents.harness.stats import hypervolume, pareto_front
from nb201_env import NUM_CELLS, Column, Table, open_table
from nb201_env.errors import MissingDataError
from nb201_env.simulation.objectives import Objectives

TOP_CELLS = 200
"""How many of the best cells the trial standard deviation of a target is taken over."""


@dataclass(frozen=True)
class Truth:
    """What the table knows and a search does not: mean accuracies of all cells in percent, and the target.

    Attributes:
        table: that was searched.
        dataset: whose accuracies were searched.
        split: that rewards came from.
        recipe: that the nets were trained by.
        epoch: at which they were evaluated.
        present: which cells were on offer, bool (15625,).
        seconds: of one full query of every cell as the table has them, (15625,).
        objectives: what counts beside accuracy, None if nothing does.
    """

    table: Table
    dataset: str
    split: str
    recipe: str
    epoch: int
    present: npt.NDArray[np.bool_]
    seconds: Floats
    objectives: Objectives | None = None

    def _accuracy(self, trial: Literal["mean", "all"]) -> Floats:
        return 100.0 * self.table.accuracy(
            self.dataset, split=self.split, recipe=self.recipe, epoch=self.epoch, trial=trial
        ).astype(np.float64)

    @cached_property
    def mean(self) -> Floats:
        """Mean accuracy over trials in percent, (15625,), NaN for cells that were not on offer."""
        return np.where(self.present, self._accuracy("mean"), np.nan)

    @cached_property
    def by_trial(self) -> Floats:
        """Accuracy of each trial in percent, (15625, trials), NaN where missing; of the mean if there are no trials."""
        has_trials = self.table.trials(self.dataset, recipe=self.recipe, split=self.split)
        return self._accuracy("all") if has_trials else self.mean[:, None]

    @cached_property
    def worth(self) -> Floats:
        """What the mean accuracy of every cell is worth by the objectives, in points, (15625,); itself without any."""
        if self.objectives is None:
            return self.mean
        mean = self.mean / 100.0
        return 100.0 * self.objectives.score(mean, np.arange(NUM_CELLS), mean)

    @cached_property
    def best(self) -> int:
        """The cell whose mean accuracy is worth most."""
        return int(np.nanargmax(self.worth))

    @cached_property
    def trial_deviation(self) -> float:
        """Standard deviation between trials in points, as the root mean square over the 200 best cells by mean.

        Where the table has one trial a cell, or means alone, that of the same data set in the table `published`; NaN
        where there is none, and then no target.
        """
        if self.by_trial.shape[1] == 1:
            published = open_table("published")
            is_same = self.table is not published and self.dataset in published.datasets
            return truth(published, self.dataset).trial_deviation if is_same else math.nan
        top = np.argsort(-self.mean, kind="stable")[: min(TOP_CELLS, int(self.present.sum()))]
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.sqrt(np.nanmean(np.nanvar(self.by_trial[top], axis=1, ddof=1))))

    def regret(self, run: Run) -> Floats:
        """Points by which the worth of the incumbent's mean accuracy is below the best, after each query."""
        return np.asarray(self.worth[self.best] - self.worth[run.cell[run.incumbent]])

    def first(self, run: Run, reached: npt.NDArray[np.bool_]) -> tuple[float, float]:
        """Distinct queries and simulated seconds at the first query where `reached` holds; inf if it never does."""
        if not reached.any():
            return np.inf, np.inf
        position = int(reached.argmax())
        return float(run.distinct[position]), float(run.ended[position])

    def until_target(self, run: Run) -> tuple[float, float]:
        """Distinct queries and seconds until the incumbent's mean is within one trial deviation of the best mean."""
        return self.first(run, self.regret(run) <= self.trial_deviation)

    @cached_property
    def by_macs(self) -> Floats:
        """By how much seconds of every cell change if they are proportional to its multiply-accumulates, (15625,).

        The mean over cells stays what it is. Tabulated seconds are not always measured: those of ImageNet16-120 are
        CIFAR-10's, scaled.
        """
        macs = np.where(self.present, self.table.macs(self.dataset).astype(np.float64), np.nan)
        return np.asarray((macs / np.nanmean(macs)) / (self.seconds / np.nanmean(self.seconds[self.present])))

    def until_target_by_macs(self, run: Run) -> tuple[float, float]:
        """As the seconds of `until_target`, had training a cell taken time in proportion to its MACs, and those in all.

        NaN for several workers, whose queries would have ended in another order.
        """
        if run.workers > 1 or not self.seconds[self.present].all():
            return math.nan, math.nan
        reached = self.regret(run) <= self.trial_deviation
        used = np.cumsum(run.seconds * self.by_macs[run.cell] + run.spent)
        return float(used[reached.argmax()]) if reached.any() else math.inf, float(used[-1])

    def front(self, cells: npt.NDArray[np.intp] | None = None) -> Floats:
        """Error in percent and first cost of those of some cells, or of all, that no other is better than, (n, 2)."""
        points = self._points if cells is None else self._points[cells]
        return pareto_front(points[~np.isnan(points).any(axis=1)])

    @cached_property
    def cost(self) -> str | None:
        """Name of the first objective but the error, None if there is none."""
        names = () if self.objectives is None else self.objectives.names
        return next((name for name in names if name != "error"), None)

    @cached_property
    def _points(self) -> Floats:
        """Error in percent and first cost of every cell, (15625, 2)."""
        if self.objectives is None or self.cost is None:
            raise MissingDataError("no objective is a cost: there is no front")
        vectors = -self.objectives.vector(np.arange(NUM_CELLS), self.mean / 100.0)
        return np.stack((100.0 - self.mean, vectors[:, self.objectives.names.index(self.cost)]), axis=1)

    @cached_property
    def _all_dominate(self) -> float:
        return hypervolume(self.front(), np.nanmax(self._points, axis=0))

    def hypervolume(self, run: Run) -> float:
        """Area that the cells observed at the highest epoch dominate, as a share of all cells'; NaN without a cost."""
        if self.cost is None:
            return math.nan
        return (
            hypervolume(self.front(run.cell[run.epoch == run.epoch.max()]), np.nanmax(self._points, axis=0))
            / self._all_dominate
        )

    def until_best(self, run: Run) -> tuple[float, float]:
        """Distinct queries and seconds until the incumbent is the cell of highest mean."""
        return self.first(run, run.cell[run.incumbent] == self.best)

    @cached_property
    def has_test(self) -> bool:
        """Whether the table can say how a chosen cell does on test images."""
        return "test" in self.table.splits(self.dataset, recipe=self.recipe)

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
            honest = 100.0 * float(self.table.accuracy(self.dataset, split="test", recipe=self.recipe)[cell])
        else:
            trials = self.by_trial[cell].copy()
            if trial >= trials.size:
                raise MissingDataError(
                    f"a run of {run.header['agent']} saw trial {trial}, which the table does not have"
                )
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


def truth_of(run: Run, where: str | None = None) -> Truth:
    """The truth about the column that a run searched, of the table that its header names or that is there now.

    Raises:
        NB201Error: if the table is not the one that was searched.
    """
    table, kwargs, header = table_of(run, where), run.header["env"]["kwargs"], run.header
    rules = kwargs["dataset"], kwargs["split"], header["recipe"], header["epoch"], kwargs["trial"], kwargs["missing"]
    return truth(table, *rules, tuple((kwargs["objectives"] or {}).items()))


@lru_cache(maxsize=8)
def truth(
    table: Table,
    dataset: str,
    split: str = "valid",
    recipe: str | None = None,
    epoch: int | None = None,
    trial: str | int = "per-search",
    missing: str = "refuse",
    objectives: tuple[tuple[str, float | str], ...] = (),
) -> Truth:
    """The truth about a column; arguments are those of `Column.open`, and the objectives as pairs."""
    column = Column.open(table, dataset, recipe=recipe, epoch=epoch, split=split, trial=trial, missing=missing)
    wanted = Objectives(dict(objectives), column) if objectives else None
    seconds = column.train[-1] + column.evaluation
    return Truth(table, dataset, split, column.recipe, column.epoch, column.present, seconds, wanted)
