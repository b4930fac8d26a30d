"""Bayesian optimisation: a Gaussian process over all cells, and the one of highest expected improvement next.

Expected improvement is that of Jones, Schonlau and Welch (Journal of Global Optimization, 1998). The space is small
enough that the posterior of all 15,625 cells is kept, one row of a Cholesky factor a query, so that nothing is sampled.
"""

from __future__ import annotations

import importlib.util
import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from nb201_agents.searcher import Query, Task
from nb201_env import ALL_OPS, NUM_CELLS, PARAMS, Evaluation, NB201Error, checks

Floats = npt.NDArray[np.float64]

SIMILARITIES = (0.5, 0.65, 0.8, 0.9)
"""Candidates for the factor by which one different edge lowers the correlation of two cells."""

NOISES = (0.003, 0.03, 0.3)
"""Candidates for the share of the variance that is noise."""

PRIORS = ("constant", "params")

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
    """

    is_asynchronous: ClassVar[bool] = True

    def __init__(self, task: Task, rng: np.random.Generator, initial: int = 10, prior: str = "constant"):
        checks.one_of("prior", prior, PRIORS)
        if importlib.util.find_spec("scipy") is None:
            raise NB201Error("the agent gp needs scipy: pip install 'nb201-env[agents]'")
        self._rng, self._cells, self._initial = rng, task.cells, checks.whole("initial", initial, 2)
        self._told_cells: list[int] = []
        self._values: list[float] = []
        self._is_open = task.present.copy()
        self._trend = np.ones((NUM_CELLS, 1)) if prior == "constant" else _line(PARAMS)
        self._posterior = _Posterior(self._trend, SIMILARITIES[1], NOISES[1])
        self._choose_again_at = initial

    def ask(self) -> Query | None:
        """The unseen cell of highest expected improvement, ties at random; None when all were seen."""
        if not self._is_open.any():
            return None
        if len(self._values) < self._initial:
            return self._query(int(self._rng.choice(np.flatnonzero(self._is_open))))
        gain = self._posterior.expected_improvement(np.array(self._values))
        gain[~self._is_open] = -1.0
        best = np.flatnonzero(gain >= gain.max())
        return self._query(int(best[0] if best.size == 1 else self._rng.choice(best)))

    def _query(self, cell: int) -> Query:
        self._is_open[cell] = False  # also while it is not told yet, where several workers ask
        return Query(cell)

    def tell(self, result: Evaluation) -> None:
        """Condition the process on what was observed."""
        self._told_cells.append(result.index)
        self._values.append(result.accuracy)
        if len(self._values) == self._choose_again_at:
            self._choose_again_at *= 2
            self._choose()
        elif len(self._values) > self._initial:
            self._posterior.add(result.index)

    def _choose(self) -> None:
        """Take the similarity and the noise under which the observations are likeliest."""
        values, found = np.array(self._values), []
        for similarity in SIMILARITIES:
            for noise in NOISES:
                process = _Posterior(self._trend, similarity, noise, self._told_cells, whole=False)
                found.append((process.log_likelihood(values), similarity, noise))
        _, similarity, noise = max(found)
        self._posterior = _Posterior(self._trend, similarity, noise, self._told_cells)


def _line(values: npt.NDArray[np.int64]) -> Floats:
    """A constant and the rank of a value from 0 to 1, (15625, 2)."""
    ranks = np.unique(values, return_inverse=True)[1].astype(np.float64)
    return np.stack((np.ones(ranks.size), ranks / ranks.max()), axis=1)


class _Posterior:
    """The Cholesky factor of the observed cells' correlations, and its solve against those with all cells."""

    def __init__(
        self, trend: Floats, similarity: float, noise: float, cells: list[int] | None = None, whole: bool = True
    ):
        from scipy.linalg import solve_triangular
        from scipy.special import ndtr

        self._solve_triangular, self._normal = solve_triangular, ndtr
        self._powers = similarity ** np.arange(ALL_OPS.shape[1] + 1)
        self._trend, self._noise = trend, noise
        self._cells: list[int] = []
        capacity = 64
        self._factor, self._solved = np.zeros((capacity, capacity)), np.zeros((capacity, NUM_CELLS if whole else 0))
        self._explained = np.zeros(NUM_CELLS)  # share of each cell's variance that is known
        for cell in cells or ():
            self.add(cell)

    def add(self, cell: int) -> None:
        """Condition on one more cell."""
        count = len(self._cells)
        if count == len(self._factor):
            self._grow()
        whole = self._solved.shape[1] > 0
        known = np.array(self._cells, np.int64)
        others = self._powers[(ALL_OPS[known] != ALL_OPS[cell]).sum(axis=1)]
        row = self._solved[:count, cell] if whole else self._solve(others)
        pivot = math.sqrt(max(1.0 + self._noise - float(row @ row), 1e-12))
        self._factor[count, :count], self._factor[count, count] = row, pivot
        if whole:
            correlation = self._powers[(ALL_OPS[cell] != ALL_OPS).sum(axis=1)]
            new = (correlation - row @ self._solved[:count]) / pivot
            self._solved[count] = new
            self._explained += new * new
        self._cells.append(cell)

    def _grow(self) -> None:
        size = len(self._factor)
        self._factor = np.pad(self._factor, (0, size))
        self._solved = np.pad(self._solved, ((0, size), (0, 0)))

    def _solve(self, right: Floats) -> Floats:
        """The triangular factor's solve."""
        count = len(right)
        return np.asarray(self._solve_triangular(self._factor[:count, :count], right, lower=True, check_finite=False))

    def _scaled(self, values: Floats) -> tuple[Floats, float, Floats]:
        """Coefficients of the mean and the variance by generalised least squares, and the whitened residuals."""
        trend, whitened = self._solve(self._trend[self._cells]), self._solve(values)
        # of the small normal equations: LAPACK would share the tall system out among threads, which wait for each other
        slope = np.asarray(np.linalg.lstsq(trend.T @ trend, trend.T @ whitened, rcond=None)[0], np.float64)
        rest = whitened - trend @ slope
        return slope, max(float(rest @ rest) / len(values), 1e-12), rest

    def log_likelihood(self, values: Floats) -> float:
        """Of the observations, the mean and the variance being the likeliest, up to a constant."""
        _, variance, _ = self._scaled(values)
        diagonal = np.diagonal(self._factor)[: len(values)]
        return -0.5 * len(values) * math.log(variance) - float(np.log(diagonal).sum())

    def expected_improvement(self, values: Floats) -> Floats:
        """Of every cell over the best value, (15625,)."""
        slope, variance, rest = self._scaled(values)
        expected = self._trend @ slope + rest @ self._solved[: len(values)]
        deviation = np.sqrt(np.maximum(variance * (1.0 - self._explained), 1e-18))
        score = (expected - values.max()) / deviation
        density = np.exp(-0.5 * score * score) / _SQRT_2PI
        return np.asarray(deviation * (score * self._normal(score) + density))
