"""One self-contained HTML page from a folder of results: curves of regret, and a table of what each agent reached."""

from __future__ import annotations

import html
import json
import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nb201_agents.harness.bench import ALWAYS
from nb201_agents.harness.checklist import Item, checklist
from nb201_agents.harness.figures import (
    by_queries,
    by_seconds,
    cells_figure,
    distribution_figure,
    pairs_figure,
    pareto_figure,
    profile_figure,
    regret_figure,
    trajectory_figure,
)
from nb201_agents.harness.results import Run, file_of, read_runs
from nb201_agents.harness.setup import ENVIRONMENT, Setup
from nb201_agents.harness.summary import Overall, Summary, overall, summaries_of, warning
from nb201_agents.harness.truth import Truth, truth_of
from nb201_env.figures.style import needs_matplotlib, styled
from nb201_env.files import as_file, in_folder, write_text

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
    as_file(in_folder(out))
    results = read_runs(folder)
    rows = summaries_of(results, table)
    needs_matplotlib("reports")
    sections = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        by_agent = {agent: runs for (name, agent), runs in results.items() if name == dataset}
        truth = truth_of(next(iter(by_agent.values()))[0], table)
        with styled():
            figures = [
                regret_figure(truth, by_agent, by_seconds, "simulated GPU-seconds"),
                regret_figure(truth, by_agent, by_queries, "queries"),
                distribution_figure(truth, by_agent),
                profile_figure(truth, by_agent),
                pairs_figure(truth, by_agent),
                pareto_figure(truth, by_agent) if truth.cost else "",
                trajectory_figure(truth, by_agent),
                cells_figure(truth, {row.agent: by_agent[row.agent] for row in rows if row.dataset == dataset}),
            ]
        sections.append(_section(truth, [row for row in rows if row.dataset == dataset], figures, by_agent))
    sections += [
        _overall(overall(results, table)),
        _again(results, folder, out),
        _checklist(checklist(folder, results)),
    ]
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
        f"<div class='figures'>{''.join(figures)}</div><div class='wide'><table><tr>{head}</tr>{body}</table></div>"
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


def _again(results: dict[tuple[str, str], list[Run]], folder: str | os.PathLike[str], out: Any) -> str:
    """The section that says how the results are made again, and where they are."""
    versions = next(iter(results.values()))[0].header["versions"]
    said = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    commands = html.escape("\n".join(commands_of(results)))
    files = "".join(f"<li>{_link(file_of(Path(folder), *key), Path(out), key)}</li>" for key in results)
    return (
        f"<h2>Made by</h2><p>Versions: {html.escape(said)}. The same seeds give the same files.</p>"
        f"<pre>{commands}</pre><p>Every query of every run is in these files, one run a header and its rows:</p>"
        f"<ul class='files'>{files}</ul>"
    )


def _link(file: Path, page: Path, key: tuple[str, str]) -> str:
    """A link from the page to a result file, which may be compressed."""
    there = file if file.exists() else file.with_name(f"{file.name}.xz")
    where = quote(os.path.relpath(there, page.parent).replace(os.sep, "/"))
    return f'<a href="{html.escape(where)}">{html.escape(", ".join(key))}</a>'


def commands_of(results: Mapping[tuple[str, str], Sequence[Run]]) -> list[str]:
    """Commands that make results again: one for each set of rules and seeds."""
    found = dict[tuple[Any, ...], list[str]]()
    for (dataset, agent), runs in results.items():
        header = runs[0].header
        rules = header["env"] | {"kwargs": header["env"]["kwargs"] | {"dataset": dataset}}
        about = json.dumps({"env": {key: rules[key] for key in ("id", "kwargs", "options") if key in rules}})
        found.setdefault((about, header["seed"], len(runs)), []).append(agent)
    return [_command(json.loads(about)["env"], seed, runs, agents) for (about, seed, runs), agents in found.items()]


def _command(env: dict[str, Any], seed: int, runs: int, agents: Sequence[str]) -> str:
    options = {"queries": "max_queries", **{name: name for name in _OPTIONS}}
    parts = ["nb201 bench"]
    for option, name in options.items():
        value = env["kwargs"].get(name)
        is_given = value is not None and value != getattr(Setup, name)
        if option in ("table", "dataset") or is_given:
            parts.append(f"--{option} {shlex.quote(_written(value))}")
    if env["id"] != ENVIRONMENT:
        parts.append(f"--env {shlex.quote(env['id'])}")
    if env.get("options"):
        parts.append(f"--env-options {shlex.quote(_written(env['options']))}")
    parts += [f"--agent {shlex.quote(agent)}" for agent in agents if agent not in ALWAYS]
    return " ".join([*parts, f"--runs {runs} --seed {seed} --out results"])


_OPTIONS = (
    "table", "dataset", "recipe", "epoch", "trial", "rungs", "missing", "budget", "objectives", "charge", "overrun",
    "workers",
)  # fmt: skip
"""Of `nb201 bench`, as the rules of a run are called."""


def _written(value: Any) -> str:
    """A value as the command line has it."""
    if isinstance(value, dict):
        return ",".join(f"{name}={one}" for name, one in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


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
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>nb201 report</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #222; }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1em; }}
.figures svg {{ flex: 1 1 480px; height: auto; max-width: min(100%, 660px); }}
.figures svg:last-child {{ flex-basis: 100%; max-width: 100%; }}
.wide {{ overflow-x: auto; }} pre {{ white-space: pre-wrap; background: #f4f4f4; padding: 0.8em; }}
.files {{ columns: 3 14em; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1em 0 2em; }}
th, td {{ padding: 0.3em 0.8em; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }}
th:first-child, td:first-child, .list td {{ text-align: left; }} th, .list td {{ white-space: normal; }}
</style></head><body>
<h1>Search algorithms compared</h1>
<p>Regret is the best mean accuracy of any cell less the mean accuracy of the incumbent, the cell with the best observed
accuracy so far, in points of percent; with objectives, what these are worth. Curves are means over runs with 95 %
bootstrap intervals, as in the table, step functions that carry the last value forward; the dotted line is the target.
An agent has the same colour in every report, and the best stands first in every legend. Medians are Kaplan and
Meier's: of a run that ended before it reached the target, nothing is known from then on. "By MACs" is the time to the
target, had every training taken time in proportion to the cell's multiply-accumulates. An observed value flatters the
cell that was chosen for it. A star marks the lowest mean regret and what is not worse than it: a paired bootstrap over
common seeds, Holm's correction, level 5 %.</p>
{body}
</body></html>
"""
