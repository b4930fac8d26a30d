"""A synthetic table of full size, for measurements of reading and writing alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nb201_env import NUM_CELLS, open_table
from nb201_env.tables.writer import TableWriter


def write_full_size(path: Path) -> None:
    """A table as large as the whole benchmark's 200-epoch part, of values like the real ones."""
    rng = np.random.default_rng(0)
    final = open_table("published").accuracy("cifar10").astype(np.float64)
    epochs = np.arange(1, 201)[:, None]

    def curves(images: int, last_only: bool) -> dict[str, np.ndarray]:
        shape = (3, 1 if last_only else 200, NUM_CELLS)
        rise = 1.0 if last_only else 1 - np.exp(-epochs / 40)
        mean = 0.1 + (final - 0.1) * rise
        noise = rng.standard_normal(shape, np.float32) * 0.004
        accuracy = np.clip(mean + noise, 0, 1)
        return {
            "correct": np.rint(accuracy * images).astype(np.int64),
            "loss": -np.log(np.clip(accuracy, 0.01, 0.999)) * (1 + 1e-3 * rng.standard_normal(shape)),
            "epochs": [200] if last_only else range(1, 201),
        }

    with TableWriter(path, "full-size") as writer:
        for dataset, trained_on, splits in (
            ("cifar10", "half", {"train": 25_000, "valid": 25_000, "test": -10_000}),
            ("cifar10", "full", {"train": 50_000, "test": 10_000}),
            ("cifar100", "full", {"train": 50_000, "valtest": 10_000, "valid": -5_000, "test": -5_000}),
            ("ImageNet16-120", "full", {"train": 151_700, "valtest": 6_000, "valid": -3_000, "test": -3_000}),
        ):
            if trained_on == "half" or dataset != "cifar10":
                writer.add_dataset(dataset, num_classes=10, image_size=32, latency=rng.random(NUM_CELLS))
            seconds = rng.random(NUM_CELLS)
            writer.add_training(dataset, "200ep", trained_on, epochs=200, epoch_seconds=seconds)
            for split, images in splits.items():
                values = curves(abs(images), last_only=images < 0)
                writer.add_split(
                    dataset, "200ep", trained_on, split, images=abs(images), trial_seeds=[777, 888, 999],
                    eval_seconds=seconds, **values,
                )  # fmt: skip
