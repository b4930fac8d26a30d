"""Weight sharing as a searcher: it spends its seconds on a supernet, and then asks for the cell that it found."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np

from nb201_agents.oneshot.cost import seconds_of_parts
from nb201_agents.oneshot.recipe import checked_recipe
from nb201_agents.oneshot.trajectory import refuse_other_images
from nb201_agents.searcher import Query, Task, require
from nb201_env import Evaluation
from nb201_env.integrations.devices import checked_device


class WeightSharing:
    """Trains a supernet on the task's images and asks for one cell.

    Args:
        task: what is searched.
        rng: source of all randomness.
        method: a name of `nb201_agents.oneshot.search.METHODS`.
        recipe: a name of `nb201_agents.oneshot.recipe.RECIPES`, for a network as wide and as deep as the table's.
        epochs: passes over the images, if not the recipe's.
        running: whether norms evaluate by running statistics.
        data: folder with the archives of CIFAR or ImageNet16.
        device: that trains; it decides no simulated second.

    Attributes:
        trajectory: for each epoch the cell that the method would take, entropies of its edges, and simulated seconds.
    """

    has_start: ClassVar[bool] = False

    def __init__(
        self,
        task: Task,
        rng: np.random.Generator,
        method: str = "rsps",
        recipe: str = "mini",
        epochs: int | None = None,
        running: bool = False,
        data: str | None = None,
        device: str = "cpu",
    ):
        require(method, "torch")
        from nb201_generator.images import load_images

        self._recipe = checked_recipe(recipe, epochs, running)
        checked_device(device)
        self._images = load_images(task.dataset, None if data is None else str(data))
        refuse_other_images(task.dataset, self._images.hashes(), task.image_hashes)
        passed = task.epoch * len(self._images.splits["train"].labels)
        self._costs = seconds_of_parts(task.train_seconds, passed)
        self._method, self._device, self._seed = method, device, int(rng.integers(2**32))
        self._present, self._is_done = task.present, False
        self.trajectory: list[dict[str, Any]] = []

    def ask(self) -> Query | None:
        """The cell that the search found, once; None if it is not on offer."""
        if self._is_done:
            return None
        from nb201_agents.oneshot.search import Search

        self._is_done = True
        running = Search(self._method, self._recipe, self._images, self._seed, self._device)
        while len(running.rows) < self._recipe.epochs:
            running.epoch()
        found = running.final().index
        for row in running.rows:
            seconds = float(np.dot(self._costs, row["work"]))
            self.trajectory.append({key: row[key] for key in ("epoch", "cell", "entropy")} | {"seconds": seconds})
        seconds = float(np.dot(self._costs, running.work))
        return Query(found, seconds=seconds) if self._present[found] else None

    def tell(self, result: Evaluation) -> None:
        """Nothing: it asks but once."""


rsps, darts_1, darts_2, gdas, setn, enas, drnas, beta_darts = (
    partial(WeightSharing, method=method)
    for method in ("rsps", "darts-1", "darts-2", "gdas", "setn", "enas", "drnas", "beta-darts")
)
"""The eight methods, as agents."""
