"""BOHB (Falkner, Klein and Hutter, ICML 2018): Hyperband whose new cells come from a model of good and bad ones.

Written after the authors' HpBandSter for six categorical parameters, in the settings of NAS-Bench-201's script. What
differs: HpBandSter lets the bandwidth of a categorical kernel grow beyond flatness, where densities become negative.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nb201_agents.searcher import Task
from nb201_agents.searchers.hyperband import Hyperband
from nb201_env import ALL_OPS, EDGES, OPS, Evaluation, checks, index_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_LEAST = len(EDGES) + 1  # observations on either side of a model
_GOOD_PERCENT = 15
_TINY = 1e-32
_MOST_BANDWIDTH = 1.0 - 1.0 / len(OPS)  # where a kernel is flat
_TRIES = 1_000  # to draw a cell on offer, before a uniform one is taken


class BOHB(Hyperband):
    """Kernel density estimates of the best 15 % and of the rest, at the highest rung that has enough observations.

    A cell is proposed by mutating a good one, an edge with the probability of its bandwidth; of `samples` such cells
    that of the highest ratio of densities is trained. With a single rung, as in NAS-Bench-201's paper, there is nothing
    to halve, and this is the model alone.

    Args:
        task: what is searched; its epochs are the rungs.
        rng: source of all randomness.
        eta: by which a rung's number of cells is divided.
        samples: proposals for each cell; the script has 4, HpBandSter's default is 64.
        random_fraction: share of cells that are drawn uniformly; the script has 0, HpBandSter's default is 1/3.
        min_bandwidth: of the kernels; the script has 0.3, HpBandSter's default is 0.001.
    """

    def __init__(
        self,
        task: Task,
        rng: np.random.Generator,
        eta: int = 3,
        samples: int = 4,
        random_fraction: float = 0.0,
        min_bandwidth: float = 0.3,
    ):
        self._samples = checks.whole("samples", samples, 1, 10_000)
        self._random_fraction = checks.number("random_fraction", random_fraction, 0.0, most=1.0)
        self._min_bandwidth = checks.number("min_bandwidth", min_bandwidth, 0.0, most=_MOST_BANDWIDTH)
        self._told: dict[int, list[tuple[float, int]]] = {epoch: [] for epoch in task.epochs}
        super().__init__(task, rng, eta)

    def tell(self, result: Evaluation) -> None:
        """Note the cell at its rung, and go on."""
        self._told[result.epoch].append((result.worth, result.index))
        super().tell(result)

    def first_cells(self, count: int) -> Iterator[int]:
        """Cells, each chosen when it is due, from what is known by then."""
        for _ in range(count):
            yield self._propose()

    def _propose(self) -> int:
        if (start := self._draws.started()) is not None:
            return start
        sides = self._sides()
        if sides is None or self._rng.random() < self._random_fraction:
            return self.random_cells(1)[0]
        good, bad = sides
        widths = self._bandwidths(good), self._bandwidths(bad)
        for _ in range(_TRIES):
            drawn = np.array([self._mutated(good, widths[0]) for _ in range(self._samples)])
            ratio = np.maximum(_density(drawn, bad, widths[1]), _TINY) / np.maximum(
                _density(drawn, good, widths[0]), _TINY
            )
            cell = int(index_of(drawn[ratio.argmin()]))
            if self._task.present[cell]:
                return cell
        return self.random_cells(1)[0]

    def _sides(self) -> tuple[Ints, Ints] | None:
        """Ops of good and of bad cells at the highest rung that has enough of both, (n, 6); None if none has."""
        for epoch in reversed(self._task.epochs):
            told = self._told[epoch]
            if len(told) > _LEAST + 1:
                order = sorted(range(len(told)), key=lambda number: -told[number][0])
                ops = ALL_OPS[[told[number][1] for number in order]].astype(np.int64)
                num_good = max(_LEAST, _GOOD_PERCENT * len(told) // 100)
                num_bad = max(_LEAST, (100 - _GOOD_PERCENT) * len(told) // 100)
                return ops[:num_good], ops[num_good : num_good + num_bad]
        return None

    def _bandwidths(self, ops: Ints) -> Floats:
        """Of each edge: the normal reference rule on op codes, as in HpBandSter, within the least and the most."""
        rule = 1.06 * ops.std(axis=0) * len(ops) ** (-1.0 / (4 + len(EDGES)))
        return np.asarray(np.clip(rule, self._min_bandwidth, _MOST_BANDWIDTH))

    def _mutated(self, good: Ints, width: Floats) -> Ints:
        ops: Ints = good[self._rng.integers(len(good))].copy()
        changes = self._rng.random(len(EDGES)) >= 1.0 - width
        ops[changes] = self._rng.integers(len(OPS), size=int(changes.sum()))
        return ops


def _density(at: Ints, ops: Ints, width: Floats) -> Floats:
    """Product kernel density (Aitchison and Aitken, 1976) of some ops (n, 6), from observed ones (m, 6)."""
    equal = at[:, None] == ops
    kernels = np.where(equal, 1.0 - width, width / (len(OPS) - 1))
    return np.asarray(kernels.prod(axis=2).mean(axis=1))
