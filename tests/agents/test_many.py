"""Many searches at once against the same searches one by one."""

import numpy as np
import pytest
from nb201_agents.harness.bench import bench
from nb201_agents.harness.run import search, task_of
from nb201_agents.harness.setup import Setup
from nb201_agents.many.draws import ManyDraws
from nb201_agents.many.search import by_search, search_many, searchers_of
from nb201_agents.searcher import Task, make_agent

from nb201_env import NUM_CELLS, NB201Error

AGENTS = (
    "random",
    "rea",
    "rea(mutation=node-first,population=4)",
    "rea-50",
    "local-search",
    "reinforce",
    "reinforce(learning_rate=0.1)",
    "random(start=params,starts=3)",
    "rea-50(start=params,starts=60)",
    "local-search(start=params,starts=20)",
    "reinforce(start=params)",
    "rea(population=30,sample=300)",
)
SETUPS = {
    "queries": Setup(max_queries=150),
    "seconds": Setup(dataset="cifar100", budget=2e5),
    "crossing": Setup(dataset="cifar100", budget=1e5, overrun="stop-after", trial=0, missing="mask"),
    "objectives": Setup(max_queries=100, trial="mean", objectives=(("params", 0.2), ("latency", "<=0.02"))),
}


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
@pytest.mark.parametrize("name", AGENTS)
def test_each_of_many_searches_is_the_search_alone(name, setup):
    assert together(name, setup, range(5, 25)) == [alone(name, setup, seed) for seed in range(5, 25)]


@pytest.mark.parametrize("name", ["random", "rea", "rea-50", "local-search", "reinforce", "rea-50(start=params)"])
def test_of_a_table_of_few_cells(name, few_cells):
    setup = Setup(str(few_cells), "cifar10", trial="mean", max_queries=80, missing="mask")
    assert together(name, setup, range(6)) == [alone(name, setup, seed) for seed in range(6)]


@pytest.fixture(scope="module")
def few_cells(tmp_path_factory):
    """A table of forty cells: searches without repeats come to their end in it."""
    from nb201_env import open_table
    from nb201_env.tables.writer import TableWriter

    out = tmp_path_factory.mktemp("few") / "few.zarr"
    cells = np.random.default_rng(0).choice(NUM_CELLS, 40, replace=False)
    correct = np.full((1, 1, NUM_CELLS), -1)
    correct[..., cells] = np.round(open_table("published").accuracy("cifar10")[cells] * 25_000)
    seconds = np.where(correct[0, 0] >= 0, 10.0, np.nan)
    with TableWriter(out, "few") as writer:
        writer.add_dataset("cifar10", num_classes=10, image_size=32)
        writer.add_training("cifar10", "200ep", "half", epochs=1, images=25_000, epoch_seconds=seconds)
        writer.add_split(
            "cifar10", "200ep", "half", "valid", images=25_000, epochs=[1], trial_seeds=[777], correct=correct
        )
    return out


def together(name, setup, seeds):
    oracle = setup.oracle()
    searchers = searchers_of(name, task_of(setup), [np.random.default_rng(seed) for seed in seeds])
    queries = search_many(searchers, oracle.column, oracle.rules, list(seeds))
    return by_search(queries, len(seeds), oracle.epoch)


def alone(name, setup, seed):
    oracle = setup.oracle()
    oracle.new_search(seed)
    return search(make_agent(name, task_of(setup), np.random.default_rng(seed)), oracle)


def test_rows_draw_what_their_generators_do():
    draws = ManyDraws(Task("cifar10", 200, (200,)), [np.random.default_rng(seed) for seed in range(3)])
    alone = [np.random.default_rng(seed) for seed in range(3)]
    rng = np.random.default_rng(9)
    for _ in range(400):
        rows, count = np.flatnonzero(rng.random(3) < 0.6), int(rng.integers(1, 30))
        drawn = draws.uniform(rows, count)
        assert drawn.tolist() == [alone[row].random(count).tolist() for row in rows]


def test_files_do_not_depend_on_how_runs_are_made(tmp_path, monkeypatch):
    setup = Setup(max_queries=30)
    bench(["rea", "reinforce"], [setup], 7, tmp_path / "many")
    monkeypatch.setattr("nb201_agents.harness.run.MANY", {})
    bench(["rea", "reinforce"], [setup], 7, tmp_path / "one")
    for file in sorted((tmp_path / "many").glob("*/*.jsonl")):
        assert file.read_bytes() == (tmp_path / "one" / "cifar10" / file.name).read_bytes()


def test_options_are_checked_in_both_forms():
    with pytest.raises(NB201Error, match="sample must be a whole number"):
        together("rea(sample=0)", SETUPS["queries"], range(2))
