"""One search with many workers in step: what `Ledger` is to many searches, with an `Oracle` for all rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.simulation.column import Column
from nb201_env.simulation.ledger import Arrays, Bools, Floats, Found, Rows
from nb201_env.simulation.oracle import Evaluation, Oracle
from nb201_env.simulation.rules import Rules


class SharedSearch:
    """One search whose workers are the rows: queries are charged in row order; see `Ledger` for the methods.

    Attributes:
        on_query: called with every query that observes something; None for nothing.
        wall_seconds: simulated time on the wall, which advances by the slowest query of each wave; see `new_wave`.
    """

    def __init__(self, column: Column, rules: Rules, rows: int):
        self._oracle, self.rows, self.is_partial = Oracle(column, rules), rows, column.is_partial
        self.wall_seconds = self._wave_began = 0.0
        self.on_query: Callable[[Evaluation], None] | None = None

    @property
    def exhausted(self) -> Bools:
        """The same for all rows."""
        return np.full(self.rows, self._oracle.exhausted)

    def incumbent_accuracy(self, rows: Rows) -> Floats:
        """The same for all rows."""
        return np.full(rows.size, self._oracle.incumbent_accuracy)

    def new_search(self, rows: Rows, seeds: npt.NDArray[np.uint64]) -> None:
        """Start again with the first row's seed."""
        self.wall_seconds = self._wave_began = 0.0
        self._oracle.new_search(int(seeds[0]))

    def new_wave(self) -> None:
        """Queries from now on begin when all before have ended."""
        self._wave_began = self.wall_seconds

    def seen(self, rows: Rows, cells: npt.NDArray[np.integer[Any]]) -> Bools:
        """Which cells the search has observed."""
        return self._oracle.seen(cells)

    def refuse_absent(self, rows: Rows, cells: npt.NDArray[np.int64]) -> None:
        """Raise MissingDataError if the column does not have all cells on offer."""
        self._oracle.column.refuse_absent(cells)

    def query(self, rows: Rows, cells: npt.NDArray[np.int64]) -> Found:
        """Query one cell in each of some rows, one after the other."""
        oracle = self._oracle
        self.refuse_absent(rows, cells)
        found, rise = [], np.zeros(rows.size)
        for number, cell in enumerate(cells.tolist()):
            before = oracle.incumbent_worth
            found.append(oracle.query(cell))
            rise[number] = oracle.incumbent_worth - before
            if self.on_query is not None and found[-1].observed:
                self.on_query(found[-1])
        slowest = max((one.seconds for one in found), default=0.0)
        self.wall_seconds = max(self.wall_seconds, self._wave_began + slowest)
        trial = np.array([one.trial for one in found], np.int64)
        repeat = np.array([one.repeat for one in found], bool)
        return Found(
            np.array([one.accuracy for one in found], np.float64),
            np.array([one.seconds for one in found], np.float64),
            trial,
            np.array([one.observed for one in found], bool),
            repeat,
            rise,
            self._places(cells, trial),
            repeat - 1,
            np.array([one.worth for one in found], np.float64),
        )

    def _places(self, cells: npt.NDArray[np.int64], trial: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        column = self._oracle.column
        if not column.is_drawn:
            return cells
        position = (column.order[cells] == trial[:, None]).argmax(axis=1)
        return np.asarray(cells * column.numbers.size + position)

    def accounts(self, rows: Rows) -> Arrays:
        """Where the search stands, the same for all rows."""
        oracle = self._oracle
        state = {
            "seconds_used": oracle.seconds_used,
            "seconds_left": oracle.seconds_left,
            "wall_seconds": self.wall_seconds,
            "incumbent_index": oracle.incumbent_index,
            "incumbent_accuracy": oracle.incumbent_accuracy,
            "n_queries": oracle.n_queries,
            "n_distinct": oracle.n_distinct,
            "budget_exhausted": oracle.exhausted,
        }
        return {key: np.full(rows.size, value) for key, value in state.items()}
