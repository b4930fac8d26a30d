"""What a search may see of a table: the reward of a cell and what it costs. Never the test split.

oracle = Oracle(open_table("published"), "cifar100", seed=0, clock=SimulatedClock(budget=200_000))
oracle.query(6111)                      # one charged query
oracle.evaluate([6111, 9930, 13714])    # a batch; what does not fit the budget is not observed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.errors import InvalidCellError, MissingDataError, NB201Error
from nb201_env.simulation.clock import SimulatedClock
from nb201_env.space import NUM_CELLS, Cell, index_of
from nb201_env.tables.table import Floats32, Floats64, Table

REWARD_SPLITS = ("train", "valid")
TRIALS = ("per-search", "per-query", "mean")

NO_TRIAL = -1
"""Stands for the trial of a mean over trials."""


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
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    epoch: int
    accuracy: float
    seconds: float
    trial: int
    observed: bool
    repeat: bool


@dataclass(frozen=True)
class Evaluations:
    """A batch of queries as arrays of one length; the fields are those of `Evaluation`."""

    index: npt.NDArray[np.int64]
    accuracy: Floats32
    seconds: Floats64
    trial: npt.NDArray[np.int64]
    observed: npt.NDArray[np.bool_]


class Oracle:
    """One search over one column of a table: its rewards, its clock and its incumbent.

    Args:
        table: an open table.
        dataset: one of the table's data sets.
        recipe: a training schedule; None means the only one.
        epoch: at which cells are evaluated unless a query says otherwise; None means the last.
        split: that rewards come from, valid or train. Searching on test images is refused.
        trial: which repeat training a query sees. `per-search`: one draw for each cell and search, a hash of the seed
            and the cell, so that all agents with one seed see the same and asking again tells nothing new.
            `per-query`: a new draw every time, as nats_bench. `mean`: the mean, free of noise. A number: that trial.
        seed: of the draws.
        clock: counts seconds and ends the search; by default an unlimited one.

    Attributes:
        incumbent_index: the observed cell of highest accuracy, the first of equals, -1 before any.
        incumbent_accuracy: what was observed of it, 0 before any.
        available: for each cell its trials, those present first, (15625, trials), and how many are, (15625,).
        n_distinct: number of different cells observed.

    Raises:
        MissingDataError: if the table does not have the values for every cell.
        NB201Error: if an argument is not as described, or the budget would not buy the cheapest query.
    """

    def __init__(
        self,
        table: Table,
        dataset: str,
        recipe: str | None = None,
        epoch: int | None = None,
        split: str = "valid",
        trial: str | int = "per-search",
        seed: int = 0,
        clock: SimulatedClock | None = None,
    ):
        if not isinstance(table, Table):
            raise NB201Error(f"table must be an open table, as open_table makes one, got {checks.shown(table)}")
        if not isinstance(split, str) or split not in REWARD_SPLITS:
            raise NB201Error(
                f"rewards come from the splits {' or '.join(REWARD_SPLITS)}, not {checks.shown(split)}: a search must "
                "not see test images"
            )
        if not checks.is_whole(trial) and not (isinstance(trial, str) and trial in TRIALS):
            raise NB201Error(f"trial must be one of {', '.join(TRIALS)} or a number, got {checks.shown(trial)}")
        if clock is not None and not isinstance(clock, SimulatedClock):
            raise NB201Error(f"clock must be a SimulatedClock, got {checks.shown(clock)}")
        if clock is not None and clock.is_taken:
            raise NB201Error("the clock counts the seconds of another search already: make a new SimulatedClock")
        seed = checks.seed("seed", seed)
        self.table = table
        self.dataset = dataset
        self.recipe = table.recipes(dataset)[0] if recipe is None and len(table.recipes(dataset)) == 1 else recipe
        self.epoch = table.last_epoch(dataset, recipe=recipe) if epoch is None else epoch
        self.split = split
        self.trial = trial if isinstance(trial, str) else int(trial)
        self.clock = clock or SimulatedClock()
        self._seconds: dict[int, tuple[Floats64, Floats64]] = {}
        self.available = self._available_trials()
        self._refuse_endless_search()
        self.clock.is_taken = True
        self.epoch = int(self.epoch)  # the table has checked it
        self.new_search(seed)

    def new_search(self, seed: int) -> None:
        """Start again at second 0, with no incumbent and, for drawn trials, new draws."""
        self.seed = checks.seed("seed", seed)
        self.clock.restart()
        self.incumbent_index = -1
        self.incumbent_accuracy = 0.0
        self._seen = bytearray(NUM_CELLS)  # 1 for each cell observed
        self.n_distinct = 0
        self._rng = np.random.default_rng(seed)
        self._drawn = self._draw_for_search()
        self._accuracies: dict[int, Floats32] = {}
        self._values = self._accuracy_at(self.epoch)

    @property
    def exhausted(self) -> bool:
        """Whether the search has ended."""
        return self.clock.exhausted

    @property
    def n_queries(self) -> int:
        """Number of observed queries."""
        return self.clock.queries

    def value(self, index: int) -> float:
        """What a query of a cell at the oracle's epoch would reveal, free of charge and outside the search.

        For code that keeps its own accounts; a drawn trial must not change from query to query.
        """
        if not 0 <= index < NUM_CELLS:
            raise _no_cell(index)
        return self._values.item(index)

    def values(self, indices: npt.NDArray[np.integer[Any]]) -> Floats32:
        """`value` of many cells, float32 shaped as the indices."""
        # read as unsigned, a negative index is larger than any other
        if indices.size and indices.astype(np.int64, copy=False).view(np.uint64).max() >= NUM_CELLS:
            raise _no_cell(indices.min() if indices.min() < 0 else indices.max())
        return self._values.take(indices)

    def seen(self, indices: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
        """Whether the search has observed cells, at any epoch, bool shaped as the indices."""
        if np.size(indices) and np.min(indices) < 0:
            raise _no_cell(int(np.min(indices)))
        return np.asarray(np.frombuffer(self._seen, np.uint8)[indices] != 0)

    def query(self, index: int | Cell, epoch: int | None = None) -> Evaluation:
        """Train one cell in simulation and see its accuracy, if that fits the budget.

        Raises:
            InvalidCellError: if `index` is no cell.
            MissingDataError: if the table has no such epoch.
        """
        if type(index) is not int or not 0 <= index < NUM_CELLS:
            index = Cell.parse(index).index
        epoch = self.epoch if epoch is None else epoch
        train, evaluation = self.seconds_at(epoch)
        seconds = self.clock.pay(index, epoch, train.item(index), evaluation.item(index))
        repeat = bool(self._seen[index])
        if seconds is None:
            return Evaluation(index, epoch, 0.0, 0.0, NO_TRIAL, False, repeat)
        if self.trial == "per-query":
            order, count = self.available
            trial = int(order[index, self._rng.integers(count[index])])
            accuracy = self.by_trial(epoch)[index, trial].item()
        else:
            trial = self._drawn.item(index)
            accuracy = self._accuracy_at(epoch).item(index)
        self.n_distinct += not repeat
        self._seen[index] = 1
        if accuracy > self.incumbent_accuracy or self.incumbent_index < 0:
            self.incumbent_index, self.incumbent_accuracy = index, accuracy
        return Evaluation(index, epoch, accuracy, seconds, trial, True, repeat)

    def evaluate(self, cells: npt.ArrayLike | Sequence[Any], epoch: int | None = None) -> Evaluations:
        """Query a batch in order. Once one does not fit the budget, it and all later ones are not observed.

        Args:
            cells: indices (n,), op codes (n, 6), or arch strings.
            epoch: as in `query`.
        """
        indices = _indices(cells)
        epoch = self.epoch if epoch is None else epoch
        if self.clock.charge != "fresh":  # the price of a query depends on the ones before it
            results = [self.query(index, epoch) for index in indices.tolist()]
            accuracy, seconds, trial, observed = (
                np.array([getattr(result, name) for result in results], dtype)
                for name, dtype in (("accuracy", "f4"), ("seconds", "f8"), ("trial", "i8"), ("observed", "?"))
            )
            return Evaluations(indices, accuracy, seconds, trial, observed)
        train, evaluation = self.seconds_at(epoch)
        paid = self.clock.pay_fresh(train.take(indices) + evaluation.take(indices))
        accuracy, trial = np.zeros(indices.size, np.float32), np.full(indices.size, NO_TRIAL)
        seconds = np.zeros(indices.size)
        seconds[: paid.size] = paid
        accuracy[: paid.size], trial[: paid.size] = self._observe(indices[: paid.size], epoch)
        return Evaluations(indices, accuracy, seconds, trial, np.arange(indices.size) < paid.size)

    def _observe(self, indices: npt.NDArray[np.int64], epoch: int) -> tuple[Floats32, npt.NDArray[np.int64]]:
        """Accuracies and trials of paid queries, remembered."""
        if not indices.size:
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        if self.trial == "per-query":
            order, count = self.available
            trial = order[indices, self._rng.integers(count[indices])]
            accuracy = self.by_trial(epoch)[indices, trial]
        else:
            trial, accuracy = self._drawn.take(indices), self._accuracy_at(epoch).take(indices)
        np.frombuffer(self._seen, np.uint8)[indices] = 1
        self.n_distinct = self._seen.count(1)
        best = int(accuracy.argmax())
        if accuracy[best] > self.incumbent_accuracy or self.incumbent_index < 0:
            self.incumbent_index, self.incumbent_accuracy = int(indices[best]), float(accuracy[best])
        return accuracy, trial

    def _available_trials(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For each cell its trials, those present first, (15625, trials), and how many are present, (15625,)."""
        which: Any = self.trial if self.trial == "mean" or isinstance(self.trial, int) else "all"
        accuracy = self.table.accuracy(
            self.dataset, recipe=self.recipe, epoch=self.epoch, split=self.split, trial=which
        )
        present = ~np.isnan(accuracy if accuracy.ndim > 1 else accuracy[:, None])
        num_trials = np.count_nonzero(present, axis=1)
        if missing := np.count_nonzero(num_trials == 0):
            what = f"trial {self.trial}" if isinstance(self.trial, int) else "value"
            fix = (
                "choose another trial, or 'mean' or 'per-search'"
                if isinstance(self.trial, int)
                else "complete the table"
            )
            raise MissingDataError(
                f"{missing} of {NUM_CELLS} cells have no {what} on {self.dataset} / {self.recipe} / {self.split} "
                f"at epoch {self.epoch}: {fix}"
            )
        return np.argsort(~present, axis=1, kind="stable"), num_trials

    def _refuse_endless_search(self) -> None:
        clock = self.clock
        train, evaluation = self.seconds_at(self.epoch)
        if clock.budget is not None and clock.overrun == "stop-before":
            cheapest = float((train + evaluation).min())
            if clock.charge != "resume" and clock.budget < cheapest:
                raise NB201Error(
                    f"a budget of {clock.budget:g} s buys no query: the cheapest cell of {self.dataset} costs "
                    f"{cheapest:.1f} s at epoch {self.epoch}"
                )
        refuse_endless(clock, bool(evaluation.any()))

    def _draw_for_search(self) -> npt.NDArray[np.int64]:
        """The trial that this search sees of each cell, (15625,)."""
        if self.trial == "per-search":
            order, count = self.available
            cells = np.arange(NUM_CELLS)
            return order[cells, drawn_trials(self.seed, cells, count)]
        return np.full(NUM_CELLS, self.trial if isinstance(self.trial, int) else NO_TRIAL)

    def by_trial(self, epoch: int) -> Floats32:
        """Accuracies of all trials at an epoch, (15625, trials), NaN where missing; no searcher is given them."""
        return self.table.accuracy(self.dataset, split=self.split, recipe=self.recipe, epoch=epoch, trial="all")

    def _accuracy_at(self, epoch: int) -> Floats32:
        """What this search sees of every cell at an epoch, (15625,)."""
        if epoch not in self._accuracies:
            if self.trial == "per-search":
                self._accuracies[epoch] = self.by_trial(epoch)[np.arange(NUM_CELLS), self._drawn]
            else:
                trial: Any = self.trial if isinstance(self.trial, int) else "mean"
                self._accuracies[epoch] = self.table.accuracy(
                    self.dataset, split=self.split, recipe=self.recipe, epoch=epoch, trial=trial
                )
        return self._accuracies[epoch]

    def seconds_at(self, epoch: int) -> tuple[Floats64, Floats64]:
        """Seconds of training through an epoch and of one evaluation pass for every cell, each (15625,)."""
        if type(epoch) is not int:
            epoch = checks.whole("epoch", epoch, 1)
        if epoch not in self._seconds:
            train = self.table.train_seconds(self.dataset, recipe=self.recipe, epoch=epoch)
            has_eval = self.table.has_eval_seconds(self.dataset, recipe=self.recipe, split=self.split)
            one_pass = (
                self.table.eval_seconds(self.dataset, recipe=self.recipe, split=self.split)
                if has_eval
                else np.zeros(NUM_CELLS)
            )
            for what, seconds in (("training", train), ("evaluation", one_pass)):
                if missing := np.count_nonzero(np.isnan(seconds)):
                    raise MissingDataError(
                        f"{missing} of {NUM_CELLS} cells have no seconds of {what} on {self.dataset} / {self.recipe} "
                        f"at epoch {epoch}: complete the table"
                    )
            self._seconds[epoch] = train, one_pass
        return self._seconds[epoch]


def refuse_endless(clock: SimulatedClock, has_eval_seconds: bool) -> None:
    """Raise NB201Error for rules by which a search might never end."""
    if clock.charge == "resume" and not has_eval_seconds and clock.budget is not None and clock.max_queries is None:
        raise NB201Error(
            "charge='resume' makes repeated queries free on a table without evaluation seconds, so a search might "
            "never end: set max_queries, or charge='fresh'"
        )


def _no_cell(index: object) -> InvalidCellError:
    return InvalidCellError(f"a cell index must be an integer from 0 to {NUM_CELLS - 1}, got {checks.shown(index)}")


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


def drawn_trials(
    seed: int | npt.NDArray[np.uint64], cells: npt.NDArray[np.int64], counts: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.int64]:
    """Which of a cell's present trials a search sees: a hash of its seed and the cell, modulo the number of trials.

    Args:
        seed: of one search, or of one for each cell.
        cells: indices.
        counts: number of present trials of each.
    """
    seeds = np.uint64(seed) if isinstance(seed, int) else seed
    return (_hash(seeds, cells) % counts.astype(np.uint64)).view(np.int64)


_U64 = np.uint64


def _hash(seed: np.uint64 | npt.NDArray[np.uint64], cells: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """A well-mixed number for each cell (the finaliser of SplitMix64: Steele, Lea and Flood, OOPSLA 2014)."""
    state: npt.NDArray[np.uint64] = np.atleast_1d(cells).astype(_U64)
    state *= _U64(0x9E3779B97F4A7C15)
    state += np.atleast_1d(seed) * _U64(0xD1342543DE82EF95)  # arrays wrap round, scalars would warn
    state ^= state >> _U64(30)
    state *= _U64(0xBF58476D1CE4E5B9)
    state ^= state >> _U64(27)
    state *= _U64(0x94D049BB133111EB)
    state ^= state >> _U64(31)
    return state
