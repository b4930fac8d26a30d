"""Is a data set fit for a mini table? Train random cells twice and compare: `python benchmarks/mini_gate.py digits 13`.

A useful table spreads cells out and repeats itself from seed to seed: 10-90 % range of validation accuracy above
5 points, Spearman correlation of two seeds at least 0.7. No published value is looked at, so that what is learnt on
such tables can be tried on those.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import torch
from nb201_generator.images import load_images
from nb201_generator.recipe import RECIPES
from nb201_generator.train import train

from nb201_env import NUM_CELLS, PARAMS, Cell
from nb201_env.analysis import spearman

CELLS, TOGETHER, SEEDS = 200, 25, (777, 888)


def main(name: str, epochs: int) -> None:
    torch.set_num_threads(1)
    images, recipe = load_images(name), replace(RECIPES["mini"], epochs=epochs)
    cells = np.sort(np.random.default_rng(0).choice(NUM_CELLS, CELLS, replace=False))
    valid = np.zeros((len(SEEDS), CELLS))
    for trial, seed in enumerate(SEEDS):
        for start in range(0, CELLS, TOGETHER):
            part = cells[start : start + TOGETHER]
            curves = train([Cell(int(cell)) for cell in part], images, recipe, seed)
            valid[trial, start : start + TOGETHER] = curves["valid"].correct[-1] / len(images.splits["valid"].labels)
            print(f"seed {seed}: {start + TOGETHER} of {CELLS} cells", file=sys.stderr, flush=True)
    mean = valid.mean(axis=0)
    low, median, high = 100 * np.quantile(mean, [0.1, 0.5, 0.9])
    print(f"{name}, {recipe.epochs} epochs, {CELLS} cells: 10-50-90 % quantiles {low:.1f} {median:.1f} {high:.1f} %")
    print(f"range {high - low:.1f} points (above 5); two seeds {spearman(*valid):.2f} (0.7)")
    print(f"with params {spearman(mean, PARAMS[cells]):.2f}")
    print(f"standard deviation between seeds {100 * (valid[0] - valid[1]).std() / np.sqrt(2):.2f} points")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
