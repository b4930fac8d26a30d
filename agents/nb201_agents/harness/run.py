"""One search of one agent, by asking and telling or in an environment; or many at once, where an agent can."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from nb201_agents.harness.results import fields
from nb201_agents.harness.setup import Setup, env_parameters
from nb201_agents.many.search import MANY, by_search, search_many, searchers_of
from nb201_agents.searcher import (
    Learner,
    Searcher,
    Task,
    agent_of,
    env_arguments,
    make_agent,
    num_envs,
    pretrained_on,
    start_of,
    tuned_on,
)
from nb201_env import Evaluation, NB201Error, Oracle, open_table
from nb201_env.simulation.objectives import Objectives
from nb201_env.simulation.workers import Finished, Workers

Made = tuple[dict[str, Any], Sequence[Evaluation | Finished]]
"""The header of a run, and its queries in the order in which they were observed."""

_PACKAGES = ("nb201-env", "gymnasium", "numpy", "optuna", "sb3-contrib", "scipy", "stable-baselines3", "torch", "zarr")


class RecordQueries(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps what the environment's search observes, as `results`; the objectives say what it is worth."""

    def __init__(self, env: gym.Env[Any, Any], objectives: Objectives | None):
        super().__init__(env)
        self.results: list[Evaluation] = []
        self._objectives = objectives

    def reset(self, **how: Any) -> tuple[Any, dict[str, Any]]:
        """Pass through, recording the query of a start cell."""
        observation, info = super().reset(**how)
        self._record(info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Pass through, recording a query that was made."""
        step = super().step(action)
        self._record(step[4])
        return step

    def _record(self, info: dict[str, Any]) -> None:
        if info.get("observed") and info["n_queries"] > len(self.results):
            cell, accuracy, seconds = info["index"], info["accuracy"], info["query_seconds"]
            worth = accuracy if self._objectives is None else float(self._objectives.score(accuracy, cell, accuracy))
            about = info["trial"], True, info["repeat"], worth
            self.results.append(Evaluation(cell, info["epoch"], accuracy, seconds, *about))


def search(
    searcher: Searcher, oracle: Oracle, spend: Callable[[int, float], None] = lambda number, seconds: None
) -> list[Evaluation]:
    """Ask, observe and tell until the budget ends or the searcher has nothing left to ask; all that was observed.

    Args:
        searcher: an algorithm.
        oracle: a search that has just begun.
        spend: called with the number of a query, from 0, and the seconds that the searcher used before it by itself.
    """
    results: list[Evaluation] = []
    while not oracle.exhausted:
        query = searcher.ask()
        if query is None:
            break
        if query.seconds and not oracle.spend(query.seconds):
            break
        result = oracle.query(query.cell, query.epoch)
        if not result.observed:
            break
        if query.seconds:
            spend(len(results), query.seconds)
        searcher.tell(result)
        results.append(result)
    return results


def search_in_parallel(searcher: Searcher, oracle: Oracle, workers: int) -> list[Finished]:
    """As `search`, on several simulated workers: an idle one gets work at once, and results are told as they end."""
    pool, results, is_over = Workers(oracle, workers), list[Finished](), False
    while True:
        while pool.has_free and not is_over:
            query = searcher.ask()
            if query is None:  # for now: what is running may bring more to ask
                break
            if query.seconds:
                raise NB201Error("a searcher that uses seconds beside its queries searches alone: leave workers at 1")
            is_over = not pool.submit(query.cell, query.epoch)
        finished = pool.wait()
        if finished is None:
            return results
        searcher.tell(finished.result)
        results.append(finished)


def learn(learner: Learner, setup: Setup, seed: int) -> list[Evaluation]:
    """Let a learner drive the environment, or lanes of it that share one search; all that was observed."""
    arguments = setup.env_kwargs() | _own_arguments(learner, setup.env)
    if (lanes := num_envs(learner)) > 1:
        vector: Any = gym.make_vec(setup.env, num_envs=lanes, **_LANES, **arguments)
        results: list[Evaluation] = []
        vector.watch(results.append)
        learner.train(vector, seed)
        return results
    env = RecordQueries(gym.make(setup.env, **arguments), oracle_of(setup).objectives)
    learner.train(env, seed)
    return env.results


SHARED = ("NB201/BuildCell-v0", "NB201/EditCell-v0")
"""Environments whose lanes can be the workers of one search."""

_LANES: dict[str, Any] = {"budget_scope": "shared", "autoreset_mode": "SameStep"}


def run(agent_name: str, setup: Setup, seed: int) -> Made:
    """One search by one agent.

    Args:
        agent_name: an installed agent.
        setup: what is searched.
        seed: of the agent's randomness and of the oracle's draws of trials, which all agents with this seed share.

    Returns:
        The header of the run, and its queries in order.
    """
    oracle = oracle_of(setup)
    oracle.new_search(seed)
    agent = make_agent(agent_name, task_of(setup), np.random.default_rng(seed))
    results: Sequence[Evaluation | Finished]
    spent: list[list[float]] = []
    if not isinstance(agent, Searcher):
        results = learn(agent, setup, seed)
    elif setup.workers > 1:
        results = search_in_parallel(agent, oracle, setup.workers)
    else:
        results = search(agent, oracle, lambda number, seconds: spent.append([number, seconds]))
    return _header(agent_name, agent, setup, seed, len(results)) | ({"spent": spent} if spent else {}), results


def task_of(setup: Setup) -> Task:
    """What a searcher may know of a setup."""
    oracle = oracle_of(setup)
    column = oracle.column
    return Task(
        column.dataset,
        column.epoch,
        column.rungs,
        setup.budget,
        setup.max_queries,
        column.present,
        oracle.objectives,
        columns=columns_of(setup),
        train_seconds=np.where(column.present, column.train[-1], np.nan),
        image_hashes=column.table.attrs(column.dataset).get("image_hashes", {}),
    )


def columns_of(setup: Setup) -> dict[str, npt.NDArray[np.float64]]:
    """Columns of the table's own that a searcher may know, by name."""
    table = open_table(setup.table)
    return {name: table.own_column(setup.dataset, name) for name in table.own_columns(setup.dataset)}


def _header(name: str, agent: Searcher | Learner, setup: Setup, seed: int, queries: int) -> dict[str, Any]:
    column = oracle_of(setup).column
    header = {
        "agent": name,
        "seed": seed,
        "env": _env(agent, setup),
        "recipe": column.recipe,
        "epoch": column.epoch,
        "fingerprint": column.table.fingerprint,
        "timing_fingerprint": column.table.timing_fingerprint,
        "tuned_on": list(tuned_on(agent)),
        "pretrained_on": list(pretrained_on(agent)),
        "row": list(fields(setup.workers, bool(setup.objectives))),
        "versions": versions(),
        "queries": queries,
    }
    header |= origins(name, agent, setup)
    if note := getattr(agent, "note", ""):
        header["note"] = note
    if trajectory := getattr(agent, "trajectory", None):
        header["trajectory"] = trajectory
    return header


def origins(name: str, agent: Searcher | Learner, setup: Setup) -> dict[str, Any]:
    """What the header of a run says of where its agent begins: an order of cells, and what it knows, by hashes."""
    found: dict[str, Any] = {}
    if start := start_of(name, columns_of(setup)):
        found["start"] = start
    if knows := dict(getattr(agent, "knows", {})):
        found["knows"] = knows
    return found


def check_agent(name: str, setup: Setup) -> None:
    """Raise NB201Error if an agent could not search, before a comparison begins rather than in the middle of it."""
    column = oracle_of(setup).column
    agent = make_agent(name, task_of(setup), np.random.default_rng(0))
    if not isinstance(agent, Searcher):
        setup.env_kwargs()
        if num_envs(agent) > 1 and setup.env not in SHARED:
            raise NB201Error(f"lanes of {setup.env} cannot share a search: leave num_envs at 1")
    if setup.workers > 1 and not getattr(agent, "is_asynchronous", False):
        raise NB201Error(f"{name} waits for each answer before it asks again: leave workers at 1")
    if column.is_partial and not isinstance(agent, Searcher) and "mask" not in env_arguments(agent):
        raise NB201Error(
            f"{name} heeds no mask of actions, so it cannot search a table of which some cells are not on offer: use "
            "maskable-ppo, or agents that ask and tell"
        )


def _env(agent: Searcher | Learner, setup: Setup) -> dict[str, Any]:
    """What the header of a run says of the environment; an agent that asks and tells meets its rules alone."""
    about: dict[str, Any] = {"id": setup.env, "kwargs": setup.plain()}
    if not isinstance(agent, Searcher):
        if setup.env_options:
            about["options"] = dict(setup.env_options)
        if own := _own_arguments(agent, setup.env):
            about["agent_kwargs"] = own
        if num_envs(agent) > 1:
            about["num_envs"] = num_envs(agent)
    return about


def _own_arguments(agent: Searcher | Learner, env: str) -> dict[str, Any]:
    """What a learner adds to the arguments of an environment, as far as it has them."""
    known = env_parameters(env)
    return {key: value for key, value in env_arguments(agent).items() if key in known}


@lru_cache(maxsize=8)
def oracle_of(setup: Setup) -> Oracle:
    """An oracle under the rules of a setup, made once."""
    return setup.oracle()


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that a result can depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def is_made_as_arrays(agent: str, setup: Setup) -> bool:
    """Whether many searches of an agent can be made at once: at one rung, alone, with trials that no order decides."""
    make = agent_of(agent)[0]
    alone = setup.workers == 1 and len(oracle_of(setup).column.rungs) == 1
    return getattr(make, "func", make) in MANY and alone and setup.trial != "per-query"


def run_many(name: str, setup: Setup, seeds: Sequence[int]) -> list[Made]:
    """What `run` gives for each seed."""
    oracle, task = oracle_of(setup), task_of(setup)
    searchers = searchers_of(name, task, [np.random.default_rng(seed) for seed in seeds])
    agent = make_agent(name, task, np.random.default_rng(0))
    found = by_search(search_many(searchers, oracle.column, oracle.rules, seeds), len(seeds), oracle.epoch)
    return [
        (_header(name, agent, setup, seed, len(results)), results) for seed, results in zip(seeds, found, strict=True)
    ]
