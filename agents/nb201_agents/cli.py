"""The commands that the agents add to `nb201`: demo, bench, report."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as TextTable

from nb201_agents.harness.bench import Setup
from nb201_agents.harness.bench import bench as run_bench
from nb201_agents.harness.report import SHORT_COLUMNS, Summary, summaries, write_report
from nb201_env import NB201Error, open_table
from nb201_env.console import progress_bar

app = typer.Typer()

DEMO_AGENTS = ("random", "params", "rea", "rea-50", "local-search", "reinforce", "ppo")
DEMO_QUERIES = 100
DEMO_RUNS = 100
_DEMO_JOBS = min(2, os.cpu_count() or 1)

Jobs = Annotated[int, typer.Option(help="Worker processes.")]


@app.command()
def demo(
    out: Annotated[str, typer.Option(help="Folder for the results and the page.")] = "demo",
    runs: Annotated[int, typer.Option(help="Runs of each agent on each data set.")] = DEMO_RUNS,
    jobs: Jobs = _DEMO_JOBS,
) -> None:
    """Let seven agents compete on the real NAS-Bench-201 values, 100 queries a search; two minutes on two cores."""
    setups = [Setup(dataset=name, max_queries=DEMO_QUERIES) for name in open_table("published").datasets]
    with progress_bar("starting") as progress:
        run_bench(DEMO_AGENTS, setups, runs, out, jobs=jobs, progress=progress)
    page = Path(out) / "report.html"
    _print_table(write_report(out, page))
    typer.echo(f"Curves and the same table: {page.resolve()}")


@app.command()
def bench(
    out: Annotated[str, typer.Option(help="Folder for the results.")],
    agents: Annotated[
        str, typer.Option(help="Names, separated by commas; random, params and local-search join.")
    ] = "random",
    table: Annotated[str, typer.Option(help="Name or path of a table.")] = "published",
    dataset: Annotated[str, typer.Option(help="Names, separated by commas, or all.")] = "cifar10",
    recipe: Annotated[str | None, typer.Option(help="Training schedule; needed where there are several.")] = None,
    epoch: Annotated[int | None, typer.Option(help="At which cells are evaluated; the last by default.")] = None,
    trial: Annotated[str, typer.Option(help="per-search, per-query, mean, or a number.")] = "per-search",
    rungs: Annotated[str | None, typer.Option(help="Epochs at which cells can be seen, as 1,3,8.")] = None,
    missing: Annotated[str, typer.Option(help="refuse a table that lacks cells, or mask them.")] = "refuse",
    budget: Annotated[float | None, typer.Option(help="Simulated GPU-seconds of a search.")] = None,
    queries: Annotated[int | None, typer.Option(help="Queries of a search, instead of or beside a budget.")] = None,
    charge: Annotated[str, typer.Option(help="fresh, resume or cached.")] = "fresh",
    overrun: Annotated[str, typer.Option(help="stop-before or stop-after.")] = "stop-before",
    runs: Annotated[int, typer.Option(help="Runs of each agent on each data set.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the first run; the others follow.")] = 0,
    jobs: Jobs = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Compare agents over many seeds under a budget of simulated GPU-seconds or queries."""
    names = open_table(table).datasets if dataset == "all" else tuple(dataset.split(","))
    rules: dict[str, Any] = {
        "table": os.path.abspath(table) if os.path.exists(table) else table,
        "recipe": recipe,
        "epoch": epoch,
        "trial": int(trial) if trial.isascii() and trial.isdecimal() else trial,
        "missing": missing,
        "rungs": None if rungs is None else _epochs(rungs),
        "budget": budget,
        "charge": charge,
        "overrun": overrun,
        "max_queries": queries,
    }
    setups = [Setup(dataset=name, **rules) for name in names]
    with progress_bar("starting") as progress:
        run_bench(agents.split(","), setups, runs, out, seed=seed, jobs=jobs, progress=progress)
    _show(summaries(out), as_json)


def _epochs(text: str) -> tuple[int, ...]:
    """Ascending epochs, separated by commas."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise NB201Error(f"--rungs takes epochs such as 1,3,8, got {text!r}")
    return tuple(map(int, parts))


@app.command()
def report(
    folder: Annotated[str, typer.Argument(help="Folder that `nb201 bench` wrote.")],
    out: Annotated[str, typer.Option(help="The page to write.")] = "report.html",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Make one self-contained HTML page of curves and tables from results."""
    _show(write_report(folder, out), as_json)
    typer.echo(f"written: {Path(out).resolve()}", err=True)


def _show(rows: list[Summary], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_json_row(row) for row in rows]))
    else:
        _print_table(rows)


def _json_row(row: Summary) -> dict[str, Any]:
    """Plain JSON: a median that was not reached is null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(row).items()}


def _print_table(rows: list[Summary]) -> None:
    console = Console()
    for dataset in dict.fromkeys(row.dataset for row in rows):
        text = TextTable(title=dataset, title_justify="left", box=SIMPLE)
        for position, (name, _) in enumerate(SHORT_COLUMNS):
            text.add_column(name.replace(" ", "\n", 1), justify="left" if position == 0 else "right", no_wrap=True)
        for row in (row for row in rows if row.dataset == dataset):
            text.add_row(*(write(row) for _, write in SHORT_COLUMNS))
        console.print(text)
