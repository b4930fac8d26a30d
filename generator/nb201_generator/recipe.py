"""Training recipes: all that decides how a net is trained, as plain data that is stored in the table."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with Nesterov momentum and a cosine schedule, on plain cross-entropy.

    Attributes:
        name: under which the table stores it.
        epochs: length of the schedule.
        batch_size: images a step; the last, smaller batch of an epoch is used as well.
        learning_rate: of the first epoch.
        momentum: of Nesterov's kind.
        weight_decay: on every parameter.
        channels: width of the first stage.
        cells_per_stage: how often each stage repeats the cell.
        flip: whether training images are mirrored with probability one half.
        crop_padding: pixels of zeros around a training image before a random crop to its size; 0 for no crop, None for
            an eighth of the image's size, as NAS-Bench-201 has 4 of 32 and 2 of 16.
        test_at_end: whether test images are evaluated after the last epoch alone, to save time; else after each.
    """

    name: str
    epochs: int
    batch_size: int = 256
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    channels: int = 16
    cells_per_stage: int = 5
    flip: bool = True
    crop_padding: int | None = None
    test_at_end: bool = False

    def evaluated(self, split: str) -> range:
        """Epochs, from 1, after which a split is evaluated."""
        return range(self.epochs if self.test_at_end and split == "test" else 1, self.epochs + 1)

    def learning_rate_at(self, epoch: int) -> float:
        """Of an epoch from 0, set once an epoch and never quite 0 (NAS-Bench-201's code, its cosine scheduler)."""
        return 0.5 * self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs))

    def padding(self, size: int) -> int:
        """Pixels around images of a size before they are cropped."""
        return size // 8 if self.crop_padding is None else self.crop_padding

    def settings(self, size: int) -> dict[str, Any]:
        """As JSON, for images of a size."""
        return asdict(self) | {"crop_padding": self.padding(size)}


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("200ep", epochs=200),
        Recipe("12ep", epochs=12),
        Recipe(
            "mini",
            epochs=8,
            batch_size=32,
            channels=8,
            cells_per_stage=1,
            flip=False,
            crop_padding=0,
            test_at_end=True,
        ),
    )
}
"""`200ep` and `12ep` are NAS-Bench-201's (Dong and Yang, 2020, table 2); `mini` is for small images on a CPU."""
