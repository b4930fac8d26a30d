"""What the embedded table `mini` looks like: `python benchmarks/mini_statistics.py`."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from mini_gate import partial_spearman, spearman

from nb201_env import PARAMS, open_table


def main() -> None:
    table, published = open_table("mini"), open_table("published").accuracy("cifar10")
    for dataset in table.datasets:
        recipe = table.recipes(dataset)[0]
        epochs = table.epochs(dataset, recipe=recipe, split="valid")
        last = table.accuracy(dataset, split="valid")
        low, median, high, best = 100 * np.quantile(last, [0.1, 0.5, 0.9, 1.0])
        print(f"{dataset}: 10-50-90-100 % quantiles {low:.1f} {median:.1f} {high:.1f} {best:.1f} %")
        for epoch in epochs:
            early = table.accuracy(dataset, split="valid", epoch=epoch)
            print(f"  Spearman of epoch {epoch} with the last: {spearman(early, last):.2f}")
        print(f"  with test at the last epoch {spearman(last, table.accuracy(dataset, split='test')):.2f}")
        print(f"  with published CIFAR-10 {spearman(last, published):.2f}, with params {spearman(last, PARAMS):.2f}")
        print(f"  with published CIFAR-10 given params {partial_spearman(last, published, PARAMS):.2f}")
        seconds = table.train_seconds(dataset, recipe=recipe, epoch=epochs[-1])
        print(f"  training seconds, 10-50-90 % quantiles {np.quantile(seconds, [0.1, 0.5, 0.9]).round(1)}")
        print(f"  distinct cells trained: {np.unique(last).size} different accuracies")
    for one, other in combinations(table.datasets, 2):
        a, b = table.accuracy(one), table.accuracy(other)
        print(f"{one} with {other} {spearman(a, b):.2f}, given params {partial_spearman(a, b, PARAMS):.2f}")


if __name__ == "__main__":
    main()
