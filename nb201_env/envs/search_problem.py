"""What `NB201/Search-v0` is about: the tasks that a search can be over, how they are paid, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from nb201_env import checks
from nb201_env.envs.rewards import SEARCH_REWARDS, Scale, SearchReward, regret_scale
from nb201_env.errors import NB201Error
from nb201_env.simulation.column import Column
from nb201_env.simulation.family import Law, TaskFamily
from nb201_env.simulation.rules import Rules
from nb201_env.space import EDGES, NUM_CELLS, OPS
from nb201_env.tables.opening import open_table
from nb201_env.tables.table import Table

ACTIONS = ("sequential", "joint")
CHARGES = ("resume", "fresh")
OBSERVATIONS = ("flat", "dict")
TASK_SAMPLING = ("uniform", "round-robin")
RESET_OPTIONS = ("new_search", "budget", "trial_seed", "task")

DECIDE = len(EDGES)
"""The phase after the six choices: leave the cell, or buy more epochs of it."""

DEFAULT_DATASET = "gratings"
DEFAULT_RUNGS = (1, 3)
DEFAULT_BUDGET = 20.0
"""In mean costs of a full training."""

_SHOWN_DEVIATIONS = 8.0
"""Deviations from the least to the greatest value that a standardised observation can show."""

_MOST_TASKS = 10_000
_FAMILY = ("start", "stop", *(field.name for field in fields(Law)))
_DESCRIPTION = 4

Floats = npt.NDArray[np.float64]

MAX_HISTORY = 1000
"""Most queries that an observation can show."""

_TASK = ("table", "dataset", "recipe", "epoch", "rungs")


@dataclass(frozen=True, eq=False)
class SearchTask:
    """One column of a table that a search can be over, and its rules."""

    column: Column
    rules: Rules

    @cached_property
    def scale(self) -> Scale:
        """By which rewards in units of regret are paid: privileged knowledge."""
        return regret_scale(self.column, self.rules.objectives)

    @cached_property
    def description(self) -> npt.NDArray[np.float32]:
        """What is known of a task before it is searched, from 0 to 1: see `nb201_env.envs.search.SearchEnv`."""
        column = self.column
        about = column.table.attrs(column.dataset)
        known = (1.0 / about["num_classes"], about["image_size"] / 256, np.log1p(column.full) / np.log(1e7),
                 column.rungs[0] / column.rungs[-1])  # fmt: skip
        return np.clip(known, 0.0, 1.0).astype(np.float32)

    @property
    def budget(self) -> float:
        """Seconds of a search."""
        return self.rules.seconds


@dataclass(frozen=True, eq=False)
class SearchProblem:
    """The arguments of the environment, made of what they name; see `from_arguments`.

    Attributes:
        tasks: that a search can be over.
        reward: how a search is paid.
        perturb: standard deviation of the random field that each search adds to accuracies.
        is_sequential: whether a cell is built from six actions, or by one.
        is_flat: whether an observation is one vector, or its parts by name.
        history: number of queries that an observation shows.
        is_standardised: whether accuracies are shown in deviations from the mean of the search.
        is_described: whether observations say what is known of the task.
        trainings: budget of a search in mean costs of a full training, where it is not in seconds.
        takes_turns: whether tasks come in order, or are drawn.
        max_queries: purchases of a search as the arguments have them, None for a number that depends on the budget.
    """

    tasks: tuple[SearchTask, ...]
    reward: SearchReward
    perturb: float
    is_sequential: bool
    is_flat: bool
    history: int
    is_standardised: bool
    is_described: bool
    trainings: float
    takes_turns: bool
    max_queries: int | None

    @classmethod
    def from_arguments(cls, **arguments: Any) -> SearchProblem:
        """Check the environment's arguments and read what they name.

        Args:
            arguments: all of those of `nb201_env.envs.search.SearchEnv` but `render_mode`.

        Raises:
            NB201Error: for the first argument that is not as described.
            MissingDataError: if a table does not have the values for every cell.
        """
        for name, known in (("action", ACTIONS), ("charge", CHARGES), ("observation", OBSERVATIONS),
                            ("reward", tuple(SEARCH_REWARDS)), ("task_sampling", TASK_SAMPLING)):  # fmt: skip
            checks.one_of(name, arguments[name], known)
        history = checks.whole("history", arguments["history"], 0, MAX_HISTORY)
        perturb = checks.number("perturb", arguments["perturb"], 0.0)
        reward = SEARCH_REWARDS[arguments["reward"]]
        if reward.pays_by == "scaled" and perturb:
            raise NB201Error(
                f"reward={arguments['reward']!r} knows the best cell of each task, but a field by perturb is new "
                "with every search: make tasks by family instead"
            )
        trainings = arguments["trainings"]
        if trainings is not None and arguments["budget"] is not None:
            raise NB201Error("budget is in seconds and trainings in mean full trainings: give one of them")
        trainings = DEFAULT_BUDGET if trainings is None else checks.number("trainings", trainings, 0.0)
        if isinstance(arguments["trial"], str) and arguments["trial"] == "per-query":
            raise NB201Error("a curve belongs to one training: trial must be per-search, mean or a number")
        wanted = arguments["tasks"]
        given = [{}] if wanted is None else wanted
        if not isinstance(given, list | tuple) or not given:
            raise NB201Error(f"tasks must be a list of dicts of {', '.join(_TASK)}, got {checks.shown(wanted)}")
        columns = [_column(arguments | checks.mapping("tasks", task, _TASK)) for task in given]
        if arguments["family"] is not None:
            columns = _drawn(columns, arguments["family"], arguments["trial"])
        rules = Rules(arguments["budget"], arguments["charge"], "stop-before", arguments["max_queries"],
                      arguments["objectives"])  # fmt: skip
        return cls(
            tuple(SearchTask(column, _rules(rules, column, trainings)) for column in columns),
            reward,
            perturb,
            arguments["action"] == "sequential",
            arguments["observation"] == "flat",
            history,
            checks.truth("standardise", arguments["standardise"]),
            checks.truth("describe", arguments["describe"]),
            trainings,
            arguments["task_sampling"] == "round-robin",
            rules.max_queries,
        )

    def with_budget(self, budget: float | None) -> SearchProblem:
        """The same with another budget for every task, None for each task's own."""
        tasks = []
        for task in self.tasks:
            rules = replace(task.rules, budget=budget, max_queries=self.max_queries)
            tasks.append(SearchTask(task.column, _rules(rules, task.column, self.trainings)))
        return replace(self, tasks=tuple(tasks))

    def checked_task(self, chosen: object) -> int | None:
        """The option `task`: the position of one, or None for the next.

        Raises:
            NB201Error: if it is anything else.
        """
        return None if chosen is None else checks.whole("the option task", chosen, 0, len(self.tasks) - 1)

    def next_task(self, seed: int, searches_before: int, chosen: int | None) -> int:
        """Position of the task that a search is over, by its seed and how many came before it."""
        count = len(self.tasks)
        if chosen is not None:
            return chosen
        if self.takes_turns:
            return searches_before % count
        return int(np.random.default_rng([seed, 1]).integers(count)) if count > 1 else 0

    @cached_property
    def num_rungs(self) -> int:
        """Number of rungs of the task that has most."""
        return max(len(task.column.rungs) for task in self.tasks)

    @cached_property
    def num_actions(self) -> int:
        """Of the sequential kind: an op, or 0 and a rung from 1."""
        return max(len(OPS), self.num_rungs + 1)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parts of an observation, in order."""
        cell, rungs = len(EDGES) * len(OPS), self.num_rungs
        shapes = {
            "phase": (DECIDE + 1,),
            "task": (_DESCRIPTION,),
            "budget_left": (1,),
            "incumbent": (cell + 1 + rungs,),
            "cell": (cell + len(EDGES) + 2 * rungs,),
            "history": (self.history, cell + 2 + rungs),
        }
        skipped = {"phase": not self.is_sequential, "task": not self.is_described, "history": self.history == 0}
        return {name: shape for name, shape in shapes.items() if not skipped.get(name)}

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where the parts of an observation are in the flat vector."""
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in self.shapes.values())]).tolist()
        return {name: slice(start, end) for name, start, end in zip(self.shapes, ends[:-1], ends[1:], strict=True)}

    @property
    def size(self) -> int:
        """Length of the flat vector."""
        return int(max(part.stop for part in self.slices.values()))

    def parts(self, flat: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Views of the parts of flat observations (…, size), by name."""
        lead = flat.shape[:-1]
        return {name: flat[..., self.slices[name]].reshape(*lead, *shape) for name, shape in self.shapes.items()}

    def standardise(self, parts: dict[str, npt.NDArray[np.float32]], means: Floats, deviations: Floats) -> None:
        """Write accuracies that observations (…, shape) show as deviations from the mean of what a search saw.

        The mean is shown as 1/2, and four deviations above or below as 1 and 0.

        Args:
            parts: of observations, by name; changed in place.
            means: of all purchases at each rung, (…, rungs).
            deviations: likewise; 0 where there was no other than the mean, which is shown then.
        """
        rungs, cell = self.num_rungs, len(EDGES) * len(OPS)
        rates = np.where(deviations > 0.0, 1.0, 0.0) / np.where(deviations > 0.0, _SHOWN_DEVIATIONS * deviations, 1.0)

        def show(values: npt.NDArray[np.float32], mean: Floats, rate: Floats, seen: npt.NDArray[np.bool_]) -> None:
            values[...] = np.where(seen, np.clip(0.5 + (values - mean) * rate, 0.0, 1.0), 0.0)

        curve = parts["cell"][..., cell + len(EDGES) :]
        show(curve[..., :rungs], means, rates, curve[..., rungs:] > 0.0)
        for name, axes in (("incumbent", ()), ("history", (-2,))):
            if name in parts:
                at = parts[name][..., cell + 1 : cell + 1 + rungs]  # one-hot
                mean, rate = ((at * np.expand_dims(values, axes)).sum(axis=-1) for values in (means, rates))
                show(parts[name][..., cell], mean, rate, at.max(axis=-1) > 0.0)

    def action_space(self) -> spaces.Space[Any]:
        """The space of actions of one search."""
        if self.is_sequential:
            return spaces.Discrete(self.num_actions)
        return spaces.MultiDiscrete([len(OPS)] * len(EDGES) + [self.num_rungs])

    def observation_space(self) -> spaces.Space[Any]:
        """The space of observations of one search."""
        if self.is_flat:
            return spaces.Box(0.0, 1.0, (self.size,), np.float32)
        boxes: dict[str, spaces.Space[Any]] = {
            name: spaces.Box(0.0, 1.0, shape, np.float32) for name, shape in self.shapes.items()
        }
        if self.is_sequential:
            boxes["action_mask"] = spaces.MultiBinary(self.num_actions)
        return spaces.Dict(boxes)

    def checked_queries(self, actions: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Joint actions (n, 7) as op codes (n, 6) and positions of rungs (n,).

        Raises:
            NB201Error: if they are anything else.
        """
        limits = np.array([len(OPS)] * len(EDGES) + [self.num_rungs])
        whole = actions.dtype.kind in "iu" and actions.ndim == 2 and actions.shape[1] == limits.size
        if not whole or (actions < 0).any() or (actions >= limits).any():
            raise NB201Error(
                f"an action is six ops from 0 to {len(OPS) - 1} and a rung from 0 to {self.num_rungs - 1}, "
                f"got {checks.shown(actions.tolist())}"
            )
        actions = actions.astype(np.int64)
        return actions[:, : len(EDGES)], actions[:, len(EDGES)]


def _drawn(sources: list[Column], given: Any, trial: str) -> list[Column]:
    """The tasks `start` to `stop` - 1 of the family that is made of some columns."""
    given = checks.mapping("family", given, _FAMILY)
    start = checks.whole("family: start", given.get("start", 0), 0)
    stop = checks.whole("family: stop", given.get("stop"), start + 1, start + _MOST_TASKS)
    law = {key: value for key, value in given.items() if key not in ("start", "stop")}
    if isinstance(law.get("noise"), list):
        law["noise"] = tuple(law["noise"])
    family = TaskFamily(sources, Law(**law))
    return [family.column(number, trial) for number in range(start, stop)]


def _column(arguments: Mapping[str, Any]) -> Column:
    table, dataset, epoch = open_table(arguments["table"]), arguments["dataset"], arguments["epoch"]
    dataset = _default_dataset(table) if dataset is None else dataset
    more = {key: arguments[key] for key in ("recipe", "split", "trial", "missing")}
    if arguments["rungs"] is not None:
        return Column.open(table, dataset, epoch=epoch, rungs=arguments["rungs"], **more)
    last = Column.open(table, dataset, epoch=epoch, **more).epoch
    known = table.epochs(dataset, recipe=arguments["recipe"], split=arguments["split"])
    rungs = (*(rung for rung in DEFAULT_RUNGS if rung < last and rung in known), last)
    return Column.open(table, dataset, rungs=rungs, **more)


def _default_dataset(table: Table) -> str:
    return DEFAULT_DATASET if DEFAULT_DATASET in table.datasets else next(iter(table.datasets), DEFAULT_DATASET)


def _rules(rules: Rules, column: Column, trainings: float) -> Rules:
    """The rules of a search over a column, with its own budget and number of purchases where none is given."""
    budget = trainings * column.full if rules.budget is None else rules.budget
    purchases = _purchases(column, rules.charge, budget) if rules.max_queries is None else rules.max_queries
    rules = replace(rules, budget=budget, max_queries=purchases)
    rules.check(column)
    return rules


def _purchases(column: Column, charge: str, budget: float) -> int:
    """One purchase more than a budget can pay for where none is repeated, as far as there are different ones."""
    added = np.diff(column.train, axis=0, prepend=0.0) if charge == "resume" else column.train
    cheapest = float((added + column.evaluation)[:, column.present].min())
    different = NUM_CELLS * len(column.rungs)
    return different if cheapest * different <= budget else int(budget / cheapest) + 1
