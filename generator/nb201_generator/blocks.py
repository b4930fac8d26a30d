"""Cutting the space into blocks of cells that are trained together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from nb201_env import EDGES, NUM_CELLS, OPS, index_of

_FIELD = len(OPS)  # the five ops are the elements of GF(5): integers modulo 5

DIMENSION = 2
"""Of the code: blocks have 5^2 = 25 cells."""


def reed_solomon_blocks(dimension: int = DIMENSION) -> list[list[int]]:
    """The whole space in blocks of 5^dimension cells, in each of which every op stands equally often on every edge.

    A cell is a word of six symbols over GF(5). The blocks are the cosets of the [6, dimension] extended Reed-Solomon
    code, whose words are the values of a polynomial of lower degree than `dimension` at 0 to 4 and its leading
    coefficient. Each symbol of a code word takes every value equally often, and adding a constant word only permutes
    the values. So all blocks have the same shapes and cost, and one captured or compiled graph can serve them all.

    Returns:
        Official indices, ascending within each block.
    """
    coefficients = np.array(list(product(range(_FIELD), repeat=dimension)))
    points = np.array([[point**power for power in range(dimension)] for point in range(_FIELD)])
    code = np.hstack([coefficients @ points.T, coefficients[:, -1:]]) % _FIELD
    # Any `dimension` symbols of a word determine it, so words that are 0 on the first of them stand for the cosets.
    tails = product(range(_FIELD), repeat=len(EDGES) - dimension)
    return [sorted(index_of((code + np.array([0] * dimension + list(tail))) % _FIELD).tolist()) for tail in tails]


def blocks_of(cells: Sequence[int] | npt.NDArray[np.int64]) -> list[list[int]]:
    """Blocks for any set of cells: the whole space by the code, anything less in plain groups, ascending."""
    ordered = sorted(set(map(int, cells)))
    if len(ordered) == NUM_CELLS:
        return reed_solomon_blocks()
    size = _FIELD**DIMENSION
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]
