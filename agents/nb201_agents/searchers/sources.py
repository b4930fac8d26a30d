"""Searches that begin with what other tables say: an order of cells, and two models that correct it.

The sources are the data sets of a table, `mini` unless another is named, but for the one that is searched. What they
say of a cell is its prior: the mean of its normal scores on them (see `nb201_env.simulation.family`), and that of its
parameter count. The models take the values of a search to be a scale times the sum of prior, a Gaussian process and
noise; the scale is the likeliest given what was observed. The defaults are the best of 24 random settings of each agent
over the data sets of `mini`, each held out in turn (`benchmarks/tune_sources.py`).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from nb201_agents.searcher import Query, Task, require
from nb201_agents.searchers.gaussian_process import Posterior, product
from nb201_env import EDGES, NUM_CELLS, PARAMS, Column, Evaluation, NB201Error, checks, open_table
from nb201_env.simulation.family import normal_scores, over_trials, standardised

Floats = npt.NDArray[np.float64]


@lru_cache(maxsize=8)
def source_scores(table: str, but: str) -> tuple[tuple[str, ...], Floats]:
    """Names and normal scores (n, 15625) of a table's data sets but one, at the last epochs of their only recipes."""
    opened = open_table(table)
    names = tuple(name for name in opened.datasets if name != but)
    if not names:
        raise NB201Error(f"the table {table} has no data set beside {but} that could be a source")
    columns = [Column.open(opened, name) for name in names]
    return names, np.stack([normal_scores(over_trials(column)[-1], column.present) for column in columns])


class SourceOrder:
    """Asks for each cell once, by falling prior, ties in random order.

    Args:
        task: what is searched.
        rng: source of all randomness.
        table: of the sources.
        params: share of parameter counts in the prior, from 0 to 1.
    """

    is_asynchronous: ClassVar[bool] = True

    def __init__(self, task: Task, rng: np.random.Generator, table: str = "mini", params: float = 0.42):
        self.pretrained_on, self._prior = _prior(task, table, params)
        self.knows = {str(table): open_table(str(table)).fingerprint}
        order = np.lexsort((rng.random(NUM_CELLS), -self._prior))
        self._order = iter(dict.fromkeys([*task.start, *order[task.present[order]].tolist()]))

    def ask(self) -> Query | None:
        """The next cell in order, None after the last."""
        cell = next(self._order, None)
        return None if cell is None else Query(cell)

    def tell(self, result: Evaluation) -> None:
        """Nothing is learnt."""


class _SourceModel:
    """What both models do: condition on observations, and ask for the unseen cell of highest acquisition."""

    is_asynchronous: ClassVar[bool] = True

    def __init__(
        self,
        task: Task,
        rng: np.random.Generator,
        correlations: Floats,
        table: str,
        params: float,
        deviation: float,
        noise: float,
    ):
        self.pretrained_on, prior = _prior(task, table, params)
        self.knows = {str(table): open_table(str(table)).fingerprint}
        for name, value in (("deviation", deviation), ("noise", noise)):
            checks.number(name, value, 1e-6, most=1e6)
        self._start = [cell for cell in reversed(task.start) if task.present[cell]]
        self._is_open, self._rng, self._prior = task.present.copy(), rng, prior
        self._process = _Corrected(prior, correlations, deviation, noise)

    def ask(self) -> Query | None:
        """The most promising unseen cell, ties at random; None when all were seen."""
        if not self._is_open.any():
            return None
        while self._start:
            if self._is_open[cell := self._start.pop()]:
                return self._query(cell)
        promise = self._promise() if self._process.is_informed else self._prior.copy()
        promise[~self._is_open] = -np.inf
        best = np.flatnonzero(promise >= promise.max())
        return self._query(int(best[0] if best.size == 1 else self._rng.choice(best)))

    def _promise(self) -> Floats:
        raise NotImplementedError

    def _query(self, cell: int) -> Query:
        self._is_open[cell] = False
        return Query(cell)

    def tell(self, result: Evaluation) -> None:
        """Condition the process on what was observed."""
        self._process.add(result.index, result.worth)


class RidgeSource(_SourceModel):
    """The prior, corrected by a ridge regression on edges and pairs of edges; the cell of highest mean is next.

    Ridge regression is a Gaussian process whose correlation is the share of features that two cells have in common,
    those of pairs weighted by a quarter as in `nb201_env.simulation.fields`.

    Args:
        task: what is searched.
        rng: source of all randomness.
        table: of the sources.
        params: share of parameter counts in the prior, from 0 to 1.
        deviation: of the correction, that of the prior being 1.
        noise: variance of the noise as a share of the correction's.
    """

    def __init__(
        self,
        task: Task,
        rng: np.random.Generator,
        table: str = "mini",
        params: float = 0.49,
        deviation: float = 1.44,
        noise: float = 0.74,
    ):
        super().__init__(task, rng, _common_features(), table, params, deviation, noise)

    def _promise(self) -> Floats:
        return self._process.mean()


class GPSource(_SourceModel):
    """The prior, corrected by a Gaussian process; the cell of highest expected improvement is next.

    Args:
        task: what is searched.
        rng: source of all randomness.
        table: of the sources.
        params: share of parameter counts in the prior, from 0 to 1.
        deviation: of the correction, that of the prior being 1.
        noise: variance of the noise as a share of the correction's.
        similarity: factor by which one different edge lowers the correlation of two cells.
    """

    def __init__(
        self,
        task: Task,
        rng: np.random.Generator,
        table: str = "mini",
        params: float = 0.44,
        deviation: float = 1.75,
        noise: float = 0.1,
        similarity: float = 0.56,
    ):
        require("gp-source", "scipy")
        checks.number("similarity", similarity, 0.0, most=1.0)
        super().__init__(task, rng, product(similarity), table, params, deviation, noise)

    def _promise(self) -> Floats:
        return self._process.expected_improvement()


class _Corrected(Posterior):
    """Values are `shift + scale · (prior + deviation · process)`: shift and scale are the likeliest.

    With whitened values y, prior m and constant, of which the constant is projected out of the others, twice the
    negative log likelihood is 2 (n - 1) ln s + |y - s m|^2 / (s d)^2, which is least where
    (n - 1) s^2 + (y·m / d^2) s - |y|^2 / d^2 = 0.
    """

    def __init__(self, prior: Floats, correlations: Floats, deviation: float, noise: float):
        super().__init__(np.stack((np.ones(NUM_CELLS), prior), axis=1), correlations, noise)
        self._deviation = deviation

    @property
    def is_informed(self) -> bool:
        """Whether anything was observed."""
        return self._count > 0

    def mean(self) -> Floats:
        """Of every cell, (15625,)."""
        return self._mean()[0]

    def _fit(self) -> tuple[Floats, float, Floats]:
        constant, prior, values = self._whitened[: self._count].T
        size = np.einsum("i,i->", constant, constant).item()

        def centred(one: Floats) -> Floats:
            return np.asarray(one - constant * (np.einsum("i,i->", constant, one).item() / size))

        y, m, square = centred(values), centred(prior), self._deviation**2
        along, length = (np.einsum("i,i->", y, other).item() / square for other in (m, y))
        more = self._count - 1
        scale = (math.sqrt(along * along + 4.0 * more * length) - along) / (2.0 * more) if more else 1.0
        scale = max(scale, 1e-9)
        shift = np.einsum("i,i->", constant, values - scale * prior).item() / size
        slope = np.array([shift, scale])
        return slope, (scale * self._deviation) ** 2, values - shift * constant - scale * prior


def _prior(task: Task, table: str, params: float) -> tuple[tuple[str, ...], Floats]:
    """Names of the sources, and the prior of every cell, standardised, (15625,)."""
    share = checks.number("params", params, 0.0, most=1.0)
    names, scores = source_scores(str(table), task.dataset)
    sources = standardised(scores.mean(axis=0), task.present)
    return names, standardised((1.0 - share) * sources + share * normal_scores(PARAMS, task.present), task.present)


def _common_features() -> Floats:
    """Share of features, one an edge and a quarter a pair, that cells have in common by the edges that differ, (7,)."""
    same = len(EDGES) - np.arange(len(EDGES) + 1)
    common = same + 0.25 * same * (same - 1) / 2
    return np.asarray(common / common[0])
