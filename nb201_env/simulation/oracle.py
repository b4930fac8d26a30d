"""One search: what it sees of a column, what that costs under its rules, and its incumbent. Never the test split.

oracle = Oracle.open("published", "cifar100", budget=200_000)
oracle.query(6111)                      # one charged query
oracle.evaluate([6111, 9930, 13714])    # a batch; what does not fit the budget is not observed
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.errors import InvalidCellError, NB201Error
from nb201_env.simulation.column import NO_TRIAL, Column
from nb201_env.simulation.objectives import Objectives, worth_of_all
from nb201_env.simulation.rules import Rules
from nb201_env.space import NUM_CELLS, Cell, index_of
from nb201_env.tables.table import Floats32, Floats64, Table


class Evaluation(NamedTuple):
    """One query.

    Attributes:
        index: the cell.
        epoch: at which it was evaluated.
        accuracy: fraction of correct images, 0 if not observed.
        seconds: charged for it, 0 if not observed.
        trial: which repeat training was seen, -1 for the mean over them.
        observed: False if the query did not fit the budget.
        repeat: whether the search had observed the cell before, at any epoch.
        worth: what a search maximises: the accuracy, less what objectives subtract; 0 if not observed.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    epoch: int
    accuracy: float
    seconds: float
    trial: int
    observed: bool
    repeat: bool
    worth: float


@dataclass(frozen=True)
class Evaluations:
    """A batch of queries as arrays of one length; the fields are those of `Evaluation`."""

    index: npt.NDArray[np.int64]
    accuracy: Floats32
    seconds: Floats64
    trial: npt.NDArray[np.int64]
    observed: npt.NDArray[np.bool_]


class Oracle:
    """One search over a column of a table: what it observes, its seconds and its incumbent.

    Args:
        column: what is searched, see `Column.open`.
        rules: budget, prices and end of the search; None for no limit and full prices.
        seed: of the draws of trials.

    Attributes:
        seconds_used: simulated GPU-seconds charged so far.
        n_queries: number of observed queries, free ones included.
        n_distinct: number of different cells observed.
        exhausted: whether the search has ended.
        incumbent_index: the cell that the search would recommend, -1 before any query: of those observed at the highest
            rung, the one of highest worth, the first of equals. Worth is the accuracy, less what objectives subtract.
        incumbent_rung: position, among the column's rungs, at which it was observed, -1 before any.
        incumbent_accuracy: what was observed of it, 0 before any.
        incumbent_worth: what that is worth, 0 before any.

    Raises:
        NB201Error: if an argument is none of these, or the rules would buy nothing or never end the search.
    """

    def __init__(self, column: Column, rules: Rules | None = None, seed: int = 0):
        if not isinstance(column, Column):
            raise NB201Error(
                f"column must be a Column, got {checks.shown(column)}; Oracle.open(table, dataset, …) makes both"
            )
        if rules is not None and not isinstance(rules, Rules):
            raise NB201Error(f"rules must be Rules, or None for no limit, got {checks.shown(rules)}")
        self.column, self.rules = column, rules or Rules()
        self.rules.check(column)
        self.objectives = Objectives(self.rules.objectives, column) if self.rules.objectives else None
        self._worth = worth_of_all(self.objectives, column)
        self._is_fresh, self._is_partial = self.rules.charge == "fresh", column.is_partial
        self._stops_before, self._budget = self.rules.overrun == "stop-before", self.rules.seconds
        self._full = self.rules.price(column.train, column.evaluation, 0.0, False)
        self._last = len(column.rungs) - 1
        self.new_search(seed)

    @classmethod
    def open(
        cls,
        table: str | os.PathLike[str] | Table,
        dataset: str,
        *,
        recipe: str | None = None,
        epoch: int | None = None,
        split: str = "valid",
        trial: str | int = "per-search",
        rungs: Sequence[int] | None = None,
        missing: str = "refuse",
        budget: float | None = None,
        charge: str = "fresh",
        overrun: str = "stop-before",
        max_queries: int | None = None,
        objectives: Mapping[str, float | str] | None = None,
        seed: int = 0,
    ) -> Oracle:
        """A search over a column of a table; arguments are those of `Column.open` and `Rules`, and the seed."""
        column = Column.open(
            table, dataset, recipe=recipe, epoch=epoch, split=split, trial=trial, rungs=rungs, missing=missing
        )
        return cls(column, Rules(budget, charge, overrun, max_queries, objectives), seed)

    def new_search(self, seed: int) -> None:
        """Start again at second 0, with no incumbent and, for drawn trials, new draws."""
        self.seed = checks.seed("seed", seed)
        self.seconds_used = 0.0
        self.n_queries = self.n_distinct = 0
        self.exhausted = False
        self.incumbent_index = self.incumbent_rung = -1
        self.incumbent_accuracy = self.incumbent_worth = 0.0
        self._seen = bytearray(NUM_CELLS)  # 1 for each cell observed
        self._bought: dict[int, int] = {}  # one bit for each rung of a cell that was paid for, unless prices are fresh
        self._rng = np.random.default_rng(seed)
        self._place = self.column.places(seed)  # on the axis of trials, of what this search sees
        self._values: dict[int, Floats32] = {}  # what this search sees of every cell, by rung
        self._visible: Floats32 | None = None  # the same at the last rung, once it was asked for

    @property
    def seconds_left(self) -> float:
        """Until the budget ends; inf without one, and never negative."""
        left = self._budget - self.seconds_used
        return left if left > 0.0 else 0.0

    @property
    def epoch(self) -> int:
        """At which cells are evaluated unless a query says otherwise, the last rung."""
        return self.column.epoch

    @property
    def incumbent_epoch(self) -> int:
        """At which the incumbent was observed, 0 before any."""
        return self.column.rungs[self.incumbent_rung] if self.incumbent_rung >= 0 else 0

    def value(self, index: int) -> float:
        """What a query of a cell at the last rung would reveal, free of charge and outside the search; NaN if absent.

        For code that keeps its own accounts.

        Raises:
            NB201Error: for `trial="per-query"`, whose draws change from query to query.
        """
        if type(index) is not int or not 0 <= index < NUM_CELLS:
            index = Cell.parse(index).index
        if self._visible is None:
            self._visible = self._seen_at(self._last)
        return self._visible.item(index)

    def values(self, indices: npt.NDArray[np.integer[Any]]) -> Floats32:
        """`value` of many cells, float32 shaped as the indices."""
        indices = np.asarray(indices)
        _check_cells(indices)
        return self._seen_at(self._last).take(indices)

    def seen(self, indices: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
        """Whether the search has observed cells, at any epoch, bool shaped as the indices."""
        indices = np.asarray(indices)
        _check_cells(indices)
        return np.asarray(np.frombuffer(self._seen, np.uint8)[indices] != 0)

    def query(self, index: int | Cell, epoch: int | None = None) -> Evaluation:
        """Train one cell in simulation and see its accuracy, if that fits the budget.

        Args:
            index: the cell.
            epoch: one of the column's rungs; None means the last.

        Raises:
            InvalidCellError: if `index` is no cell.
            MissingDataError: if the epoch is no rung of the column, or the cell is not on offer.
        """
        if type(index) is not int or not 0 <= index < NUM_CELLS:
            index = Cell.parse(index).index
        column = self.column
        rung = self._last if epoch is None else column.rung_of(epoch)
        if self._is_partial:
            column.refuse_absent(np.array([index]))
        repeat = self._seen[index] == 1
        price = self._full.item(rung, index) if self._is_fresh else self._price(index, rung)
        if not self._pay(price):
            return Evaluation(index, column.rungs[rung], 0.0, 0.0, NO_TRIAL, False, repeat, 0.0)
        if not self._is_fresh:
            self._bought[index] = self._bought.get(index, 0) | 1 << rung
        place = self._draw(index) if column.trial == "per-query" else self._place.item(index)
        accuracy = column.accuracy.item(rung, index, place)
        self.n_distinct += not repeat
        self._seen[index] = 1
        worth = self._worth.item(rung, index, place)
        self._consider(index, rung, accuracy, worth)
        return Evaluation(index, column.rungs[rung], accuracy, price, column.numbers.item(place), True, repeat, worth)

    def spend(self, seconds: float) -> bool:
        """Charge the search for what is no query, such as the training of a supernet; whether that fits the budget.

        Where it does not, the search ends, as by a query that does not fit.

        Raises:
            NB201Error: if `seconds` is no finite number from 0.
        """
        seconds = checks.number("seconds", seconds, 0.0)
        if self.exhausted or (self._stops_before and self.seconds_used + seconds > self._budget):
            self.exhausted = True
            return False
        self.seconds_used += seconds
        self.exhausted = not self._stops_before and self.seconds_used >= self._budget
        return True

    def evaluate(self, cells: npt.ArrayLike | Sequence[Any], epoch: int | None = None) -> Evaluations:
        """Query a batch in order. Once one does not fit the budget, it and all later ones are not observed.

        Args:
            cells: indices (n,), op codes (n, 6), or arch strings.
            epoch: as in `query`.
        """
        indices = _indices(cells)
        rung = self._last if epoch is None else self.column.rung_of(epoch)
        if self._is_partial:
            self.column.refuse_absent(indices)
        if not self._is_fresh:  # the price of a query depends on the ones before it
            results = [self.query(index, epoch) for index in indices.tolist()]
            accuracy, seconds, trial, observed = (
                np.array([getattr(result, name) for result in results], dtype)
                for name, dtype in (("accuracy", "f4"), ("seconds", "f8"), ("trial", "i8"), ("observed", "?"))
            )
            return Evaluations(indices, accuracy, seconds, trial, observed)
        prices = self._full[rung].take(indices)
        paid = self._pay_in_order(prices)
        accuracy, trial = np.zeros(indices.size, np.float32), np.full(indices.size, NO_TRIAL)
        accuracy[:paid], trial[:paid] = self._observe(indices[:paid], rung)
        observed = np.arange(indices.size) < paid
        return Evaluations(indices, accuracy, prices * observed, trial, observed)

    def _price(self, index: int, rung: int) -> float:
        """What a query would cost now, where that depends on what was paid before."""
        train, evaluation = self.column.train.item(rung, index), self.column.evaluation.item(index)
        bought = self._bought.get(index, 0)
        paid_before = self.column.train.item(bought.bit_length() - 1, index) if bought else 0.0
        price: float = self.rules.price(train, evaluation, paid_before, bought >> rung & 1)
        return price

    def _pay(self, price: float) -> bool:
        """Charge a query, unless the search had ended or ends because the query does not fit; whether it did."""
        if self.exhausted:
            return False
        if self._stops_before and self.seconds_used + price > self._budget:
            self.exhausted = True
            return False
        self.seconds_used += price
        self.n_queries += 1
        crossed = not self._stops_before and self.seconds_used >= self._budget
        self.exhausted = crossed or self.n_queries == self.rules.max_queries
        return True

    def _pay_in_order(self, prices: Floats64) -> int:
        """Charge queries one after the other until one ends the search; how many were charged."""
        rules, budget = self.rules, self._budget
        if self.exhausted or not prices.size:
            return 0
        used = np.cumsum(np.concatenate(([self.seconds_used], prices)))[1:]  # adds in order, as single queries do
        if self._stops_before:
            paid = int(np.searchsorted(used, budget, side="right"))
        else:
            paid = min(prices.size, int(np.searchsorted(used, budget, side="left")) + 1)
        if rules.max_queries is not None:
            paid = min(paid, rules.max_queries - self.n_queries)
        self.n_queries += paid
        if paid:
            self.seconds_used = float(used[paid - 1])
        crossed = not self._stops_before and self.seconds_used >= budget
        self.exhausted = paid < prices.size or crossed or self.n_queries == rules.max_queries
        return paid

    def _observe(self, indices: npt.NDArray[np.int64], rung: int) -> tuple[Floats32, npt.NDArray[np.int64]]:
        """Accuracies and trials of paid queries, remembered."""
        column = self.column
        if not indices.size:
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        if column.trial == "per-query":
            place = self._draw(indices)
            accuracy = column.accuracy[rung][indices, place]
        else:
            place, accuracy = self._place.take(indices), self._seen_at(rung).take(indices)
        value = accuracy if self.objectives is None else self._worth[rung][indices, place]
        np.frombuffer(self._seen, np.uint8)[indices] = 1
        self.n_distinct = self._seen.count(1)
        best = int(value.argmax())
        self._consider(int(indices[best]), rung, float(accuracy[best]), float(value[best]))
        return accuracy, column.numbers.take(place)

    def _draw(self, indices: Any) -> Any:
        """Positions of trials drawn anew, as nats_bench draws them."""
        order, count = self.column.order, self.column.count
        return order[indices, self._rng.integers(count[indices])].astype(np.int64)

    def _consider(self, index: int, rung: int, accuracy: float, worth: float) -> None:
        """Make an observed cell the incumbent if it is better."""
        if rung > self.incumbent_rung or (rung == self.incumbent_rung and worth > self.incumbent_worth):
            self.incumbent_index, self.incumbent_rung = index, rung
            self.incumbent_accuracy, self.incumbent_worth = accuracy, worth

    def _seen_at(self, rung: int) -> Floats32:
        """What this search sees of every cell at a rung, (15625,)."""
        if rung not in self._values:
            if self.column.trial == "per-query":
                raise NB201Error("trial='per-query' draws anew at every query: use query() or evaluate()")
            self._values[rung] = self.column.accuracy[rung][np.arange(NUM_CELLS), self._place]
        return self._values[rung]


def _no_cell(index: object) -> InvalidCellError:
    return InvalidCellError(f"a cell index must be an integer from 0 to {NUM_CELLS - 1}, got {checks.shown(index)}")


def _check_cells(indices: npt.NDArray[Any]) -> None:
    if indices.dtype.kind not in "iu":
        raise InvalidCellError(f"cell indices must be an array of integers, got {indices.dtype}")
    # read as unsigned, a negative index is larger than any other
    if indices.size and indices.astype(np.int64, copy=False).view(np.uint64).max() >= NUM_CELLS:
        raise _no_cell(indices.min() if indices.min() < 0 else indices.max())


def _indices(cells: npt.ArrayLike | Sequence[Any]) -> npt.NDArray[np.int64]:
    """Official indices of a batch given in any of the accepted forms."""
    try:
        batch = np.asarray(cells)
    except ValueError:
        raise InvalidCellError(f"cells must be of one form, got {checks.shown(cells)}") from None
    if batch.ndim == 1 and batch.dtype.kind in "US":
        return np.array([Cell.parse(str(arch)).index for arch in batch], np.int64)
    if batch.ndim == 2:
        return index_of(batch)
    if batch.ndim != 1 or not (np.issubdtype(batch.dtype, np.integer) or batch.size == 0):
        raise InvalidCellError(
            f"cells must be indices (n,), op codes (n, 6) or arch strings, got {batch.dtype} of shape {batch.shape}"
        )
    if batch.size and (batch.min() < 0 or batch.max() >= NUM_CELLS):
        raise InvalidCellError(f"cell indices must be 0 to {NUM_CELLS - 1}, got {batch.min()} to {batch.max()}")
    return batch.astype(np.int64)
