"""Bayesian optimisation: a Gaussian process over all cells, and the one of highest expected improvement next.

Expected improvement is that of Jones, Schonlau and Welch (Journal of Global Optimization, 1998). The space is small
enough that the posterior of all 15,625 cells is kept, one row of a Cholesky factor a query; and a function is drawn
from the posterior (Thompson, Biometrika, 1933) by a draw from the prior, one small factor an edge, and Matheron's rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from nb201_agents.searcher import Draws, Query, Task, require
from nb201_env import ALL_OPS, NUM_CELLS, OPS, PARAMS, Evaluation, checks

Floats = npt.NDArray[np.float64]

SIMILARITIES = (0.5, 0.65, 0.8, 0.9)
"""Candidates for the factor by which one different edge lowers the correlation of two cells."""

NOISES = (0.003, 0.03, 0.3)
"""Candidates for the share of the variance that is noise."""

PRIORS = ("constant", "params")

ACQUISITIONS = ("improvement", "thompson")

_SQRT_2PI = math.sqrt(2.0 * math.pi)


class GaussianProcess:
    """Correlation `similarity` to the power of the number of edges that differ; mean and scale by least squares.

    With `prior="params"`, the mean is a line in the rank of a cell's parameter count, its slope by least squares too.

    Similarity and noise are those of highest marginal likelihood among a few, chosen anew whenever the number of
    observations has doubled.

    Args:
        task: what is searched; cells are seen at its last epoch.
        rng: source of all randomness.
        initial: number of random cells before the first model.
        prior: of the mean, `constant` or `params`.
        acquisition: `improvement`, the cell of highest expected improvement, or `thompson`, the best cell of a function
            drawn from the posterior.
    """

    is_asynchronous: ClassVar[bool] = True

    def __init__(
        self,
        task: Task,
        rng: np.random.Generator,
        initial: int = 10,
        prior: str = "constant",
        acquisition: str = "improvement",
    ):
        checks.one_of("prior", prior, PRIORS)
        checks.one_of("acquisition", acquisition, ACQUISITIONS)
        require("gp", "scipy")
        self._rng, self._draws, self._acquisition = rng, Draws(task, rng), acquisition
        self._initial = max(checks.whole("initial", initial, 2), len(task.start))
        self._asked: set[int] = set()
        self._told_cells: list[int] = []
        self._values: list[float] = []
        self._is_open = task.present.copy()
        self._trend = np.ones((NUM_CELLS, 1)) if prior == "constant" else _line(PARAMS)
        self._posterior = Posterior(self._trend, product(SIMILARITIES[1]), NOISES[1])
        self._choose_again_at = self._initial

    def ask(self) -> Query | None:
        """The unseen cell of highest expected improvement, ties at random; None when all were seen."""
        if not self._is_open.any():
            return None
        if len(self._values) < self._initial:
            return self._query(self._draws.cell(self._asked))
        is_drawn = self._acquisition == "thompson"
        gain = self._posterior.draw(self._rng) if is_drawn else self._posterior.expected_improvement()
        gain[~self._is_open] = -np.inf
        best = np.flatnonzero(gain >= gain.max())
        return self._query(int(best[0] if best.size == 1 else self._rng.choice(best)))

    def _query(self, cell: int) -> Query:
        self._asked.add(cell)
        self._is_open[cell] = False  # also while it is not told yet, where several workers ask
        return Query(cell)

    def tell(self, result: Evaluation) -> None:
        """Condition the process on what was observed."""
        self._told_cells.append(result.index)
        self._values.append(result.worth)
        if len(self._values) == self._choose_again_at:
            self._choose_again_at *= 2
            self._choose()
        elif len(self._values) > self._initial:
            self._posterior.add(result.index, result.worth)

    def _choose(self) -> None:
        """Take the similarity and the noise under which the observations are likeliest."""
        values = np.array(self._values)
        found = [
            (log_likelihood(self._trend, similarity, noise, self._told_cells, values), similarity, noise)
            for similarity in SIMILARITIES
            for noise in NOISES
        ]
        _, similarity, noise = max(found)
        self._posterior = Posterior(self._trend, product(similarity), noise, self._told_cells, self._values)


def _line(values: npt.NDArray[np.int64]) -> Floats:
    """A constant and the rank of a value from 0 to 1, (15625, 2)."""
    ranks = np.unique(values, return_inverse=True)[1].astype(np.float64)
    return np.stack((np.ones(ranks.size), ranks / ranks.max()), axis=1)


class Posterior:
    """A process over all cells, given some observations: one row of a Cholesky factor for each, solved against all.

    Sums over observations are made without BLAS, whose threads would make their last digits depend on the machine.

    Args:
        trend: columns of which the mean is a sum, (15625, p).
        correlations: of two cells by the number of edges that differ, (7,); see `product`.
        noise: share of the variance.
        cells: that were observed.
        values: of them.
    """

    def __init__(
        self, trend: Floats, correlations: Floats, noise: float, cells: Sequence[int] = (), values: Sequence[float] = ()
    ):
        self._trend, self._noise = trend, noise
        self._correlations = correlations
        self._cells: list[int] = []
        self._pivots: list[float] = []
        self._solved = np.zeros((64, NUM_CELLS))
        self._whitened = np.zeros((64, trend.shape[1] + 1))  # trend and values of the observed cells
        self._count = 0
        self._best = -np.inf
        self._explained = np.zeros(NUM_CELLS)  # share of each cell's variance that is known
        for cell, value in zip(cells, values, strict=True):
            self.add(cell, value)

    def add(self, cell: int, value: float) -> None:
        """Condition on one more observation."""
        count = self._count
        if count == len(self._solved):
            self._solved = np.pad(self._solved, ((0, count), (0, 0)))
            self._whitened = np.pad(self._whitened, ((0, count), (0, 0)))
        solved, whitened = self._solved[:count], self._whitened[:count]
        row = solved[:, cell].copy()
        pivot = math.sqrt(max(1.0 + self._noise - np.einsum("i,i->", row, row).item(), 1e-12))
        correlation = self._correlations[(ALL_OPS[cell] != ALL_OPS).sum(axis=1)]
        self._solved[count] = new = (correlation - np.einsum("i,ij->j", row, solved)) / pivot
        known = np.append(self._trend[cell], value)
        self._whitened[count] = (known - np.einsum("i,ij->j", row, whitened)) / pivot
        self._explained += new * new
        self._cells.append(cell)
        self._pivots.append(pivot)
        self._best = max(self._best, value)
        self._count += 1

    def _fit(self) -> tuple[Floats, float, Floats]:
        """Coefficients of the trend, the variance before any observation, and the whitened residuals."""
        return fitted(self._whitened[: self._count, :-1], self._whitened[: self._count, -1])

    def _mean(self) -> tuple[Floats, float]:
        """Of every cell, (15625,), and the variance before any observation."""
        slope, variance, rest = self._fit()
        mean = np.einsum("ij,j->i", self._trend, slope) + np.einsum("i,ij->j", rest, self._solved[: self._count])
        return np.asarray(mean), variance

    def draw(self, rng: np.random.Generator) -> Floats:
        """A function over all cells, drawn from the process given its observations; correlations must be `product`s."""
        from scipy.linalg import solve_triangular

        mean, variance = self._mean()
        count, similarity = self._count, self._correlations[1]
        one_edge = np.linalg.cholesky(similarity + (1.0 - similarity) * np.eye(len(OPS)))
        prior = rng.standard_normal((len(OPS),) * ALL_OPS.shape[1])
        for _ in range(prior.ndim):  # each edge's axis in turn comes first, is mixed, and goes last
            prior = np.moveaxis(np.einsum("ij,j...->i...", one_edge, prior), 0, -1)
        drawn = prior[tuple(ALL_OPS.T)]
        factor = np.tril(self._solved[:count, self._cells].T, -1) + np.diag(self._pivots)
        seen = drawn[self._cells] + math.sqrt(self._noise) * rng.standard_normal(count)
        whitened = solve_triangular(factor, seen, lower=True)
        return np.asarray(mean + math.sqrt(variance) * (drawn - np.einsum("i,ij->j", whitened, self._solved[:count])))

    def expected_improvement(self) -> Floats:
        """Of every cell over the best value, (15625,)."""
        from scipy.special import ndtr

        expected, variance = self._mean()
        deviation = np.sqrt(np.maximum(variance * (1.0 - self._explained), 1e-18))
        score = (expected - self._best) / deviation
        density = np.exp(-0.5 * score * score) / _SQRT_2PI
        return np.asarray(deviation * (score * ndtr(score) + density))


def product(similarity: float) -> Floats:
    """Correlations that each different edge lowers by a factor, (7,)."""
    return np.asarray(similarity ** np.arange(ALL_OPS.shape[1] + 1))


def fitted(trend: Floats, values: Floats) -> tuple[Floats, float, Floats]:
    """Coefficients of the mean, the variance and the residuals, by least squares of whitened trend and values."""
    gram, moment = np.einsum("ij,ik->jk", trend, trend), np.einsum("ij,i->j", trend, values)
    slope = np.asarray(np.linalg.lstsq(gram, moment, rcond=None)[0], np.float64)
    rest = values - np.einsum("ij,j->i", trend, slope)
    return slope, max(np.einsum("i,i->", rest, rest).item() / len(values), 1e-12), rest


def log_likelihood(trend: Floats, similarity: float, noise: float, cells: Sequence[int], values: Floats) -> float:
    """Of observations, the mean and the variance being the likeliest, up to a constant."""
    from scipy.linalg import solve_triangular

    ops = ALL_OPS[np.asarray(cells)]
    correlation = similarity ** (ops[:, None] != ops).sum(axis=2) + noise * np.eye(len(cells))
    factor = np.linalg.cholesky(correlation)
    whitened = solve_triangular(factor, np.column_stack((trend[np.asarray(cells)], values)), lower=True)
    _, variance, _ = fitted(whitened[:, :-1], whitened[:, -1])
    return -0.5 * len(values) * math.log(variance) - float(np.log(np.diagonal(factor)).sum())
