"""The search space: one cell, all cells as arrays, and which cells are the same."""

from nb201_env.space.arrays import (
    ALL_OPS,
    AVG_POOL,
    CONV_1X1,
    CONV_3X3,
    EDGES,
    NEIGHBORS,
    NONE,
    NUM_CELLS,
    OPS,
    PARAMS,
    SKIP,
    all_macs,
    all_params,
    index_of,
)
from nb201_env.space.cell import Cell

__all__ = [
    "ALL_OPS",
    "AVG_POOL",
    "CONV_1X1",
    "CONV_3X3",
    "EDGES",
    "NEIGHBORS",
    "NONE",
    "NUM_CELLS",
    "OPS",
    "PARAMS",
    "SKIP",
    "Cell",
    "all_macs",
    "all_params",
    "index_of",
]
