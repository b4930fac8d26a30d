"""Figures of training: curves, how stable the ranking is, and how much is noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from nb201_env.analysis import learning_curves, noise, stability
from nb201_env.errors import MissingDataError
from nb201_env.figures.space import trainings
from nb201_env.figures.style import PALETTE, axes_of, logarithmic
from nb201_env.tables.table import Table

_BINS = 20


def curves(table: Table) -> Any:
    """Learning curves by quantile over cells."""
    from matplotlib import colormaps

    every, viridis = _that_have(table, learning_curves), colormaps["viridis"]
    figure, axes = axes_of(1, len(every), 4.0, 3.2)
    for one, (title, found) in zip(axes[0], every, strict=True):
        shades = viridis(np.linspace(0.9, 0.0, len(found.quantiles)))
        for quantile, values, shade in reversed(list(zip(found.quantiles, found.values, shades, strict=True))):
            label = "the best" if quantile == 1 else f"{100 * quantile:.0f} %"
            one.plot(found.epochs, values, label=label, linewidth=1.5, color=shade)
        one.set(xlabel="epoch", ylabel=f"{found.split} accuracy (%)", title=title)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), title="quantile over cells", loc="outside right center")
    return figure


def ranking_over_epochs(table: Table) -> Any:
    """As figure 5 of the paper: how early the ranking is settled."""
    every = _that_have(table, stability)
    figure, axes = axes_of(1, 2, 4.4, 3.4)
    for one, name, what in zip(axes[0], ("all", "best"), ("all cells", "the best tenth"), strict=True):
        for title, found in every:
            label = f"{title}, with {found.judged_by}"
            one.plot(found.epochs, getattr(found, name), ".-", label=label, linewidth=1.5)
        one.set(xlabel="epoch", ylabel="Spearman with the last", title=what, ylim=(None, 1.0))
    axes[0, 0].legend()
    return figure


def noise_of_trials(table: Table) -> Any:
    """Deviation between trials, and within isomorphism classes, against accuracy."""
    every = _that_have(table, noise)
    figure, axes = axes_of(1, len(every), 4.2, 3.4)
    for one, (title, found) in zip(axes[0], every, strict=True):
        one.scatter(found.accuracy, found.trials, s=2, alpha=0.15, linewidths=0, color="0.5", rasterized=True)
        for deviations, label, colour in (
            (found.trials, "between trials", PALETTE[0]),
            (found.classes, "within isomorphism classes", PALETTE[1]),
        ):
            centres, medians = _binned(found.accuracy, deviations)
            said = f"{label}, median {np.nanmedian(deviations):.2f}"
            one.plot(centres, medians, ".-", color=colour, label=said, linewidth=1.5)
        one.set(xlabel="validation accuracy (%)", ylabel="standard deviation (points)", title=title)
        logarithmic(one.yaxis)
        one.legend(loc="lower center", bbox_to_anchor=(0.5, -0.42))
    return figure


def _binned(x: Any, y: Any) -> tuple[Any, Any]:
    """Medians of y in bins of as many cells each, at the medians of x."""
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & (y > 0))
    parts = [part for part in np.array_split(known[np.argsort(x[known], kind="stable")], _BINS) if part.size]
    return [np.median(x[part]) for part in parts], [np.median(y[part]) for part in parts]


def _that_have(table: Table, analysis: Any) -> list[tuple[str, Any]]:
    """What an analysis says of those trainings that have the data.

    Raises:
        MissingDataError: if none has.
    """
    found, missing = [], None
    for dataset, recipe, title in trainings(table):
        try:
            found.append((title, analysis(table, dataset, recipe)))
        except MissingDataError as error:
            missing = error
    if not found and missing is not None:
        raise missing
    return found
