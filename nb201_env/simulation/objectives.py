"""What a cell costs beside its error: weights and limits that shape a reward, and the vector of all objectives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.errors import MissingDataError, NB201Error
from nb201_env.simulation.column import Column
from nb201_env.space import NUM_CELLS
from nb201_env.tables.schema import COLUMN_NAME

Floats = npt.NDArray[np.float64]

_MOST_WEIGHT, _MOST_EXCESS = 1e6, 1e9

OBJECTIVES = ("error", "params", "macs", "latency", "train_seconds")
"""Those that every table may know; columns of a table's own are others."""


class Objectives:
    """Several objectives of a search over one column of a table, all to be made small.

    * error: 1 less the observed accuracy.
    * params, macs, latency (seconds a batch of 256), train_seconds (through the search's epoch): see
      `nb201_env.tables.table.Table`.
    * a column of the table's own, by its name, in its unit.

    Args:
        wanted: for each objective a weight, or a limit as in `"<=500000"`.
        column: that is searched.

    Attributes:
        names: of the objectives, in the order in which they were given.

    Raises:
        NB201Error: for an unknown objective, or what is neither a weight from 0 nor a limit above 0.
        MissingDataError: if the table does not know an objective of every cell.
    """

    def __init__(self, wanted: Mapping[str, float | str], column: Column):
        wanted = checked_objectives(wanted)
        self.names = tuple(wanted)
        self._weights = np.array([0.0 if isinstance(value, str) else value for value in wanted.values()])
        self._limits = np.array(
            [_limit(name, value) if isinstance(value, str) else np.inf for name, value in wanted.items()]
        )
        self._costs = np.stack([costs_of(name, column) for name in wanted], axis=1)
        for name, costs in zip(wanted, self._costs[column.present].T, strict=True):
            if missing := np.count_nonzero(np.isnan(costs)):
                raise MissingDataError(f"{missing} cells of {column.dataset} have no {name}: leave that objective out")
            if name != "error" and not 0.0 <= costs.min() <= costs.max() > 0.0:
                raise NB201Error(
                    f"an objective is to be made small, from 0, but {name} is from {costs.min():g} to {costs.max():g}"
                )
        self._is_error = np.array([name == "error" for name in wanted])
        with np.errstate(invalid="ignore"):
            too_low = np.nanmax(self._costs[column.present], axis=0) > _MOST_EXCESS * self._limits
        if too_low.any():
            name = self.names[int(too_low.argmax())]
            raise NB201Error(f"the limit of {name} is less than a billionth of what the dearest cell has: raise it")
        self._largest = np.where(self._is_error, 1.0, np.nanmax(self._costs, axis=0))

    def vector(self, index: npt.ArrayLike, accuracy: npt.ArrayLike) -> Floats:
        """All objectives of cells with observed accuracies, in natural units, negated: larger is better, (…, k)."""
        return -self._costs_of(index, accuracy)

    def score(self, value: npt.ArrayLike, index: npt.ArrayLike, accuracy: npt.ArrayLike) -> Floats:
        """What a cell is worth whose accuracy alone is worth `value`.

        From the value, each weight times its objective is taken, as a share of the largest in the table. A cell beyond
        a limit is worth less than nothing: minus the sum of the shares by which it exceeds them.
        """
        costs = self._costs_of(index, accuracy)
        worth = np.asarray(value) - (self._weights * costs / self._largest).sum(axis=-1)
        excess = np.maximum(0.0, costs / self._limits - 1.0).sum(axis=-1)
        return np.asarray(np.where(excess > 0, -excess, worth))

    def _costs_of(self, index: npt.ArrayLike, accuracy: npt.ArrayLike) -> Floats:
        error = 1.0 - np.asarray(accuracy, np.float64)
        return np.asarray(np.where(self._is_error, error[..., None], self._costs[np.asarray(index)]), np.float64)


def checked_objectives(wanted: object) -> dict[str, float | str]:
    """Objectives with their weights as floats and their limits as they are; the table says which names there are.

    Raises:
        NB201Error: for what is neither a weight from 0 nor a limit above 0.
    """
    if not isinstance(wanted, Mapping):
        raise NB201Error(
            f"objectives must be a dict of {', '.join(OBJECTIVES)}, or columns of the table, got {checks.shown(wanted)}"
        )
    checked: dict[str, float | str] = {}
    for name, value in wanted.items():
        if not isinstance(name, str) or not COLUMN_NAME.fullmatch(name):
            raise NB201Error(f"unknown objectives {checks.shown(name)}; known are {', '.join(OBJECTIVES)}")
        if isinstance(value, str):
            _limit(name, value)
            checked[name] = value
        else:
            fix = ", or a limit '<=X'"
            checked[name] = checks.number(f"the weight of {name}", value, 0.0, most=_MOST_WEIGHT, fix=fix)
    return checked


def _limit(name: str, text: str) -> float:
    found = re.fullmatch(r"<=\s*(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)", text)
    if found is None or float(found[1]) <= 0:
        raise NB201Error(f"the limit of {name} must be '<=X' with X above 0, or a weight, got {text!r}")
    return float(found[1])


def costs_of(name: str, column: Column) -> Floats:
    """What all cells cost, by the name of an objective, (15625,).

    Raises:
        NB201Error: if there is no objective of that name.
        MissingDataError: if the table does not know it.
    """
    table, dataset = column.table, column.dataset
    if name == "error":
        return np.zeros(NUM_CELLS)
    if name == "train_seconds":
        return np.asarray(column.train[-1])
    if name in OBJECTIVES:
        return np.asarray(getattr(table, name)(dataset), np.float64)
    if name not in (own := table.own_columns(dataset)):
        raise NB201Error(f"unknown objectives {checks.shown(name)}; known are {', '.join((*OBJECTIVES, *own))}")
    return table.own_column(dataset, name)


def worth_of_all(objectives: Objectives | None, column: Column) -> npt.NDArray[Any]:
    """What every cell is worth by each of its trials and at each rung, shaped as `column.accuracy`."""
    if objectives is None:
        return column.accuracy
    accuracy = column.accuracy.astype(np.float64)
    return objectives.score(accuracy, np.arange(NUM_CELLS)[:, None], accuracy)
