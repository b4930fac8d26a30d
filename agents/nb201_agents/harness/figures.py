"""The figures of a report, as SVG."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nb201_agents.harness.results import Run
from nb201_agents.harness.stats import Floats, performance_profile, step_function
from nb201_agents.harness.truth import Truth
from nb201_env import Cell
from nb201_env.envs.render import draw_cell

_GRID_POINTS = 200
_FIGURE_SIZE = (6.4, 4.0)
_CELLS_SHOWN = 4

ByAgent = dict[str, list[Run]]


def regret_curve(runs: Sequence[Run], truth: Truth, grid: Floats, axis: Callable[[Run], Any]) -> tuple[Floats, Floats]:
    """Mean regret over runs and half the width of its 95 % interval on a grid, NaN until every run has an incumbent."""
    curves = np.array(
        [step_function(np.asarray(axis(run), float), truth.regret(run), grid) for run in runs if run.cell.size]
    )
    half = 1.96 * curves.std(axis=0, ddof=1) / math.sqrt(len(curves)) if len(curves) > 1 else np.zeros(grid.shape)
    return curves.mean(axis=0), half


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
    for agent, runs in sorted(by_agent.items()):
        mean, half = regret_curve(runs, truth, grid, axis)
        (line,) = axes.step(grid, mean, where="post", label=agent, linewidth=1.4)
        axes.fill_between(grid, mean - half, mean + half, step="post", alpha=0.2, color=line.get_color(), linewidth=0)
    if not math.isnan(truth.trial_deviation):
        axes.axhline(truth.trial_deviation, color="0.5", linestyle=":", linewidth=1)
    axes.set_yscale("symlog", linthresh=0.1)  # a regret of exactly 0 is reached
    axes.set_ylim(bottom=0.0)
    axes.set(xscale="log", xlabel=label, ylabel="regret of the incumbent (points)", title=truth.dataset)
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small", frameon=False)
    return _svg(figure)


def profile_figure(truth: Truth, by_agent: ByAgent) -> str:
    """Which share of each agent's runs ended at most at a regret."""
    last = {agent: [truth.regret(run)[-1] for run in runs if run.cell.size] for agent, runs in by_agent.items()}
    last = {agent: regrets for agent, regrets in last.items() if regrets}
    if not last:
        return ""
    grid = np.unique(np.concatenate(list(last.values())))
    figure, axes = _axes()
    for agent, regrets in sorted(last.items()):
        axes.step(grid, performance_profile(regrets, grid), where="post", label=agent, linewidth=1.4)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set(
        xlabel="regret at the end (points)", ylabel="share of runs at most there", title=truth.dataset, ylim=(0, 1.02)
    )
    axes.set_xlim(left=0.0)
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small", frameon=False)
    return _svg(figure)


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
        (line,) = axes.plot(epochs, mean, label=agent, linewidth=1.4)
        axes.fill_between(epochs, mean - deviation, mean + deviation, alpha=0.2, color=line.get_color(), linewidth=0)
    axes.axhline(truth.mean[truth.best], color="0.5", linestyle=":", linewidth=1)
    axes.set(xlabel="epochs of the supernet", ylabel="mean accuracy of the cell (%)", title=truth.dataset)
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small", frameon=False)
    return _svg(figure)


def pareto_figure(truth: Truth, by_agent: ByAgent) -> str:
    """The table's exact front in error and the first cost, and what each agent's median run by hypervolume found."""
    figure, axes = _axes()
    exact = truth.front()
    axes.step(exact[:, 0], exact[:, 1], where="post", color="0.3", linewidth=1.0, label="all cells")
    for agent, runs in sorted(by_agent.items()):
        seen = sorted((run for run in runs if run.cell.size), key=truth.hypervolume)
        if seen:
            front = truth.front(seen[len(seen) // 2].cell)
            axes.plot(front[:, 0], front[:, 1], "o", markersize=4, alpha=0.7, label=agent)
    axes.set(xscale="log", xlabel="error by mean accuracy (%)", ylabel=truth.cost, title=truth.dataset)
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small", frameon=False)
    return _svg(figure)


def cells_figure(truth: Truth, by_agent: ByAgent) -> str:
    """The cell that each of the first agents chose most often, as a graph."""
    figure = _figure((12.8, 2.6))
    for position, (agent, runs) in enumerate(list(by_agent.items())[:_CELLS_SHOWN]):
        chosen = Counter(int(run.cell[run.incumbent[-1]]) for run in runs if run.cell.size)
        axes = figure.add_subplot(1, _CELLS_SHOWN, position + 1)
        axes.set_axis_off()
        if chosen:
            cell, times = max(chosen.items(), key=lambda item: (item[1], -item[0]))
            draw_cell(axes, Cell.parse(cell).ops)
            axes.set_title(
                f"{agent}: cell {cell} in {times} of {chosen.total()} runs, {truth.mean[cell]:.2f} %", fontsize=8
            )
    return _svg(figure)


def _figure(size: tuple[float, float]) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def _axes() -> tuple[Any, Any]:
    figure = _figure(_FIGURE_SIZE)
    return figure, figure.subplots()


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
