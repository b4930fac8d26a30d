"""What the runs of every agent reached on every data set, and which agents can be told apart."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nb201_agents.harness.results import Run, read_runs, refuse_unlike
from nb201_agents.harness.stats import (
    bootstrap_interval,
    censored_median,
    censored_median_interval,
    holm,
    iqm,
    log_area,
    paired_p,
    probability_of_improvement,
    stratified_interval,
)
from nb201_agents.harness.truth import Truth, truth_of

Results = dict[tuple[str, str], list[Run]]

LEVEL = 0.05
"""Of the tests that tell agents apart."""

FEW_RUNS = 30
"""With fewer runs, a percentile bootstrap interval of 95 % covers the truth less often than it says."""


@dataclass(frozen=True)
class Summary:
    """What the runs of one agent on one data set reached. Regrets and values are in points of percent.

    Attributes:
        dataset: name.
        agent: name.
        runs: number of runs that observed something.
        queries: mean number of queries.
        regret: mean over runs of the last incumbent's regret.
        regret_interval: its 95 % bootstrap interval.
        regret_iqm: interquartile mean of the same.
        regret_iqm_interval: its 95 % bootstrap interval.
        final: mean value of the chosen cells on what the search did not see, see `nb201_agents.harness.truth.Final`.
        observed: mean of what the searches saw of them.
        mean: mean over all trials of them.
        target_queries: median distinct queries until within one trial deviation of the best, by Kaplan and Meier's
            estimate, a run that ended before counting as unknown from then on; inf if half never came.
        target_queries_interval: its 95 % interval (Brookmeyer and Crowley).
        target_seconds: the same median in simulated seconds.
        target_seconds_by_macs: the same, had a training taken time in proportion to the cell's MACs; NaN for several
            workers.
        area: mean regret over the logarithm of simulated seconds, from the mean cost of a query to the end of the
            budget or, without one, of the longest run on the data set.
        hypervolume: with objectives, the area that the observed cells dominate in error and the first cost, by their
            mean accuracies, as a share of what all cells do; NaN without a cost.
        success: share of runs that came within it; NaN, as are the times, where the table has no deviation.
        note: what a reader must know, such as runs that observed nothing.
        p_value: that its last regret equals the best agent's, by a paired bootstrap over the seeds that both have, with
            Holm's correction for all agents on the data set; 1 for the best itself, NaN with no common seed.
        improvement: how likely one of its runs ends at a lower regret than one of random search, ties counting half.
    """

    dataset: str
    agent: str
    runs: int
    queries: float
    regret: float
    regret_interval: tuple[float, float]
    regret_iqm: float
    regret_iqm_interval: tuple[float, float]
    final: float
    observed: float
    mean: float
    target_queries: float
    target_queries_interval: tuple[float, float]
    target_seconds: float
    success: float
    target_seconds_by_macs: float = math.nan
    area: float = math.nan
    hypervolume: float = math.nan
    note: str = ""
    p_value: float = math.nan
    improvement: float = math.nan

    @property
    def is_best(self) -> bool:
        """Whether the agent is the best on its data set, or not worse than it at the level of 5 %."""
        return self.p_value > LEVEL


def summarize(dataset: str, agent: str, runs: Sequence[Run], truth: Truth, horizon: float) -> Summary:
    """Reduce the runs of one agent on one data set; numbers are NaN, and times inf, where none observed anything."""
    note = _note(runs)
    runs = [run for run in runs if run.cell.size]
    if not runs:
        nan, never = math.nan, math.inf
        unknown = (nan, nan), nan, (nan, nan), nan, nan, nan, never, (never, never), never
        return Summary(dataset, agent, 0, 0.0, nan, *unknown, success=0.0, note=note)
    regrets = np.array([truth.regret(run)[-1] for run in runs])
    finals = [truth.final(run) for run in runs]
    targets = np.array([truth.until_target(run) for run in runs])
    by_macs = np.array([truth.until_target_by_macs(run) for run in runs])
    last_query, last_second = np.array([(run.distinct[-1], run.ended[-1]) for run in runs]).T
    found = Summary(
        dataset,
        agent,
        runs=len(runs),
        queries=float(np.mean([run.cell.size for run in runs])),
        regret=float(regrets.mean()),
        regret_interval=bootstrap_interval(regrets),
        regret_iqm=float(iqm(regrets)),
        regret_iqm_interval=bootstrap_interval(regrets, iqm),
        final=float(np.nanmean([final.honest for final in finals])),
        observed=float(np.mean([final.observed for final in finals])),
        mean=float(np.mean([final.mean for final in finals])),
        target_queries=censored_median(targets[:, 0], last_query),
        target_queries_interval=censored_median_interval(targets[:, 0], last_query),
        target_seconds=censored_median(targets[:, 1], last_second),
        target_seconds_by_macs=math.nan if np.isnan(by_macs).any() else censored_median(*by_macs.T),
        area=float(np.mean([_area(run, truth, horizon) for run in runs])),
        hypervolume=math.nan if truth.cost is None else float(np.mean([truth.hypervolume(run) for run in runs])),
        success=float(np.isfinite(targets[:, 0]).mean()),
        note=note,
    )
    if not math.isnan(truth.trial_deviation):
        return found
    nan = math.nan
    return replace(found, target_queries=nan, target_queries_interval=(nan, nan), target_seconds=nan,
                   target_seconds_by_macs=nan, success=nan)  # fmt: skip


def _area(run: Run, truth: Truth, horizon: float) -> float:
    """Mean regret over the logarithm of seconds, from a mean query to a horizon."""
    start = float(truth.seconds[truth.present].mean())
    return log_area(run.ended, truth.regret(run), start, max(horizon, 1.01 * start)) if start > 0 else math.nan


def horizon_of(runs: Sequence[Run]) -> float:
    """Seconds on the wall to which the runs on one data set are compared: the budget's, or else of the longest run."""
    kwargs = runs[0].header["env"]["kwargs"]
    if kwargs["budget"] is not None:
        return float(kwargs["budget"] / kwargs["workers"])
    return max((float(run.ended[-1]) for run in runs if run.cell.size), default=0.0)


def _note(runs: Sequence[Run]) -> str:
    """What the runs say of themselves, and how many observed nothing."""
    said = Counter(str(run.header["note"]) for run in runs if run.header.get("note"))
    if empty := sum(not run.cell.size for run in runs):
        said["the first query did not fit the budget"] = empty
    return "; ".join(f"{count} of {len(runs)} runs: {what}" for what, count in sorted(said.items()))


def summaries(folder: str | os.PathLike[str], table: str | None = None) -> list[Summary]:
    """A summary for each data set and agent, the lowest regret first within a data set.

    Args:
        folder: that `nb201 bench` wrote.
        table: where the table is now, if not where it was.

    Raises:
        NB201Error: if the folder holds no results, or runs of different rules.
    """
    return summaries_of(read_runs(folder), table)


def summaries_of(results: Results, table: str | None = None) -> list[Summary]:
    """As `summaries`, of results that were read."""
    truths = {key: truth_of(runs[0], table) for key, runs in results.items()}
    refuse_unlike(results)
    horizons = {
        dataset: horizon_of([run for (name, _), runs in results.items() if name == dataset for run in runs])
        for dataset, _ in results
    }
    rows = [summarize(*key, runs, truths[key], horizons[key[0]]) for key, runs in results.items()]
    last = {
        key: {run.header["seed"]: float(truths[key].regret(run)[-1]) for run in runs if run.cell.size}
        for key, runs in results.items()
    }
    rows = [row for dataset in {row.dataset for row in rows} for row in _compared(dataset, rows, last)]
    return sorted(rows, key=lambda row: (row.dataset.lower(), math.isnan(row.regret), row.regret))


def _compared(dataset: str, rows: Sequence[Summary], last: dict[tuple[str, str], dict[int, float]]) -> list[Summary]:
    """The summaries of one data set with what tells their agents apart; `last` has the last regret of every seed."""
    rows = [row for row in rows if row.dataset == dataset]
    known = [row for row in rows if not math.isnan(row.regret)]
    if not known:
        return rows
    best = last[dataset, min(known, key=lambda row: row.regret).agent]
    p_values = {}
    for row in known:
        mine = last[dataset, row.agent]
        common = sorted(set(mine) & set(best))
        if mine is not best and common:
            p_values[row.agent] = paired_p([mine[seed] - best[seed] for seed in common])
    adjusted = dict(zip(p_values, holm(list(p_values.values())).tolist(), strict=True))
    adjusted |= {row.agent: 1.0 for row in known if last[dataset, row.agent] is best}
    chance = list(last.get((dataset, "random"), {}).values())
    return [
        replace(
            row,
            p_value=adjusted.get(row.agent, math.nan),
            improvement=probability_of_improvement(list(last[dataset, row.agent].values()), chance)
            if chance and row in known
            else math.nan,
        )
        for row in rows
    ]


@dataclass(frozen=True)
class Overall:
    """What the runs of one agent reached over all data sets together.

    Attributes:
        agent: name.
        share: interquartile mean of the last regrets, each as a share of random search's mean on its data set.
        interval: its 95 % interval, by a bootstrap stratified by data sets.
    """

    agent: str
    share: float
    interval: tuple[float, float]


def overall(results: Results, table: str | None = None) -> list[Overall]:
    """A row for each agent with runs on every data set, the lowest share first; none for a single data set."""
    datasets = sorted({dataset for dataset, _ in results})
    shares: dict[str, list[Any]] = {}
    for dataset in datasets:
        last = {
            agent: last_regrets(runs, truth_of(runs[0], table))
            for (name, agent), runs in results.items()
            if name == dataset
        }
        unit = np.mean(last.get("random", [])) if last.get("random") else math.nan
        for agent, regrets in last.items():
            if regrets and unit > 0:
                shares.setdefault(agent, []).append(np.array(regrets) / unit)
    rows = [
        Overall(agent, float(iqm(np.concatenate(strata))), stratified_interval(strata))
        for agent, strata in shares.items()
        if len(strata) == len(datasets) > 1
    ]
    return sorted(rows, key=lambda row: row.share)


def last_regrets(runs: Sequence[Run], truth: Truth) -> list[float]:
    """The regret at the end of each run that observed anything."""
    return [float(truth.regret(run)[-1]) for run in runs if run.cell.size]


def warning(rows: Sequence[Summary]) -> str:
    """What is to be said of intervals of few runs, empty where there are enough."""
    few = min((row.runs for row in rows), default=FEW_RUNS)
    return f"Intervals of {few} runs are too narrow: make {FEW_RUNS} at least." if few < FEW_RUNS else ""
