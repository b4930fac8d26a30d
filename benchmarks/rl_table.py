"""Regret of agents after 50, 109 and 300 queries, and queries to within one trial deviation, as a Markdown table.

nb201 bench --dataset all --agents ppo,a2c,dqn,maskable-ppo --queries 300 --runs 100 --jobs 2 --out results
python benchmarks/rl_table.py results
"""

from __future__ import annotations

import sys

import numpy as np
from nb201_agents.harness.results import read_runs
from nb201_agents.harness.stats import censored_median
from nb201_agents.harness.truth import truth_of

QUERIES = (50, 109, 300)


def cell(runs: list) -> str:
    """Mean regrets in points with the largest standard error, and the median of distinct queries."""
    truth = truth_of(runs[0])
    regret = np.array([truth.regret(run)[[query - 1 for query in QUERIES]] for run in runs])
    error = (regret.std(axis=0, ddof=1) / np.sqrt(len(runs))).max()
    until = censored_median([truth.until_target(run)[0] for run in runs])
    reached = f"{until:.0f}" if np.isfinite(until) else "never"
    return " / ".join(f"{value:.2f}" for value in regret.mean(axis=0)) + f" (±{error:.2f}) | {reached}"


def main(folder: str) -> None:
    found = read_runs(folder)
    datasets = list(dict.fromkeys(dataset for dataset, _ in found))
    agents = list(dict.fromkeys(agent for _, agent in found))
    print("| agent | " + " | ".join(f"{dataset} | queries" for dataset in datasets) + " |")
    print("| --- |" + " --- |" * 2 * len(datasets))
    for agent in agents:
        cells = [cell(found[dataset, agent]) if (dataset, agent) in found else " | " for dataset in datasets]
        print(f"| {agent} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(sys.argv[1])
