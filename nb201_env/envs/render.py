"""Drawing a search: the cell in hand as a graph, its accuracy, the incumbent, and what is left of the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.errors import NB201Error
from nb201_env.space import EDGES, OPS

RENDER_MODES = ("ansi", "rgb_array")

COLOURS = ("#c9c9c9", "#4c9f70", "#e0a030", "#c8452f", "#3f6fb5", "#dddddd")
"""Of the ops in order, and of an edge that is not chosen yet."""

_LABELS = ("none", "skip", "1×1", "3×3", "pool", "?")
_NODES = ((0.07, 0.45), (0.355, 0.45), (0.645, 0.45), (0.93, 0.45))
_HEIGHTS = (0.0, 0.14, 0.0, 0.27, -0.14, 0.0)
"""By how much the middle of each edge is above a straight line, so that no two edges or labels meet."""
_NODE = 0.05  # radius, of the width


@dataclass(frozen=True)
class Scene:
    """What is drawn.

    Attributes:
        ops: code of each edge, 5 where not chosen yet.
        incumbent_index: -1 before any.
        incumbent_accuracy: a fraction.
        n_queries: observed so far.
        seconds_used: of the simulated clock.
        budget: in seconds, None without one.
        accuracy: observed of the cell, None if it has not been.
        epoch: at which it was.
        seen: rung, from 0, and accuracy of each query of the search, in order; empty where nobody keeps them.
        rungs: epochs at which cells can be seen.
    """

    ops: tuple[int, ...]
    incumbent_index: int
    incumbent_accuracy: float
    n_queries: int
    seconds_used: float
    budget: float | None
    accuracy: float | None = None
    epoch: int | None = None
    seen: tuple[tuple[int, float], ...] = ()
    rungs: tuple[int, ...] = ()

    @property
    def caption(self) -> str:
        """The search in one line."""
        incumbent = (
            f"incumbent {self.incumbent_index} at {100 * self.incumbent_accuracy:.2f} %"
            if self.incumbent_index >= 0
            else "no incumbent"
        )
        budget = "" if self.budget is None else f" of {self.budget:,.0f}"
        return f"{incumbent}, {self.n_queries} queries, {self.seconds_used:,.0f}{budget} GPU-seconds"


def draw(scene: Scene, mode: str) -> Any:
    """A scene as text (`ansi`) or as an image, uint8 (height, width, 3) (`rgb_array`)."""
    return _text(scene) if mode == "ansi" else _image(scene)


def _text(scene: Scene) -> str:
    names = [(*OPS, "·")[op] for op in scene.ops]
    edges = "  ".join(f"{source}→{target} {name}" for (source, target), name in zip(EDGES, names, strict=True))
    accuracy = "" if scene.accuracy is None else f"  {_observed(scene)}"
    return f"{edges}{accuracy}\n{scene.caption}\n"


def _observed(scene: Scene) -> str:
    """The accuracy that was seen, and at which epoch where there are several."""
    assert scene.accuracy is not None
    at = f" at epoch {scene.epoch}" if len(scene.rungs) > 1 else ""
    return f"{100 * scene.accuracy:.2f} %{at}"


def draw_cell(axes: Any, ops: Sequence[int]) -> None:
    """A cell as a graph on axes of matplotlib, each edge coloured and labelled by its op, 5 for none yet."""
    from matplotlib.patches import Circle, FancyArrowPatch
    from matplotlib.path import Path

    axes.set(xlim=(0, 1), ylim=(0.26, 0.77), aspect="equal")
    axes.set_axis_off()
    for (source, target), op, height in zip(EDGES, ops, _HEIGHTS, strict=True):
        start, end = np.array(_NODES[source]), np.array(_NODES[target])
        bend = (start + end) / 2 + (0.0, 2 * height)  # a curve passes half-way to the point that bends it
        curve = [start + _towards(bend - start), bend, end + _towards(bend - end)]
        chosen = 0 < op < len(OPS)
        arrow = FancyArrowPatch(
            path=Path(curve, [Path.MOVETO, Path.CURVE3, Path.CURVE3]),
            arrowstyle="-|>",
            mutation_scale=11,
            color=COLOURS[op],
            linewidth=2.4 if chosen else 1.2,
            linestyle="-" if chosen else ":",
            shrinkA=0,
            shrinkB=0,
        )
        axes.add_patch(arrow)
        x, y = 0.25 * curve[0] + 0.5 * bend + 0.25 * curve[2]
        plate = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
        shade = "#333333" if chosen else "#888888"
        axes.text(x, y, _LABELS[op], ha="center", va="center", fontsize=8, color=shade, bbox=plate)
    for number, (x, y) in enumerate(_NODES):
        axes.add_patch(Circle((x, y), _NODE, facecolor="white", edgecolor="#333333", linewidth=1.2, zorder=3))
        axes.text(x, y, ("in", "1", "2", "out")[number], ha="center", va="center", fontsize=8, zorder=4)


def _towards(way: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """From the middle of a node to its rim."""
    return np.asarray(1.15 * _NODE * way / np.hypot(*way))


def _image(scene: Scene) -> npt.NDArray[np.uint8]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise NB201Error("render_mode='rgb_array' needs matplotlib: pip install 'nb201-env[report]'") from None
    figure = Figure(figsize=(4.8, 3.2), dpi=100)
    canvas = FigureCanvasAgg(figure)
    width = 0.6 if scene.seen else 1.0
    cell = figure.add_axes((0.01, 0.34, width - 0.02, 0.65))
    draw_cell(cell, scene.ops)
    if scene.accuracy is not None:
        figure.text(width / 2, 0.27, _observed(scene), ha="center", fontsize=11 if scene.seen else 14)
    if scene.seen:
        _draw_seen(figure.add_axes((0.7, 0.36, 0.28, 0.54)), scene)
    figure.text(0.5, 0.19, scene.caption, ha="center", fontsize=7)
    _draw_bar(figure, 0.12, scene.seconds_used / scene.budget if scene.budget else None, "budget used", COLOURS[4])
    _draw_bar(figure, 0.05, scene.incumbent_accuracy, "incumbent's accuracy", COLOURS[1])
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
    return pixels


def _draw_seen(axes: Any, scene: Scene) -> None:
    """Accuracies of the queries in order, each rung in its colour."""
    from matplotlib import colormaps

    numbers, shades = np.arange(1, len(scene.seen) + 1), colormaps["viridis"](np.linspace(0.85, 0.0, len(scene.rungs)))
    rungs, values = np.array([rung for rung, _ in scene.seen]), 100 * np.array([value for _, value in scene.seen])
    for rung, epoch in enumerate(scene.rungs):
        there = rungs == rung
        axes.plot(numbers[there], values[there], ".", markersize=5, color=shades[rung], label=f"epoch {epoch}")
    axes.tick_params(labelsize=6, length=2)
    axes.set_xlabel("query", fontsize=6, labelpad=1)
    axes.set_title("seen, %", fontsize=7, pad=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(scene.rungs) > 1:
        axes.legend(fontsize=5, handletextpad=0.1, borderpad=0.2, labelspacing=0.2)


def _draw_bar(figure: Any, y: float, share: float | None, what: str, colour: str) -> None:
    """A bar that is filled as far as a share, empty for None."""
    from matplotlib.patches import Rectangle

    figure.text(0.3, y + 0.02, what, ha="right", va="center", fontsize=7)
    for width, shade in ((1.0, "#eeeeee"), (min(1.0, share or 0.0), colour)):
        bar = Rectangle((0.32, y), 0.64 * width, 0.04, color=shade, linewidth=0, transform=figure.transFigure)
        figure.patches.append(bar)
