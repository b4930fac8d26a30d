"""The whole search space of NAS-Bench-201 as arrays: edges, ops, official order, neighbours, parameters and MACs.

Row i of every array here, as of every table, is the cell whose official NAS-Bench-201 index is i.
"""

from __future__ import annotations

import random
import zlib
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.errors import InvalidCellError

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""The six edges as (source node, target node), in official order."""

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The names of the five operations; an op code is a position in this tuple."""

NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = range(5)

NUM_CELLS: int = len(OPS) ** len(EDGES)

# The value of each edge's op in a cell's rank, its number when all cells are listed in product order (last edge
# fastest).
_PLACES = 5 ** np.arange(5, -1, -1)


def _official_order() -> npt.NDArray[np.int64]:
    """The rank of each official index: product order shuffled by Python's generator, seed 88, as the authors did."""
    ranks = list(range(NUM_CELLS))
    random.Random(88).shuffle(ranks)
    order = np.array(ranks)
    if zlib.crc32(order.astype("<i2").tobytes()) != 0x1B65BFCD:
        raise RuntimeError("random.shuffle of this Python differs from CPython's: the official index order is lost")
    return order


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


_RANKS = _read_only(_official_order())
_INDEX_OF_RANK = _read_only(np.argsort(_RANKS))

ALL_OPS: npt.NDArray[np.uint8] = _read_only((_RANKS[:, None] // _PLACES % len(OPS)).astype(np.uint8))
"""Op codes of all cells, uint8 of shape (15625, 6)."""


def index_of(ops: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Official indices of cells given as op codes.

    Args:
        ops: integers from 0 to 4 of shape (..., 6).

    Returns:
        int64 of shape (...).

    Raises:
        InvalidCellError: for another shape or dtype, or a code outside 0..4.
    """
    codes = np.asarray(ops)
    if codes.shape[-1:] != (len(EDGES),) or not np.issubdtype(codes.dtype, np.integer):
        raise InvalidCellError(f"ops must be integers of shape (..., 6), got {codes.dtype} of shape {codes.shape}")
    if codes.size and (codes.min() < 0 or codes.max() >= len(OPS)):
        raise InvalidCellError(f"op codes must be 0 to 4, got {codes.min()} to {codes.max()}")
    return np.asarray(_INDEX_OF_RANK[codes @ _PLACES])


def _neighbors() -> npt.NDArray[np.int16]:
    moves = (ALL_OPS[:, :, None] + np.arange(1, len(OPS))) % len(OPS)
    moves.sort(axis=2)
    steps = (moves.astype(np.int64) - ALL_OPS[:, :, None]) * _PLACES[:, None]
    return _INDEX_OF_RANK[_RANKS[:, None, None] + steps].reshape(NUM_CELLS, -1).astype(np.int16)  # type: ignore[no-any-return]


NEIGHBORS: npt.NDArray[np.int16] = _read_only(_neighbors())
"""Indices of the 24 cells that differ in one edge, int16 of shape (15625, 24): edge by edge, ops ascending."""

_NUM_1X1: npt.NDArray[np.int64] = _read_only(np.count_nonzero(ALL_OPS == CONV_1X1, axis=1))
_NUM_3X3: npt.NDArray[np.int64] = _read_only(np.count_nonzero(ALL_OPS == CONV_3X3, axis=1))


def all_params(num_classes: int = 10, channels: int = 16, cells_per_stage: int = 5) -> npt.NDArray[np.int64]:
    """Trainable parameters of the network of every cell, int64 of shape (15625,).

    All six edges of a cell count, also those that cannot reach the output, because the network builds them. For the
    published network (16 channels, five cells a stage) this is
    73,306 + 65 (num_classes - 10) + 243,040 n(3x3) + 28,000 n(1x1).

    Args:
        num_classes: width of the final linear layer.
        channels: width of the first of the three stages; the second and third are twice and four times as wide.
        cells_per_stage: how often the cell is repeated in each stage.
    """
    widths = [channels, 2 * channels, 4 * channels]
    stem = 27 * channels + 2 * channels
    # A residual block has 3x3 convolutions a -> b and b -> b, each with batch norm, and a bare 1x1 shortcut a -> b.
    reductions = sum(9 * a * b + 9 * b * b + 4 * b + a * b for a, b in pairwise(widths))
    head = 2 * widths[-1] + (widths[-1] + 1) * num_classes
    conv_3x3 = cells_per_stage * sum(9 * w * w + 2 * w for w in widths)
    conv_1x1 = cells_per_stage * sum(w * w + 2 * w for w in widths)
    return stem + reductions + head + conv_3x3 * _NUM_3X3 + conv_1x1 * _NUM_1X1


def all_macs(
    num_classes: int = 10, image_size: int = 32, channels: int = 16, cells_per_stage: int = 5
) -> npt.NDArray[np.int64]:
    """Multiply-accumulates for one image of the network of every cell, int64 of shape (15625,).

    NAS-Bench-201 counts convolutions and the linear layer with its bias, nothing else, and calls the result FLOPs. For
    the published network this is 7,600 s^2 + 65 num_classes + s^2 (34,560 n(3x3) + 3,840 n(1x1)) at image size s.

    Raises:
        ValueError: if image_size is not a multiple of 4: the two reductions would not fit.
    """
    if image_size < 4 or image_size % 4:
        raise ValueError(f"image_size must be a positive multiple of 4, got {image_size}")
    widths = [channels, 2 * channels, 4 * channels]
    pixels = [image_size**2, image_size**2 // 4, image_size**2 // 16]
    stem = 27 * channels * pixels[0]
    reductions = sum(
        (9 * a * b + 9 * b * b + a * b) * p for (a, b), p in zip(pairwise(widths), pixels[1:], strict=True)
    )
    head = (widths[-1] + 1) * num_classes
    conv_1x1 = cells_per_stage * sum(w * w * p for w, p in zip(widths, pixels, strict=True))
    return stem + reductions + head + conv_1x1 * (9 * _NUM_3X3 + _NUM_1X1)


PARAMS: npt.NDArray[np.int64] = _read_only(all_params())
"""Trainable parameters of every cell's published CIFAR-10 network, int64 of shape (15625,)."""
