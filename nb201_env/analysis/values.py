"""Accuracies, costs and effects of ops, of every cell of a data set."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nb201_env.errors import MissingDataError
from nb201_env.space import ALL_OPS, EDGES, OPS
from nb201_env.tables.table import Table

Floats = npt.NDArray[np.float64]

_PREFERRED = ("test", "valtest", "valid")


def split_of(table: Table, dataset: str, recipe: str) -> str:
    """The split by which a finished training is judged: test if the table has it, else validation."""
    present = table.usual_splits(dataset, recipe=recipe)
    for split in _PREFERRED:
        if split in present:
            return split
    raise MissingDataError(f"table {table.name!r} has neither test nor validation accuracy of {dataset} by {recipe}")


def percent(
    table: Table, dataset: str, recipe: str | None = None, split: str | None = None, epoch: int | None = None
) -> Floats:
    """Mean accuracies of all cells in percent, (15625,).

    Args:
        table: that holds them.
        dataset: name of the data set.
        recipe: needed where there are several.
        split: that of `split_of` by default.
        epoch: the last by default.

    Raises:
        MissingDataError: if no cell has a value.
    """
    chosen = table.recipes(dataset)[0] if recipe is None else recipe
    judged = split or split_of(table, dataset, chosen)
    found = 100.0 * table.accuracy(dataset, recipe=recipe, split=judged, epoch=epoch).astype(np.float64)
    if not np.isfinite(found).any():
        raise MissingDataError(f"no cell of table {table.name!r} has a {judged} accuracy of {dataset} by {chosen}")
    return found


def values_of_all(table: Table) -> dict[str, Floats]:
    """Accuracies in percent of every data set, recipe and split at the last epoch, by a name that says which."""
    found = {}
    for dataset in table.datasets:
        recipes = table.recipes(dataset)
        for recipe in recipes:
            for split in table.usual_splits(dataset, recipe=recipe):
                name = " ".join((dataset, *([recipe] if len(recipes) > 1 else []), split))
                with suppress(MissingDataError):
                    found[name] = percent(table, dataset, recipe, split)
    return found


def costs(table: Table, dataset: str, recipe: str) -> dict[str, Floats]:
    """What cells cost, (15625,) each, by name and unit; only what the table knows.

    Seconds are of the nets whose accuracy is judged, see `split_of`.
    """
    found = {
        "params (million)": table.params(dataset).astype(np.float64) / 1e6,
        "MACs (million)": table.macs(dataset).astype(np.float64) / 1e6,
    }
    with suppress(MissingDataError):
        found["latency (ms)"] = 1e3 * table.latency(dataset).astype(np.float64)
    with suppress(MissingDataError):
        nets = table.usual_nets(dataset, split_of(table, dataset, recipe))
        found["training (seconds)"] = table.train_seconds(dataset, recipe=recipe, trained_on=nets).astype(np.float64)
    return {name: values for name, values in found.items() if np.isfinite(values).any()}


def pareto_front(values: Floats, cost: Floats) -> npt.NDArray[np.intp]:
    """Cells that no other beats in both value and cost, the cheapest first; of equals the lower index."""
    known = np.flatnonzero(np.isfinite(values) & np.isfinite(cost))
    order = known[np.lexsort((known, -values[known], cost[known]))]
    best = np.maximum.accumulate(values[order])
    is_new = np.concatenate(([True], values[order][1:] > best[:-1])) if order.size else np.zeros(0, bool)
    return order[is_new]


@dataclass(frozen=True)
class Effects:
    """What each op does on each edge.

    Attributes:
        mean: of the accuracy over all cells with the op on the edge, less that over all cells, in points, (6, 5).
        explained: share of the variance of the accuracies that sums of these explain.
    """

    mean: Floats
    explained: float


def effects(values: Floats) -> Effects:
    """Main effects of ops on edges.

    Raises:
        MissingDataError: if no cell has a value for some op.
    """
    known = np.isfinite(values)
    mean = np.full((len(EDGES), len(OPS)), np.nan)
    for edge in range(len(EDGES)):
        for op in range(len(OPS)):
            having = known & (ALL_OPS[:, edge] == op)
            if not having.any():
                raise MissingDataError(f"no cell with {OPS[op]} on edge {EDGES[edge]} has a value")
            mean[edge, op] = values[having].mean() - values[known].mean()
    design = (ALL_OPS[known][:, :, None] == np.arange(1, len(OPS))).reshape(known.sum(), -1).astype(np.float64)
    design = np.column_stack((np.ones(len(design)), design))
    fitted = design @ np.linalg.lstsq(design, values[known], rcond=None)[0]
    variance = values[known].var()
    explained = 1.0 - (values[known] - fitted).var() / variance if variance > 0 else float("nan")
    return Effects(mean, float(explained))
