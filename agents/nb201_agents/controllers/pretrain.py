"""Training a controller into a file, so that an interruption loses at most the batch of tasks in hand."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nb201_agents.controllers.files import is_of, read_checkpoint, read_controller, write_checkpoint, write_controller
from nb201_agents.controllers.ppo import Recipe, Training
from nb201_agents.searcher import require
from nb201_env import NB201Error, checks
from nb201_env.files import as_file, locked, replacing
from nb201_env.integrations.devices import checked_device
from nb201_env.integrations.engines import Engine
from nb201_env.parallel import in_order, run_tasks

SUFFIX, CHECKPOINT, CARD = ".safetensors", ".checkpoint", ".json"
Progress = Callable[[int, int, str], None]


def pretrain(
    recipe: Recipe,
    out: Path,
    device: str = "cpu",
    tensorboard: str | None = None,
    progress: Progress = lambda done, total, what: None,
) -> None:
    """Train a controller; go on where an earlier call of the same recipe stopped.

    Beside the file comes a card, `{out}.json`: what was trained on, the curve, seconds and versions.

    Args:
        recipe: of the training.
        out: the file, ending in `.safetensors`.
        device: that learns; the environments run on the CPU.
        tensorboard: folder for TensorBoard.
        progress: called with updates done, all updates, and what has been reached.

    Raises:
        NB201Error: if an argument is bad, the file exists already, or its checkpoint is of another recipe.
    """
    recipe.check()
    checked_device(device)
    if out.suffix != SUFFIX:
        raise NB201Error(f"a controller's name ends in {SUFFIX}, got {out}")
    if as_file(out).exists():
        raise NB201Error(f"{out} exists already; remove it, or name another --out")
    checkpoint = out.with_name(out.name + CHECKPOINT)
    with locked(out), _logger(tensorboard) as log:
        training = (
            read_checkpoint(checkpoint, recipe, device) if checkpoint.exists() else Training.begin(recipe, device)
        )
        total = recipe.batches * recipe.updates
        while training.batch < recipe.batches:
            before, spent = training.batch * recipe.updates, training.seconds[0]
            training.train_batch(partial(_report, progress, before, total, _said(training)))
            took = training.seconds[0] - spent
            log(training.batch, training.curve[-1], recipe.updates * recipe.steps * recipe.lanes / took)
            write_checkpoint(training, checkpoint)
        with replacing(out.with_name(out.name + CARD)) as fragment:
            fragment.write_text(json.dumps(_card(training, device), indent=1) + "\n", encoding="utf-8")
        write_controller(training, out)
        checkpoint.unlink()


def pretrain_all(
    recipe: Recipe,
    out: Path,
    count: int = 1,
    device: str = "cpu",
    tensorboard: str | None = None,
    progress: Progress = lambda done, total, what: None,
    jobs: int = 1,
    engine: Engine = run_tasks,
) -> list[Path]:
    """Train controllers of one recipe and of seeds that follow each other; the files.

    Of several, those that an earlier call of the same recipe has finished are not trained again.

    Args:
        recipe: of the training, with the first seed.
        out: the file of one; those of several have the seed behind a hyphen.
        count: how many.
        device: that learns; the environments run on the CPU.
        tensorboard: folder for TensorBoard.
        progress: called with what is done, all there is, and what has been reached: updates of one controller, or
            controllers.
        jobs: controllers at once.
        engine: where they are trained; the folder of the files is the same everywhere, so that a training whose node is
            lost goes on from its checkpoint.

    Raises:
        NB201Error: as `pretrain`.
    """
    checks.whole("controllers", count, 1)
    checks.whole("jobs", jobs, 1)
    if count == 1 and engine is run_tasks:
        pretrain(recipe, out, device, tensorboard, progress)
        return [out]
    tasks = []
    for seed in range(recipe.seed, recipe.seed + count):
        file = out if count == 1 else out.with_name(f"{out.stem}-{seed}{out.suffix}")
        logs = None if tensorboard is None else f"{tensorboard}/{seed}"
        tasks.append((replace(recipe, seed=seed), file.absolute(), device, logs))
    for done, file in enumerate(in_order(engine(_pretrain_one, tasks, jobs))):
        progress(done + 1, count, file.name)
    return [file for _, file, _, _ in tasks]


def _pretrain_one(task: tuple[Recipe, Path, str, str | None]) -> Path:
    recipe, out, device, tensorboard = task
    if not out.exists() or not is_of(read_controller(out), recipe):
        pretrain(recipe, out, device, tensorboard)
    out.with_name(out.name + CHECKPOINT).unlink(missing_ok=True)  # of a call that ended just before it did this
    return out


def _report(progress: Progress, before: int, total: int, said: str, update: int, reached: float) -> None:
    progress(before + update + 1, total, said)


def _said(training: Training) -> str:
    """Return and queries a second of the last batch, for the progress bar."""
    if not training.curve:
        return "first batch of tasks"
    recipe = training.recipe
    queries = training.batch * recipe.updates * recipe.steps * recipe.lanes
    return f"last batch: return {training.curve[-1][0]:.2f}, {queries / training.seconds[0]:,.0f} queries a second"


@contextmanager
def _logger(folder: str | None) -> Iterator[Callable[[int, tuple[float, float], float], None]]:
    if folder is None:
        yield lambda batch, reached, speed: None
        return
    require("pretrain", "tensorboard", extra="tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(folder)

    def log(batch: int, reached: tuple[float, float], speed: float) -> None:
        for name, value in (("return", reached[0]), ("entropy", reached[1]), ("queries a second", speed)):
            writer.add_scalar(name, value, batch)
        writer.flush()

    with writer:
        yield log


def _card(training: Training, device: str) -> dict[str, Any]:
    recipe = training.recipe
    return {
        "recipe": asdict(recipe),
        "queries": recipe.batches * recipe.updates * recipe.steps * recipe.lanes,
        "seconds": round(training.seconds[0], 1),
        "seconds_in_environments": round(training.seconds[1], 1),
        "curve": [{"return": round(value, 4), "entropy": round(entropy, 4)} for value, entropy in training.curve],
        "device": device,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
