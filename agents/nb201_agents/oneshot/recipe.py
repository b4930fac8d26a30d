"""How a supernet is trained and searched, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from nb201_env import checks


@dataclass(frozen=True)
class OneShotRecipe:
    """Stochastic gradient descent with Nesterov momentum and a cosine schedule for weights, Adam for choices of ops.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        valid_batch_size: images, not augmented, on which a path is evaluated; all batches have as many.
        learning_rate: of the weights in the first epoch.
        least_rate: what it falls to.
        weight_decay: of the weights.
        clip: greatest norm of the weights' gradient; None for any.
        arch_rate: of Adam, for what chooses ops.
        arch_decay: its weight decay.
        channels: width of the first stage.
        cells_per_stage: how often each stage repeats the cell.
        affine: whether norms within cells have a scale and a shift.
        running: whether they evaluate by running statistics.
        controller_steps: of ENAS's controller after each epoch.
        samples: cells among which methods that sample choose the last one.
        flip: whether images are mirrored with probability one half.
        crop_padding: pixels of zeros around an image before a random crop; None for an eighth of its size.
    """

    epochs: int = 50
    batch_size: int = 64
    valid_batch_size: int = 512
    learning_rate: float = 0.025
    least_rate: float = 0.001
    weight_decay: float = 5e-4
    clip: float | None = 5.0
    arch_rate: float = 3e-4
    arch_decay: float = 1e-3
    channels: int = 16
    cells_per_stage: int = 5
    affine: bool = False
    running: bool = False
    controller_steps: int = 50
    samples: int = 100
    flip: bool = True
    crop_padding: int | None = None

    def rate_at(self, progress: float) -> float:
        """Learning rate of the weights at a share of the epochs."""
        return self.least_rate + 0.5 * (self.learning_rate - self.least_rate) * (1 + math.cos(math.pi * progress))


def checked_recipe(name: str, epochs: int | None, running: bool) -> OneShotRecipe:
    """A recipe of `RECIPES`, with another number of epochs and kind of norms.

    Raises:
        NB201Error: if an argument is bad.
    """
    checks.one_of("recipe", name, tuple(RECIPES))
    recipe = replace(RECIPES[name], running=checks.truth("running", running))
    return recipe if epochs is None else replace(recipe, epochs=checks.whole("epochs", epochs, 1, 10**5))


RECIPES = {
    "nas-bench-201": OneShotRecipe(),
    "nats-bench": OneShotRecipe(epochs=100, clip=None),
    "mini": OneShotRecipe(
        epochs=20, batch_size=32, valid_batch_size=32, channels=8, cells_per_stage=1, flip=False, crop_padding=0
    ),
}
"""NAS-Bench-201's (its appendix; 250 epochs for all but DARTS), NATS-Bench's, and one for small images on a CPU."""
