"""Figures of the space: accuracy against costs, ranks across data sets, ops on edges, fronts, the landscape."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from nb201_env.analysis import (
    correlation_matrix,
    costs,
    effects,
    landscape,
    pareto_front,
    percent,
    ranks,
    spearman,
    split_of,
    values_of_all,
)
from nb201_env.errors import MissingDataError
from nb201_env.figures.style import PALETTE, axes_of, logarithmic
from nb201_env.space import EDGES, OPS
from nb201_env.tables.table import Table

RESNET = 11472
"""The cell of a residual network:
|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|; see the paper."""

_MARKS = {"ResNet's cell": (RESNET, "s", PALETTE[1]), "the best": (-1, "*", PALETTE[2])}


def trainings(table: Table) -> list[tuple[str, str, str]]:
    """Each data set and recipe of a table that has accuracies to judge cells by, and how a figure calls it.

    Raises:
        MissingDataError: if there is none.
    """
    found = []
    for dataset in table.datasets:
        recipes = table.recipes(dataset)
        for recipe in recipes:
            with suppress(MissingDataError):
                percent(table, dataset, recipe)
                found.append((dataset, recipe, dataset if len(recipes) == 1 else f"{dataset}, {recipe}"))
    if not found:
        raise MissingDataError(f"table {table.name!r} has no accuracies")
    return found


def accuracy_against_costs(table: Table) -> Any:
    """As figures 2 and 3 of the paper."""
    every = trainings(table)
    names = list(dict.fromkeys(name for dataset, recipe, _ in every for name in costs(table, dataset, recipe)))
    figure, axes = axes_of(len(every), len(names), 3.6, 3.0)
    for row, (dataset, recipe, title) in zip(axes, every, strict=True):
        values, known = percent(table, dataset, recipe), costs(table, dataset, recipe)
        split = split_of(table, dataset, recipe)
        best = int(np.nanargmax(values))
        for one, name in zip(row, names, strict=True):
            if name not in known:
                one.set_axis_off()
                one.text(0.5, 0.5, f"no {name.partition(' (')[0]} of {dataset}", ha="center", fontsize="small")
                continue
            cost = known[name]
            one.scatter(cost, values, s=2, alpha=0.25, linewidths=0, color=PALETTE[0], rasterized=True)
            for label, (cell, marker, colour) in _MARKS.items():
                at = best if cell < 0 else cell
                one.plot(
                    cost[at], values[at], marker, color=colour, markeredgecolor="white", markersize=10, label=label
                )
            one.set(
                xlabel=name, ylabel=f"{split} accuracy (%)", title=f"{title}: Spearman {spearman(cost, values):.2f}"
            )
    axes[0, 0].legend(loc="lower right")
    return figure


def ranking_across_data_sets(table: Table) -> Any:
    """As figure 4 of the paper, left: ranks of all cells on each data set, in the order of the first."""
    every = trainings(table)
    if len(every) < 2:
        raise MissingDataError(f"table {table.name!r} has one data set, and so no ranks to compare")
    columns = np.array([percent(table, dataset, recipe) for dataset, recipe, _ in every])
    together = columns[:, np.isfinite(columns).all(axis=0)]
    order = np.argsort(-together[0], kind="stable")
    figure, axes = axes_of(1, len(every) - 1, 4.4, 4.0)
    for one, values, (_, _, title) in zip(axes[0], together[1:], every[1:], strict=True):
        rank = len(values) - 1 - ranks(values)
        one.scatter(np.arange(len(order)), rank[order], s=2, alpha=0.25, linewidths=0, rasterized=True)
        one.plot([0, len(order)], [0, len(order)], color="0.4", linewidth=0.8)
        one.set(
            xlabel=f"rank on {every[0][2]}",
            ylabel=f"rank on {title}",
            title=f"Spearman {spearman(together[0], values):.3f}",
        )
        one.set_aspect("equal")
        one.locator_params(nbins=4)
    return figure


def correlations(table: Table) -> Any:
    """Spearman's correlations of every data set, recipe and split with one another, at the last epoch."""
    columns = values_of_all(table)
    if len(columns) < 2:
        raise MissingDataError(f"table {table.name!r} has one column of accuracies, and so none to correlate it with")
    found, names = correlation_matrix(list(columns.values())), list(columns)
    side = max(3.6, 0.62 * len(names) + 1.6)
    figure, axes = axes_of(1, 1, side + 0.8, side)
    one = axes[0, 0]
    lowest = np.floor(10.0 * np.nanmin(found)) / 10.0
    middle = (lowest + 1.0) / 2.0
    shown = one.imshow(found, cmap="viridis", vmin=lowest, vmax=1.0)
    one.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize="small")
    one.set_yticks(range(len(names)), names, fontsize="small")
    one.grid(False)
    for i, row in enumerate(found):
        for j, value in enumerate(row):
            one.text(
                j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color="black" if value > middle else "white"
            )
    figure.colorbar(shown, ax=one, label="Spearman's correlation", shrink=0.8)
    return figure


def ops_on_edges(table: Table) -> Any:
    """Main effects of each op on each edge."""
    every = trainings(table)
    figure, axes = axes_of(1, len(every), 3.8, 3.4)
    for one, (dataset, recipe, title) in zip(axes[0], every, strict=True):
        found = effects(percent(table, dataset, recipe))
        most = float(np.abs(found.mean).max()) or 1.0
        one.imshow(found.mean, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
        one.set_xticks(range(len(OPS)), [op.replace("_", " ") for op in OPS], rotation=35, ha="right", fontsize="small")
        one.set_yticks(range(len(EDGES)), [f"{source} → {target}" for source, target in EDGES], fontsize="small")
        one.grid(False)
        for (edge, op), value in np.ndenumerate(found.mean):
            colour = "white" if abs(value) > 0.6 * most else "black"
            one.text(op, edge, f"{value:+.1f}".replace("-", "−"), ha="center", va="center", fontsize=7, color=colour)
        one.set_title(f"{title}: these sums explain {100 * found.explained:.0f} %")
    axes[0, 0].set_ylabel("edge")
    return figure


def pareto_fronts(table: Table) -> Any:
    """Cells that no other beats in both error and a cost."""
    every = trainings(table)
    names = list(dict.fromkeys(name for dataset, recipe, _ in every for name in costs(table, dataset, recipe)))
    figure, axes = axes_of(1, len(names), 3.8, 3.4)
    for one, name in zip(axes[0], names, strict=True):
        for dataset, recipe, title in every:
            known, values = costs(table, dataset, recipe), percent(table, dataset, recipe)
            if name in known:
                front = pareto_front(values, known[name])
                line = {"where": "post", "marker": ".", "linewidth": 1.3, "label": title}
                one.step(known[name][front], 100 - values[front], **line)
        one.set(xlabel=name, ylabel="error (%)")
        logarithmic(one.xaxis)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(every))
    return figure


def landscapes(table: Table) -> Any:
    """What a search by single edges meets: see `nb201_env.analysis.landscape`."""
    every = trainings(table)
    figure, axes = axes_of(1, 3, 4.4, 3.6)
    for number, (dataset, recipe, title) in enumerate(every):
        values, colour = percent(table, dataset, recipe), PALETTE[number % len(PALETTE)]
        found = landscape(values, np.random.default_rng(0))
        regrets = np.nanmax(values) - values[found.maxima]
        axes[0, 0].plot(
            np.arange(1, len(regrets) + 1), regrets, ".-", color=colour, label=f"{title}: {len(regrets)} strict maxima"
        )
        low, middle, high = found.by_distance
        axes[0, 1].plot(range(len(middle)), np.nanmax(values) - middle, ".-", color=colour, label=title)
        axes[0, 1].fill_between(
            range(len(middle)), np.nanmax(values) - high, np.nanmax(values) - low, color=colour, alpha=0.15, linewidth=0
        )
        share = 100 * (found.ends == found.maxima[0]).mean() if len(found.maxima) else 0.0
        label = f"{title}: {share:.0f} % of climbs end at the best"
        axes[0, 2].plot(found.autocorrelation, ".-", color=colour, label=label)
    axes[0, 0].set(xlabel="local maximum, the best first", ylabel="points below the best")
    axes[0, 1].set(xlabel="edges that differ from the best", ylabel="points below the best, 10–50–90 %")
    axes[0, 2].set(xlabel="steps of a random walk", ylabel="autocorrelation", ylim=(None, 1.02))
    for one in axes[0]:
        one.legend()
    return figure
