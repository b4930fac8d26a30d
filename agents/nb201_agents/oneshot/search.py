"""A search by weight sharing: epochs of a supernet and a method, the trajectory, and a checkpoint after each epoch.

What it writes is one JSON object a line: first all that decides the search, then a row for each epoch, last the cell
that was found. Accuracies are not in it: those are looked up in a table by whoever reads it, never by the search.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nb201_generator.images import ImageSet
from nb201_generator.recipe import Recipe
from nb201_generator.train import DeviceImages

from nb201_agents.oneshot.cost import Floats
from nb201_agents.oneshot.method import Batch, Method, Shared
from nb201_agents.oneshot.methods.beta_darts import BetaDARTS
from nb201_agents.oneshot.methods.darts import DARTS
from nb201_agents.oneshot.methods.drnas import DrNAS
from nb201_agents.oneshot.methods.enas import ENAS
from nb201_agents.oneshot.methods.gdas import GDAS
from nb201_agents.oneshot.methods.rsps import RSPS
from nb201_agents.oneshot.methods.setn import SETN
from nb201_agents.oneshot.recipe import OneShotRecipe
from nb201_agents.oneshot.supernet import Supernet
from nb201_env import Cell, NB201Error, checks
from nb201_env.files import as_file, locked, replacing
from nb201_env.integrations.devices import checked_device, one_thread
from nb201_env.space import OPS, SKIP

METHODS: dict[str, Callable[[Shared], Method]] = {
    "rsps": RSPS,
    "darts-1": DARTS,
    "darts-2": partial(DARTS, order=2),
    "gdas": GDAS,
    "setn": SETN,
    "enas": ENAS,
    "drnas": DrNAS,
    "beta-darts": BetaDARTS,
}
"""The paper's six and the two that their successors agree on."""

CHECKPOINT = ".checkpoint"


class Search:
    """A search in progress.

    Args:
        method: a name of `METHODS`.
        recipe: how supernet and method are trained.
        images: whose train split trains weights, and whose valid split trains the choices.
        seed: of everything.
        device: that trains.

    Attributes:
        recipe: how supernet and method are trained.
        rows: one for each epoch that is done.
    """

    def __init__(self, method: str, recipe: OneShotRecipe, images: ImageSet, seed: int, device: str = "cpu"):
        self.recipe, self.rows = recipe, list[dict[str, Any]]()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sizes = images.num_classes, recipe.channels, recipe.cells_per_stage
            net = Supernet(*sizes, recipe.affine, recipe.running).to(device)
        optimizer = torch.optim.SGD(
            net.parameters(), recipe.learning_rate, 0.9, weight_decay=recipe.weight_decay, nesterov=True
        )
        self._shared = Shared(net, optimizer, recipe, np.random.default_rng(seed))
        self._method = METHODS[method](self._shared)
        self._generator = torch.Generator().manual_seed(seed)
        self._augmentation = Recipe("", 1, recipe.batch_size, flip=recipe.flip, crop_padding=recipe.crop_padding)
        place = torch.device(device)
        self._train = DeviceImages(images, place)
        self._valid = DeviceImages(replace(images, splits={"train": images.splits["valid"]}), place)

    def _batches(self, images: DeviceImages) -> Iterator[Batch]:
        return (Batch(*one) for one in images.training_batches(self._augmentation, self._generator))

    def _endless(self, batches: Callable[[], Iterator[Batch]]) -> Iterator[Batch]:
        while True:
            yield from batches()

    def batches_for_evaluation(self) -> Iterator[Batch]:
        """Validation images as they are, in batches of one size: on a small one a path may look perfect by luck."""
        return (Batch(*one) for one in self._valid.whole_batches(self.recipe.valid_batch_size, self._generator))

    @one_thread()
    def epoch(self) -> None:
        """One pass over the training images."""
        done = len(self.rows)
        self._shared.progress = done / max(1, self.recipe.epochs - 1)
        for group in self._shared.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(done / self.recipe.epochs)
        self._shared.net.train()
        for_choices = self._endless(lambda: self._batches(self._valid))
        for train, valid in zip(self._batches(self._train), for_choices, strict=False):
            self._method.step(train, valid)
        self._method.after_epoch(self._endless(self.batches_for_evaluation))
        self.rows.append(self._row())

    @property
    def work(self) -> Floats:
        """Images that went through every part of the network so far, (31,)."""
        return self._shared.work

    def _row(self) -> dict[str, Any]:
        cell, p = self._method.current(), self._method.probabilities().double().clamp_min(1e-12)
        entropy = -(p * p.log()).sum(dim=1) / math.log(len(OPS))
        return {
            "epoch": len(self.rows) + 1,
            "cell": cell.index,
            "skips": cell.ops.count(SKIP),
            "entropy": [round(float(one), 6) for one in entropy],
            "work": [round(one, 3) for one in self._shared.work.tolist()],
        }

    @one_thread()
    def final(self) -> Cell:
        """The cell that is found."""
        return self._method.final(list(self.batches_for_evaluation()))

    @one_thread()
    def accuracy(self, cell: Cell) -> float:
        """What the supernet makes of a cell on all validation images."""
        batches = [Batch(*one) for one in self._valid.evaluation_batches("train")]
        of_batches = self._shared.accuracies(batches, [cell.ops] * len(batches))
        return float(np.average(of_batches, weights=[len(batch.labels) for batch in batches]))

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            "rows": json.dumps(self.rows),
            "net": self._shared.net.state_dict(),
            "optimizer": self._shared.optimizer.state_dict(),
            "method": self._method.state(),
            "work": self._shared.work.tolist(),
            "rng": json.dumps(self._shared.rng.bit_generator.state),
            "generator": self._generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.rows = json.loads(state["rows"])
        self._shared.net.load_state_dict(state["net"])
        self._shared.optimizer.load_state_dict(state["optimizer"])
        self._method.restore(state["method"])
        self._shared.work = np.array(state["work"])
        self._shared.rng.bit_generator.state = json.loads(state["rng"])
        self._generator.set_state(state["generator"])


def search(
    method: str,
    recipe: OneShotRecipe,
    images: ImageSet,
    out: Path,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Cell:
    """Search, and write the trajectory; go on where an earlier call of the same arguments stopped.

    Args:
        method: a name of `METHODS`.
        recipe: how supernet and method are trained.
        images: the data set.
        out: the file to write.
        seed: of everything.
        device: that trains.
        progress: called with epochs done and all epochs.

    Raises:
        NB201Error: if an argument is bad, the file exists, or its checkpoint is of another search.
    """
    checks.one_of("method", method, tuple(METHODS))
    checks.whole("seed", seed, 0, 2**32 - 1)
    checked_device(device)
    if as_file(out).exists():
        raise NB201Error(f"{out} exists already; remove it, or name another --out")
    about = {"method": method, "recipe": asdict(recipe), "images": images.name, "hashes": images.hashes(), "seed": seed}
    about["train_images"] = len(images.splits["train"].labels)
    checkpoint, header = out.with_name(out.name + CHECKPOINT), json.dumps(about)
    with locked(out):
        running = Search(method, recipe, images, seed, device)
        if checkpoint.exists():
            running.restore(_read(checkpoint, header))
        while len(running.rows) < recipe.epochs:
            running.epoch()
            with replacing(checkpoint) as fragment:
                torch.save({"header": header, **running.state()}, fragment)
            progress(len(running.rows), recipe.epochs)
        found = running.final()
        last = {"found": found.index, "work": running.work.round(3).tolist()}
        lines = [header, *(json.dumps(row) for row in running.rows), json.dumps(last)]
        with replacing(out) as fragment:
            fragment.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        checkpoint.unlink(missing_ok=True)
    return found


def _read(checkpoint: Path, header: str) -> dict[str, Any]:
    """A checkpoint of this search, read by PyTorch's unpickler of tensors alone."""
    try:
        found: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        if found.pop("header") == header:
            return found
    except Exception as error:  # whatever PyTorch makes of a damaged file
        raise NB201Error(f"{checkpoint} is no checkpoint ({type(error).__name__}); remove it") from None
    raise NB201Error(f"{checkpoint} is of another search; remove it, or name another --out")
