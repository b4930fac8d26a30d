"""Choosing a controller's recipe on source tables alone: `python benchmarks/tune_controller.py FOLDER [TABLE]`.

Each data set of a table, `mini` unless another is named, is held out in turn: a controller is trained on the others,
for a few batches, and searches the held-out set and tasks that the family makes of it alone. All recipes but the first
are drawn at random. What counts is the same as in `tune_sources.py`: the mean over 20 queries and all tasks of the
regret.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from held_out import KINDS, columns_of, follow
from nb201_agents.controllers.agent import Controller
from nb201_agents.controllers.ppo import Recipe
from nb201_agents.controllers.pretrain import pretrain

from nb201_env import Rules, open_table

RECIPES, BATCHES, TASKS, QUERIES = 12, 2, 16, 20


def draw(rng: np.random.Generator) -> dict[str, Any]:
    """Settings that differ from the default recipe; rates and weights evenly in their logarithms."""

    def between(low: float, high: float) -> float:
        return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))), 5)

    return {
        "learning_rate": between(5e-4, 4e-3),
        "entropy": between(1e-4, 1e-2),
        "discount": round(1.0 - between(0.03, 0.3), 3),
        "minibatch": int(rng.choice([128, 256, 512])),
        "passes": int(rng.integers(1, 4)),
        "guide": between(0.05, 1.0),
        "hide": round(rng.uniform(0.0, 1.0), 2),
        "law": tuple((name, round(rng.uniform(0.2, 1.0), 2)) for name in ("params", "field", "cell")),
    }


def regrets(folder: Path, table: str, dataset: str, number: int, settings: dict[str, Any]) -> list[float]:
    """Mean regret over the first queries of each search of a held-out data set, the plain one last."""
    path = folder / f"{number}-no-{dataset}.safetensors"
    if not path.exists():
        sources = tuple((table, name) for name in open_table(table).datasets if name != dataset)
        pretrain(Recipe(sources, batches=BATCHES, **settings), path)
    columns = columns_of(table, dataset, TASKS)
    found = {
        kind: [
            float(np.mean(follow(Controller, {"file": str(path)}, column, Rules(max_queries=QUERIES), seed).regret))
            for seed, column in enumerate(columns[kind] * (TASKS if kind == "plain" else 1))
        ]
        for kind in KINDS
    }
    return [*found["perturbed"], float(np.mean(found["plain"]))]


def main(folder: Path, table: str = "mini") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(RECIPES):
        settings = draw(rng) if number else {}  # the first is the default
        by_set = [regrets(folder, table, name, number, settings) for name in open_table(table).datasets]
        shown = ", ".join(f"{np.mean(one):.3f} (plain {one[-1]:.3f})" for one in by_set)
        print(f"{np.mean(by_set):.3f}: {shown}; {json.dumps(settings)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
