"""Speed of searches: `make bench-search`. Evolution under 12,000 s of 12-epoch trainings, 500 runs in one process.

What it is compared with makes the same decisions and asks nats_bench's API for each cell, as NAS-Bench-201's scripts
do; the API has two official records, so it is asked for one of them in each cell's place.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from nb201_agents.harness.bench import bench
from nb201_agents.harness.run import search, task_of
from nb201_agents.harness.setup import Setup
from nb201_agents.many.search import search_many, searchers_of
from nb201_agents.searcher import make_agent

from nb201_env.importers.columns import import_columns

DATA = Path(__file__).parents[2] / "shared" / "data"
RUNS, RUNS_OF_THEIRS, RUNS_OF_JOBS, REPEATS = 500, 3, 60, 3
RECORD = 0


def ours(setup: Setup) -> float:
    """Seconds a query of 500 evolutions at once, the fastest of a few, as the first one waits for fresh memory."""
    oracle, task, took = setup.oracle(), task_of(setup), []
    for _ in range(REPEATS):
        began = time.perf_counter()
        searchers = searchers_of("rea", task, [np.random.default_rng(seed) for seed in range(RUNS)])
        queries = search_many(searchers, oracle.column, oracle.rules, range(RUNS)).index.size
        took.append(time.perf_counter() - began)
    seconds = min(took)
    print(
        f"{RUNS} evolutions at once: {queries:,} queries in {seconds:.3f} s, {1e6 * seconds / queries:.2f} µs a query"
    )
    return seconds / queries


def alone(setup: Setup) -> float:
    """Seconds a query of evolutions one after the other."""
    oracle, task, queries = setup.oracle(), task_of(setup), 0
    began = time.perf_counter()
    for seed in range(RUNS // 5):
        oracle.new_search(seed)
        queries += len(search(make_agent("rea", task, np.random.default_rng(seed)), oracle))
    seconds = (time.perf_counter() - began) / queries
    print(f"{RUNS // 5} one after the other: {1e6 * seconds:.2f} µs a query")
    return seconds


def theirs(setup: Setup) -> float:
    """Seconds a query of the same evolutions through nats_bench's simulate_train_eval, its record being in memory."""
    import nats_bench

    warnings.simplefilter("ignore", DeprecationWarning)
    api = nats_bench.create(str(DATA / "nats-tss-records"), "tss", fast_mode=True, verbose=False)
    oracle, task, queries = setup.oracle(), task_of(setup), 0
    api.simulate_train_eval(RECORD, "cifar10", hp="12")  # reads the record
    began = time.perf_counter()
    for seed in range(RUNS_OF_THEIRS):
        oracle.new_search(seed)
        searcher = make_agent("rea", task, np.random.default_rng(seed))
        while not oracle.exhausted:
            query = searcher.ask()
            api.simulate_train_eval(RECORD, "cifar10", hp="12")
            result = oracle.query(query.cell)
            if result.observed:
                searcher.tell(result)
                queries += 1
    seconds = (time.perf_counter() - began) / queries
    print(f"{RUNS_OF_THEIRS} through nats_bench: {1e6 * seconds:.0f} µs a query")
    return seconds


def jobs(folder: Path) -> None:
    """A learner's runs by one worker process and by two."""
    took = {}
    for count in (1, 2):
        began = time.perf_counter()
        bench(["ppo"], [Setup(max_queries=300)], RUNS_OF_JOBS, folder / str(count), jobs=count)
        took[count] = time.perf_counter() - began
    faster = took[1] / took[2]
    print(f"{RUNS_OF_JOBS} runs of ppo: {took[1]:.1f} s by one job, {took[2]:.1f} s by two: {faster:.2f} times (1.7)")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns = DATA / "nb201-published-cifar.npz"
        if not columns.exists():
            print("evolution against nats_bench: skipped, the real 12-epoch values are not there")
        else:
            import_columns(columns, folder / "real.zarr")
            setup = Setup(str(folder / "real.zarr"), "cifar10", "12ep", trial="mean", budget=12_000.0)
            mine, one, other = ours(setup), alone(setup), theirs(setup)
            print(f"a query at once / through nats_bench: 1/{other / mine:.0f} of its time (target 1/500)")
            print(f"a query alone / through nats_bench: 1/{other / one:.0f} of its time")
        jobs(folder)


if __name__ == "__main__":
    main()
