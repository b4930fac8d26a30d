"""A trained controller as a searcher."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nb201_agents.searcher import Query, Task, require
from nb201_env import ALL_OPS, EDGES, NUM_CELLS, OPS, Evaluation, NB201Error, checks
from nb201_env.integrations.devices import one_thread

_CELL = len(EDGES) * len(OPS)
_SHOWN_DEVIATIONS = 8.0


SHIPPED = Path(__file__).with_name("shipped.safetensors")
"""Trained on the four data sets of `mini`; docs/transfer.md says how, and what it reaches."""


class Controller:
    """Searches as its policy says, which looks at the latest queries of the search.

    Args:
        task: what is searched.
        rng: source of all randomness.
        file: that `nb201 pretrain` wrote; None for the one that comes with the package.
        sharpness: by which the policy's scores of cells are multiplied. In training it was 1; by 3 it was
            better on tasks like those of its training, and on what was held out about the same.
    """

    def __init__(self, task: Task, rng: np.random.Generator, file: str | None = None, sharpness: float = 3.0):
        require("controller", "torch", "safetensors")
        import torch

        from nb201_agents.controllers.files import read_controller
        from nb201_agents.controllers.ppo import CELL_OF, CODES

        self._sharpness = checks.number("sharpness", sharpness, above=0.0, most=1e6)
        path = SHIPPED if file is None else Path(str(file))
        self._controller = read_controller(path)
        self.knows = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
        self.pretrained_on = tuple(sorted({dataset for _, dataset in self._controller.recipe.sources}))
        policy = self._controller.policy
        if policy.rungs < len(task.epochs):
            raise NB201Error(
                f"{file or 'the controller of the package'} was trained for searches of {policy.rungs} rungs at most, "
                f"and this one has {len(task.epochs)}"
            )
        self._first_rung = policy.rungs - len(task.epochs)  # as where tasks of unlike numbers of rungs are trained on
        self._task, self._codes, self._cells = task, CODES, CELL_OF
        self._generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        absent = np.flatnonzero(~task.present)
        self._furthest = dict.fromkeys(absent.tolist(), policy.rungs)  # of cells; what is absent is as good as seen
        self._start = [cell for cell in reversed(task.start) if task.present[cell]]
        self._told: list[tuple[int, int, float]] = []  # cell, rung from 0, worth
        self._used = 0.0

    def ask(self) -> Query | None:
        """What the policy draws; None when all cells were seen at the last rung."""
        import torch

        from nb201_agents.controllers.policy import Bought, Seen

        policy, epochs = self._controller.policy, self._task.epochs
        if self._start:
            return Query(self._start.pop(), epochs[0])
        if len(self._furthest) == NUM_CELLS and min(self._furthest.values()) == policy.rungs:
            return None
        left = 1.0 if self._task.budget is None else max(0.0, 1.0 - self._used / self._task.budget)
        shown = shown_history(self._told, self._controller.recipe.shown, policy.rungs)
        seen = Seen(torch.tensor([[left]]), torch.from_numpy(shown)[None], torch.ones(1, len(policy.scores)))
        codes, rungs = self._codes[list(self._furthest)], np.array(list(self._furthest.values()), np.int64)
        bought = Bought(torch.from_numpy(codes)[None], torch.from_numpy(rungs)[None])
        with one_thread():
            choice = policy.choose(seen, bought, self._generator, self._sharpness)
        rung = int(choice.rungs[0]) - self._first_rung
        return Query(int(self._cells[int(choice.cells[0])]), epochs[max(0, rung)])

    def tell(self, result: Evaluation) -> None:
        """Remember a query."""
        rung = self._task.epochs.index(result.epoch) + self._first_rung
        self._told.append((result.index, rung, result.worth))
        self._furthest[result.index] = max(self._furthest.get(result.index, 0), rung + 1)
        self._used += result.seconds


def shown_history(told: list[tuple[int, int, float]], length: int, rungs: int) -> npt.NDArray[np.float32]:
    """The latest queries as `NB201/Search-v0` with `standardise=True` shows them, (length, 32 + rungs).

    Args:
        told: cell, rung from 0 and accuracy of each query of the search, in order.
        length: how many queries are shown.
        rungs: of the search.
    """
    shown = np.zeros((length, _CELL + 2 + rungs), np.float32)
    values = [np.array([value for _, at, value in told if at == rung]) for rung in range(rungs)]
    for row, (cell, rung, value) in enumerate(reversed(told[-length:] if length else [])):
        mean, deviation = values[rung].mean(), values[rung].std()
        height = (value - mean) / (_SHOWN_DEVIATIONS * deviation) if deviation > 1e-7 else 0.0
        shown[row, np.arange(len(EDGES)) * len(OPS) + ALL_OPS[cell]] = 1.0
        shown[row, _CELL] = np.clip(0.5 + height, 0.0, 1.0)
        shown[row, _CELL + 1 + rung] = shown[row, -1] = 1.0
    return shown
