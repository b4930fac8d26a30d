"""The figures of a report, as SVG."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nb201_agents.harness.results import Run
from nb201_agents.harness.stats import (
    Floats,
    bootstrap_band,
    performance_profile,
    probability_of_improvement,
    step_function,
)
from nb201_agents.harness.summary import last_regrets
from nb201_agents.harness.truth import Truth
from nb201_env import Cell
from nb201_env.envs.render import draw_cell
from nb201_env.figures.style import LINES, PALETTE, axes_of, logarithmic, svg_of

_GRID_POINTS = 200
_WIDTH, _HEIGHT = 7.2, 4.0
_CELLS_SHOWN = 4

ByAgent = dict[str, list[Run]]

_FIRST = (
    "random", "params", "local-search", "rea", "reinforce", "gp", "gp-source", "controller", "successive-halving",
    "asha", "maskable-ppo", "ppo", "bananas", "ranker", "tpe", "rea-50", "source-order", "ridge-source", "hyperband",
    "bohb", "dehb", "pasha", "lstm", "a2c", "dqn", "nsga2", "rsps", "darts-1", "darts-2", "gdas", "setn", "enas",
)  # fmt: skip
"""Agents that have a colour and a kind of line of their own, whichever others are beside them."""


def look(agent: str) -> dict[str, Any]:
    """Colour and kind of line of an agent, with or without options the same in every report."""
    name = agent.partition("(")[0]
    number = _FIRST.index(name) if name in _FIRST else zlib.crc32(agent.encode())
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": LINES[number // len(PALETTE) % len(LINES)]}


def ranked(last: Mapping[str, float]) -> list[str]:
    """Agents by a number, the lowest first."""
    return sorted(last, key=lambda agent: (last[agent], agent))


def regret_curve(
    runs: Sequence[Run], truth: Truth, grid: Floats, axis: Callable[[Run], Any]
) -> tuple[Floats, Floats, Floats]:
    """Mean regret over runs on a grid, and the ends of its 95 % bootstrap interval; NaN until all have an incumbent."""
    curves = np.array(
        [step_function(np.asarray(axis(run), float), truth.regret(run), grid) for run in runs if run.cell.size]
    )
    low, high = bootstrap_band(curves)
    return curves.mean(axis=0), low, high


def by_queries(run: Run) -> Any:
    """Number of each query, from 1."""
    return np.arange(1, run.cell.size + 1)


def by_seconds(run: Run) -> Any:
    """Simulated seconds at which each query was observed."""
    return run.ended


def regret_figure(truth: Truth, by_agent: ByAgent, axis: Callable[[Run], Any], label: str) -> str:
    """Regret of all agents that observed anything against one axis, as SVG."""
    by_agent = {agent: runs for agent, runs in by_agent.items() if any(run.cell.size for run in runs)}
    ends = [axis(run) for runs in by_agent.values() for run in runs if run.cell.size]
    if not ends:
        return ""
    last = max(max(float(end[-1]) for end in ends), 1e-9)
    first = max(min(float(end[0]) for end in ends), 1e-6 * last)  # a logarithmic axis has no zero
    grid = (
        np.geomspace(first, last, _GRID_POINTS)
        if axis is by_seconds
        else np.unique(np.geomspace(1, last, _GRID_POINTS).round())
    )
    figure, axes = _axes()
    curves = {agent: regret_curve(runs, truth, grid, axis) for agent, runs in by_agent.items()}
    for agent in ranked({agent: float(mean[-1]) for agent, (mean, _, _) in curves.items()}):
        mean, low, high = curves[agent]
        axes.step(grid, mean, where="post", label=agent, linewidth=1.6, **look(agent))
        axes.fill_between(grid, low, high, step="post", alpha=0.15, color=look(agent)["color"], linewidth=0)
    if not math.isnan(truth.trial_deviation):
        axes.axhline(truth.trial_deviation, color="0.5", linestyle=":", linewidth=1)
    axes.set_yscale("symlog", linthresh=0.1)  # a regret of exactly 0 is reached, and is seen above the frame
    axes.set_ylim(bottom=-0.02)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(xlabel=label, ylabel="regret of the incumbent (points)", title=truth.dataset)
    logarithmic(axes.xaxis)
    _legend(figure, axes)
    return svg_of(figure)


def profile_figure(truth: Truth, by_agent: ByAgent) -> str:
    """Which share of each agent's runs ended at most at a regret."""
    last = {agent: last_regrets(runs, truth) for agent, runs in by_agent.items()}
    last = {agent: regrets for agent, regrets in last.items() if regrets}
    if not last:
        return ""
    grid = np.unique(np.concatenate(list(last.values())))
    figure, axes = _axes()
    for agent in ranked({agent: float(np.mean(regrets)) for agent, regrets in last.items()}):
        profile = performance_profile(last[agent], grid)
        axes.step(grid, profile, where="post", label=agent, linewidth=1.6, **look(agent))
    axes.set_xscale("symlog", linthresh=0.1)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(
        xlabel="regret at the end (points)", ylabel="share of runs at most there", title=truth.dataset, ylim=(0, 1.02)
    )
    axes.set_xlim(left=-0.02)
    _legend(figure, axes)
    return svg_of(figure)


def distribution_figure(truth: Truth, by_agent: ByAgent) -> str:
    """Where the runs of each agent ended: a point for each, the box from quarter to quarter."""
    last = {agent: last_regrets(runs, truth) for agent, runs in by_agent.items()}
    order = ranked({agent: float(np.mean(regrets)) for agent, regrets in last.items() if regrets})
    if not order:
        return ""
    figure, axes = _axes(0.32 * len(order) + 1.2)
    rng = np.random.default_rng(0)  # of the heights of points alone
    for row, agent in enumerate(order):
        regrets, colour = np.array(last[agent]), look(agent)["color"]
        heights = row + 0.6 * (rng.random(len(regrets)) - 0.5)
        axes.plot(regrets, heights, ".", markersize=3, alpha=0.3, color=colour, rasterized=len(regrets) > 200)
        quarters = np.quantile(regrets, (0.25, 0.75))
        axes.barh(row, np.ptp(quarters), 0.7, quarters[0], facecolor="none", edgecolor=colour, linewidth=1.3)
        axes.plot([np.median(regrets)] * 2, [row - 0.35, row + 0.35], color=colour, linewidth=2.5)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(order)), order)
    axes.set(xlabel="regret at the end of each run (points)", title=truth.dataset, xlim=(-0.02, None))
    axes.invert_yaxis()
    return svg_of(figure)


def pairs_figure(truth: Truth, by_agent: ByAgent) -> str:
    """How likely a run of each agent ends at a lower regret than one of each other, ties counting half."""
    last = {agent: last_regrets(runs, truth) for agent, runs in by_agent.items()}
    order = ranked({agent: float(np.mean(regrets)) for agent, regrets in last.items() if regrets})
    if len(order) < 2:
        return ""
    chances = np.array(
        [[100 * probability_of_improvement(last[row], last[column]) for column in order] for row in order]
    )
    figure, axes = _axes(0.3 * len(order) + 1.8)
    axes.imshow(chances, cmap="RdBu", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(order)), order, rotation=40, ha="right", fontsize="small")
    axes.set_yticks(range(len(order)), order, fontsize="small")
    axes.grid(False)
    for (row, column), chance in np.ndenumerate(chances):
        colour = "white" if abs(chance - 50) > 35 else "black"
        axes.text(column, row, f"{chance:.0f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_title(f"{truth.dataset}: a run of the row ends below one of the column, in %")
    return svg_of(figure)


def trajectory_figure(truth: Truth, by_agent: ByAgent) -> str:
    """Accuracy by the table of what searches by weight sharing would have taken after each epoch; nothing without any.

    As figures 7 and 8 of Dong and Yang, NAS-Bench-201, ICLR 2020.
    """
    searches = {agent: [run.would_take for run in runs if run.would_take.size] for agent, runs in by_agent.items()}
    if not any(searches.values()):
        return ""
    figure, axes = _axes()
    for agent, taken in sorted(searches.items()):
        last = min(map(len, taken), default=0)
        if not last:
            continue
        curves = np.array([truth.mean[cells[:last]] for cells in taken])
        epochs, mean, deviation = np.arange(1, last + 1), curves.mean(axis=0), curves.std(axis=0)
        axes.plot(epochs, mean, label=agent, linewidth=1.6, **look(agent))
        shade = look(agent)["color"]
        axes.fill_between(epochs, mean - deviation, mean + deviation, alpha=0.15, color=shade, linewidth=0)
    axes.axhline(truth.mean[truth.best], color="0.5", linestyle=":", linewidth=1)
    axes.set(xlabel="epochs of the supernet", ylabel="mean accuracy of the cell (%)", title=truth.dataset)
    _legend(figure, axes)
    return svg_of(figure)


def pareto_figure(truth: Truth, by_agent: ByAgent) -> str:
    """The table's exact front in error and the first cost, and what each agent's median run by hypervolume found."""
    figure, axes = _axes()
    exact = truth.front()
    axes.step(exact[:, 0], exact[:, 1], where="post", color="0.3", linewidth=1.0, label="all cells")
    for agent, runs in sorted(by_agent.items()):
        seen = sorted((run for run in runs if run.cell.size), key=truth.hypervolume)
        if seen:
            front = truth.front(seen[len(seen) // 2].cell)
            axes.plot(front[:, 0], front[:, 1], "o", markersize=4, alpha=0.7, label=agent, color=look(agent)["color"])
    axes.set(xscale="log", xlabel="error by mean accuracy (%)", ylabel=truth.cost, title=truth.dataset)
    _legend(figure, axes)
    return svg_of(figure)


def cells_figure(truth: Truth, by_agent: ByAgent) -> str:
    """The cell that each of the first agents chose most often, as a graph."""
    shown = list(by_agent.items())[:_CELLS_SHOWN]
    figure, row = axes_of(1, len(shown), 3.4, 2.6)
    for axes, (agent, runs) in zip(row[0], shown, strict=True):
        chosen = Counter(int(run.cell[run.incumbent[-1]]) for run in runs if run.cell.size)
        axes.set_axis_off()
        if chosen:
            cell, times = max(chosen.items(), key=lambda item: (item[1], -item[0]))
            draw_cell(axes, Cell.parse(cell).ops)
            axes.set_title(
                f"{agent}: cell {cell} in {times} of {chosen.total()} runs, {truth.mean[cell]:.2f} %", fontsize=8
            )
    return svg_of(figure)


def _axes(height: float = _HEIGHT) -> tuple[Any, Any]:
    figure, axes = axes_of(1, 1, _WIDTH, height)
    return figure, axes[0, 0]


def _legend(figure: Any, axes: Any) -> None:
    """Beside the figure, where it hides no line."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
