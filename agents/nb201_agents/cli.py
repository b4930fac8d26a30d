"""The commands that the agents add to `nb201`: demo, bench, pretrain, oneshot, report, validate."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as TextTable

from nb201_agents.harness.bench import bench as run_bench
from nb201_agents.harness.protocols import PROTOCOLS, Verdict, setups_of, verdicts
from nb201_agents.harness.report import SHORT_COLUMNS, write_report
from nb201_agents.harness.setup import ENVIRONMENT, Setup
from nb201_agents.harness.summary import Summary, summaries, warning
from nb201_agents.harness.validate import validate as validate_results
from nb201_agents.searcher import options_of, require
from nb201_env import NB201Error, checks, open_table
from nb201_env.console import progress_bar
from nb201_env.integrations.engines import engine as open_engine

app = typer.Typer()

DEMO_AGENTS = ("random", "params", "rea", "rea-50", "local-search", "reinforce", "ppo")
DEMO_QUERIES = 100
DEMO_RUNS = 100
DEFAULT_RUNS = 100
_DEMO_JOBS = min(2, os.cpu_count() or 1)

Jobs = Annotated[int, typer.Option(help="Worker processes.")]
EngineName = Annotated[str, typer.Option(help="local, or ray.")]
Address = Annotated[str | None, typer.Option(help="Of a cluster of Ray, as auto; else one is started here.")]


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
        str,
        typer.Option(help="Names with commas between, as rea(sample=10),ppo; random, params and local-search join."),
    ] = "",
    agent: Annotated[list[str] | None, typer.Option(help="One more, with options; may be repeated.")] = None,
    protocol: Annotated[str | None, typer.Option(help=f"Named rules: {', '.join(PROTOCOLS)}.")] = None,
    table: Annotated[str | None, typer.Option(help="Name or path of a table; published by default.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Names with commas between, or all; cifar10 by default.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Training schedule; needed where there are several.")] = None,
    epoch: Annotated[int | None, typer.Option(help="At which cells are evaluated; the last by default.")] = None,
    trial: Annotated[str, typer.Option(help="per-search, per-query, mean, or a number.")] = "per-search",
    rungs: Annotated[str | None, typer.Option(help="Epochs at which cells can be seen, as 1,3,8.")] = None,
    missing: Annotated[str, typer.Option(help="refuse a table that lacks cells, or mask them.")] = "refuse",
    budget: Annotated[
        str | None, typer.Option(help="Simulated GPU-seconds of a search; or name=seconds for each data set.")
    ] = None,
    queries: Annotated[int | None, typer.Option(help="Queries of a search, instead of or beside a budget.")] = None,
    objectives: Annotated[
        str, typer.Option(help="What counts beside accuracy: weights or limits, as params=0.3,latency=<=0.02.")
    ] = "",
    charge: Annotated[str, typer.Option(help="fresh, resume or cached.")] = "fresh",
    overrun: Annotated[str, typer.Option(help="stop-before or stop-after.")] = "stop-before",
    env: Annotated[str, typer.Option(help="Environment that learners drive.")] = ENVIRONMENT,
    env_options: Annotated[str, typer.Option(help="Further arguments of it, as reward=area,history=4.")] = "",
    workers: Annotated[int, typer.Option(help="Simulated GPUs of a search, which share its budget.")] = 1,
    runs: Annotated[int | None, typer.Option(help="Runs of each agent on each data set; 100 by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of the first run; the others follow.")] = 0,
    jobs: Jobs = 1,
    engine: EngineName = "local",
    address: Address = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Compare agents over many seeds under a budget of simulated GPU-seconds or queries."""
    rules: dict[str, Any] = {
        "recipe": recipe,
        "epoch": epoch,
        "trial": int(trial) if trial.isascii() and trial.isdecimal() else trial,
        "missing": missing,
        "rungs": None if rungs is None else _epochs(rungs),
        "objectives": tuple(options_of(objectives).items()),
        "charge": charge,
        "overrun": overrun,
        "max_queries": queries,
        "workers": workers,
        "env": env,
        "env_options": tuple(options_of(env_options).items()),
    }
    where = os.path.abspath(table) if table is not None and os.path.exists(table) else table
    if protocol is None:
        setups = _setups(
            "published" if where is None else where, "cifar10" if dataset is None else dataset, budget, rules
        )
    else:
        given = [name for name, value in rules.items() if value != getattr(Setup, name)]
        given += [name for name, value in (("dataset", dataset), ("budget", budget)) if value is not None]
        setups = _protocol_setups(protocol, where, given)
    if runs is None:
        runs = DEFAULT_RUNS if protocol is None else PROTOCOLS[protocol].runs
    names = [*(agent or ()), *(_agents_of(agents) if agents else ())]
    with open_engine(engine, address) as run_tasks, progress_bar("starting") as progress:
        run_bench(names, setups, runs, out, seed=seed, jobs=jobs, progress=progress, engine=run_tasks)
    recipe = None if protocol is None else PROTOCOLS[protocol].final_recipe
    _show(summaries(out), as_json, [] if recipe is None else verdicts(out, recipe))


def _setups(table: str, dataset: str, budget: str | None, rules: dict[str, Any]) -> list[Setup]:
    names = open_table(table).datasets if dataset == "all" else tuple(dataset.split(","))
    budgets = _budgets(budget, names)
    return [Setup(table, dataset=name, budget=budgets[name], **rules) for name in names]


def _protocol_setups(name: str, table: str | None, given: Sequence[str]) -> list[Setup]:
    """The setups of a named protocol, whose rules are not to be given beside it."""
    checks.one_of("protocol", name, tuple(PROTOCOLS))
    if given:
        raise NB201Error(f"the protocol {name} says what {', '.join(given)} are: leave them out, or the protocol")
    setups, skipped = setups_of(PROTOCOLS[name], table)
    for why in skipped:
        typer.echo(why, err=True)
    return setups


def _agents_of(text: str) -> list[str]:
    """Names between commas, but for those within brackets."""
    names, depth = [""], 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth <= 0:
            names.append("")
        else:
            names[-1] += sign
    return names


def _budgets(text: str | None, names: Sequence[str]) -> dict[str, float | None]:
    """The budget of each data set, from one number for all or from `name=number` for each."""
    if text is None:
        return dict.fromkeys(names)
    parts = [part.rpartition("=") for part in text.split(",")]
    try:
        found: dict[str, float | None] = {name: float(number) for name, _, number in parts}
    except ValueError:
        raise NB201Error(f"--budget takes seconds, or name=seconds for each data set, got {text!r}") from None
    if set(found) == {""}:
        return dict.fromkeys(names, found[""])
    if set(found) != set(names):
        raise NB201Error(f"--budget must name the data sets {', '.join(names)}, got {text!r}")
    return found


def _epochs(text: str) -> tuple[int, ...]:
    """Ascending epochs, separated by commas."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise NB201Error(f"--rungs takes epochs such as 1,3,8, got {text!r}")
    return tuple(map(int, parts))


MINI_SETS = ",".join(f"mini:{name}" for name in ("digits", "shapes", "gratings", "backdrops"))


@app.command()
def pretrain(
    out: Annotated[
        str, typer.Option(help="The controller to write, FILE.safetensors; of several, FILE-SEED.safetensors.")
    ],
    sources: Annotated[str, typer.Option(help="TABLE:DATASET with commas between.")] = MINI_SETS,
    rungs: Annotated[str | None, typer.Option(help="Epochs at which cells can be seen, as 1,3,8.")] = None,
    law: Annotated[str, typer.Option(help="What differs from the family's law.")] = "field=0.4,cell=0.4",
    batches: Annotated[int, typer.Option(help="Batches of 256 tasks, 20 updates each.")] = 20,
    queries: Annotated[int, typer.Option(help="Most queries of a search.")] = 24,
    sight: Annotated[int | None, typer.Option(help="Latest queries that it sees, if not all.")] = None,
    trainings: Annotated[float, typer.Option(help="Budget of a search in mean full trainings.")] = 1000.0,
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    controllers: Annotated[int, typer.Option(help="Train so many, of seeds that follow; see --out.")] = 1,
    jobs: Annotated[int, typer.Option(help="Controllers at once, each on one thread.")] = 1,
    engine: EngineName = "local",
    address: Address = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    tensorboard: Annotated[str | None, typer.Option(help="Folder for TensorBoard.")] = None,
) -> None:
    """Train a controller on tasks made of tables. An interrupted training goes on by the same command."""
    require("controller", "torch", "safetensors")
    from nb201_agents.controllers.ppo import Recipe
    from nb201_agents.controllers.pretrain import pretrain_all

    pairs = tuple((table, dataset) for table, _, dataset in (one.rpartition(":") for one in sources.split(",")))
    if not all(map(all, pairs)):
        raise NB201Error(f"--sources are TABLE:DATASET with commas between, as mini:gratings, got {sources!r}")
    recipe = Recipe(
        pairs,
        None if rungs is None else _epochs(rungs),
        tuple(options_of(law).items()),
        batches=batches,
        queries=queries,
        sight=sight,
        trainings=trainings,
        seed=seed,
    )
    gpus = int(device.startswith("cuda"))
    with open_engine(engine, address, gpus) as run_tasks, progress_bar("tasks") as progress:
        files = pretrain_all(recipe, Path(out), controllers, device, tensorboard, progress, jobs, run_tasks)
    for file in files:
        typer.echo(f"written: {file}, and its card beside it")


@app.command()
def oneshot(
    method: Annotated[str, typer.Argument(help="rsps, darts-1, darts-2, gdas, setn, enas, drnas or beta-darts.")],
    out: Annotated[str, typer.Option(help="The trajectory to write, FILE.jsonl.")],
    images: Annotated[str, typer.Option(help="What the supernet trains on, as `nb201 generate --dataset`.")] = "digits",
    data: Annotated[str | None, typer.Option(help="Folder with the archives of CIFAR or ImageNet16.")] = None,
    recipe: Annotated[str, typer.Option(help="mini, nas-bench-201 or nats-bench.")] = "mini",
    epochs: Annotated[int | None, typer.Option(help="Passes over the images, if not the recipe's.")] = None,
    running: Annotated[bool, typer.Option(help="Evaluate norms by running statistics, not by the batch's.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    table: Annotated[str | None, typer.Option(help="Which judges the cells; it must have the images.")] = None,
    table_recipe: Annotated[str | None, typer.Option(help="Its recipe, where it has several.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train a supernet and find a cell by weight sharing. An interrupted search goes on by the same command."""
    require("oneshot", "torch", extra="generator")
    from nb201_generator.images import load_images

    from nb201_agents.oneshot.recipe import checked_recipe
    from nb201_agents.oneshot.search import search
    from nb201_agents.oneshot.trajectory import judge_of, read_trajectory

    chosen = checked_recipe(recipe, epochs, running)
    opened = None if table is None else open_table(table)
    loaded = load_images(images, data)
    if opened is not None:  # before anything is trained
        judge_of(opened, loaded.name, loaded.hashes(), table_recipe)
    with progress_bar("epochs") as progress:
        found = search(method, chosen, loaded, Path(out), seed, device, progress)
    typer.echo(f"found {found.index}  {found.arch}")
    if opened is not None:
        trajectory = read_trajectory(Path(out))
        accuracy, seconds = trajectory.judged(opened, table_recipe)
        skips = trajectory.skips
        for epoch, cell in enumerate(trajectory.cells.tolist()):
            typer.echo(
                f"epoch {epoch + 1}: cell {cell}, {100 * accuracy[cell]:.2f} %, {skips[epoch]} skips, "
                f"{seconds[epoch]:,.1f} simulated seconds"
            )
        typer.echo(f"found: {100 * accuracy[found.index]:.2f} %; the best cell has {100 * np.nanmax(accuracy):.2f} %")


@app.command()
def report(
    folder: Annotated[str, typer.Argument(help="Folder that `nb201 bench` wrote.")],
    out: Annotated[str, typer.Option(help="The page to write.")] = "report.html",
    table: Annotated[str | None, typer.Option(help="Where the table is now, if not where it was.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Make one self-contained HTML page of curves and tables from results."""
    _show(write_report(folder, out, table), as_json)
    typer.echo(f"written: {Path(out).resolve()}", err=True)


@app.command()
def validate(
    folder: Annotated[str, typer.Argument(help="Folder that `nb201 bench` wrote.")],
    table: Annotated[str | None, typer.Option(help="Where the table is now, if not where it was.")] = None,
) -> None:
    """Make every query of a folder of results again, and say what the table contradicts."""
    with progress_bar("starting") as progress:
        problems = validate_results(folder, table, progress)
    if problems:
        typer.echo("\n".join(problems))
        raise typer.Exit(1)
    typer.echo("every row is as the table and the rules have it")


def _show(rows: list[Summary], as_json: bool, judged: Sequence[Verdict] = ()) -> None:
    if not as_json:
        _print_table(rows)
        for one in judged:
            found = f"{one.mean:.2f} ± {one.deviation:.2f} %"
            typer.echo(f"{one.agent}, searched on {one.searched}: test on {one.dataset} {found}")
        return
    elsewhere: dict[tuple[str, str], dict[str, list[float]]] = {(one.searched, one.agent): {} for one in judged}
    for one in judged:
        elsewhere[one.searched, one.agent][one.dataset] = [one.mean, one.deviation]
    shown = [_json_row(row) | {"elsewhere": elsewhere.get((row.dataset, row.agent), {})} for row in rows]
    typer.echo(json.dumps(shown))


def _json_row(row: Summary) -> dict[str, Any]:
    """Plain JSON: a median that was not reached is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(one) for one in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {key: plain(value) for key, value in asdict(row).items()}


LEGEND = (
    "Regret is in points; * marks the lowest and what is not worse; the target is one trial deviation from the best "
    "cell, times to it are medians."
)


def _print_table(rows: list[Summary]) -> None:
    console = Console()
    for dataset in dict.fromkeys(row.dataset for row in rows):
        text = TextTable(title=dataset, title_justify="left", box=SIMPLE)
        for position, (name, _) in enumerate(SHORT_COLUMNS):
            text.add_column(name.replace(" ", "\n", 1), justify="left" if position == 0 else "right", no_wrap=True)
        for row in (row for row in rows if row.dataset == dataset):
            text.add_row(*(write(row) for _, write in SHORT_COLUMNS))
        console.print(text)
        for row in (row for row in rows if row.dataset == dataset and row.note):
            console.print(f"{row.agent}: {row.note}.", markup=False)
    console.print(LEGEND, style="dim")
    if said := warning(rows):
        typer.echo(said, err=True)
