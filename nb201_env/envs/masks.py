"""Which ops are legal for the next edge: those from which some completion is an allowed cell."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.errors import NB201Error
from nb201_env.simulation.column import Column
from nb201_env.simulation.objectives import costs_of
from nb201_env.space import ALL_OPS, EDGES, NUM_CELLS, OPS
from nb201_env.space.isomorphism import representatives
from nb201_env.tables.schema import COLUMN_NAME

MASKS = ("none", "connected", "canonical", "unseen", "params<=X")
"""Instead of params, a limit may name another cost, or a column of the table's own."""

_POWERS = len(OPS) ** np.arange(len(EDGES) + 1)
_LEVELS = np.concatenate(([0], np.cumsum(_POWERS[1:])))
"""Where the prefixes of each length begin in a row of counts: those of one op at 0, of two at 5, …"""


def codes_of(ops: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Choices read as digits of base 5, the first edge's first: (…, n) ops to (…) codes of prefixes of length n."""
    return ops.astype(np.int64) @ _POWERS[: ops.shape[-1]][::-1]


INDEX_OF_CODE: npt.NDArray[np.int64] = np.argsort(codes_of(ALL_OPS))
"""Official index of the cell whose six choices make a code."""


def allowed_cells(mask: str, column: Column) -> npt.NDArray[np.bool_]:
    """Cells that are on offer and satisfy a mask's rule, by official index, bool (15625,).

    * none, unseen: all; what has been seen is taken out later by `LegalOps.remove`.
    * connected: some path of ops other than none leads from the input to the output.
    * canonical: one cell of each class of exactly equal ones (see `nb201_env.space.isomorphism`).
    * params<=X: at most X parameters on the data set, as in `params<=500000`; likewise macs, latency, train_seconds
      and the columns of the table's own, of which a cell without a value is not allowed.

    Raises:
        NB201Error: for an unknown mask, or one that leaves no cell.
    """
    allowed = np.zeros(NUM_CELLS, bool)
    allowed[_satisfying(mask, column)] = True
    allowed &= column.present
    if not allowed.any():
        raise NB201Error(f"mask {mask!r} leaves no cell{_least(mask, column)}")
    return allowed


def _satisfying(mask: str, column: Column) -> Any:
    """Cells that satisfy a mask's rule, as a selection of all."""
    if mask in ("none", "unseen"):
        return slice(None)
    if mask == "connected":
        e01, e02, e12, e03, e13, e23 = (ALL_OPS != 0).T
        return e03 | (e01 & e13) | ((e02 | (e01 & e12)) & e23)
    if mask == "canonical":
        cells = np.flatnonzero(column.present)
        return cells[np.unique(representatives("exact")[cells], return_index=True)[1]]
    limit = _LIMIT.fullmatch(mask)
    if limit is None or limit[1] == "error":
        raise NB201Error(f"mask must be one of {', '.join(MASKS)} with a number for X, got {mask!r}")
    return costs_of(limit[1], column) <= float(limit[2])


_LIMIT = re.compile(rf"({COLUMN_NAME.pattern})<=(\d+(?:\.\d*)?(?:e[-+]?\d+)?)")


def _least(mask: str, column: Column) -> str:
    """What a limit that leaves no cell would have to leave."""
    limit = _LIMIT.fullmatch(mask)
    if limit is None:
        return ""
    costs = costs_of(limit[1], column)[column.present]
    if np.isnan(costs).all():
        return f": none on offer has {limit[1]}"
    return f": those of {column.dataset} have {np.nanmin(costs):g} {limit[1]} and more"


class LegalOps:
    """Counts of allowed cells below every prefix of choices, for one search or for each of many lanes.

    Where no choice leads to an allowed cell, those are legal that lead to one on offer.

    Args:
        allowed: bool (15625,) by official index.
        offered: cells that are on offer, likewise.
        lanes: number of separate counts, which `remove` changes; None for one that all share.
    """

    def __init__(self, allowed: npt.NDArray[np.bool_], offered: npt.NDArray[np.bool_], lanes: int | None = None):
        self._fresh, self._offered = _counts(allowed), _counts(offered)
        self._counts = self._fresh.copy() if lanes is None else np.tile(self._fresh, (lanes, 1))

    def restore(self, lanes: npt.NDArray[np.integer] | None = None) -> None:
        """Undo every `remove`, for all or for some lanes."""
        self._counts[... if lanes is None else lanes] = self._fresh

    def remove(self, code: int | npt.NDArray[np.int64], lanes: npt.NDArray[np.integer] | None = None) -> None:
        """Allow the cell of a code no longer; it must be allowed now."""
        for length in range(1, len(EDGES) + 1):
            position = _LEVELS[length - 1] + code // _POWERS[len(EDGES) - length]
            if lanes is None:
                self._counts[position] -= 1
            else:
                self._counts[lanes, position] -= 1

    def after(self, edge: int | npt.NDArray[np.int64], code: int | npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        """Legal ops after a prefix, int8 (5,), or (lanes, 5) for arrays; all of them where none is, or nothing follows.

        Args:
            edge: length of the prefix, 0 to 6.
            code: of the prefix.
        """
        edges, codes = np.asarray(edge), np.asarray(code)
        ended = edges >= len(EDGES)
        start = np.where(ended, 0, _LEVELS[np.minimum(edges, len(EDGES) - 1)] + codes * len(OPS))
        positions = start[..., None] + np.arange(len(OPS))
        if self._counts.ndim == 1:
            legal = self._counts[positions] > 0
        else:
            legal = np.take_along_axis(self._counts, positions, axis=1) > 0
        legal |= ended[..., None]
        stuck = ~legal.any(axis=-1, keepdims=True)
        if stuck.any():
            legal = np.where(stuck, self._offered[positions] > 0, legal)
            legal |= ~legal.any(axis=-1, keepdims=True)
        return legal.astype(np.int8)


def _counts(cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
    """How many of some cells are below every prefix of choices, the shorter prefixes first."""
    by_code = cells[INDEX_OF_CODE]
    return np.concatenate([by_code.reshape(count, -1).sum(axis=1) for count in _POWERS[1:]]).astype(np.int16)
