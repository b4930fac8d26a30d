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

COLOURS = ("#d0d0d0", "#4c9f70", "#e0a030", "#c8452f", "#3f6fb5", "#eeeeee")
"""Of the ops in order, and of an edge that is not chosen yet."""

_NODES = ((0.06, 0.3), (0.36, 0.82), (0.64, 0.82), (0.94, 0.3))
_BENDS = (0.15, -0.05, 0.0, -0.15, 0.05, 0.15)  # of each edge, so that none hides another


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
    """

    ops: tuple[int, ...]
    incumbent_index: int
    incumbent_accuracy: float
    n_queries: int
    seconds_used: float
    budget: float | None
    accuracy: float | None = None

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
    accuracy = "" if scene.accuracy is None else f"  {100 * scene.accuracy:.2f} %"
    return f"{edges}{accuracy}\n{scene.caption}\n"


def draw_cell(axes: Any, ops: Sequence[int]) -> None:
    """A cell as a graph, its edges coloured by their ops, on axes of matplotlib."""
    from matplotlib.patches import FancyArrowPatch, Patch

    axes.set(xlim=(0, 1), ylim=(-0.3, 1.05))
    axes.set_axis_off()
    for (source, target), op, bend in zip(EDGES, ops, _BENDS, strict=True):
        chosen = 0 < op < len(OPS)
        axes.add_patch(
            FancyArrowPatch(
                _NODES[source],
                _NODES[target],
                connectionstyle=f"arc3,rad={bend}",
                arrowstyle="-|>",
                mutation_scale=14,
                shrinkA=13,
                shrinkB=13,
                color=COLOURS[op],
                linewidth=3.0 if chosen else 1.5,
                linestyle="-" if chosen else ":",
            )
        )
    for number, (x, y) in enumerate(_NODES):
        axes.plot(x, y, "o", markersize=22, color="white", markeredgecolor="#333333")
        axes.text(x, y, ("in", "1", "2", "out")[number], ha="center", va="center", fontsize=8)
    handles = [Patch(color=colour, label=name) for name, colour in zip(OPS, COLOURS, strict=False)]
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.17), ncols=3, fontsize=6, frameon=False)


def _image(scene: Scene) -> npt.NDArray[np.uint8]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError:
        raise NB201Error("render_mode='rgb_array' needs matplotlib: pip install 'nb201-env[report]'") from None
    figure = Figure(figsize=(4.8, 3.2), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    draw_cell(axes, scene.ops)
    if scene.accuracy is not None:
        axes.text(0.5, 0.52, f"{100 * scene.accuracy:.2f} %", ha="center", fontsize=15)
    axes.text(0.5, -0.14, scene.caption, ha="center", fontsize=7)
    axes.add_patch(Rectangle((0.05, -0.22), 0.9, 0.04, color="#eeeeee"))
    used = 0.0 if scene.budget is None else min(1.0, scene.seconds_used / scene.budget)
    axes.add_patch(Rectangle((0.05, -0.22), 0.9 * used, 0.04, color="#3f6fb5"))
    axes.add_patch(Rectangle((0.05, -0.28), 0.9, 0.04, color="#eeeeee"))
    axes.add_patch(Rectangle((0.05, -0.28), 0.9 * scene.incumbent_accuracy, 0.04, color="#4c9f70"))
    for y, what in ((-0.2, "seconds used"), (-0.26, "incumbent's accuracy")):
        axes.text(0.5, y, what, ha="center", va="center", fontsize=5)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
    return pixels
