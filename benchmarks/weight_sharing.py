"""What weight sharing finds, and how well it ranks: `python benchmarks/weight_sharing.py OUT.jsonl --seeds 5 --jobs 2`.

Every method searches data sets of a table with several seeds and both kinds of norms. After each search its supernet
ranks cells, drawn from all and from the best tenth, by their accuracy on all validation images; Spearman's correlation
with the table's is what is kept. One line of OUT is one search; those that are there are not made again. With
`--show`, prints what the lines come to, beside random and local search at the same simulated seconds; with `--figure`,
draws the accuracy of the current cell along the searches, as figures 7 and 8 of Dong and Yang (ICLR 2020). Searches of
other lengths and rates go into an OUT of their own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nb201_agents.harness.run import run_many
from nb201_agents.harness.setup import Setup
from nb201_agents.oneshot.cost import seconds_of_parts
from nb201_agents.oneshot.recipe import checked_recipe
from nb201_agents.oneshot.search import METHODS, Search
from nb201_generator.images import load_images

from nb201_env import Cell, Column
from nb201_env.analysis import spearman
from nb201_env.figures.style import PALETTE, axes_of, styled, svg_of

CELLS, TOP = 200, 0.1
SEARCHES = 500
KEYS = "method", "dataset", "running", "seed"


def searched(task: tuple[str, dict[str, float], str, str, bool, int]) -> dict[str, Any]:
    """One search and its ranks."""
    table, other, method, dataset, running, seed = task
    images, column = load_images(dataset), Column.open(table, dataset, trial="mean")
    recipe = replace(checked_recipe("mini", None, running), **other)  # type: ignore[arg-type]
    search = Search(method, recipe, images, seed)
    for _ in range(search.recipe.epochs):
        search.epoch()
    parts = seconds_of_parts(column.train[-1], column.epoch * len(images.splits["train"].labels))
    ends, found = [parts @ np.array(row["work"]) for row in search.rows], search.final()
    seconds = float(parts @ search.work)
    order, rng = np.argsort(-column.mean), np.random.default_rng(seed)
    best = order[: int(TOP * len(order))]
    ranks = {}
    for name, among in (("all", order), ("best tenth", best)):
        cells = rng.choice(among, CELLS, replace=False)
        ranks[name] = spearman(np.array([search.accuracy(Cell(int(cell))) for cell in cells]), column.mean[cells])
    return {
        **dict(zip(KEYS, (method, dataset, running, seed), strict=True)),
        "other": other,
        "found": found.index,
        "accuracy": 100 * float(column.mean[found.index]),
        "regret": 100 * float(column.mean.max() - column.mean[found.index]),
        "seconds": seconds,
        "ranks": ranks,
        "cells": [row["cell"] for row in search.rows],
        "skips": [row["skips"] for row in search.rows],
        "entropy": [float(np.mean(row["entropy"])) for row in search.rows],
        "ends": ends,
    }


def regret_at(table: str, dataset: str, agent: str, seconds: float) -> float:
    """Mean over searches of the regret of another agent's incumbent, in points, after some seconds."""
    column = Column.open(table, dataset, trial="mean")
    runs = run_many(agent, Setup(table, dataset, budget=seconds), range(SEARCHES))
    incumbents = [max(results, key=lambda one: one.worth).index for _, results in runs if results]
    regrets = 100 * (column.mean.max() - column.mean[incumbents])
    return float(regrets.mean())


def show(table: str, lines: Iterable[dict[str, Any]]) -> None:
    groups = defaultdict(list)
    for line in lines:
        groups[line["dataset"], line["running"], line["method"]].append(line)
    for (dataset, running, method), rows in sorted(groups.items()):
        accuracy, regret, seconds, skips = (
            np.array([row[name] for row in rows]) for name in ("accuracy", "regret", "seconds", "skips")
        )
        ranks = {name: np.mean([row["ranks"][name] for row in rows]) for name in ("all", "best tenth")}
        entropy = np.mean([row["entropy"][-1] for row in rows])
        random, local = (regret_at(table, dataset, agent, seconds.mean()) for agent in ("random", "local-search"))
        print(
            f"| {dataset} | {'running' if running else 'batch'} | {method} | {len(rows)} | {accuracy.mean():.2f} ± "
            f"{accuracy.std():.2f} | {regret.mean():.2f} | {random:.2f} | {local:.2f} | {seconds.mean():.1f} | "
            f"{skips[:, -1].mean():.1f} | {entropy:.3f} | {ranks['all']:.2f} | {ranks['best tenth']:.2f} |",
            flush=True,
        )


def draw(table: str, lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Mean accuracy of the cell that each method would take, epoch by epoch: data sets by rows, norms by columns."""
    datasets = sorted({line["dataset"] for line in lines})
    figure, axes = axes_of(len(datasets), 2, 5.0, 3.0)
    for row, dataset in zip(axes, datasets, strict=True):
        accuracy = 100 * Column.open(table, dataset, trial="mean").mean
        for panel, running in zip(row, (False, True), strict=True):
            for method, colour in zip(METHODS, PALETTE, strict=True):
                cells = [
                    line["cells"]
                    for line in lines
                    if (line["dataset"], line["running"], line["method"]) == (dataset, running, method)
                ]
                if cells:
                    mean = accuracy[np.array(cells)].mean(axis=0)
                    panel.plot(np.arange(1, len(mean) + 1), mean, label=method, color=colour)
            panel.axhline(accuracy.max(), color="0.5", linestyle=":", linewidth=1)
            title = f"{dataset}, norms by {'running statistics' if running else 'the batch'}"
            panel.set(title=title, xlabel="epochs of the supernet", ylabel="accuracy of the cell (%)")
            panel.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=8)
    path.write_text(svg_of(figure), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--table", default="mini")
    parser.add_argument("--datasets", default="digits,gratings")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--epochs", type=int, help="of the supernet, if not the recipe's")
    parser.add_argument("--arch-rate", type=float, help="of Adam, if not the recipe's")
    parser.add_argument("--seeds", type=int, default=5, help="in the main mode of norms, by the batch's statistics")
    parser.add_argument("--running-seeds", type=int, default=2, help="by running statistics")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--figure", type=Path, help="an SVG to draw")
    args = parser.parse_args()
    lines = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    if (args.show or args.figure) and not lines:
        sys.exit(f"error: {args.out} holds no search yet; make some without --show and --figure")
    if args.figure:
        with styled():
            draw(args.table, lines, args.figure)
    if args.show:
        show(args.table, lines)
    if args.show or args.figure:
        return
    other = {name: getattr(args, name) for name in ("epochs", "arch_rate") if getattr(args, name) is not None}
    if any(line["other"] != other for line in lines):
        sys.exit(f"error: {args.out} holds searches of another length or rate; name another file")
    known = {tuple(line[key] for key in KEYS) for line in lines}
    tasks = [
        (args.table, other, method, dataset, running, seed)
        for seed in range(max(args.seeds, args.running_seeds))
        for running, seeds in ((False, args.seeds), (True, args.running_seeds))
        for dataset in args.datasets.split(",")
        for method in args.methods.split(",")
        if seed < seeds and (method, dataset, running, seed) not in known
    ]
    with args.out.open("a") as file, multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
        for done, line in enumerate(pool.imap_unordered(searched, tasks), start=1):
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(f"{done} of {len(tasks)} searches", flush=True)


if __name__ == "__main__":
    main()
