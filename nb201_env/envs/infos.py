"""Batched info in Gymnasium's way: arrays by key, each with a mask `_key` of the lanes that it says something about.

Where a mask is False, its array is 0. Masks may be shared between keys and are never written to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nb201_env.simulation.ledger import Bools, Rows

Infos = dict[str, Any]


class Told(NamedTuple):
    """What is said about some lanes, ascending: arrays (n, …) by key."""

    rows: Rows
    values: dict[str, npt.NDArray[Any]]


def batched(told: Sequence[Told], lanes: int) -> Infos:
    """Infos of all lanes, of what is said about some; no lane is told one key twice."""
    if len(told) == 1 and told[0].rows.size == lanes:
        values, everywhere = told[0].values, np.ones(lanes, bool)
        return {**values, **{f"_{key}": everywhere for key in values}}
    infos: Infos = {}
    for rows, values in told:
        mask = np.zeros(lanes, bool)
        mask[rows] = True
        for key, some in values.items():
            if key in infos:
                infos[key][rows] = some
                infos[f"_{key}"] = infos[f"_{key}"] | mask
            elif rows.size == lanes:
                infos[key], infos[f"_{key}"] = some, mask
            else:
                infos[key] = np.zeros((lanes, *some.shape[1:]), some.dtype)
                infos[key][rows] = some
                infos[f"_{key}"] = mask
    return infos


def split(infos: Infos, rows: Rows) -> tuple[Infos, Infos]:
    """Infos as those of some lanes and those of the others."""
    some: Infos = {}
    others: Infos = {}
    masks: dict[int, tuple[Bools, Bools, bool, bool]] = {}  # of each mask, which many keys share, its two parts
    for key, values in infos.items():
        if key[0] == "_":
            continue
        told = infos[f"_{key}"]
        parts = masks.get(id(told))
        if parts is None:
            mine, rest = np.zeros(told.shape, bool), told.copy()
            mine[rows], rest[rows] = told[rows], False
            parts = masks[id(told)] = mine, rest, bool(mine.any()), bool(rest.any())
        mine, rest, has_mine, has_rest = parts
        if has_mine:
            some[key], some[f"_{key}"] = np.zeros(values.shape, values.dtype), mine
            some[key][rows] = values[rows]
        if has_rest:
            others[key], others[f"_{key}"] = values.copy(), rest
            others[key][rows] = 0
    return some, others


def added(infos: Infos, told: Sequence[Told], lanes: int) -> Infos:
    """Infos with what is said about further lanes; the arrays are changed, the masks are not."""
    for key, values in (more := batched(told, lanes)).items():
        if key[0] == "_":
            continue
        mask = more[f"_{key}"]
        if key in infos:
            infos[key][mask] = values[mask]
            infos[f"_{key}"] = infos[f"_{key}"] | mask
        else:
            infos[key], infos[f"_{key}"] = values, mask
    return infos
