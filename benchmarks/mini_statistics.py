"""What the table `mini` looks like: `python benchmarks/mini_statistics.py`. No published value is looked at."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from nb201_env import PARAMS, open_table
from nb201_env.analysis import noise, percent, spearman, stability


def main() -> None:
    table = open_table("mini")
    for dataset in table.datasets:
        recipe = table.recipes(dataset)[0]
        last = percent(table, dataset, split="valid")
        low, median, high, best = np.quantile(last, [0.1, 0.5, 0.9, 1.0])
        print(f"{dataset}: 10-50-90-100 % quantiles {low:.1f} {median:.1f} {high:.1f} {best:.1f} %")
        for epoch in table.epochs(dataset):
            early = percent(table, dataset, split="valid", epoch=epoch)
            print(f"  epoch {epoch} with the last {spearman(early, last):.2f}")
        print(f"  with test at the last epoch {stability(table, dataset, recipe).all[-1]:.2f}")
        print(f"  with params {spearman(last, PARAMS):.2f}")
        if len(table.trials(dataset)) > 1:
            trials = table.accuracy(dataset, trial="all")
            print(f"  two trials {spearman(trials[:, 0], trials[:, 1]):.2f}", end=", ")
            print(f"deviation between them {np.sqrt(np.mean(noise(table, dataset, recipe).trials ** 2)):.1f} points")
        seconds = table.train_seconds(dataset)
        print(f"  training seconds, 10-50-90 % quantiles {np.quantile(seconds, [0.1, 0.5, 0.9]).round(1)}")
        print(f"  distinct cells trained: {np.unique(last).size} different accuracies")
    for one, other in combinations(table.datasets, 2):
        print(f"{one} with {other} {spearman(table.accuracy(one), table.accuracy(other)):.2f}")


if __name__ == "__main__":
    main()
