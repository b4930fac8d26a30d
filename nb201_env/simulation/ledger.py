"""Many searches at once as arrays: what `Oracle` is to one search, `Ledger` is to each of its rows.

A row sees the same accuracies, pays the same seconds and ends at the same query as an `Oracle` of its seed would. With
`trial="per-query"`, draws come from one generator for all rows and are the same only in distribution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nb201_env.simulation.column import NO_TRIAL, Column, hashed_trials, seed_states
from nb201_env.simulation.fields import RandomFields
from nb201_env.simulation.objectives import Objectives, worth_of_all
from nb201_env.simulation.rules import Rules
from nb201_env.space import NUM_CELLS

Rows = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Arrays = dict[str, npt.NDArray[Any]]

_BYTES = -(-NUM_CELLS // 8)
_BITS = (1 << np.arange(8)).astype(np.uint8)
_NEVER = np.iinfo(np.int64).max


class Found(NamedTuple):
    """What one query in each of some rows brought, arrays of one length.

    Attributes:
        accuracy: fraction of correct images, 0 if not observed.
        query_seconds: charged, 0 if not observed.
        trial: which was seen, -1 for the mean over them.
        observed: False if the query did not fit the budget.
        repeat: whether the row had observed the cell before, at any rung.
        rise: by how much the incumbent's worth rose, 0 counting before any; less than 0 where a worse cell at a higher
            rung replaces it. Empty unless the ledger is detailed.
        place: position of what was seen in a column's (15625, trials), flattened, each cell's present trials first.
        highest: position of the highest rung at which the row had observed the cell before, -1 if at none. Empty
            unless the ledger is detailed, or prices depend on it.
        worth: of what was observed; any number where nothing was.
    """

    accuracy: Floats
    query_seconds: Floats
    trial: npt.NDArray[np.int64]
    observed: Bools
    repeat: Bools
    rise: Floats
    place: npt.NDArray[np.int64]
    highest: npt.NDArray[np.int64]
    worth: Floats


class Ledger:
    """One search in each row.

    Args:
        columns: that a row's search can be over, its `tasks`; of one kind of trial. Rungs are numbered so that the last
            of every column is the last of all: a column of fewer rungs has its first more than once.
        rules: of the searches over each column; they differ in budget and number of queries alone.
        rows: how many searches.
        deviation: of the random field that each search adds to accuracies.
        detailed: whether queries say by how much incumbents rose, and at which rungs cells had been observed before.

    Attributes:
        num_rungs: of the column that has most.
        first_rung: position of the first rung of each column, (tasks,).
        task: position of each row's column, (rows,).
        exhausted: which searches have ended; and further states, as `Oracle` has them, each (rows,).
    """

    def __init__(
        self,
        columns: Sequence[Column],
        rules: Sequence[Rules],
        rows: int,
        deviation: float = 0.0,
        detailed: bool = False,
    ):
        self._is_detailed, self._nothing = detailed, np.zeros(0, np.int64)
        self.columns, self.rules, self.rows = tuple(columns), tuple(rules), rows
        self.num_rungs = max(len(column.rungs) for column in columns)
        self.first_rung = np.array([self.num_rungs - len(column.rungs) for column in columns])
        self._from_one = np.arange(1, self.num_rungs + 1, dtype=np.int8 if self.num_rungs < 127 else np.int64)
        self._no_rung = -1 if self.num_rungs > 1 else 0  # of no incumbent; a single rung needs no keeping up
        self.objectives = [
            Objectives(one.objectives, column) if one.objectives else None
            for column, one in zip(columns, rules, strict=True)
        ]
        self._kind, self._is_drawn = columns[0].trial, columns[0].is_drawn
        self.is_partial = any(column.is_partial for column in columns)
        self._charge, self._overrun = rules[0].charge, rules[0].overrun
        self._read(deviation)
        self._budgets = np.array([one.seconds for one in rules])
        self._limits = np.array([_NEVER if one.max_queries is None else one.max_queries for one in rules])
        self._has_budget, self._has_limit = bool((self._budgets < np.inf).any()), bool((self._limits < _NEVER).any())
        self._epochs = np.stack([self._padded(np.array(column.rungs)) for column in columns])
        self._rng = np.random.default_rng(0)
        self._states = np.zeros(rows, np.uint64)  # of the hash that draws trials
        self._seen = np.zeros((rows, _BYTES, self.num_rungs), np.uint8)  # one bit a cell and rung
        self._row = np.arange(rows) * _BYTES
        self.task = np.zeros(rows, np.int64)
        self.seconds_used, self.exhausted = np.zeros(rows), np.zeros(rows, bool)
        self.n_queries, self.n_distinct = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        self.incumbent_index = np.full(rows, -1)
        self.incumbent_rung = np.full(rows, self._no_rung)
        self._best = np.full(rows, -np.inf)  # worth of the incumbents
        self._accuracy_of_best = np.zeros(rows)  # kept up where objectives make it another

    def _read(self, deviation: float) -> None:
        """Lay the columns out flat, each cell's present trials first.

        In the smallest types, because reading scattered cells from memory is most of what a query costs.
        """
        columns, rows = self.columns, self.rows
        self._trials = max(column.numbers.size for column in columns)

        def flat(values: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
            short = [self._trials - one.shape[-1] for one in values]
            wide = [np.pad(one, [(0, 0)] * (one.ndim - 1) + [(0, n)]) for one, n in zip(values, short, strict=True)]
            return np.ascontiguousarray(np.stack(wide)).reshape(-1)

        self._fields = RandomFields(rows, deviation) if deviation else None
        self._accuracy = flat([self._padded(column.first_present(column.accuracy)) for column in columns])
        valued = [worth_of_all(objectives, column) for objectives, column in zip(self.objectives, columns, strict=True)]
        has_objectives = self.objectives[0] is not None
        self._worth = (
            flat([self._padded(column.first_present(one)) for column, one in zip(columns, valued, strict=True)])
            if has_objectives and not deviation
            else None
        )
        self._numbers = flat([column.numbers[column.order].astype(np.int16) for column in columns])
        self._count = np.concatenate([np.maximum(column.count, 1) for column in columns])
        self._train = np.stack([self._padded(column.train) for column in columns]).reshape(-1)
        self._evaluation = np.concatenate([column.evaluation for column in columns])
        passes = np.repeat(self._evaluation.reshape(len(columns), 1, -1), self.num_rungs, axis=1).reshape(-1)
        self._full = self.rules[0].price(self._train, passes, 0.0, False)  # of cells that were not paid for before

    def _padded(self, by_rung: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values at the rungs of a column, (rungs, …), the first repeated for those that it lacks."""
        return np.concatenate([by_rung[:1]] * (self.num_rungs - len(by_rung)) + [by_rung])

    def new_search(self, rows: Rows, seeds: npt.NDArray[np.uint64], tasks: Any = 0) -> None:
        """Begin a search in some rows, at second 0, each from its seed and over its task."""
        if rows.size == self.rows:
            self._seen = np.zeros_like(self._seen)  # fresh pages cost nothing until they are written
        else:
            self._seen[rows] = 0
        self._states[rows], self.task[rows] = seed_states(seeds), tasks
        if self._kind == "per-query":
            self._rng = np.random.default_rng(seeds)
        counters: list[npt.NDArray[Any]] = [self.seconds_used, self.n_queries, self.n_distinct, self.exhausted]
        for state in (*counters, self._accuracy_of_best):
            state[rows] = 0
        self._best[rows] = -np.inf
        self.incumbent_index[rows], self.incumbent_rung[rows] = -1, self._no_rung
        if self._fields is not None:
            self._fields.draw(rows, seeds)

    def budget(self, rows: Any) -> Any:
        """Seconds that the searches of some rows may use, inf for no limit: (n,), or one number for all."""
        return self._budgets[0] if len(self.columns) == 1 else self._budgets.take(self.task[rows])

    def seen(self, rows: Rows, cells: npt.NDArray[np.integer[Any]]) -> Bools:
        """Which cells (n, k) each of some rows (n,) has observed, at any rung."""
        place = self._row.take(rows)[:, None] + (cells >> 3)
        bits = self._seen.reshape(-1, self.num_rungs).take(place, axis=0)
        mask = _BITS.take(cells & 7)
        return np.asarray((bits & mask[..., None] != 0).any(axis=-1))

    def bought(self, rows: Rows, cells: npt.NDArray[np.int64]) -> Bools:
        """At which rungs each of some rows has observed a cell, (n, rungs)."""
        bits = self._seen.reshape(-1, self.num_rungs).take(self._row.take(rows) + (cells >> 3), axis=0)
        return np.asarray(bits & _BITS.take(cells & 7)[:, None] != 0)

    def curve(self, rows: Rows, cells: npt.NDArray[np.int64]) -> Floats:
        """What each of some rows would see of a cell at every rung, (n, rungs)."""
        at = self._at(rows, cells, np.zeros(rows.size, np.int64))[:, None] + np.arange(self.num_rungs) * NUM_CELLS
        place = at * self._trials + self._draw(rows, cells, self._cell_of(rows, cells))[:, None]
        return self._as_seen(rows, cells, self._accuracy.take(place))

    def query(self, rows: Rows, cells: npt.NDArray[np.int64], rungs: npt.NDArray[np.int64] | None = None) -> Found:
        """Query one cell in each of some rows whose searches have not ended.

        Args:
            rows: ascending, each once.
            cells: index of the cell in each.
            rungs: position of the rung in each, not below its `first_rung`; None means 0, for columns of one rung.

        Raises:
            MissingDataError: if a cell is not on offer; then nothing is charged in any row.
        """
        if self.is_partial:
            self.refuse_absent(rows, cells)
        whole = rows.size == self.rows
        # where all rows are concerned, slices stand for their numbers, which is several times faster
        paid: Any = slice(None) if whole else rows
        cell = self._cell_of(rows, cells)
        at = cell if self.num_rungs == 1 else self._at(rows, cells, rungs)
        drawn = self._draw(rows, cells, cell) if self._trials > 1 else 0
        place = at * self._trials + drawn
        number = place if self.num_rungs == 1 else cell * self._trials + drawn
        accuracy, trial = self._as_seen(rows, cells, self._accuracy.take(place)), self._numbers.take(number)
        byte, bit = (cells >> 3) + (self._row if whole else self._row.take(rows)), _BITS.take(cells & 7)
        if self.num_rungs > 1:
            bought = self._seen.reshape(-1, self.num_rungs).take(byte, axis=0) & bit[:, None] != 0
            highest = (bought * self._from_one).max(axis=1) - 1
            byte = byte * self.num_rungs + np.asarray(rungs)
        all_seen = self._seen.reshape(-1)
        seen = all_seen.take(byte)
        is_again = (seen & bit) != 0  # at this very rung
        if self.num_rungs > 1:
            repeat = highest >= 0
        else:
            repeat, highest = is_again, is_again - 1 if self._is_detailed or self._charge != "fresh" else self._nothing
        price = self._full.take(at) if self._charge == "fresh" else self._price(rows, cells, at, highest, is_again)
        if self.objectives[0] is None:
            value = accuracy
        else:
            value = self._worth_of(rows, cells, accuracy) if self._worth is None else self._worth.take(place)
        fits: Any = slice(None)
        observed = np.ones(rows.size, bool)
        if self._has_budget and self._overrun == "stop-before":
            observed = self.seconds_used[paid] + price <= self.budget(paid)
            if not observed.all():
                fits, paid = observed, rows[observed]
                self.exhausted[rows[~observed]] = True
                accuracy, price, trial = accuracy * observed, price * observed, np.where(observed, trial, NO_TRIAL)
        self.seconds_used[paid] += price[fits]
        self.n_queries[paid] += 1
        if self._has_budget and self._overrun == "stop-after":
            self.exhausted[paid] |= self.seconds_used[paid] >= self.budget(paid)
        if self._has_limit:
            self.exhausted[paid] |= self.n_queries[paid] == self._limits.take(self.task[paid])
        self.n_distinct[paid] += ~repeat[fits]
        all_seen[byte[fits]] = (seen | bit)[fits]
        before = self.incumbent_worth(rows) if self._is_detailed else None
        self._raise_incumbents(paid, cells[fits], None if rungs is None else rungs[fits], accuracy[fits], value[fits])
        rise = np.zeros(0) if before is None else self.incumbent_worth(rows) - before
        return Found(accuracy, price, trial.astype(np.int64), observed, repeat, rise, place, highest, value)

    def _cell_of(self, rows: Rows, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Positions in (tasks, cells), flattened."""
        return cells if len(self.columns) == 1 else self.task.take(rows) * NUM_CELLS + cells

    def _at(self, rows: Rows, cells: Any, rungs: Any) -> npt.NDArray[np.int64]:
        """Positions in (tasks, rungs, cells), flattened."""
        return np.asarray((self.task.take(rows) * self.num_rungs + rungs) * NUM_CELLS + cells)

    def _draw(self, rows: Rows, cells: npt.NDArray[np.int64], cell: npt.NDArray[np.int64]) -> Any:
        """Which of its cell's present trials each row sees; `cell` is where the cells are among those of all tasks."""
        if not self._is_drawn:
            return np.zeros(rows.size, np.int64)
        count = self._count.take(cell)
        if self._kind == "per-query":
            return self._rng.integers(count)
        return hashed_trials(self._states if rows.size == self.rows else self._states.take(rows), cells, count)

    def _as_seen(self, rows: Rows, cells: npt.NDArray[np.int64], accuracy: npt.NDArray[Any]) -> Floats:
        """Accuracies (n, …) of a table as the searches see them: with their random fields, if they have one."""
        return accuracy.astype(np.float64) if self._fields is None else self._fields.add(rows, cells, accuracy)

    def _price(self, rows: Rows, cells: Any, at: Any, highest: Any, is_again: Bools) -> Floats:
        """What queries cost, after a cell was observed at a highest rung, and perhaps at the very one."""
        paid_before = np.where(highest >= 0, self._train.take(self._at(rows, cells, np.maximum(highest, 0))), 0.0)
        evaluation = self._evaluation.take(self._cell_of(rows, cells))
        return np.asarray(self.rules[0].price(self._train.take(at), evaluation, paid_before, is_again))

    def _worth_of(self, rows: Rows, cells: Any, accuracy: Floats) -> Floats:
        """What observed cells are worth."""
        value = accuracy.copy()
        for mine, objectives in self._by_objectives(rows):
            value[mine] = objectives.score(accuracy[mine], cells[mine], accuracy[mine])
        return value

    def true_worth(self, rows: Rows, means: npt.NDArray[Any]) -> Floats:
        """What the incumbents' means over trials are worth, of the means of all tasks' cells: privileged knowledge."""
        cells = self.incumbent_index.take(rows)
        true = self._as_seen(rows, cells, means.take(self._cell_of(rows, cells)))
        return self._worth_of(rows, cells, true)

    def vectors(self, rows: Rows, cells: npt.NDArray[np.int64], accuracy: Floats) -> Floats:
        """All objectives of observed cells, negated, (n, objectives)."""
        first = self.objectives[0]
        vectors = np.zeros((rows.size, 0 if first is None else len(first.names)))
        for mine, objectives in self._by_objectives(rows):
            vectors[mine] = objectives.vector(cells[mine], accuracy[mine])
        return vectors

    def _by_objectives(self, rows: Rows) -> Iterator[tuple[Bools, Objectives]]:
        """Which of some rows are over each task, and the objectives there, if there are any."""
        tasks = self.task.take(rows)
        for task, objectives in enumerate(self.objectives):
            mine = tasks == task
            if objectives is not None and mine.any():
                yield mine, objectives

    def _raise_incumbents(self, rows: Any, cells: Any, rungs: Any, accuracy: Floats, value: Floats) -> None:
        """Make observed cells the incumbents where they are better."""
        better = value > self._best[rows]
        if self.num_rungs > 1:
            highest = self.incumbent_rung[rows]
            better = (rungs > highest) | ((rungs == highest) & better)
        states: list[tuple[npt.NDArray[Any], Any]] = [(self.incumbent_index, cells), (self._best, value)]
        if self.num_rungs > 1:
            states.append((self.incumbent_rung, rungs))
        if self.objectives[0] is not None:
            states.append((self._accuracy_of_best, accuracy))
        for state, new in states:
            if isinstance(rows, slice):
                np.copyto(state, new, where=better)
            else:
                state[rows] = np.where(better, new, state[rows])

    def refuse_absent(self, rows: Rows, cells: npt.NDArray[np.int64]) -> None:
        """Raise MissingDataError if the column of some row does not have its cell on offer."""
        tasks = self.task.take(rows)
        for task in np.unique(tasks).tolist():
            self.columns[task].refuse_absent(cells[tasks == task])

    def epoch_of(self, rows: Rows, rungs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Epochs of rungs, from 0, in some rows."""
        return np.asarray(self._epochs.take(self.task.take(rows) * self.num_rungs + rungs))

    def incumbent_worth(self, rows: Rows) -> Floats:
        """What the incumbents of some rows are worth, 0 before any, as a new array (n,)."""
        best = self._best.take(rows)
        return np.asarray(np.where(best == -np.inf, 0.0, best))

    def incumbent_accuracy(self, rows: Rows) -> Floats:
        """What was observed of the incumbents of some rows, 0 before any, as a new array (n,)."""
        if self.objectives[0] is not None:
            return np.asarray(self._accuracy_of_best.take(rows))
        return np.asarray(np.maximum(self._best if rows.size == self.rows else self._best.take(rows), 0.0))

    def incumbent_epoch(self, rows: Rows) -> npt.NDArray[np.int64]:
        """At which the incumbents of some rows were observed, 0 before any."""
        epochs = self.epoch_of(rows, self.incumbent_rung.take(rows))
        return np.where(self.incumbent_index.take(rows) < 0, 0, epochs)

    def accounts(self, rows: Rows) -> Arrays:
        """Where the searches of some rows stand, by the keys of an environment's info, as new arrays (n,)."""
        states = {
            "seconds_used": self.seconds_used,
            "incumbent_index": self.incumbent_index,
            "n_queries": self.n_queries,
            "n_distinct": self.n_distinct,
            "budget_exhausted": self.exhausted,
        }
        whole = rows.size == self.rows  # a copy is several times faster than a selection of all
        accounts = {key: state.copy() if whole else state.take(rows) for key, state in states.items()}
        accounts["incumbent_accuracy"] = self.incumbent_accuracy(rows)
        accounts["seconds_left"] = np.maximum(0.0, self.budget(rows) - accounts["seconds_used"])
        return accounts
