"""Make the figure that the README shows, of the leaderboard's results: `python docs/make_figure.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from nb201_agents.harness.figures import by_queries, look, regret_curve
from nb201_agents.harness.results import read_runs
from nb201_agents.harness.truth import truth_of

ROOT = Path(__file__).parents[1]
AGENTS = ("random", "reinforce", "rea", "rea-50", "local-search", "gp(prior=params)", "params")
SETS = ("cifar10", "cifar100", "ImageNet16-120")
GRID = np.unique(np.geomspace(1, 300, 60).round())


def main() -> None:
    """Read, draw and write."""
    matplotlib.rcParams.update({"svg.hashsalt": "nb201", "svg.fonttype": "none", "font.size": 9})
    results = read_runs(ROOT / "leaderboard/published")
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    for place, dataset in zip(axes, SETS, strict=True):
        truth = truth_of(next(runs[0] for (name, _), runs in results.items() if name == dataset))
        for agent in AGENTS:
            mean, low, high = regret_curve(results[dataset, agent], truth, GRID, by_queries)
            place.plot(GRID, mean, label=agent, linewidth=1.2, **look(agent))
            place.fill_between(GRID, low, high, color=look(agent)["color"], alpha=0.2, linewidth=0)
        place.axhline(truth.trial_deviation, color="grey", linestyle=":", linewidth=1)
        place.set_yscale("symlog", linthresh=0.1)  # a regret of exactly 0 is reached
        place.set(xscale="log", xlabel="queries", title=dataset, ylim=(0, 20))
    axes[0].set_ylabel("regret of the incumbent in points")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(AGENTS), frameon=False)
    figure.savefig(ROOT / "docs/regret.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
