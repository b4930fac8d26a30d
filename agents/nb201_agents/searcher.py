"""What an agent is. There are two kinds, and a name in the entry-point group `nb201.searchers` stands for either.

A *searcher* is asked for a cell and told what it observed:

    searcher = RandomSearch(task, rng)
    query = searcher.ask()
    searcher.tell(oracle.query(query.cell, query.epoch))

A *learner* is handed a Gymnasium environment and drives it itself, until the environment says that the budget is used
up.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from nb201_env import NUM_CELLS, PARAMS, Evaluation, NB201Error, checks
from nb201_env.files import regular
from nb201_env.simulation.objectives import Objectives

GROUP = "nb201.searchers"


class Query(NamedTuple):
    """What a searcher asks for.

    Attributes:
        cell: its index.
        epoch: at which to evaluate it, None for the task's.
        seconds: simulated seconds that the searcher itself used to find out what to ask, beside all queries: those of a
            supernet's training. They are charged to the budget before the query is.
    """

    cell: int
    epoch: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Task:
    """What a searcher may know before it starts.

    Attributes:
        dataset: name of the data set.
        epoch: at which cells are evaluated by default.
        epochs: at which they can be evaluated.
        budget: simulated GPU-seconds, None for no limit.
        max_queries: number of queries, None for no limit.
        present: which cells are on offer, bool (15625,); all unless a table is partial.
        objectives: what counts beside accuracy; see `nb201_env.simulation.objectives.Objectives`.
        start: cells to ask for before any that a searcher would draw at random, the first first.
        columns: of the table's own, by name, (15625,), NaN where missing: scores that cost no training, latencies.
        train_seconds: simulated seconds of each cell's training to the last epoch, (15625,), NaN where absent; empty if
            nobody says.
        image_hashes: SHA-256 of the images of each split that cells are trained on; empty if nobody says.
    """

    dataset: str
    epoch: int
    epochs: tuple[int, ...]
    budget: float | None = None
    max_queries: int | None = None
    present: npt.NDArray[np.bool_] = field(default_factory=lambda: np.ones(NUM_CELLS, bool), compare=False)
    objectives: Objectives | None = field(default=None, compare=False)
    start: tuple[int, ...] = ()
    columns: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict, compare=False)
    train_seconds: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), compare=False)
    image_hashes: Mapping[str, str] = field(default_factory=dict, compare=False)

    @cached_property
    def cells(self) -> npt.NDArray[np.intp]:
        """Indices of the cells on offer, ascending."""
        return np.flatnonzero(self.present)


@runtime_checkable
class Searcher(Protocol):
    """An algorithm under ask/tell control. It is made as `Class(task, rng)` and draws from nothing but `rng`.

    An attribute `is_asynchronous`, True, says that it may be asked again before it is told, by several workers;
    `has_start`, False, that there is nothing it could begin with, so that it has no option `start`.
    Attributes `tuned_on` and `pretrained_on` name the data sets on which its settings were chosen, or on whose values
    it was trained; `knows` is a dict of the tables and files that it reads, by name, and their fingerprints.
    """

    def ask(self) -> Query | None:
        """The next query, or None if there is nothing left to ask."""

    def tell(self, result: Evaluation) -> None:
        """Take in what the last query observed."""


@runtime_checkable
class Learner(Protocol):
    """An algorithm that drives an environment. It is made as `Class(task, rng)`.

    An attribute `env_arguments`, a dict, adds arguments to the environment that it is given, such as a mask,
    as far as the environment has them; an attribute `num_envs` above 1 asks for a vector environment, whose lanes share
    one search and reset in the same step; an attribute `note`, a string, says after training what a reader of its
    results must know.
    """

    def train(self, env: gym.Env[Any, Any] | gym.vector.VectorEnv[Any, Any, Any], seed: int) -> None:
        """Search until an info says `budget_exhausted`; the first reset must be `env.reset(seed=seed)`."""


class Draws:
    """Random numbers and cells of one searcher.

    Everything is made of uniform numbers from 0 to 1, one after the other, so that `nb201_agents.many.draws` can make
    the same draws for many searchers at once.
    """

    def __init__(self, task: Task, rng: np.random.Generator):
        self._uniform, self._cells = rng.random, task.cells
        self._start = [cell for cell in reversed(task.start) if task.present[cell]]

    def below(self, count: int) -> int:
        """A whole number from 0 to `count` - 1."""
        return int(self._uniform() * count)

    def started(self) -> int | None:
        """The next cell of the task's start, None once it is used up."""
        return self._start.pop() if self._start else None

    def cell(self, known: Container[int] = ()) -> int:
        """The next cell of the task's start, then a uniform one of those on offer; none that is known already."""
        while (cell := self.started()) is not None:
            if cell not in known:
                return cell
        while True:
            cell = self._cells.item(int(self._uniform() * self._cells.size))
            if cell not in known:
                return cell


def agent_names() -> tuple[str, ...]:
    """Names of all installed agents."""
    return tuple(sorted(_installed()))


@lru_cache(maxsize=1)
def _installed() -> dict[str, EntryPoint]:
    """Agents by name; looking through all installed packages takes as long as a fast search."""
    return {point.name: point for point in entry_points(group=GROUP)}


_WITH_OPTIONS = re.compile(r"([\w.+-]+)(?:\((.*)\))?")

START_CELLS = 10
"""How many cells of an order a search begins with, unless `starts` says otherwise."""


def make_agent(name: str, task: Task, rng: np.random.Generator) -> Searcher | Learner:
    """Make the agent of a name, which may have options in brackets, as in `rea(sample=10,mutation=node-first)`.

    Every searcher has the options `start`, an order of cells with which it begins, see `order_of`, and `starts`, how
    many of them.

    Raises:
        NB201Error: if there is none, it has no such option, or a package that it needs is not installed.
    """
    make, options = agent_of(name)
    agent: Searcher | Learner = make(started(task, options), rng, **options)
    return agent


def agent_of(name: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """What makes the agent of a name, and its options.

    Raises:
        NB201Error: if there is none, or it has no such option.
    """
    points = _installed()
    found = _WITH_OPTIONS.fullmatch(name)
    if found is None or found[1] not in points:
        raise NB201Error(f"unknown agent {name!r}; installed are {', '.join(sorted(points))}")
    make, options = points[found[1]].load(), options_of(found[2] or "")
    kind, fixed = getattr(make, "func", make), getattr(make, "keywords", {})
    known = [name for name in list(inspect.signature(make).parameters)[2:] if name not in fixed]
    if not hasattr(kind, "train") and getattr(kind, "has_start", True):
        known += _START_OPTIONS
    if unknown := sorted(set(options) - set(known)):
        has = ", ".join(known) or "no options"
        raise NB201Error(f"the agent {found[1]} has no option {unknown[0]!r}; it has {has}")
    return make, options


_START_OPTIONS = ("start", "starts")
_MOST_OPTIONS = 4_000  # characters


def started(task: Task, options: dict[str, Any]) -> Task:
    """A task that begins with the first cells on offer of an order, whose options are taken out of an agent's."""
    order, count = options.pop("start", None), options.pop("starts", None)
    if order is None:
        if count is not None:
            raise NB201Error(f"starts={count} says how many cells of an order to begin with: name it by start=")
        return task
    count = START_CELLS if count is None else count
    cells = [cell for cell in order_of(str(order), task.columns).tolist() if task.present[cell]]
    return replace(task, start=tuple(cells[: checks.whole("starts", count, 1, NUM_CELLS)]))


def order_of(name: str, columns: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.intp]:
    """Cells, the most promising first, of equals the lower index: by parameters, or by scores.

    Args:
        name: `params`; or a column of the table's own, the highest first, or with a minus before it the lowest; or the
            path of a text file of 15,625 numbers, one a line, in the order of the index, the highest first. Cells
            without a value are left out.
        columns: of the table's own.

    Raises:
        NB201Error: if it is none of these.
    """
    if name == "params":
        return np.argsort(-PARAMS, kind="stable")
    if (column := columns.get(name.removeprefix("-"))) is not None:
        order = np.argsort(column if name.startswith("-") else -column, kind="stable")
        return order[~np.isnan(column[order])]
    scores = np.zeros(0)
    if Path(name).exists():
        with suppress(ValueError), regular(Path(name)).open(encoding="ascii") as file:
            scores = np.array(file.read(_MAX_SCORES).split(), np.float64)
    if scores.shape != (NUM_CELLS,) or not np.isfinite(scores).all():
        raise NB201Error(
            f"start={name} must be params, a column of the table's own ({', '.join(columns) or 'it has none'}), or a "
            f"file of {NUM_CELLS:,} finite numbers, a line each, the best highest"
        )
    return np.argsort(-scores, kind="stable")


_MAX_SCORES = 1 << 20  # characters


def start_of(name: str, columns: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, str] | None:
    """What the header of a run says of the order that the agent of a name begins with, None without one.

    Args:
        name: of the agent, with its options.
        columns: of the table's own.
    """
    options = agent_of(name)[1]
    if "start" not in options:
        return None
    order = order_of(str(options["start"]), columns)
    return {"order": str(options["start"]), "sha256": hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()}


def require(agent: str, *packages: str, extra: str = "agents") -> None:
    """Raise NB201Error, before a comparison begins rather than in the middle of it, if an agent lacks a package."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise NB201Error(f"the agent {agent} needs {package}: pip install 'nb201-env[{extra}]'")


def options_of(text: str) -> dict[str, Any]:
    """Options written as `key=value,…`, values being numbers, True, False, None or else strings.

    Raises:
        NB201Error: if they are written otherwise.
    """
    options: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        key, equals, value = part.partition("=")
        if not key.isidentifier() or not equals or not value or len(text) > _MOST_OPTIONS:
            raise NB201Error(f"options are written as sample=10,mutation=node-first, got {checks.shown(text)}")
        if key in options:
            raise NB201Error(f"the option {key} is given twice in {checks.shown(text)}")
        try:
            found = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            found = value
        options[key] = found if found is None or isinstance(found, int | float | str) else value
    return options


def tuned_on(agent: Searcher | Learner) -> tuple[str, ...]:
    """Data sets on which the agent's settings were chosen: its attribute `tuned_on`, or none."""
    return tuple(getattr(agent, "tuned_on", ()))


def pretrained_on(agent: Searcher | Learner) -> tuple[str, ...]:
    """Data sets on whose values the agent was trained before it searches: its attribute `pretrained_on`, or none."""
    return tuple(getattr(agent, "pretrained_on", ()))


def env_arguments(agent: Searcher | Learner) -> dict[str, Any]:
    """What a learner adds to its environment's arguments: its attribute `env_arguments`, or nothing."""
    return dict(getattr(agent, "env_arguments", {}))


def num_envs(agent: Searcher | Learner) -> int:
    """How many lanes a learner asks for: its attribute `num_envs`, or one."""
    return int(getattr(agent, "num_envs", 1))
