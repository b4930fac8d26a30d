"""Running agents many times under a simulated budget, and the files that this leaves.

A folder of results holds `{dataset}/{agent}.jsonl`, one file for each agent and data set. Each run is one header, a
JSON object, followed by one row for each query, a JSON array of the fields that `results.fields` names, in the order in
which they were observed. Runs stand in the order of their seeds. The same seeds give the same bytes on one
installation, whatever the number of worker processes; seconds of the wall clock stand apart, in `wall_clock.jsonl`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nb201_agents.harness.results import checked_header, file_of, read_file
from nb201_agents.harness.run import check_agent, is_made_as_arrays, origins, run, run_many, task_of
from nb201_agents.harness.setup import Setup
from nb201_agents.searcher import make_agent
from nb201_env import Evaluation, NB201Error, checks, open_table
from nb201_env.files import as_file, locked, regular, replacing, sweep
from nb201_env.integrations.engines import Engine
from nb201_env.parallel import in_order, run_tasks
from nb201_env.simulation.workers import Finished

ALWAYS = ("random", "params", "local-search")
"""Agents that join every comparison: chance, the cheapest prior, and, with one worker, the strongest simple search."""

WALL_CLOCK = "wall_clock.jsonl"

MAX_SEED = 2**32 - 1
"""Largest seed of a run: PyTorch's and Stable-Baselines3's generators take no larger one."""

_AT_ONCE = 256
"""How many searches an agent that makes them as arrays makes at a time."""

_SECONDS_TO_WRITE = 1.0
"""An interrupted comparison loses what was found since the last writing, this many seconds at most."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive runs of one agent that one worker does: seeds `start` to `stop` - 1."""

    agent: str
    setup: Setup
    start: int
    stop: int


def run_chunk(chunk: Chunk) -> tuple[list[str], list[float]]:
    """The runs of a chunk, each as the text of its part of the result file, and the seconds that each took here."""
    seeds = range(chunk.start, chunk.stop)
    began = time.perf_counter()
    if is_made_as_arrays(chunk.agent, chunk.setup):
        runs = run_many(chunk.agent, chunk.setup, seeds)
    else:
        runs = [run(chunk.agent, chunk.setup, seed) for seed in seeds]
    each = (time.perf_counter() - began) / len(runs)
    return [_text(chunk.setup, *one) for one in runs], [each] * len(runs)


def _text(setup: Setup, header: dict[str, Any], results: Sequence[Evaluation | Finished]) -> str:
    """A run as its part of the result file."""
    rows = []
    for one in results:
        result, *when = one if isinstance(one, Finished) else (one,)
        row = [result.index, result.epoch, result.trial, result.accuracy, result.seconds, *when]
        rows.append([*row, result.worth] if setup.objectives else row)
    return "".join(json.dumps(line) + "\n" for line in (header, *rows))


def bench(
    agents: Sequence[str],
    setups: Sequence[Setup],
    runs: int,
    out: str | os.PathLike[str],
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
    engine: Engine = run_tasks,
) -> list[Path]:
    """Run agents x setups x seeds and write the results.

    Runs that the folder has, of the same settings and from the first seed on, are not made again, so that a comparison
    that was interrupted at any moment goes on by the same call, and one of five runs grows to twenty.

    Args:
        agents: names; those of `ALWAYS` join in any case.
        setups: one for each data set.
        runs: number of runs of each agent on each data set, with seeds `seed`, `seed` + 1, ….
        out: folder for the results.
        seed: the first seed.
        jobs: number of worker processes.
        progress: called with runs done, all runs, and what is running.
        engine: where the runs are made; the table has the same name, path or address everywhere.

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
            check_agent(agent, setup)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        sweep(out)
        files = {(agent, setup): file_of(out, setup.dataset, agent) for setup in setups for agent in agents}
        there = {key: _runs_there(file, *key, seed, runs) for key, file in files.items()}
        _refuse_other_table(out, setups[0])
        total, done = sum(runs - count for count in there.values()), 0
        for (agent, setup), count in there.items():
            file = ResultFile(out, files[agent, setup], Chunk(agent, setup, seed + count, seed + runs))
            try:
                for texts, took in in_order(engine(run_chunk, file.chunks(jobs), jobs)):
                    file.add(texts, took)
                    done += len(texts)
                    progress(done, total, f"{setup.dataset} {agent}")
            finally:
                file.write()
    return list(files.values())


class ResultFile:
    """A result file that grows by whole runs, and is complete as far as it goes at any moment.

    Args:
        out: folder of the results.
        path: of the file, which may hold earlier runs.
        missing: the runs that it lacks.
    """

    def __init__(self, out: Path, path: Path, missing: Chunk):
        self._clock, self._path, self._missing = out / WALL_CLOCK, path, missing
        self._text = path.read_text(encoding="utf-8") if path.exists() else ""
        self._new: list[str] = []
        self._took: list[float] = []
        self._seed = missing.start
        self._written_at = time.monotonic()

    def chunks(self, jobs: int) -> Iterator[Chunk]:
        """What is missing, in parts that one worker makes at a time."""
        missing = self._missing
        as_arrays = missing.start < missing.stop and is_made_as_arrays(missing.agent, missing.setup)
        size = max(1, min(_AT_ONCE, (missing.stop - missing.start) // jobs)) if as_arrays else 1
        for first in range(missing.start, missing.stop, size):
            yield Chunk(missing.agent, missing.setup, first, min(first + size, missing.stop))

    def add(self, texts: Sequence[str], took: Sequence[float]) -> None:
        """Take in the next runs, and write them if it is time to."""
        self._new += texts
        self._took += took
        if time.monotonic() - self._written_at > _SECONDS_TO_WRITE:
            self.write()

    def write(self) -> None:
        """Put all runs so far in the place of the file."""
        self._written_at = time.monotonic()
        if not self._new:
            return
        text, took = self._text + "".join(self._new), self._took
        self._path.parent.mkdir(exist_ok=True)
        with replacing(self._path) as fragment:
            fragment.write_text(text, encoding="utf-8")
        self._text, self._new, self._took = text, [], []  # interrupted before, the same is written again
        about = {"dataset": self._missing.setup.dataset, "agent": self._missing.agent}
        with self._clock.open("a") as file:
            for seconds in took:
                file.write(json.dumps(about | {"seed": self._seed, "seconds": round(seconds, 6)}) + "\n")
                self._seed += 1


def _runs_there(file: Path, agent: str, setup: Setup, seed: int, runs: int) -> int:
    """How many of these runs a file holds, the first ones; others are an error, so that nothing is overwritten."""
    if file.with_name(f"{file.name}.xz").exists():
        raise NB201Error(f"{file}.xz holds compressed results, which do not grow; name another folder with --out")
    if not as_file(file).exists():
        return 0
    headers = [run.header for run in read_file(file)]
    about = setup.env, setup.plain(), agent
    same_rules = all((one["env"]["id"], one["env"]["kwargs"], one["agent"]) == about for one in headers)
    begins = origins(agent, make_agent(agent, task_of(setup), np.random.default_rng(0)), setup)
    same_rules &= all(one.get("start") == begins.get("start") for one in headers)
    same_rules &= all(one.get("knows", begins.get("knows")) == begins.get("knows") for one in headers)
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
        if (header["fingerprint"], header["timing_fingerprint"]) != (table.fingerprint, table.timing_fingerprint):
            raise NB201Error(
                f"{out} holds results of another table ({header['env']['kwargs']['table']!r} in {file.name}), not of "
                f"{setup.table!r}; name another folder with --out"
            )
