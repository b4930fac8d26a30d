"""Draw what happens when an episode ends, and when the simulated clock moves: `python docs/make_timelines.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nb201_env.figures.style import PALETTE, axes_of, styled, svg_of
from nb201_env.files import write_text

FOLDER = Path(__file__).parent / "pictures"

ONE, OTHER, NOTHING = PALETTE[5], PALETTE[4], "#dddddd"

STEPS = {
    "SameStep": [
        ("op 5", "five edges", ONE),
        ("op 6", "reward; final_info\nand final_obs;\nempty cell again", OTHER),
        ("op 1", "one edge", OTHER),
        ("op 2", "two edges", OTHER),
    ],
    "NextStep": [
        ("op 5", "five edges", ONE),
        ("op 6", "reward; info;\nthe built cell", ONE),
        ("any, ignored", "reward 0;\nempty cell", NOTHING),
        ("op 1", "one edge", OTHER),
    ],
}
"""Of a lane: what is handed to each step, what it returns, and to which episode the returned observation belongs."""


def box(axes: Any, x: float, y: float, width: float, text: str, colour: str, height: float = 0.6) -> None:
    """A text in a box."""
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=colour, edgecolor="none"))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8, linespacing=1.3)


def autoreset() -> str:
    """Two lanes whose episode of BuildCell ends, in the two modes that reset by themselves."""
    figure, axes = axes_of(1, 1, 8.4, 2.9)
    one = axes[0, 0]
    for row, (mode, steps) in enumerate(STEPS.items()):
        y = 1.25 * (1 - row)
        one.text(-0.15, y + 0.3, f'"{mode}"', ha="right", va="center", fontsize=9)
        for number, (action, returned, colour) in enumerate(steps):
            one.text(1.6 * number + 0.7, y + 0.68, f"step({action})", ha="center", fontsize=8, family="monospace")
            box(one, 1.6 * number, y, 1.4, returned, colour)
    legend = (0.0, ONE, "the episode that ends"), (2.2, OTHER, "the next episode"), (4.1, NOTHING, "a reset")
    for x, colour, text in legend:
        box(one, x, -0.6, 0.25, "", colour, 0.2)
        one.text(x + 0.35, -0.5, text, va="center", fontsize=8)
    one.set(xlim=(-1.2, 6.3), ylim=(-0.7, 2.2))
    one.set_axis_off()
    return svg_of(figure)


def clock() -> str:
    """Choices cost nothing; the sixth trains the cell, and the clock moves by what that took."""
    figure, axes = axes_of(1, 1, 8.4, 1.9)
    one, x = axes[0, 0], 0.0
    for number, seconds in enumerate((2.1, 1.2, 2.6)):
        for choice in range(6):
            one.plot([x] * 2, [0.75, 0.85 + 0.07 * choice], color=PALETTE[7], linewidth=1)
            x += 0.06
        box(one, x, 0.1, seconds, f"query {number + 1}:\ntraining, one pass", (ONE, OTHER, NOTHING)[number], 0.5)
        x += seconds
        if number == 2:
            one.text(x + 0.08, 0.35, "does not fit:\nthe search ends", fontsize=8, va="center")
    budget = 5.4
    one.axvline(budget, color=PALETTE[1], linewidth=1.5, linestyle="--", ymax=0.82)
    one.text(budget, 1.42, "budget", ha="center", fontsize=8, color=PALETTE[1])
    one.text(0.15, 1.3, "six choices, 0 s", fontsize=8, ha="left")
    one.annotate("", (8.2, 0.0), (0.0, 0.0), arrowprops={"arrowstyle": "->", "linewidth": 1})
    one.text(8.2, -0.2, "simulated GPU-seconds", ha="right", fontsize=8)
    one.set(xlim=(-0.1, 8.3), ylim=(-0.35, 1.6))
    one.set_axis_off()
    return svg_of(figure)


def main() -> None:
    """Write both."""
    with styled():
        for name, draw in (("autoreset", autoreset), ("clock", clock)):
            write_text(FOLDER / f"{name}.svg", draw())


if __name__ == "__main__":
    main()
