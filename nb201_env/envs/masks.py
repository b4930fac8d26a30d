"""Which ops are legal for the next edge: those from which some completion is an allowed cell."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from nb201_env.errors import NB201Error
from nb201_env.space import ALL_OPS, EDGES, NUM_CELLS, OPS
from nb201_env.space.isomorphism import representatives
from nb201_env.tables.table import Table

MASKS = ("none", "connected", "canonical", "unseen", "params<=X")

_POWERS = len(OPS) ** np.arange(len(EDGES) + 1)
_LEVELS = np.concatenate(([0], np.cumsum(_POWERS[1:])))
"""Where the prefixes of each length begin in a row of counts: those of one op at 0, of two at 5, …"""


def codes_of(ops: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Choices read as digits of base 5, the first edge's first: (…, n) ops to (…) codes of prefixes of length n."""
    return ops.astype(np.int64) @ _POWERS[: ops.shape[-1]][::-1]


INDEX_OF_CODE: npt.NDArray[np.int64] = np.argsort(codes_of(ALL_OPS))
"""Official index of the cell whose six choices make a code."""


def allowed_cells(mask: str, table: Table, dataset: str) -> npt.NDArray[np.bool_]:
    """Cells that satisfy a mask's rule, by official index, bool (15625,).

    * none, unseen: all; what has been seen is taken out later by `LegalOps.remove`.
    * connected: some path of ops other than none leads from the input to the output.
    * canonical: one cell of each class of exactly equal ones (see `nb201_env.space.isomorphism`).
    * params<=X: at most X parameters on the data set, as in `params<=500000`.

    Raises:
        NB201Error: for an unknown mask, or a limit that no cell keeps.
    """
    if mask in ("none", "unseen"):
        return np.ones(NUM_CELLS, bool)
    if mask == "connected":
        e01, e02, e12, e03, e13, e23 = (ALL_OPS != 0).T
        connected: npt.NDArray[np.bool_] = e03 | (e01 & e13) | ((e02 | (e01 & e12)) & e23)
        return connected
    if mask == "canonical":
        return np.asarray(representatives("exact") == np.arange(NUM_CELLS))
    limit = re.fullmatch(r"params<=(\d+(?:\.\d*)?(?:e\d+)?)", mask)
    if limit is None:
        raise NB201Error(f"mask must be one of {', '.join(MASKS)} with a number for X, got {mask!r}")
    params = table.params(dataset)
    allowed = np.asarray(params <= float(limit[1]))
    if not allowed.any():
        raise NB201Error(f"mask {mask!r} leaves no cell: the smallest of {dataset} has {params.min()} parameters")
    return allowed


class LegalOps:
    """Counts of allowed cells below every prefix of choices, for one search or for each of many lanes.

    Args:
        allowed: bool (15625,) by official index.
        lanes: number of separate counts, which `remove` changes; None for one that all share.
    """

    def __init__(self, allowed: npt.NDArray[np.bool_], lanes: int | None = None):
        by_code = allowed[INDEX_OF_CODE]
        levels = [by_code.reshape(count, -1).sum(axis=1) for count in _POWERS[1:]]
        row = np.concatenate(levels).astype(np.int16)
        self._fresh = row
        self._counts = row.copy() if lanes is None else np.tile(row, (lanes, 1))

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
        return (legal | ended[..., None] | ~legal.any(axis=-1, keepdims=True)).astype(np.int8)
