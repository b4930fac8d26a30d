"""The engine ray on local clusters of several nodes: `make test-cloud`."""

import math
import os

import pytest
from nb201_agents.controllers.ppo import Recipe
from nb201_agents.controllers.pretrain import pretrain_all
from nb201_agents.harness.bench import bench
from nb201_agents.harness.setup import Setup
from nb201_generator.campaign import generate
from nb201_generator.plan import Plan

from nb201_env import NB201Error, open_table
from nb201_env.integrations.engines import engine
from nb201_env.parallel import WorkerError

ray = pytest.importorskip("ray", reason="make test-cloud installs Ray")


@pytest.fixture
def cluster():
    """A head that does no task, and two nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    found.workers = [found.add_node(num_cpus=1) for _ in range(2)]
    yield found
    found.shutdown()


class Killer:
    """Progress that takes a node away, as a power cut would, when a third is done."""

    def __init__(self, cluster):
        self.cluster, self.at, self.total = cluster, None, None

    def __call__(self, done, total, *what):
        self.total = total
        if self.at is None and done > total // 3:
            self.at = done
            self.cluster.remove_node(self.cluster.workers[0], allow_graceful=False)


PLAN = Plan("digits", epochs=1, start=6100, stop=6150, trials=2)


@pytest.fixture(scope="module")
def trained_here(tmp_path_factory):
    """Fingerprint of the plan's table, trained by this process."""
    out = tmp_path_factory.mktemp("here") / "local.zarr"
    assert generate(PLAN, out) == []
    return open_table(out).fingerprint


@pytest.mark.parametrize("is_killed", [False, True])
def test_generate_comes_to_the_same_table_also_when_a_node_is_killed(cluster, tmp_path, is_killed, trained_here):
    with engine("ray", cluster.address) as run_tasks:
        progress = Killer(cluster) if is_killed else lambda done, total: None
        assert generate(PLAN, tmp_path / "ray.zarr", 2, progress=progress, engine=run_tasks) == []
    assert not is_killed or 0 < progress.at < progress.total
    assert open_table(tmp_path / "ray.zarr").fingerprint == trained_here


@pytest.mark.parametrize("is_killed", [False, True])
def test_bench_writes_the_same_bytes_also_when_a_node_is_killed(cluster, tmp_path, is_killed):
    setups = [Setup("published", max_queries=30)]
    agents, runs = ["rea", "gp"], 25  # with those that join, 125 runs
    bench(agents, setups, runs, tmp_path / "local")
    with engine("ray", cluster.address) as run_tasks:
        progress = Killer(cluster) if is_killed else lambda done, total, what: None
        bench(agents, setups, runs, tmp_path / "ray", jobs=2, progress=progress, engine=run_tasks)
    assert not is_killed or 0 < progress.at < progress.total
    files = sorted(path.relative_to(tmp_path / "local") for path in (tmp_path / "local").glob("*/*.jsonl"))
    assert len(files) == 5
    for file in files:
        assert (tmp_path / "ray" / file).read_bytes() == (tmp_path / "local" / file).read_bytes()


def test_pretrain_comes_to_the_same_controllers(cluster, tmp_path):
    recipe = Recipe((("mini", "gratings"),), batches=1, updates=2, tasks=4, lanes=8, steps=6)
    expected = pretrain_all(recipe, tmp_path / "local.safetensors", 2)
    with engine("ray", cluster.address) as run_tasks:
        found = pretrain_all(recipe, tmp_path / "ray.safetensors", 2, jobs=2, engine=run_tasks)
    assert [file.name for file in found] == ["ray-0.safetensors", "ray-1.safetensors"]
    assert [file.read_bytes() for file in found] == [file.read_bytes() for file in expected]


def test_what_goes_wrong_in_a_task_is_told(cluster):
    with engine("ray", cluster.address) as run_tasks:
        good, bad = sorted(run_tasks(math.sqrt, [9.0, -1.0], 2))
        (lost,) = run_tasks(os._exit, [1], 1)
    assert good.value == 3.0
    assert str(bad.error) == "math domain error"
    assert isinstance(lost.error, WorkerError)


def test_a_cluster_that_is_not_there_is_one_clear_error():
    with pytest.raises(NB201Error, match="no cluster of Ray at auto"), engine("ray", "auto"):
        pass
