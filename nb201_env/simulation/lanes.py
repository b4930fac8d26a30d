"""Many searches at once as arrays: what `Oracle` and its clock are to one search, `LaneSearches` is to each lane.

A lane sees the same accuracies, pays the same seconds and ends at the same query as an `Oracle` of its seed would. With
`trial="per-query"`, draws come from one generator for all lanes and are the same only in distribution.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.simulation.oracle import NO_TRIAL, Oracle, drawn_trials
from nb201_env.space import NUM_CELLS

_CELLS = np.arange(NUM_CELLS)
_BITS = (1 << np.arange(8)).astype(np.uint8)

Lanes = npt.NDArray[np.intp]
Arrays = dict[str, npt.NDArray[Any]]


class LaneSearches:
    """One search in each lane.

    Args:
        oracle: names the column, the rules of the clock and the kind of trial; it is not queried.
        lanes: how many.

    Attributes:
        exhausted: which searches have ended, bool (lanes,).
    """

    def __init__(self, oracle: Oracle, lanes: int):
        self._oracle, self.lanes = oracle, lanes
        self._train, self._eval = oracle.seconds_at(oracle.epoch)
        self._full = self._train + self._eval
        # accuracies and numbers of each cell's trials, those present first, one cell after the other; in the smallest
        # types, because reading scattered cells from memory is most of what a query costs
        order, count = oracle.available
        drawn = oracle.trial in ("per-search", "per-query")
        values = np.take_along_axis(oracle.by_trial(oracle.epoch), order, axis=1) if drawn else oracle.values(_CELLS)
        self._values = np.ascontiguousarray(values).reshape(-1)
        self._order, self._trials = order.astype(np.int16).reshape(-1), order.shape[1]
        self._count = count.astype(np.int16)
        self._rng = np.random.default_rng(0)
        self._seeds = np.zeros(lanes, np.uint64)
        self._seen = np.zeros((lanes, -(-NUM_CELLS // 8)), np.uint8)  # one bit a cell
        self._row = np.arange(lanes) * self._seen.shape[1]
        self.seconds_used = np.zeros(lanes)
        self.n_queries = np.zeros(lanes, np.int64)
        self.n_distinct = np.zeros(lanes, np.int64)
        self.exhausted = np.zeros(lanes, bool)
        self.incumbent_index = np.full(lanes, -1)
        self._best = np.full(lanes, -1.0)  # the incumbents' accuracies, -1 before any

    def new_search(self, lanes: Lanes, seeds: npt.NDArray[np.uint64]) -> None:
        """Start some lanes again, at second 0."""
        if lanes.size == self.lanes:
            self._seen = np.zeros_like(self._seen)  # fresh pages cost nothing until they are written
        else:
            self._seen[lanes] = 0
        self._seeds[lanes] = seeds
        self._rng = np.random.default_rng(seeds)
        for counter in (self.seconds_used, self.n_queries, self.n_distinct, self.exhausted):
            counter[lanes] = 0
        self.incumbent_index[lanes] = self._best[lanes] = -1

    def seen(self, index: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
        """Which of some cells of each lane, (lanes, n), its search has observed."""
        bits = np.take_along_axis(self._seen, (index >> 3).astype(np.intp), axis=1)
        return np.asarray((bits >> (index & 7).astype(np.uint8)) & 1 != 0)

    def query(self, lanes: Lanes, index: npt.NDArray[np.int64]) -> Arrays:
        """Query one cell in each of some lanes whose searches have not ended.

        Args:
            lanes: ascending, each once.
            index: of the cell in each.

        Returns:
            accuracy (float64), query_seconds, trial, observed and repeat, each of the lanes' length.
        """
        clock = self._oracle.clock
        whole = lanes.size == self.lanes
        place = (index >> 3) + (self._row if whole else self._row.take(lanes))
        all_seen, bit = self._seen.reshape(-1), _BITS.take(index & 7)
        seen = all_seen.take(place)
        repeat = (seen & bit) != 0
        price = self._full.take(index)
        if clock.charge != "fresh":
            price = np.where(repeat, 0.0 if clock.charge == "cached" else self._eval.take(index), price)
        accuracy, trial = self._observe(lanes, index)
        # where all lanes are concerned, slices stand for their numbers, which is several times faster
        fits: Any = slice(None)
        paid: Any = slice(None) if whole else lanes
        observed = np.ones(lanes.size, bool)
        if clock.budget is not None and clock.overrun == "stop-before":
            observed = self.seconds_used[paid] + price <= clock.budget
            if not observed.all():
                fits, paid = observed, lanes[observed]
                self.exhausted[lanes[~observed]] = True
                accuracy, price, trial = accuracy * observed, price * observed, np.where(observed, trial, NO_TRIAL)
        self.seconds_used[paid] += price[fits]
        self.n_queries[paid] += 1
        if clock.budget is not None and clock.overrun == "stop-after":
            self.exhausted[paid] |= self.seconds_used[paid] >= clock.budget
        if clock.max_queries is not None:
            self.exhausted[paid] |= self.n_queries[paid] == clock.max_queries
        self.n_distinct[paid] += ~repeat[fits]
        all_seen[place[fits]] = (seen | bit)[fits]
        self._raise_incumbents(paid, index[fits], accuracy[fits])
        return {
            "accuracy": accuracy,
            "query_seconds": price,
            "trial": trial,
            "observed": observed,
            "repeat": repeat,
        }

    def _raise_incumbents(self, lanes: Any, index: npt.NDArray[np.int64], accuracy: npt.NDArray[np.float64]) -> None:
        better = accuracy > self._best[lanes]
        if isinstance(lanes, slice):
            np.copyto(self.incumbent_index, index, where=better)
            np.maximum(self._best, accuracy, out=self._best)
        else:
            self.incumbent_index[lanes[better]] = index[better]
            self._best[lanes[better]] = accuracy[better]

    @property
    def incumbent_accuracy(self) -> npt.NDArray[np.float64]:
        """Of each search, 0 before any, as a new array."""
        return np.asarray(np.maximum(self._best, 0.0))

    def _observe(self, lanes: Lanes, index: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], Lanes]:
        """Accuracy and trial of one cell in each lane."""
        kind = self._oracle.trial
        if kind == "mean" or isinstance(kind, int):
            trial = np.full(lanes.size, kind if isinstance(kind, int) else NO_TRIAL)
            return self._values.take(index).astype(np.float64), trial
        count = self._count.take(index)
        if kind == "per-query":
            drawn = self._rng.integers(count)
        else:
            seeds = self._seeds if lanes.size == self.lanes else self._seeds.take(lanes)
            drawn = drawn_trials(seeds, index, count)
        place = index * self._trials + drawn
        return self._values.take(place).astype(np.float64), self._order.take(place).astype(np.intp)

    def accounts(self) -> Arrays:
        """Where every search stands, by the keys of an environment's info, as new arrays (lanes,)."""
        budget = self._oracle.clock.budget
        left = np.full(self.lanes, np.inf) if budget is None else np.maximum(0.0, budget - self.seconds_used)
        return {
            "seconds_used": self.seconds_used.copy(),
            "seconds_left": left,
            "incumbent_index": self.incumbent_index.copy(),
            "incumbent_accuracy": self.incumbent_accuracy,
            "n_queries": self.n_queries.copy(),
            "n_distinct": self.n_distinct.copy(),
            "budget_exhausted": self.exhausted.copy(),
        }


class SharedSearch:
    """One search whose workers are the lanes: queries are charged in lane order; see `LaneSearches` for the methods.

    Attributes:
        wall_seconds: simulated time on the wall, which advances by the slowest query of each wave.
    """

    def __init__(self, oracle: Oracle, lanes: int):
        self._oracle, self.lanes = oracle, lanes
        self.wall_seconds = 0.0

    @property
    def exhausted(self) -> npt.NDArray[np.bool_]:
        """The same for all lanes."""
        return np.full(self.lanes, self._oracle.exhausted)

    @property
    def incumbent_accuracy(self) -> npt.NDArray[np.float64]:
        """The same for all lanes."""
        return np.full(self.lanes, self._oracle.incumbent_accuracy)

    def new_search(self, lanes: Lanes, seeds: npt.NDArray[np.uint64]) -> None:
        """Start again with the first lane's seed."""
        self.wall_seconds = 0.0
        self._oracle.new_search(int(seeds[0]))

    def seen(self, index: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
        """Which cells the search has observed."""
        return self._oracle.seen(index)

    def query(self, lanes: Lanes, index: npt.NDArray[np.int64]) -> Arrays:
        """Query one cell in each of some lanes, one after the other."""
        found = [self._oracle.query(cell) for cell in index.tolist()]
        self.wall_seconds += max((one.seconds for one in found), default=0.0)
        return {
            "accuracy": np.array([one.accuracy for one in found], np.float64),
            "query_seconds": np.array([one.seconds for one in found], np.float64),
            "trial": np.array([one.trial for one in found], np.int64),
            "observed": np.array([one.observed for one in found], bool),
            "repeat": np.array([one.repeat for one in found], bool),
        }

    def accounts(self) -> Arrays:
        """Where the search stands, the same for all lanes."""
        oracle = self._oracle
        state = {
            "seconds_used": oracle.clock.seconds_used,
            "seconds_left": oracle.clock.seconds_left,
            "wall_seconds": self.wall_seconds,
            "incumbent_index": oracle.incumbent_index,
            "incumbent_accuracy": oracle.incumbent_accuracy,
            "n_queries": oracle.n_queries,
            "n_distinct": oracle.n_distinct,
            "budget_exhausted": oracle.exhausted,
        }
        return {key: np.full(self.lanes, value) for key, value in state.items()}
