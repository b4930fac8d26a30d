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
import importlib.util
import inspect
import re
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from nb201_env import NUM_CELLS, Evaluation, NB201Error, checks

GROUP = "nb201.searchers"


class Query(NamedTuple):
    """A cell's index and the epoch at which to evaluate it, None for the task's."""

    cell: int
    epoch: int | None = None


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
    """

    dataset: str
    epoch: int
    epochs: tuple[int, ...]
    budget: float | None = None
    max_queries: int | None = None
    present: npt.NDArray[np.bool_] = field(default_factory=lambda: np.ones(NUM_CELLS, bool), compare=False)

    @cached_property
    def cells(self) -> npt.NDArray[np.intp]:
        """Indices of the cells on offer, ascending."""
        return np.flatnonzero(self.present)


@runtime_checkable
class Searcher(Protocol):
    """An algorithm under ask/tell control. It is made as `Class(task, rng)` and draws from nothing but `rng`.

    An attribute `is_asynchronous`, True, says that it may be asked again before it is told, by several workers.
    """

    def ask(self) -> Query | None:
        """The next query, or None if there is nothing left to ask."""

    def tell(self, result: Evaluation) -> None:
        """Take in what the last query observed."""


@runtime_checkable
class Learner(Protocol):
    """An algorithm that drives an environment. It is made as `Class(task, rng)`.

    An attribute `env_arguments`, a dict, adds arguments to the environment that it is given, such as a mask,
    as far as the environment has them; an attribute `note`, a string, says after training what a reader
    of its results must know.
    """

    def train(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Search until an info says `budget_exhausted`; the first reset must be `env.reset(seed=seed)`."""


def agent_names() -> tuple[str, ...]:
    """Names of all installed agents."""
    return tuple(sorted(point.name for point in entry_points(group=GROUP)))


_WITH_OPTIONS = re.compile(r"([\w.+-]+)(?:\(([\w.+=,-]*)\))?")


def make_agent(name: str, task: Task, rng: np.random.Generator) -> Searcher | Learner:
    """Make the agent of a name, which may have options in brackets, as in `rea(sample=10,mutation=node-first)`.

    Raises:
        NB201Error: if there is none, it has no such option, or a package that it needs is not installed.
    """
    points = {point.name: point for point in entry_points(group=GROUP)}
    found = _WITH_OPTIONS.fullmatch(name)
    if found is None or found[1] not in points:
        raise NB201Error(f"unknown agent {name!r}; installed are {', '.join(sorted(points))}")
    make, options = points[found[1]].load(), options_of(found[2] or "")
    known = inspect.signature(make).parameters
    if unknown := sorted(set(options) - set(known)):
        has = ", ".join(list(known)[2:]) or "no options"
        raise NB201Error(f"the agent {found[1]} has no option {unknown[0]!r}; it has {has}")
    agent: Searcher | Learner = make(task, rng, **options)
    return agent


def require(agent: str, *packages: str) -> None:
    """Raise NB201Error, before a comparison begins rather than in the middle of it, if an agent lacks a package."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise NB201Error(f"the agent {agent} needs {package}: pip install 'nb201-env[agents]'")


def options_of(text: str) -> dict[str, Any]:
    """Options written as `key=value,…`, values being numbers, True, False, None or else strings.

    Raises:
        NB201Error: if they are written otherwise.
    """
    options: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        key, equals, value = part.partition("=")
        if not key.isidentifier() or not equals or not value:
            raise NB201Error(f"options are written as sample=10,mutation=node-first, got {checks.shown(text)}")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return options


def tuned_on(agent: Searcher | Learner) -> tuple[str, ...]:
    """Data sets on which the agent's settings were chosen: its attribute `tuned_on`, or none."""
    return tuple(getattr(agent, "tuned_on", ()))


def env_arguments(agent: Searcher | Learner) -> dict[str, Any]:
    """What a learner adds to its environment's arguments: its attribute `env_arguments`, or nothing."""
    return dict(getattr(agent, "env_arguments", {}))
