"""What models of accuracy see of a cell: its ops, the ops that matter, and the paths from input to output."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nb201_env import ALL_OPS, EDGES, NUM_CELLS, OPS, PARAMS

Floats = npt.NDArray[np.float64]

NONE = OPS.index("none")


def _paths() -> list[tuple[int, ...]]:
    """Edges of each of the four ways from the first node to the last."""
    found: list[tuple[int, ...]] = []
    open_: list[tuple[int, ...]] = [(edge,) for edge, (source, _) in enumerate(EDGES) if source == 0]
    while open_:
        path = open_.pop()
        end = EDGES[path[-1]][1]
        if end == 3:
            found.append(path)
        open_ += [(*path, edge) for edge, (source, _) in enumerate(EDGES) if source == end]
    return sorted(found, key=lambda path: (len(path), path))


PATHS = _paths()


def _live_paths() -> npt.NDArray[np.bool_]:
    return np.stack([(ALL_OPS[:, path] != NONE).all(axis=1) for path in PATHS], axis=1)


def _live_ops() -> npt.NDArray[np.uint8]:
    reached = np.zeros((NUM_CELLS, len(EDGES)), bool)
    for path, live in zip(PATHS, _live_paths().T, strict=True):
        reached[:, path] |= live[:, None]
    return np.where(reached, ALL_OPS, np.uint8(NONE))


LIVE_OPS = _live_ops()
"""Ops of every cell, (15625, 6), none on edges through which nothing flows from input to output."""


def path_encoding() -> Floats:
    """Which sequences of ops a cell's live paths have, as 0 and 1: the encoding of BANANAS (White et al., AAAI 2021).

    One column for each sequence of one, two or three ops but none; (15625, 4 + 16 + 64).
    """
    width, lengths = len(OPS) - 1, sorted({len(path) for path in PATHS})
    first = dict(zip(lengths, np.cumsum([0] + [width**length for length in lengths]).tolist(), strict=False))
    encoded = np.zeros((NUM_CELLS, sum(width**length for length in lengths)))
    for path, live in zip(PATHS, _live_paths().T, strict=True):
        powers = width ** np.arange(len(path))[::-1]
        code = (ALL_OPS[:, path].astype(np.int64) - 1) @ powers
        encoded[np.flatnonzero(live), first[len(path)] + code[live]] = 1.0
    return encoded


def path_summary() -> Floats:
    """Of every live path how often it has each op, the depth in convolutions, and parameters; standardised, (15625, n).

    The depth is the number of convolutions on the path that has most of them; parameters are by their logarithm.
    """
    columns = []
    convolutions = []
    for path, live in zip(PATHS, _live_paths().T, strict=True):
        counts = [live * (ALL_OPS[:, path] == op).sum(axis=1) for op in range(len(OPS)) if op != NONE]
        columns += [live, *counts]
        convolutions.append(counts[OPS.index("nor_conv_1x1") - 1] + counts[OPS.index("nor_conv_3x3") - 1])
    columns += [np.max(convolutions, axis=0), np.sum(convolutions, axis=0), _live_paths().sum(axis=1), np.log(PARAMS)]
    table = np.stack(columns, axis=1).astype(np.float64)
    return np.asarray((table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-9))
