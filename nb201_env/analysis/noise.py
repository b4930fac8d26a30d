"""How much accuracies differ where cells do not: between trials of a cell, and between cells that compute the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nb201_env.analysis.values import percent
from nb201_env.errors import MissingDataError
from nb201_env.space.isomorphism import representatives
from nb201_env.tables.table import Table

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """Deviations in points of percent, NaN where one value alone is known.

    Attributes:
        accuracy: mean validation accuracy in percent, (15625,).
        trials: sample standard deviation between the trials of each cell, (15625,).
        classes: sample standard deviation of mean accuracies within the isomorphism class of each cell, (15625,).
    """

    accuracy: Floats
    trials: Floats
    classes: Floats


def noise(table: Table, dataset: str, recipe: str) -> Noise:
    """Deviations of validation accuracy at the last epoch.

    Raises:
        MissingDataError: if the table has one trial a cell, or means alone.
    """
    if len(table.trials(dataset, recipe=recipe)) < 2:
        raise MissingDataError(
            f"table {table.name!r} has no cell of {dataset} with two trials, so nothing of their noise"
        )
    mean = percent(table, dataset, recipe, "valid")
    trials = 100.0 * table.accuracy(dataset, recipe=recipe, trial="all").astype(np.float64)
    known = np.isfinite(trials)
    count = known.sum(axis=1)
    squares = np.where(known, (trials - mean[:, None]) ** 2, 0.0).sum(axis=1)
    deviation = np.sqrt(np.where(count > 1, squares / np.maximum(count - 1, 1), np.nan))
    return Noise(mean, deviation, _within_classes(mean))


def _within_classes(values: Floats) -> Floats:
    """Sample deviation of the class of each cell, (15625,)."""
    of = representatives()
    known = np.isfinite(values)
    size = np.bincount(of[known], minlength=len(values))
    total = np.bincount(of[known], values[known], minlength=len(values))
    squares = np.bincount(of[known], values[known] ** 2, minlength=len(values))
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = (squares - total**2 / size) / (size - 1)
    return np.where(size[of] > 1, np.sqrt(np.maximum(variance, 0.0))[of], np.nan)
