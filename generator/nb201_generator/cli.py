"""The commands that the generator adds to `nb201`: generate, and table merge."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from nb201_env import NB201Error, open_table
from nb201_env.console import progress_bar

if TYPE_CHECKING:
    from nb201_generator.campaign import Plan

app = typer.Typer()
table_app = typer.Typer()

Out = Annotated[str, typer.Option(help="The table to write, FILE.zarr or FILE.zarr.zip.")]


@app.command()
def generate(
    out: Out,
    dataset: Annotated[str, typer.Option(help="digits, gratings, cifar10, cifar100, …, or an .npz.")] = "digits",
    data: Annotated[str | None, typer.Option(help="Folder with the archives of CIFAR or ImageNet16.")] = None,
    recipe: Annotated[str, typer.Option(help="mini, 12ep or 200ep.")] = "mini",
    epochs: Annotated[int | None, typer.Option(help="Length of the schedule, if not the recipe's.")] = None,
    cells: Annotated[str, typer.Option(help="Range a:b of official indices.")] = "0:15625",
    trials: Annotated[int, typer.Option(help="Repeat trainings, 1 to 3.")] = 1,
    dedupe: Annotated[bool, typer.Option(help="Train one cell of each class of exactly equal ones.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, tf32 or bfloat16.")] = "float32",
    channels_last: Annotated[bool, typer.Option(help="Lay images and weights out channels last.")] = False,
    jobs: Annotated[int, typer.Option(help="Processes, each on one thread.")] = 1,
    shard: Annotated[str, typer.Option(help="i/n trains every n-th block; `nb201 table merge` joins.")] = "0/1",
    dry_run: Annotated[bool, typer.Option(help="Say what would be trained and how long it may take.")] = False,
) -> None:
    """Train cells into a table. An interrupted run goes on by the same command."""
    try:
        import torch

        from nb201_generator.campaign import Plan
        from nb201_generator.campaign import generate as run
    except ImportError as error:
        raise NB201Error(f"generating needs {error.name}: pip install 'nb201-env[generator]'") from None

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    start, stop = _numbers(cells, ":", "--cells must be a:b")
    index, count = _numbers(shard, "/", "--shard must be i/n")
    plan = Plan(dataset, recipe, epochs, start, stop, trials, dedupe, device, data, precision, channels_last)
    plan.check()
    if jobs < 1 or not 0 <= index < count:
        raise NB201Error(f"--jobs must be at least 1 and --shard i/n with 0 <= i < n, got {jobs} and {shard}")
    if dry_run:
        _describe(plan, jobs, (index, count))
        return
    with progress_bar("blocks") as progress:
        failures = run(plan, out, jobs, (index, count), progress)
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
    from nb201_generator.campaign import merge as run

    run(shards, out)
    typer.echo(f"{out}: fingerprint {open_table(out).fingerprint}")


def _numbers(text: str, separator: str, expected: str) -> tuple[int, int]:
    first, _, second = text.partition(separator)
    if not (first.isdecimal() and second.isdecimal() and max(len(first), len(second)) < 10):
        raise NB201Error(f"{expected}, got {text!r}")
    return int(first), int(second)


def _peak_memory(device: str) -> str:
    """Of this process or on its GPU, in words; nothing where the system does not say."""
    import torch

    if torch.device(device).type == "cuda":
        return f"; peak memory {torch.cuda.max_memory_allocated(device) / 1e6:,.0f} MB a process"
    try:
        import resource
    except ImportError:  # on Windows
        return ""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes or kibibytes
    peak = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"; peak memory {peak / 1e6:,.0f} MB a process"


def _describe(plan: Plan, jobs: int, shard: tuple[int, int]) -> None:
    """Cells, blocks, steps, memory, and the time that a short timing on this device foretells."""
    from dataclasses import replace

    import torch

    from nb201_env import Cell
    from nb201_generator.images import load_images
    from nb201_generator.timing import time_cell
    from nb201_generator.train import arithmetic, train

    torch.set_num_threads(1)
    images, recipe, blocks = load_images(plan.dataset, plan.data), plan.settings(), plan.blocks()[shard[0] :: shard[1]]
    steps = -(-len(images.splits["train"].labels) // recipe.batch_size) * recipe.epochs
    sample = [Cell(index) for index in blocks[0].cells]
    began = time.perf_counter()
    train(sample, images, replace(recipe, epochs=1), blocks[0].seed, plan.device, plan.precision, plan.channels_last)
    epoch = time.perf_counter() - began
    few = sample[:5]
    began = time.perf_counter()
    with arithmetic(plan.precision, torch.device(plan.device)):
        for cell in few:
            time_cell(cell, images.num_classes, images.size, recipe, torch.device(plan.device))
    alone = (time.perf_counter() - began) / len(few)
    training = epoch * recipe.epochs * len(blocks) / jobs
    timing = alone * sum(len(block.cells) for block in blocks) / jobs
    typer.echo(
        f"{len(plan.trained())} cells x {plan.trials} trials: here {len(blocks)} blocks of up to {len(sample)} cells, "
        f"{steps} steps each{_peak_memory(plan.device)}"
    )
    typer.echo(
        f"about {_duration(training)} of training and {_duration(timing)} of timing each cell alone, with {jobs} "
        f"process{'es' * (jobs > 1)} on {plan.device}, by one epoch of the first block and {len(few)} cells timed"
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
