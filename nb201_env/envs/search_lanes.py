"""Whole searches as episodes, many at once as arrays: what `SearchEnv` is for one lane and its vector form for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.envs.build import UNSET
from nb201_env.envs.masks import INDEX_OF_CODE, codes_of
from nb201_env.envs.objectives import OBJECTIVES, Objectives
from nb201_env.envs.single import ONEHOT
from nb201_env.errors import MissingDataError, NB201Error
from nb201_env.simulation.clock import SimulatedClock
from nb201_env.simulation.lanes import Arrays, Lanes
from nb201_env.simulation.oracle import NO_TRIAL, Oracle, drawn_trials
from nb201_env.space import ALL_OPS, EDGES, NUM_CELLS, OPS
from nb201_env.tables.table import Table, open_table

DECIDE = len(EDGES)
"""The phase after the six choices: leave the cell, or buy more epochs of it."""

DEFAULT_DATASET = "gratings"
DEFAULT_RUNGS = (1, 3)
DEFAULT_BUDGET = 20.0
"""In mean costs of a full training."""

_PAIRS = np.array(list(combinations(range(len(EDGES)), 2)))
_PAIR_WEIGHT = 0.5
_FIELD_TERMS = len(EDGES) * len(OPS), len(_PAIRS) * len(OPS) ** 2
_FIELD_SCALE = np.sqrt(len(EDGES) + _PAIR_WEIGHT**2 * len(_PAIRS))
_SLOTS = np.eye(len(OPS) + 1, dtype=np.float32)


class SearchTask:
    """One column of a table that a search can be over.

    Args:
        table: name or path.
        dataset: one of the table's; None means gratings, or the first of a table that has none.
        recipe: None means the only one.
        epoch: the last rung; None means the last of `rungs`, or the recipe's last.
        split: that rewards come from.
        trial: per-search, mean or a number; see `nb201_env.simulation.oracle.Oracle`.
        rungs: epochs at which a cell can be seen, ascending; None means 1, 3 and the last.
        budget: seconds of a search; None means 20 times the mean cost of a full training.
        charge: `resume` or `fresh`, see `nb201_env.simulation.clock.SimulatedClock`.
        max_queries: purchases of a search; None for more than it can make without repeating one.
        objectives: see `nb201_env.envs.objectives.Objectives`.

    Attributes:
        oracle: names the column; it is never queried.
        accuracy: at each rung of each cell and trial, float32 (rungs, 15625, trials).
        train: seconds of training through each rung, float64 (rungs, 15625).
        evaluation: seconds of one pass, float64 (15625,).
        true: mean accuracy at the last rung, float32 (15625,).
    """

    def __init__(
        self,
        table: str,
        dataset: str | None,
        recipe: str | None,
        epoch: int | None,
        split: str,
        trial: str | int,
        rungs: Sequence[int] | None,
        budget: float | None,
        charge: str,
        max_queries: int | None,
        objectives: Mapping[str, float | str] | None,
    ):
        if isinstance(trial, str) and trial == "per-query":
            raise NB201Error("a curve belongs to one training: trial must be per-search, mean or a number")
        opened = open_table(table)
        dataset = _default_dataset(opened) if dataset is None else dataset
        if rungs is not None and (not isinstance(rungs, list | tuple) or not rungs):
            raise NB201Error(f"rungs must be a list of epochs, got {checks.shown(rungs)}")
        last = epoch if epoch is not None or rungs is None else rungs[-1]
        self.oracle = Oracle(opened, dataset, recipe, last, split, trial)
        last = self.oracle.epoch
        self.rungs = _checked_rungs(rungs, last, opened.epochs(dataset, recipe=recipe, split=split))
        by_rung = [
            opened.accuracy(dataset, split=split, recipe=recipe, epoch=rung)[:, None]
            if trial == "mean"
            else self.oracle.by_trial(rung)
            for rung in self.rungs
        ]
        self.accuracy = np.stack(by_rung)
        if isinstance(self.oracle.trial, int):
            self.accuracy = self.accuracy[..., self.oracle.trial : self.oracle.trial + 1]
        self._refuse_missing()
        self.train = np.stack([self.oracle.seconds_at(rung)[0] for rung in self.rungs])
        self.evaluation = self.oracle.seconds_at(last)[1]
        self.true = opened.accuracy(dataset, split=split, recipe=recipe, epoch=last)
        self.default_budget = float(DEFAULT_BUDGET * (self.train[-1] + self.evaluation).mean())
        self._charge, self._max_queries = charge, max_queries
        self.budget = self.checked_budget(budget)
        wanted = {} if objectives is None else checks.mapping("objectives", objectives, OBJECTIVES)
        self.objectives = Objectives(wanted, self.oracle) if wanted else None

    def checked_budget(self, budget: float | None) -> float:
        """Seconds of a search, the task's own for None.

        Raises:
            NB201Error: if it is no budget, or buys nothing.
        """
        seconds = self.default_budget if budget is None else budget
        SimulatedClock(seconds, self._charge, "stop-before", self._max_queries)
        cheapest = float((self.train[0] + self.evaluation).min())
        if seconds < cheapest:
            raise NB201Error(
                f"a budget of {seconds:g} s buys nothing: the cheapest cell of {self.oracle.dataset} costs "
                f"{cheapest:.1f} s at epoch {self.rungs[0]}"
            )
        return float(seconds)

    def purchases(self, budget: float) -> int:
        """After how many purchases a search ends: `max_queries`, or more than it can make without repeating one."""
        if self._max_queries is not None:
            return self._max_queries
        added = np.diff(self.train, axis=0, prepend=0.0) if self._charge == "resume" else self.train
        cheapest = float((added + self.evaluation).min())
        different = NUM_CELLS * len(self.rungs)
        return different if cheapest * different <= budget else int(budget / cheapest) + 1

    def _refuse_missing(self) -> None:
        order, count = self.oracle.available
        if self.accuracy.shape[2] == 1:
            missing = np.isnan(self.accuracy).any(axis=(0, 2))
        else:
            present = np.arange(order.shape[1]) < count[:, None]
            missing = (np.isnan(np.take_along_axis(self.accuracy, order[None], axis=2)) & present).any(axis=(0, 2))
        if missing.any():
            raise MissingDataError(
                f"{np.count_nonzero(missing)} of {NUM_CELLS} cells of {self.oracle.dataset} have no value at some of "
                f"the epochs {', '.join(map(str, self.rungs))}: choose other rungs"
            )

    def score(self, cells: npt.NDArray[np.int64], accuracy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What cells are worth whose accuracies were observed."""
        return accuracy if self.objectives is None else self.objectives.score(accuracy, cells, accuracy)


def _default_dataset(table: Table) -> str:
    return DEFAULT_DATASET if DEFAULT_DATASET in table.datasets else next(iter(table.datasets), DEFAULT_DATASET)


def _checked_rungs(rungs: Sequence[int] | None, last: int, epochs: Sequence[int]) -> tuple[int, ...]:
    if rungs is None:  # the oracle has checked `last`
        return (*(rung for rung in DEFAULT_RUNGS if rung < last and rung in epochs), last)
    whole = all(checks.is_whole(rung) and rung > 0 for rung in rungs)
    if not whole or not 1 <= len(rungs) <= 15 or list(rungs) != sorted(set(rungs)) or rungs[-1] != last:
        raise NB201Error(f"rungs must be 1 to 15 ascending epochs that end with {last}, got {checks.shown(rungs)}")
    return tuple(map(int, rungs))


class SearchLanes:
    """Searches in lanes, each over one of some tasks.

    Args:
        tasks: with the same number of rungs.
        lanes: number of searches.
        reward: improvement, area or true.
        charge: resume or fresh.
        history: number of queries that are remembered for observations.
        perturb: standard deviation of the random field that is added to a task's accuracies.

    Attributes:
        rungs: their number.
        phase: of each lane, the edge that is chosen next, or `DECIDE`.
        ops: choices so far, (lanes, 6), 5 where not made.
        cell: the cell in hand, -1 without one.
    """

    def __init__(
        self,
        tasks: Sequence[SearchTask],
        lanes: int,
        reward: str,
        charge: str,
        history: int,
        perturb: float,
    ):
        self.tasks, self.lanes = tuple(tasks), lanes
        self._reward, self._charge = reward, charge
        self._history, self._perturb = history, perturb
        self.rungs = len(tasks[0].rungs)
        trials = max(task.accuracy.shape[2] for task in tasks)
        self._accuracy = np.stack([_padded(task.accuracy, trials) for task in tasks])
        self._order = np.stack([_padded(task.oracle.available[0], trials) for task in tasks])
        self._count = np.stack([task.oracle.available[1] for task in tasks])
        self._train = np.stack([task.train for task in tasks])
        self._evaluation = np.stack([task.evaluation for task in tasks])
        self._true = np.stack([task.true for task in tasks])
        self._epochs = np.array([task.rungs for task in tasks])
        self.set_budget(None)

        self.task = np.zeros(lanes, np.int64)
        self._seed = np.zeros(lanes, np.uint64)
        self.phase = np.zeros(lanes, np.int64)
        self.ops = np.full((lanes, len(EDGES)), UNSET)
        self.cell = np.full(lanes, -1)
        self._bought = np.zeros((lanes, NUM_CELLS), np.uint16)  # one bit a rung that was seen
        self.seconds_used = np.zeros(lanes)
        self.n_queries = np.zeros(lanes, np.int64)
        self.n_distinct = np.zeros(lanes, np.int64)
        self.ended = np.zeros(lanes, bool)
        self.incumbent = np.full(lanes, -1)
        self.incumbent_rung = np.zeros(lanes, np.int64)  # from 1; 0 without an incumbent
        self.incumbent_accuracy = np.zeros(lanes)
        self._incumbent_score = np.zeros(lanes)
        self._past_cell = np.full((lanes, history), -1)  # latest first
        self._past_rung = np.zeros((lanes, history), np.int64)
        self._past_accuracy = np.zeros((lanes, history), np.float32)
        self._field = np.zeros((lanes, sum(_FIELD_TERMS)))

    def with_lanes(self, lanes: int) -> SearchLanes:
        """The same in another number of lanes, before any search."""
        return SearchLanes(self.tasks, lanes, self._reward, self._charge, self._history, self._perturb)

    def set_budget(self, seconds: float | None) -> None:
        """Give all searches another budget, or each its task's own."""
        self._budgets = np.array(
            [task.budget if seconds is None else task.checked_budget(seconds) for task in self.tasks]
        )
        self._purchases = np.array(
            [task.purchases(budget) for task, budget in zip(self.tasks, self._budgets.tolist(), strict=True)]
        )

    @property
    def budget(self) -> npt.NDArray[np.float64]:
        """Of each lane's search, in seconds."""
        return self._budgets[self.task]

    def begin(self, lanes: Lanes, seeds: npt.NDArray[np.uint64], tasks: npt.NDArray[np.int64]) -> None:
        """Begin new searches in some lanes, each determined by its seed and its task."""
        self._seed[lanes], self.task[lanes] = seeds, tasks
        zeroed: list[npt.NDArray[Any]] = [self.seconds_used, self.n_queries, self.n_distinct, self.ended, self._bought]
        zeroed += [self.incumbent_accuracy, self.incumbent_rung, self._incumbent_score]
        for state in [*zeroed, self._past_rung, self._past_accuracy]:
            state[lanes] = 0
        self.incumbent[lanes] = -1
        self._past_cell[lanes] = -1
        self._drop_cell(lanes)
        if self._perturb:
            for lane, seed in zip(lanes.tolist(), seeds.tolist(), strict=True):
                self._field[lane] = np.random.default_rng([seed, 0]).standard_normal(sum(_FIELD_TERMS))

    def _drop_cell(self, lanes: Lanes) -> None:
        self.phase[lanes], self.ops[lanes], self.cell[lanes] = 0, UNSET, -1

    def choose(self, lanes: Lanes, actions: npt.NDArray[np.int64]) -> Arrays:
        """Take an action of the sequential kind in some lanes; see `buy` for what comes back."""
        deciding = self.phase[lanes] == DECIDE
        builders, ops = lanes[~deciding], actions[~deciding]
        self.ops[builders, self.phase[builders]] = np.where(ops < len(OPS), ops, 0)
        self.phase[builders] += 1
        complete = builders[self.phase[builders] == DECIDE]
        deciders, rungs = lanes[deciding], actions[deciding]
        buys = (rungs > self._furthest(deciders, self.cell[deciders])) & (rungs <= self.rungs)
        self._drop_cell(deciders[~buys])
        self.cell[complete] = INDEX_OF_CODE[codes_of(self.ops[complete])]
        buyers = np.concatenate((complete, deciders[buys]))
        wanted = np.concatenate((np.ones(complete.size, np.int64), rungs[buys]))
        order = np.argsort(buyers)
        return self.buy(buyers[order], wanted[order])

    def query(self, lanes: Lanes, ops: npt.NDArray[np.int64], rungs: npt.NDArray[np.int64]) -> Arrays:
        """Take an action of the joint kind in some lanes: six ops, and a rung from 1."""
        self.ops[lanes] = ops
        self.cell[lanes] = INDEX_OF_CODE[codes_of(ops)]
        return self.buy(lanes, rungs)

    def buy(self, lanes: Lanes, rungs: npt.NDArray[np.int64]) -> Arrays:
        """Buy the cells in hand up to rungs from 1.

        Returns:
            Of all lanes: reward (float64), and what a query's info says of those in `queried`, if there are any.
        """
        if not lanes.size:
            return {"reward": np.zeros(self.lanes), "queried": np.zeros(self.lanes, bool)}
        cells, task = self.cell[lanes], self.task[lanes]
        before, rung = self._furthest(lanes, cells), rungs
        train = self._train[task, rung - 1, cells]
        if self._charge == "resume":
            paid_before = np.where(before > 0, self._train[task, np.maximum(before, 1) - 1, cells], 0.0)
            train = np.maximum(0.0, train - paid_before)
        price = train + self._evaluation[task, cells]
        fits = self.seconds_used[lanes] + price <= self._budgets[task]
        trial = self._trial(lanes, cells)
        accuracy = self._value(lanes, cells, self._accuracy[task, rung - 1, cells, np.maximum(trial, 0)])
        reward = self._pay(lanes[fits], cells[fits], rung[fits], accuracy[fits], price[fits])
        self.n_distinct[lanes[fits]] += before[fits] == 0
        self._bought[lanes[fits], cells[fits]] |= (1 << (rung[fits] - 1)).astype(np.uint16)
        self._remember(lanes[fits], cells[fits], rung[fits], accuracy[fits])
        self.ended[lanes] = ~fits
        self.ended[lanes] |= self.n_queries[lanes] >= self._purchases[task]
        reward += self._pay_at_end(lanes[self.ended[lanes]])
        return self._account(lanes, reward, {
            "index": cells,
            "accuracy": accuracy * fits,
            "observed": fits,
            "trial": np.where(fits, trial, NO_TRIAL),
            "epoch": self._epochs[task, rung - 1],
            "query_seconds": price * fits,
            "repeat": before > 0,
        })  # fmt: skip

    def _pay(self, lanes: Lanes, cells: Any, rung: Any, accuracy: Any, price: Any) -> npt.NDArray[np.float64]:
        """Charge observed queries, move the incumbents, and the reward of each lane."""
        reward, worth = np.zeros(self.lanes), self._incumbent_score[lanes]
        if self._reward == "area":
            reward[lanes] = worth * price / self.budget[lanes]
        self.seconds_used[lanes] += price
        self.n_queries[lanes] += 1
        score = self._score(lanes, cells, accuracy)
        highest = self.incumbent_rung[lanes]
        better = (rung > highest) | ((rung == highest) & (score > worth))
        new = lanes[better]
        self.incumbent[new], self.incumbent_rung[new] = cells[better], rung[better]
        self.incumbent_accuracy[new], self._incumbent_score[new] = accuracy[better], score[better]
        if self._reward == "improvement":
            reward[lanes] = self._incumbent_score[lanes] - worth
        return reward

    def _pay_at_end(self, lanes: Lanes) -> npt.NDArray[np.float64]:
        reward = np.zeros(self.lanes)
        if self._reward == "area":
            left = np.maximum(0.0, self.budget[lanes] - self.seconds_used[lanes])
            reward[lanes] = self._incumbent_score[lanes] * left / self.budget[lanes]
        elif self._reward == "true":
            lanes = lanes[self.incumbent[lanes] >= 0]
            cells = self.incumbent[lanes]
            accuracy = self._value(lanes, cells, self._true[self.task[lanes], cells])
            reward[lanes] = self._score(lanes, cells, accuracy)
        return reward

    def _score(self, lanes: Lanes, cells: Any, accuracy: Any) -> npt.NDArray[np.float64]:
        score = np.array(accuracy, np.float64)
        for number, task in enumerate(self.tasks):
            rows = self.task[lanes] == number
            if task.objectives is not None and rows.any():
                score[rows] = task.score(cells[rows], accuracy[rows])
        return score

    def _trial(self, lanes: Lanes, cells: Any) -> npt.NDArray[np.int64]:
        """Which trial each lane sees of its cell, -1 for the mean."""
        kind = self.tasks[0].oracle.trial
        if kind != "per-search":
            return np.full(lanes.size, NO_TRIAL if kind == "mean" else 0)
        task = self.task[lanes]
        drawn = drawn_trials(self._seed[lanes], cells, self._count[task, cells])
        return np.asarray(self._order[task, cells, drawn])

    def _value(self, lanes: Lanes, cells: Any, accuracy: Any) -> npt.NDArray[np.float64]:
        """Accuracies of a table as a search sees them: with its random field, if there is one."""
        accuracy = accuracy.astype(np.float64)
        if not self._perturb:
            return np.asarray(accuracy)
        ops, rows = ALL_OPS[cells].astype(np.int64), lanes[:, None]
        single = np.arange(len(EDGES)) * len(OPS) + ops
        joint = np.arange(len(_PAIRS)) * len(OPS) ** 2 + ops[:, _PAIRS[:, 0]] * len(OPS) + ops[:, _PAIRS[:, 1]]
        terms = self._field[rows, np.concatenate((single, _FIELD_TERMS[0] + joint), axis=1)]
        terms[:, len(EDGES) :] *= _PAIR_WEIGHT
        total = np.add.accumulate(terms, axis=1)[:, -1]  # in order, so that it is the same for any number of lanes
        return np.asarray(np.clip(accuracy + self._perturb * total / _FIELD_SCALE, 0.0, 1.0))

    def _furthest(self, lanes: Lanes, cells: Any) -> npt.NDArray[np.int64]:
        """The highest rung, from 1, up to which cells have been bought; 0 if not at all."""
        bits = self._bought[lanes, cells]
        furthest = np.zeros(lanes.size, np.int64)
        for rung in range(self.rungs):
            furthest[bits >> rung & 1 != 0] = rung + 1
        return furthest

    def _remember(self, lanes: Lanes, cells: Any, rung: Any, accuracy: Any) -> None:
        for past, latest in ((self._past_cell, cells), (self._past_rung, rung), (self._past_accuracy, accuracy)):
            past[lanes, 1:] = past[lanes, :-1]
            past[lanes, :1] = latest[:, None]

    def _account(self, lanes: Lanes, reward: npt.NDArray[np.float64], found: Mapping[str, Any]) -> Arrays:
        rows = np.zeros(self.lanes, bool)
        rows[lanes] = True
        account: Arrays = {"reward": reward, "queried": rows}
        for key, values in found.items():
            account[key] = np.zeros(self.lanes, values.dtype)
            account[key][lanes] = values
        kind = self.tasks[0].oracle.trial
        if isinstance(kind, int):
            account["trial"] = np.where(account["observed"], kind, np.where(rows, NO_TRIAL, 0))
        account |= self.accounts()
        if self.tasks[0].objectives is not None:
            vectors = [
                task.objectives.vector(account["index"], account["accuracy"]) for task in self.tasks if task.objectives
            ]
            account["reward_vector"] = np.stack(vectors)[self.task, np.arange(self.lanes)]
            account["reward_vector"] *= account["observed"][:, None]
        return account

    def accounts(self) -> Arrays:
        """Where every search stands, by the keys of an environment's info, as new arrays (lanes,)."""
        return {
            "task": self.task.copy(),
            "seconds_used": self.seconds_used.copy(),
            "seconds_left": np.maximum(0.0, self.budget - self.seconds_used),
            "incumbent_index": self.incumbent.copy(),
            "incumbent_accuracy": self.incumbent_accuracy.copy(),
            "incumbent_epoch": np.where(
                self.incumbent_rung > 0, self._epochs[self.task, np.maximum(self.incumbent_rung, 1) - 1], 0
            ),
            "n_queries": self.n_queries.copy(),
            "n_distinct": self.n_distinct.copy(),
            "budget_exhausted": self.ended.copy(),
        }

    def legal(self) -> npt.NDArray[np.int8]:
        """Legal actions of the sequential kind, int8 (lanes, max(5, rungs + 1))."""
        actions = np.arange(max(len(OPS), self.rungs + 1))
        cells = np.maximum(self.cell, 0)
        further = (actions > self._furthest(np.arange(self.lanes), cells)[:, None]) & (actions <= self.rungs)
        deciding = (self.phase == DECIDE)[:, None]
        return np.where(deciding, further | (actions == 0), actions < len(OPS)).astype(np.int8)

    def observe(self) -> dict[str, npt.NDArray[np.float32]]:
        """What a policy sees, float32 from 0 to 1 by name, (lanes, …): see `nb201_env.envs.search.SearchEnv`."""
        has_incumbent = self.incumbent >= 0
        rungs = np.eye(self.rungs + 1, dtype=np.float32)[:, 1:]
        incumbent = ONEHOT[np.maximum(self.incumbent, 0)] * has_incumbent[:, None]
        past = self._past_cell >= 0
        cells = ONEHOT[np.maximum(self._past_cell, 0)]
        history = (cells * past[..., None], self._past_accuracy[..., None], rungs[self._past_rung], past[..., None])
        curve, seen = self.curve()
        left = np.maximum(0.0, 1.0 - self.seconds_used / self.budget)
        parts = {
            "phase": np.eye(DECIDE + 1)[self.phase],
            "budget_left": left[:, None],
            "incumbent": np.concatenate((incumbent, self.incumbent_accuracy[:, None], rungs[self.incumbent_rung]), 1),
            "cell": np.concatenate((_SLOTS[self.ops].reshape(self.lanes, -1), curve, seen), axis=1),
            "history": np.concatenate(history, axis=2),
        }
        return {name: part.astype(np.float32) for name, part in parts.items()}

    def curve(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Accuracies of the cell in hand at the rungs that were seen, 0 elsewhere, and which they are."""
        cells, lanes = np.maximum(self.cell, 0), np.arange(self.lanes)
        seen = (self._bought[lanes, cells][:, None] >> np.arange(self.rungs) & 1 != 0) & (self.cell >= 0)[:, None]
        trial = np.maximum(self._trial(lanes, cells), 0)
        columns = [
            self._value(lanes, cells, self._accuracy[self.task, rung, cells, trial]) for rung in range(self.rungs)
        ]
        return np.stack(columns, axis=1) * seen, seen


def _padded(values: npt.NDArray[Any], trials: int) -> npt.NDArray[Any]:
    return np.concatenate((values, np.repeat(values[..., -1:], trials - values.shape[-1], axis=-1)), axis=-1)
