"""What happens while cells train: their curves, and how soon their order is settled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nb201_env.analysis.ranks import spearman
from nb201_env.analysis.values import percent, split_of
from nb201_env.errors import MissingDataError
from nb201_env.tables.table import Table

Floats = npt.NDArray[np.float64]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
BEST = 0.1
"""The share of cells that counts as the best ones."""


@dataclass(frozen=True)
class LearningCurves:
    """Accuracies over the epochs of a training.

    Attributes:
        split: on which.
        epochs: after which cells were evaluated, (epochs,).
        values: quantiles over cells of the accuracy in percent, (quantiles, epochs).
        quantiles: which, (quantiles,).
    """

    split: str
    epochs: npt.NDArray[np.int64]
    values: Floats
    quantiles: Floats


def learning_curves(table: Table, dataset: str, recipe: str, split: str = "valid") -> LearningCurves:
    """Quantiles of accuracy, epoch by epoch.

    Raises:
        MissingDataError: if the table has fewer than two epochs.
    """
    epochs = _several_epochs(table, dataset, recipe, split)
    by_epoch = [percent(table, dataset, recipe, split, epoch) for epoch in epochs]
    values = np.array([np.nanquantile(one, QUANTILES) for one in by_epoch]).T
    return LearningCurves(split, np.array(epochs), values, np.array(QUANTILES))


@dataclass(frozen=True)
class Stability:
    """How well the order of cells after an epoch agrees with that after the last.

    Attributes:
        epochs: (epochs,).
        judged_by: the split whose order after the last epoch counts.
        all: Spearman's correlation of validation accuracy with it over all cells, (epochs,).
        best: the same over the best tenth of cells.
    """

    epochs: npt.NDArray[np.int64]
    judged_by: str
    all: Floats
    best: Floats


def stability(table: Table, dataset: str, recipe: str) -> Stability:
    """As figure 5 of the NAS-Bench-201 paper: the ranking over the epochs.

    Raises:
        MissingDataError: if the table has fewer than two epochs.
    """
    epochs = _several_epochs(table, dataset, recipe, "valid")
    split = split_of(table, dataset, recipe)
    last = percent(table, dataset, recipe, split)
    best = last >= np.nanquantile(last, 1 - BEST)
    found = np.array(
        [
            (spearman(now, last), spearman(now[best], last[best]))
            for now in (percent(table, dataset, recipe, "valid", epoch) for epoch in epochs)
        ]
    )
    return Stability(np.array(epochs), split, found[:, 0], found[:, 1])


def _several_epochs(table: Table, dataset: str, recipe: str, split: str) -> tuple[int, ...]:
    epochs = table.epochs(dataset, recipe=recipe, split=split)
    if len(epochs) < 2:
        raise MissingDataError(
            f"table {table.name!r} has {split} accuracy of {dataset} after epoch {epochs[0]} alone, and no curves"
        )
    return epochs
