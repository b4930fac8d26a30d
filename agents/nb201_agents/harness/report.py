"""One self-contained HTML page from a folder of results: curves of regret, and a table of what each agent reached."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

from nb201_agents.harness.checklist import Item, checklist
from nb201_agents.harness.figures import (
    by_queries,
    by_seconds,
    cells_figure,
    pareto_figure,
    profile_figure,
    regret_figure,
    trajectory_figure,
)
from nb201_agents.harness.results import Run, read_runs
from nb201_agents.harness.summary import Overall, Summary, overall, summaries_of, warning
from nb201_agents.harness.truth import Truth, truth_of
from nb201_env import NB201Error
from nb201_env.files import in_folder, write_text

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
    ("reached", lambda row: "none" if math.isnan(row.success) else f"{100 * row.success:.0f} %"),
    ("seconds to target, by MACs", lambda row: _time(row.target_seconds_by_macs)),
    ("regret over log time", lambda row: _value(row.area)),
    ("hypervolume", lambda row: "none" if math.isnan(row.hypervolume) else f"{100 * row.hypervolume:.1f} %"),
)
"""Headings of the table and how each cell is written."""

SHORT_COLUMNS = tuple(COLUMNS[position] for position in (0, 3, 5, 9, 11, 12))
"""Those that fit a terminal."""


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return "none" if math.isnan(value) else f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _value(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.2f}"


def _time(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:,.0f}" if math.isfinite(value) else "never"


def write_report(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], table: str | None = None
) -> list[Summary]:
    """Write the page; returns the rows of its table. `table` is where the table is now, if not where it was.

    Raises:
        NB201Error: if the folder holds no results, or matplotlib is not installed.
    """
    in_folder(out)
    results = read_runs(folder)
    rows = summaries_of(results, table)
    try:
        import matplotlib
    except ImportError:
        raise NB201Error("a report needs matplotlib: pip install 'nb201-env[report]'") from None
    style: Any = {
        "svg.hashsalt": "nb201",
        "svg.fonttype": "none",
        "text.parse_math": False,
    }  # the same page from the same results, text as text
    sections = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        by_agent = {agent: runs for (name, agent), runs in results.items() if name == dataset}
        truth = truth_of(next(iter(by_agent.values()))[0], table)
        with matplotlib.rc_context(style):
            figures = [
                regret_figure(truth, by_agent, by_seconds, "simulated GPU-seconds"),
                regret_figure(truth, by_agent, by_queries, "queries"),
                profile_figure(truth, by_agent),
                pareto_figure(truth, by_agent) if truth.cost else "",
                trajectory_figure(truth, by_agent),
                cells_figure(truth, {row.agent: by_agent[row.agent] for row in rows if row.dataset == dataset}),
            ]
        sections.append(_section(truth, [row for row in rows if row.dataset == dataset], figures, by_agent))
    sections += [_overall(overall(results, table)), _checklist(checklist(folder, results))]
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
        f"Best cell: {truth.best}, mean accuracy {truth.mean[truth.best]:.2f} %. {_target(truth)} "
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


def _overall(rows: Sequence[Overall]) -> str:
    """The section of all data sets together, nothing if there is only one."""
    if not rows:
        return ""
    body = "".join(
        f"<tr><td>{html.escape(row.agent)}</td><td>{_with_interval(row.share, row.interval)}</td></tr>" for row in rows
    )
    return (
        "<h2>All data sets</h2><p>Interquartile mean of the last regrets, each as a share of random search's mean on "
        "its data set, with a 95 % interval by a bootstrap stratified by data sets.</p>"
        f"<table><tr><th>agent</th><th>share of random's regret</th></tr>{body}</table>"
    )


def _checklist(items: Sequence[Item]) -> str:
    rows = "".join(
        f"<tr><td>{'yes' if item.is_met else 'missing'}</td><td>{html.escape(item.asked)}</td>"
        f"<td>{html.escape(item.how)}</td></tr>"
        for item in items
    )
    return (
        '<h2>Best practices</h2><p>The checklist of Lindauer and Hutter, "Best Practices for Scientific Research on '
        f"Neural Architecture Search\", JMLR 2020, as far as results can fill it.</p><table class='list'>{rows}</table>"
    )


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>nb201 report</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #222; }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1em; }} .figures svg {{ flex: 1 1 480px; height: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1em 0 2em; }}
th, td {{ padding: 0.3em 0.8em; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }}
th:first-child, td:first-child, .list td {{ text-align: left; white-space: normal; }} th {{ white-space: normal; }}
</style></head><body>
<h1>Search algorithms compared</h1>
<p>Regret is the best mean accuracy of any cell less the mean accuracy of the incumbent, the cell with the best observed
accuracy so far, in points of percent; with objectives, what these are worth. Curves are means over runs with 95 %
intervals, step functions that carry the last value forward; the dotted line is the target. Medians are Kaplan and
Meier's: of a run that ended before it reached the target, nothing is known from then on. "By MACs" is the time to the
target, had every training taken time in proportion to the cell's multiply-accumulates. An observed value flatters the
cell that was chosen for it. A star marks the lowest mean regret and what is not worse than it: a paired bootstrap over
common seeds, Holm's correction, level 5 %.</p>
{body}
</body></html>
"""
