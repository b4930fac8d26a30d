"""What a supernet costs in a table's own seconds, modelled and never measured, so that a search is the same anywhere.

Where no op of a cell is none, every edge is computed, and how long a training takes is very nearly a sum: something for
the network around the edges, and something for the op of each edge. So a supernet's pass over an image costs what is
around, and the ops that the pass computes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nb201_env import ALL_OPS, EDGES, NUM_CELLS, OPS, NB201Error
from nb201_env.space import NONE, SKIP

Floats = npt.NDArray[np.float64]

PARTS = 1 + len(EDGES) * len(OPS)
"""Of a network's work: what is around the edges, and every op of every edge."""

EVALUATION = 1 / 3
"""A pass without its gradient, as a share of one with it: of three products of matrices one."""


def work_of(ops: npt.ArrayLike | None) -> Floats:
    """What a pass over one image computes, (31,): all ops of every edge, or one an edge."""
    work = np.ones(PARTS)
    if ops is not None:
        work[1:] = (np.asarray(ops)[:, None] == np.arange(len(OPS))).reshape(-1)
    return work


def seconds_of_parts(train_seconds: Floats, images: int) -> Floats:
    """Seconds of every part of a network for one image, forwards and backwards, (31,); none and skip cost nothing.

    By least squares over the cells without none; on the published table they explain 99 % of the seconds.

    Args:
        train_seconds: of every cell's training, (15625,), NaN where absent.
        images: how many images a training passes, repeats counted.

    Raises:
        NB201Error: if the seconds of too few cells are known.
    """
    trained = train_seconds if train_seconds.size else np.zeros(NUM_CELLS)
    known = np.isfinite(trained) & (trained > 0) & (ALL_OPS != NONE).all(axis=1)
    costs = ALL_OPS[known][:, :, None] == np.arange(SKIP + 1, len(OPS))
    design = np.concatenate((np.ones((len(costs), 1)), costs.reshape(len(costs), len(EDGES) * (len(OPS) - 2))), axis=1)
    if len(design) < design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        raise NB201Error(
            "the table does not say the seconds of enough cells to tell what a supernet costs: use one that has "
            "those of cells without none"
        )
    found = np.maximum(np.linalg.lstsq(design, trained[known], rcond=None)[0], 0.0)
    by_op = np.zeros((len(EDGES), len(OPS)))
    by_op[:, SKIP + 1 :] = found[1:].reshape(len(EDGES), -1)
    parts = np.concatenate((found[:1], by_op.reshape(-1))) / images
    return np.array([float(f"{one:.9g}") for one in parts])  # the last digits of least squares are the processor's
