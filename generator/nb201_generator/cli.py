"""The commands that the generator adds to `nb201`: generate, and table merge."""

from __future__ import annotations

from typing import Annotated

import typer

from nb201_env import NB201Error, open_table
from nb201_env.console import progress_bar
from nb201_env.integrations.engines import engine as open_engine

app = typer.Typer()
table_app = typer.Typer()

Out = Annotated[str, typer.Option(help="The table to write, FILE.zarr or FILE.zarr.zip.")]


@app.command()
def generate(
    out: Annotated[str | None, typer.Option(help="The table to write, FILE.zarr or FILE.zarr.zip.")] = None,
    dataset: Annotated[str, typer.Option(help="digits, gratings, cifar10, cifar100, …, or an .npz.")] = "digits",
    data: Annotated[str | None, typer.Option(help="Folder with the archives of CIFAR or ImageNet16.")] = None,
    recipe: Annotated[str, typer.Option(help="mini, 12ep or 200ep.")] = "mini",
    epochs: Annotated[int | None, typer.Option(help="Length of the schedule, if not the recipe's.")] = None,
    cells: Annotated[str, typer.Option(help="Range a:b of official indices.")] = "0:15625",
    trials: Annotated[int, typer.Option(help="Repeat trainings, 1 to 3.")] = 1,
    first_trial: Annotated[int, typer.Option(help="Number of the first of them, to extend a table by others.")] = 1,
    dedupe: Annotated[bool, typer.Option(help="Train one cell of each class of exactly equal ones.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto, what this machine has.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, tf32 or bfloat16.")] = "float32",
    channels_last: Annotated[bool, typer.Option(help="Lay images and weights out channels last.")] = False,
    compiled: Annotated[str, typer.Option("--compile", help="no, yes, or cuda-graphs.")] = "no",
    weights: Annotated[bool, typer.Option(help="Keep the trained weights in the table.")] = False,
    jobs: Annotated[int, typer.Option(help="Blocks at once, each on one thread.")] = 1,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a cluster of Ray, as auto; else one is started here.")] = None,
    shard: Annotated[str, typer.Option(help="i/n trains every n-th block; `nb201 table merge` joins.")] = "0/1",
    dry_run: Annotated[bool, typer.Option(help="Say what would be trained and how long it may take.")] = False,
    benchmark: Annotated[bool, typer.Option(help="Only measure the speed of this device.")] = False,
) -> None:
    """Train cells into a table. An interrupted run goes on by the same command."""
    try:
        import torch

        from nb201_generator.campaign import generate as run
        from nb201_generator.estimate import describe
        from nb201_generator.plan import Plan
    except ImportError as error:
        raise NB201Error(f"generating needs {error.name}: pip install 'nb201-env[generator]'") from None

    if device == "auto" and engine != "local":
        raise NB201Error("name the --device: what this machine has is not what the cluster has")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    start, stop = _numbers(cells, ":", "--cells must be a:b")
    index, count = _numbers(shard, "/", "--shard must be i/n")
    plan = Plan(
        dataset,
        recipe,
        epochs,
        start,
        stop,
        trials,
        first_trial,
        dedupe,
        device,
        data,
        precision,
        channels_last,
        compiled,
        weights,
    )
    plan.check()
    if jobs < 1 or not 0 <= index < count:
        raise NB201Error(f"--jobs must be at least 1 and --shard i/n with 0 <= i < n, got {jobs} and {shard}")
    if benchmark:
        from nb201_generator.speed import measured

        for line in measured(plan):
            typer.echo(line)
        return
    if out is None:
        raise NB201Error("name the table to write: --out FILE.zarr or FILE.zarr.zip")
    if dry_run:
        typer.echo(describe(plan, jobs, (index, count)))
        return
    gpus = int(device.startswith("cuda"))
    with open_engine(engine, address, gpus) as run_tasks, progress_bar("blocks") as progress:
        failures = run(plan, out, jobs, (index, count), progress, run_tasks)
    for failure in failures:
        typer.echo(failure, err=True)
    if failures:
        raise NB201Error(f"{len(failures)} blocks failed, see {out}.log; the same command tries them again")
    if count == 1:
        typer.echo(f"{out}: fingerprint {open_table(out).fingerprint}")
    else:
        typer.echo(f"shard {shard} is trained; `nb201 table merge` joins all shards when they are")


@table_app.command()
def merge(
    shards: Annotated[list[str], typer.Argument(help="What each shard was told to write with --out.")],
    out: Out,
) -> None:
    """Join the parts of a campaign's shards into a table."""
    from nb201_generator.assemble import merge as run

    run(shards, out)
    typer.echo(f"{out}: fingerprint {open_table(out).fingerprint}")


def _numbers(text: str, separator: str, expected: str) -> tuple[int, int]:
    first, _, second = text.partition(separator)
    if not (first.isdecimal() and second.isdecimal() and max(len(first), len(second)) < 10):
        raise NB201Error(f"{expected}, got {text!r}")
    return int(first), int(second)
