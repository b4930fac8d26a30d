"""How all figures of this project look."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import Any

from nb201_env.errors import NB201Error

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#666666")
"""Colours that readers with a colour deficiency can tell apart too: Okabe and Ito's, and two more."""

LINES = ("-", "--", "-.", ":")
"""Styles of lines that tell those apart which share a colour."""

_RC: dict[str, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.dpi": 100,
    "grid.alpha": 0.25,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "savefig.dpi": 160,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "nb201",  # the same bytes from the same values
    "text.parse_math": False,
}


def needs_matplotlib(what: str) -> None:
    """Raise NB201Error, naming the fix, if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise NB201Error(f"{what} need matplotlib: pip install 'nb201-env[report]'") from None


def styled() -> AbstractContextManager[Any]:
    """Inside it, matplotlib draws in this style."""
    import matplotlib
    from cycler import cycler

    settings: Any = _RC | {"axes.prop_cycle": cycler(color=PALETTE)}
    return matplotlib.rc_context(settings)


def axes_of(rows: int, columns: int, width: float = 4.2, height: float = 3.2) -> tuple[Any, Any]:
    """A figure, and its axes as an array (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def logarithmic(axis: Any) -> None:
    """Make an axis logarithmic, its ticks written as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def svg_of(figure: Any) -> str:
    """A figure as an SVG element."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
