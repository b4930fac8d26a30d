"""A pairwise ranker of cells that is fitted again and again: it learns which of two cells is better, not by how much.

The model is RankNet's (Burges et al., ICML 2005): the better of two cells is the one of higher score with the
probability of a logistic function of the difference. The scores are a function in the space of a kernel, as in
preference learning with Gaussian processes (Chu and Ghahramani, ICML 2005). The search is that of WeakNAS (Wu et al.,
NeurIPS 2021): a weak predictor at a time, each made to sort out what the one before found best.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from nb201_agents.searcher import Task, require
from nb201_agents.searchers.batches import BatchSearcher
from nb201_agents.searchers.encodings import LIVE_OPS, path_summary
from nb201_env import NUM_CELLS, checks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

SIMILARITY = 0.8
"""Factor by which one different live edge lowers the similarity of two cells."""

LENGTH = 4.0
"""Distance, in standard deviations of the summary of paths, over which cells become unlike."""

PENALTY = 0.03
"""Of the scores' norm."""

_ROUNDS = 6  # of Newton's method


class Ranker(BatchSearcher):
    """Asks, batch after batch, for cells among those that the ranking so far has at the top.

    Args:
        task: what is searched; cells are seen at its last epoch.
        rng: source of all randomness.
        initial: number of random cells before the first ranking.
        batch: queries from one fit to the next.
        top: of how many unseen cells at the top the batch is drawn, but for its first half, which is the very top.
    """

    tuned_on: ClassVar[tuple[str, ...]] = ("cifar10",)

    def __init__(self, task: Task, rng: np.random.Generator, initial: int = 20, batch: int = 10, top: int = 40):
        require("ranker", "scipy")
        super().__init__(task, rng, initial, batch)
        self._top = checks.whole("top", top, batch)
        self._ranking = Ranking()

    def choose(self) -> list[int]:
        """The next batch, the first first."""
        scores = self._ranking.fit(np.array(self._cells), np.array(self._values))
        best = np.argsort(np.where(self._is_open, -scores, np.inf), kind="stable")
        best = best[: min(self._top, int(self._is_open.sum()))]
        sure = -(-self._batch // 2)
        drawn = self._rng.permutation(best[sure:])[: self._batch - sure]
        batch: list[int] = np.concatenate((best[:sure], drawn)).tolist()
        return batch


class Ranking:
    """A score of every cell, higher for better, from some observed ones."""

    def __init__(self) -> None:
        self._summary = path_summary()
        self._kernel = np.zeros((64, NUM_CELLS))  # of observed cells and all
        self._count = 0

    def fit(self, cells: Ints, values: Floats) -> Floats:
        """Scores of all cells, (15625,), by the order of the values of observed ones.

        The cells of the fit before must come first.
        """
        while len(self._kernel) < cells.size:
            self._kernel = np.pad(self._kernel, ((0, len(self._kernel)), (0, 0)))
        for row in range(self._count, cells.size):
            self._kernel[row] = self._similarity(cells[row])
        self._count = cells.size
        kernel = self._kernel[: cells.size]
        return np.asarray(np.einsum("ij,i->j", kernel, _coefficients(kernel[:, cells], values)))

    def _similarity(self, cell: int) -> Floats:
        """Of a cell to all, (15625,): by live edges, and by what paths are made of."""
        differ = (LIVE_OPS[cell] != LIVE_OPS).sum(axis=1)
        apart = self._summary[cell] - self._summary
        return np.asarray(SIMILARITY**differ + np.exp(np.einsum("ij,ij->i", apart, apart) / (-2.0 * LENGTH**2)))


def _coefficients(kernel: Floats, values: Floats) -> Floats:
    """Of the kernel's columns: the most likely scores of the observed cells, by Newton's method from 0.

    What is minimised over scores f = K a is the mean over the ordered pairs of log(1 + exp(f_worse - f_better)), times
    twice the number of cells, plus PENALTY a' K a / 2.
    """
    from scipy.linalg import lu_factor, lu_solve

    better = values[:, None] > values
    weight = 2.0 * values.size / max(int(better.sum()), 1)
    a = np.zeros(values.size)
    for _ in range(_ROUNDS):
        scores = np.einsum("ij,j->i", kernel, a)
        wrong = better / (1.0 + np.exp(np.clip(scores[:, None] - scores, -50.0, 50.0)))
        slope = weight * (wrong.sum(axis=0) - wrong.sum(axis=1))  # of the loss by the scores
        curve = weight * wrong * (1.0 - wrong)
        curve = curve + curve.T
        hessian = np.diag(curve.sum(axis=1)) - curve
        # the step d in a solves (H K + PENALTY) d = -(slope + PENALTY a)
        matrix = hessian @ kernel + PENALTY * np.eye(values.size)
        a = a - lu_solve(lu_factor(matrix), slope + PENALTY * a)
    return np.asarray(a)
