"""Running agents many times under a simulated budget, and the files that this leaves.

A folder of results holds `{dataset}/{agent}.jsonl`, one file for each agent and data set. Each run is one header, a
JSON object, followed by one row for each query, a JSON array of the fields of `ROW`, or of `ROW_OF_WORKERS` where
several simulated workers search, in the order in which they were observed. Runs stand in the order of their seeds. The
same seeds give the same bytes on one installation, whatever the number of worker processes; seconds of the wall clock
stand apart, in `wall_clock.jsonl`.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from nb201_agents.harness.results import ROW, ROW_OF_WORKERS, checked_header, read_file
from nb201_agents.harness.setup import Setup, env_parameters
from nb201_agents.searcher import Learner, Searcher, Task, env_arguments, make_agent, tuned_on
from nb201_env import Evaluation, NB201Error, Oracle, checks, open_table
from nb201_env.files import locked, regular, replacing, sweep
from nb201_env.parallel import in_order, run_tasks
from nb201_env.simulation.workers import Finished, Workers

ALWAYS = ("random", "params", "local-search")
"""Agents that join every comparison: chance, the cheapest prior, and, with one worker, the strongest simple search."""

WALL_CLOCK = "wall_clock.jsonl"

MAX_SEED = 2**32 - 1
"""Largest seed of a run: PyTorch's and Stable-Baselines3's generators take no larger one."""

_CHUNKS_PER_JOB = 8
_PACKAGES = ("nb201-env", "gymnasium", "numpy", "sb3-contrib", "stable-baselines3", "torch", "zarr")


@dataclass(frozen=True)
class Chunk:
    """Consecutive runs of one agent that one worker does: seeds `start` to `stop` - 1."""

    agent: str
    setup: Setup
    start: int
    stop: int


class RecordQueries(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps what the environment's search observed, as `results`."""

    def __init__(self, env: gym.Env[Any, Any]):
        super().__init__(env)
        self.results: list[Evaluation] = []

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
            seconds = info["query_seconds"]
            self.results.append(
                Evaluation(info["index"], info["epoch"], info["accuracy"], seconds, info["trial"], True, info["repeat"])
            )


def search(searcher: Searcher, oracle: Oracle) -> list[Evaluation]:
    """Ask, observe and tell until the budget ends or the searcher has nothing left to ask; all that was observed."""
    results: list[Evaluation] = []
    while not oracle.exhausted:
        query = searcher.ask()
        if query is None:
            break
        result = oracle.query(query.cell, query.epoch)
        if not result.observed:
            break
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
            is_over = not pool.submit(query.cell, query.epoch)
        finished = pool.wait()
        if finished is None:
            return results
        searcher.tell(finished.result)
        results.append(finished)


def learn(learner: Learner, setup: Setup, seed: int) -> list[Evaluation]:
    """Let a learner drive the environment; all that its search observed."""
    env = RecordQueries(gym.make(setup.env, **setup.env_kwargs() | _own_arguments(learner, setup.env)))
    learner.train(env, seed)
    return env.results


def run(agent_name: str, setup: Setup, seed: int) -> tuple[dict[str, Any], Sequence[Evaluation | Finished]]:
    """One search by one agent.

    Args:
        agent_name: an installed agent.
        setup: what is searched.
        seed: of the agent's randomness and of the oracle's draws of trials, which all agents with this seed share.

    Returns:
        The header of the run, and its queries in order.
    """
    oracle = _oracle(setup)
    oracle.new_search(seed)
    column = oracle.column
    task = Task(column.dataset, column.epoch, column.rungs, setup.budget, setup.max_queries, column.present)
    agent = make_agent(agent_name, task, np.random.default_rng(seed))
    results: Sequence[Evaluation | Finished]
    if not isinstance(agent, Searcher):
        results = learn(agent, setup, seed)
    elif setup.workers > 1:
        results = search_in_parallel(agent, oracle, setup.workers)
    else:
        results = search(agent, oracle)
    header = {
        "agent": agent_name,
        "seed": seed,
        "env": _env(agent, setup),
        "recipe": column.recipe,
        "epoch": column.epoch,
        "fingerprint": column.table.fingerprint,
        "timing_fingerprint": column.table.timing_fingerprint,
        "tuned_on": list(tuned_on(agent)),
        "row": list(ROW if setup.workers == 1 else ROW_OF_WORKERS),
        "versions": versions(),
        "queries": len(results),
    }
    if note := getattr(agent, "note", ""):
        header["note"] = note
    return header, results


def _check_agent(name: str, setup: Setup) -> None:
    """Raise NB201Error if an agent could not search, before a comparison begins rather than in the middle of it."""
    column = _oracle(setup).column
    agent = make_agent(name, Task(setup.dataset, column.epoch, column.rungs), np.random.default_rng(0))
    if not isinstance(agent, Searcher):
        setup.env_kwargs()
    if setup.workers > 1 and not getattr(agent, "is_asynchronous", False):
        raise NB201Error(f"{name} waits for each answer before it asks again: leave workers at 1")
    if column.is_partial and not isinstance(agent, Searcher) and "mask" not in env_arguments(agent):
        raise NB201Error(
            f"{name} heeds no mask of actions, so it cannot search a table of which some cells are not on offer: use "
            "maskable-ppo, or agents that ask and tell"
        )


def _env(agent: Searcher | Learner, setup: Setup) -> dict[str, Any]:
    """What the header of a run says of the environment; an agent that asks and tells meets its rules alone."""
    about = {"id": setup.env, "kwargs": setup.plain()}
    if not isinstance(agent, Searcher):
        if setup.env_options:
            about["options"] = dict(setup.env_options)
        if own := _own_arguments(agent, setup.env):
            about["agent_kwargs"] = own
    return about


def _own_arguments(agent: Searcher | Learner, env: str) -> dict[str, Any]:
    """What a learner adds to the arguments of an environment, as far as it has them."""
    known = env_parameters(env)
    return {key: value for key, value in env_arguments(agent).items() if key in known}


@lru_cache(maxsize=8)
def _oracle(setup: Setup) -> Oracle:
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


def run_chunk(chunk: Chunk) -> tuple[str, list[float]]:
    """The runs of a chunk as the text of their result file, and the seconds that each took on this machine."""
    lines, took = [], []
    for seed in range(chunk.start, chunk.stop):
        began = time.perf_counter()
        header, results = run(chunk.agent, chunk.setup, seed)
        took.append(time.perf_counter() - began)
        lines.append(json.dumps(header))
        lines += [json.dumps(_row(result)) for result in results]
    return "".join(line + "\n" for line in lines), took


def _row(result: Evaluation | Finished) -> list[float]:
    row = [result.index, result.epoch, result.trial, result.accuracy, result.seconds]
    return [*row, result.started] if isinstance(result, Finished) else row


def bench(
    agents: Sequence[str],
    setups: Sequence[Setup],
    runs: int,
    out: str | os.PathLike[str],
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> list[Path]:
    """Run agents x setups x seeds and write the results.

    Runs that the folder has, of the same settings and from the first seed on, are not made again, so that an
    interrupted comparison goes on by the same call, and one of five runs grows to twenty.

    Args:
        agents: names; those of `ALWAYS` join in any case.
        setups: one for each data set.
        runs: number of runs of each agent on each data set, with seeds `seed`, `seed` + 1, ….
        out: folder for the results.
        seed: the first seed.
        jobs: number of worker processes.
        progress: called with runs done, all runs, and what is running.

    Returns:
        The result files.

    Raises:
        NB201Error: if an argument is bad, or the folder holds results of another table or other settings.
    """
    checks.whole("runs", runs, 1)
    checks.whole("jobs", jobs, 1)
    checks.whole("seed", seed, 0, MAX_SEED - runs, fix=f", so that seed + runs is at most {MAX_SEED}")
    always = ALWAYS if all(setup.workers == 1 for setup in setups) else ALWAYS[:2]
    agents = list(dict.fromkeys([*agents, *always]))
    for setup in setups:
        for agent in agents:
            _check_agent(agent, setup)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        sweep(out)
        files = {(agent, setup): out / setup.dataset / f"{agent}.jsonl" for setup in setups for agent in agents}
        there = {key: _runs_there(file, *key, seed, runs) for key, file in files.items()}
        _refuse_other_table(out, setups[0])
        total, done = sum(runs - count for count in there.values()), 0
        for (agent, setup), count in there.items():
            file, what = files[agent, setup], f"{setup.dataset} {agent}"
            text = file.read_text(encoding="utf-8") if count else ""
            chunks = list(_chunks(agent, setup, seed + count, seed + runs, jobs))
            for chunk, (more, took) in zip(chunks, in_order(run_tasks(run_chunk, chunks, jobs)), strict=True):
                text += more
                _write(file, text)  # complete as far as it goes, so that an interrupted comparison goes on from here
                done += chunk.stop - chunk.start
                _append_wall_clock(out, chunk, took)
                progress(done, total, what)
    return list(files.values())


def _chunks(agent: str, setup: Setup, start: int, stop: int, jobs: int) -> Iterator[Chunk]:
    size = max(1, (stop - start) // (jobs * _CHUNKS_PER_JOB))
    for first in range(start, stop, size):
        yield Chunk(agent, setup, first, min(first + size, stop))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    with replacing(file) as fragment:
        fragment.write_text(text, encoding="utf-8")


def _append_wall_clock(out: Path, chunk: Chunk, took: Sequence[float]) -> None:
    with (out / WALL_CLOCK).open("a") as file:
        for seed, seconds in zip(range(chunk.start, chunk.stop), took, strict=True):
            row = {"dataset": chunk.setup.dataset, "agent": chunk.agent, "seed": seed, "seconds": round(seconds, 6)}
            file.write(json.dumps(row) + "\n")


def _runs_there(file: Path, agent: str, setup: Setup, seed: int, runs: int) -> int:
    """How many of these runs a file holds, the first ones; others are an error, so that nothing is overwritten."""
    if not file.exists():
        return 0
    headers = [run.header for run in read_file(file)]
    about = setup.env, setup.plain(), agent
    same_rules = all((one["env"]["id"], one["env"]["kwargs"], one["agent"]) == about for one in headers)
    same_rules &= all(one["env"].get("options", dict(setup.env_options)) == dict(setup.env_options) for one in headers)
    if not same_rules or [header["seed"] for header in headers] != list(range(seed, seed + len(headers))):
        raise NB201Error(f"{file} holds runs with other settings or seeds; name another folder with --out")
    if len(headers) > runs:
        raise NB201Error(f"{file} holds {len(headers)} runs, more than {runs}; name another folder with --out")
    return len(headers)


def _refuse_other_table(out: Path, setup: Setup) -> None:
    table = open_table(setup.table)
    for file in sorted(out.glob("*/*.jsonl")):
        try:
            with regular(file).open(encoding="utf-8") as lines:
                header = checked_header(json.loads(lines.readline()), file)
        except (ValueError, AttributeError, RecursionError):
            raise NB201Error(f"{file} is no result file; move it, or name another folder with --out") from None
        if header["fingerprint"] != table.fingerprint:
            raise NB201Error(
                f"{out} holds results of another table ({header['env']['kwargs']['table']!r} in {file.name}), not of "
                f"{setup.table!r}; name another folder with --out"
            )
