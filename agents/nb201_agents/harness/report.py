"""One self-contained HTML page from a folder of results: curves of regret, and a table of what each agent reached."""

from __future__ import annotations

import html
import io
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nb201_agents.harness.results import Run, read_runs, refuse_unlike
from nb201_agents.harness.stats import (
    Floats,
    bootstrap_interval,
    censored_median,
    censored_median_interval,
    holm,
    iqm,
    paired_p,
    probability_of_improvement,
    step_function,
)
from nb201_agents.harness.truth import Truth, truth_of
from nb201_env import NB201Error
from nb201_env.files import in_folder, write_text

Results = dict[tuple[str, str], list[Run]]

LEVEL = 0.05
"""Of the tests that tell agents apart."""

FEW_RUNS = 30
"""With fewer runs, a percentile bootstrap interval of 95 % covers the truth less often than it says."""

_GRID_POINTS = 200
_FIGURE_SIZE = (6.4, 4.0)


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
        target_queries: median distinct queries until within one trial deviation of the best, inf if half never came.
        target_queries_interval: its 95 % bootstrap interval.
        target_seconds: the same median in simulated seconds.
        success: share of runs that came within it.
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
    note: str = ""
    p_value: float = math.nan
    improvement: float = math.nan

    @property
    def is_best(self) -> bool:
        """Whether the agent is the best on its data set, or not worse than it at the level of 5 %."""
        return self.p_value > LEVEL


def summarize(dataset: str, agent: str, runs: Sequence[Run], truth: Truth) -> Summary:
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
    return Summary(
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
        target_queries=censored_median(targets[:, 0]),
        target_queries_interval=censored_median_interval(targets[:, 0]),
        target_seconds=censored_median(targets[:, 1]),
        success=float(np.isfinite(targets[:, 0]).mean()),
        note=note,
    )


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
    return _summaries(read_runs(folder), table)


def _summaries(results: Results, table: str | None) -> list[Summary]:
    truths = {key: truth_of(runs[0], table) for key, runs in results.items()}
    refuse_unlike(results)
    rows = [summarize(*key, runs, truths[key]) for key, runs in results.items()]
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


def regret_curve(runs: Sequence[Run], truth: Truth, grid: Floats, axis: Callable[[Run], Any]) -> tuple[Floats, Floats]:
    """Mean regret over runs and half the width of its 95 % interval on a grid, NaN until every run has an incumbent."""
    curves = np.array(
        [step_function(np.asarray(axis(run), float), truth.regret(run), grid) for run in runs if run.cell.size]
    )
    half = 1.96 * curves.std(axis=0, ddof=1) / math.sqrt(len(curves)) if len(curves) > 1 else np.zeros(grid.shape)
    return curves.mean(axis=0), half


def _queries(run: Run) -> Any:
    return np.arange(1, run.cell.size + 1)


def _seconds(run: Run) -> Any:
    return run.ended


def _figure(truth: Truth, by_agent: dict[str, list[Run]], axis: Callable[[Run], Any], label: str) -> str:
    """Regret of all agents that observed anything against one axis, as SVG."""
    from matplotlib.figure import Figure

    by_agent = {agent: runs for agent, runs in by_agent.items() if any(run.cell.size for run in runs)}
    ends = [axis(run) for runs in by_agent.values() for run in runs if run.cell.size]
    if not ends:
        return ""
    last = max(max(float(end[-1]) for end in ends), 1e-9)
    first = max(min(float(end[0]) for end in ends), 1e-6 * last)  # a logarithmic axis has no zero
    grid = (
        np.geomspace(first, last, _GRID_POINTS)
        if axis is _seconds
        else np.unique(np.geomspace(1, last, _GRID_POINTS).round())
    )
    figure = Figure(figsize=_FIGURE_SIZE, layout="constrained")
    axes = figure.subplots()
    for agent, runs in sorted(by_agent.items()):
        mean, half = regret_curve(runs, truth, grid, axis)
        (line,) = axes.step(grid, mean, where="post", label=agent, linewidth=1.4)
        axes.fill_between(grid, mean - half, mean + half, step="post", alpha=0.2, color=line.get_color(), linewidth=0)
    if not math.isnan(truth.trial_deviation):
        axes.axhline(truth.trial_deviation, color="0.5", linestyle=":", linewidth=1)
    axes.set_yscale("symlog", linthresh=0.1)  # a regret of exactly 0 is reached
    axes.set_ylim(bottom=0.0)
    axes.set(xscale="log", xlabel=label, ylabel="regret of the incumbent (points)", title=truth.dataset)
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small", frameon=False)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


COLUMNS: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("agent", lambda row: f"{row.agent} *" if row.is_best else row.agent),
    ("runs", lambda row: str(row.runs)),
    ("queries", lambda row: f"{row.queries:.0f}"),
    ("regret, mean [95 %]", lambda row: _with_interval(row.regret, row.regret_interval)),
    ("regret, IQM [95 %]", lambda row: _with_interval(row.regret_iqm, row.regret_iqm_interval)),
    ("final", lambda row: _value(row.final)),
    ("observed", lambda row: _value(row.observed)),
    ("all trials", lambda row: _value(row.mean)),
    ("better than random", lambda row: "none" if math.isnan(row.improvement) else f"{100 * row.improvement:.0f} %"),
    ("queries to target", lambda row: _time(row.target_queries)),
    ("95 %", lambda row: " to ".join(_time(end) for end in row.target_queries_interval)),
    ("seconds to target", lambda row: _time(row.target_seconds)),
    ("reached", lambda row: f"{100 * row.success:.0f} %"),
)
"""Headings of the table and how each cell is written."""

SHORT_COLUMNS = tuple(COLUMNS[position] for position in (0, 3, 5, 9, 11, 12))
"""Those that fit a terminal."""


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return "none" if math.isnan(value) else f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _value(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.2f}"


def _time(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "never"


def write_report(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], table: str | None = None
) -> list[Summary]:
    """Write the page; returns the rows of its table. `table` is where the table is now, if not where it was.

    Raises:
        NB201Error: if the folder holds no results, or matplotlib is not installed.
    """
    in_folder(out)
    results = read_runs(folder)
    rows = _summaries(results, table)
    try:
        import matplotlib
    except ImportError:
        raise NB201Error("a report needs matplotlib: pip install 'nb201-env[report]'") from None
    style: Any = {"svg.hashsalt": "nb201", "svg.fonttype": "none"}  # the same page from the same results, text as text
    sections = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        by_agent = {agent: runs for (name, agent), runs in results.items() if name == dataset}
        truth = truth_of(next(iter(by_agent.values()))[0], table)
        with matplotlib.rc_context(style):
            figures = [
                _figure(truth, by_agent, _seconds, "simulated GPU-seconds"),
                _figure(truth, by_agent, _queries, "queries"),
            ]
        sections.append(_section(truth, [row for row in rows if row.dataset == dataset], figures, by_agent))
    write_text(out, _PAGE.format(body="\n".join(sections)))
    return rows


def _section(truth: Truth, rows: list[Summary], figures: list[str], by_agent: dict[str, list[Run]]) -> str:
    header = next(iter(by_agent.values()))[0].header
    kwargs = header["env"]["kwargs"]
    limits = []
    if kwargs["budget"] is not None:
        limits.append(f"{kwargs['budget']:,.0f} simulated GPU-seconds")
    if kwargs["max_queries"] is not None:
        limits.append(f"{kwargs['max_queries']:,} queries")
    if kwargs["workers"] > 1:
        limits.append(f"{kwargs['workers']} workers, whose seconds are those on the wall")
    final = "mean test accuracy" if truth.has_test else "mean of the trials that the search did not see"
    tuned = {agent: runs[0].header["tuned_on"] for agent, runs in by_agent.items() if runs[0].header["tuned_on"]}
    tuning = "; ".join(f"{agent} was tuned on {', '.join(sets)}" for agent, sets in sorted(tuned.items()))
    facts = (
        f"Table {kwargs['table']} ({header['fingerprint'][:12]}), recipe {header['recipe']}, epoch {header['epoch']}, "
        f"{kwargs['split']} accuracy, trial {kwargs['trial']}; {' and '.join(limits)}, {kwargs['charge']} charging. "
        f"Best mean accuracy {truth.mean[truth.best]:.2f} % (cell {truth.best}). {_target(truth)} "
        f"Final: {final} of the chosen cell. " + (f"Settings: {tuning}. " if tuning else "") + warning(rows)
    )
    notes = "".join(f"<p>{html.escape(f'{row.agent}: {row.note}.')}</p>" for row in rows if row.note)
    head = "".join(f"<th>{html.escape(name)}</th>" for name, _ in COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(write(row))}</td>" for _, write in COLUMNS) + "</tr>" for row in rows
    )
    return (
        f"<h2>{html.escape(truth.dataset)}</h2><p>{html.escape(facts)}</p>{notes}"
        f"<div class='figures'>{''.join(figures)}</div><table><tr>{head}</tr>{body}</table>"
    )


def _target(truth: Truth) -> str:
    if math.isnan(truth.trial_deviation):
        return "No target: the table has one trial a cell, and says nothing of the deviation between trials."
    return f"Target: within {truth.trial_deviation:.3f} points of it, one standard deviation between trials."


def warning(rows: Sequence[Summary]) -> str:
    """What is to be said of intervals of few runs, empty where there are enough."""
    few = min((row.runs for row in rows), default=FEW_RUNS)
    return f"Intervals of {few} runs are too narrow: make {FEW_RUNS} at least." if few < FEW_RUNS else ""


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>nb201 report</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #222; }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1em; }} .figures svg {{ flex: 1 1 480px; height: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1em 0 2em; }}
th, td {{ padding: 0.3em 0.8em; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }} th {{ white-space: normal; }}
</style></head><body>
<h1>Search algorithms compared</h1>
<p>Regret is the best mean accuracy of any cell less the mean accuracy of the incumbent, the cell with the best observed
accuracy so far, in points of percent. Curves are means over runs with 95 % intervals, step functions that carry the
last value forward; the dotted line is the target. Medians count runs that never reached the target as longer than all
others. An observed value flatters the cell that was chosen for it. A star marks the lowest mean regret and what is not
worse than it: a paired bootstrap over common seeds, Holm's correction, level 5 %.</p>
{body}
</body></html>
"""
