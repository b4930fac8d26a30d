"""Is a data set fit for a mini table? Train random cells twice and compare: `python benchmarks/mini_gate.py digits 13`.

A useful table spreads cells out and repeats itself from seed to seed: 10-90 % range of validation accuracy above
5 points, Spearman correlation of two seeds at least 0.7. No published value is looked at, so that what is learnt on
such tables can be tried on those. With `--best`, trains the best cells of the table `mini` instead: how far do two
trials of them differ, of which the table has one?
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from nb201_generator.images import load_images
from nb201_generator.recipe import RECIPES
from nb201_generator.train import train

from nb201_env import NUM_CELLS, PARAMS, Cell, Column
from nb201_env.analysis import spearman

CELLS, TOGETHER, SEEDS = 200, 25, (777, 888)


def trained_twice(name: str, epochs: int, cells: Sequence[int]) -> npt.NDArray[np.float64]:
    """Validation accuracies in percent of two trainings, (2, cells)."""
    images, recipe = load_images(name), replace(RECIPES["mini"], epochs=epochs)
    valid = np.zeros((len(SEEDS), len(cells)))
    for trial, seed in enumerate(SEEDS):
        for start in range(0, len(cells), TOGETHER):
            part = cells[start : start + TOGETHER]
            curves = train([Cell(int(cell)) for cell in part], images, recipe, seed)
            valid[trial, start : start + len(part)] = curves["valid"].correct[-1] / len(images.splits["valid"].labels)
            print(f"seed {seed}: {start + len(part)} of {len(cells)} cells", file=sys.stderr, flush=True)
    return 100 * valid


def main(name: str, epochs: int, best: int | None) -> None:
    torch.set_num_threads(1)
    if best is None:
        cells = np.sort(np.random.default_rng(0).choice(NUM_CELLS, CELLS, replace=False))
    else:
        cells = np.sort(np.argsort(-Column.open("mini", name).mean, kind="stable")[:best])
    first, second = valid = trained_twice(name, epochs, cells)
    mean, deviation = valid.mean(axis=0), (first - second).std() / np.sqrt(2)
    which = f"{len(cells)} random cells" if best is None else f"the {len(cells)} best cells"
    low, median, high = np.quantile(mean, [0.1, 0.5, 0.9])
    print(f"{name}, {epochs} epochs, {which}: 10-50-90 % quantiles {low:.1f} {median:.1f} {high:.1f} %")
    if best is None:
        print(f"range {high - low:.1f} points (above 5); two seeds {spearman(*valid):.2f} (0.7)")
        print(f"with params {spearman(mean, PARAMS[cells]):.2f}")
    print(f"standard deviation between seeds {deviation:.2f} points")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("epochs", type=int)
    parser.add_argument("--best", type=int, help="how many of the table's best cells to train, not random ones")
    given = parser.parse_args()
    main(given.name, given.epochs, given.best)
