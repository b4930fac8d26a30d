"""What agents reach on `published`, in Markdown: `python benchmarks/published_table.py [20,50,100,300] FOLDER…`.

Of each agent and data set: mean regret after some numbers of queries in points, and medians until within one trial
deviation of the best: distinct queries, and thousands of simulated seconds as tabulated and in proportion to MACs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np
from nb201_agents.harness.results import Run, read_runs
from nb201_agents.harness.stats import censored_median
from nb201_agents.harness.truth import truth_of

AFTER = (20, 50, 100, 300)
SETS = ("cifar10", "cifar100", "ImageNet16-120")


def reached(runs: list[Run], after: Sequence[int]) -> tuple[str, float]:
    """The cells of one agent on one data set, and the largest standard error of its regrets."""
    truth = truth_of(runs[0])
    regrets = np.array([[truth.regret(run)[min(at, run.cell.size) - 1] for at in after] for run in runs])
    errors = regrets.std(axis=0, ddof=1) / math.sqrt(len(runs))
    queries, seconds = np.array([truth.until_target(run) for run in runs]).T
    ends = np.array([(run.distinct[-1], run.ended[-1]) for run in runs]).T
    macs = censored_median(*np.array([truth.until_target_by_macs(run) for run in runs]).T)
    when = [censored_median(queries, ends[0]), censored_median(seconds, ends[1]) / 1000, macs / 1000]
    shown = [f"{value:.0f}" if math.isfinite(value) else "never" for value in when]
    return f"{' / '.join(f'{regret:.2f}' for regret in regrets.mean(axis=0))} | {' | '.join(shown)}", float(
        errors.max()
    )


def main(arguments: list[str]) -> None:
    has_numbers = arguments[0].replace(",", "").isdecimal()
    after = tuple(map(int, arguments[0].split(","))) if has_numbers else AFTER
    results: dict[tuple[str, str], list[Run]] = {}
    for folder in arguments[has_numbers:]:
        results |= {key: runs for key, runs in read_runs(folder).items() if len(runs) > len(results.get(key, []))}
    for dataset in SETS:
        rows = {agent: reached(runs, after) for (name, agent), runs in results.items() if name == dataset}
        print(f"\n{dataset}; standard errors of regrets at most {max(error for _, error in rows.values()):.2f}\n")
        for agent in sorted(rows, key=lambda name: rows[name][0].split(" / ")[-2]):
            print(f"| {agent} | {len(results[dataset, agent])} | {rows[agent][0]} |")


if __name__ == "__main__":
    main(sys.argv[1:])
