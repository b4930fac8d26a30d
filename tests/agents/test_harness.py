"""What the harness does beyond one budget and one environment: objectives, lanes, workers, orders, compressed files."""

import html
import json
import lzma
import re
import shlex
from urllib.parse import unquote

import numpy as np
import pytest
from nb201_agents.harness.bench import bench
from nb201_agents.harness.checklist import checklist
from nb201_agents.harness.report import commands_of, write_report
from nb201_agents.harness.results import read_runs
from nb201_agents.harness.run import search_in_parallel
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.stats import bootstrap_band, bootstrap_interval
from nb201_agents.harness.summary import summaries
from nb201_agents.harness.truth import truth_of
from nb201_agents.harness.validate import validate
from nb201_agents.searcher import Query

from nb201_env import NB201Error, Oracle
from nb201_env.cli import main

SETUP = Setup(budget=40_000)

OBJECTIVES = (("params", 0.02), ("latency", "<=0.03"))


def test_with_objectives_worth_is_searched_reported_and_validated(tmp_path):
    pytest.importorskip("matplotlib")
    setup = Setup(max_queries=40, trial="mean", objectives=OBJECTIVES)
    bench(["nsga2", "rea"], [setup], 3, tmp_path)
    (run_of_rea, *_) = read_runs(tmp_path)["cifar10", "rea"]
    assert run_of_rea.header["row"][-1] == "worth"
    assert (run_of_rea.worth < run_of_rea.reward).all()
    best = run_of_rea.worth[run_of_rea.incumbent[-1]]
    assert best == run_of_rea.worth.max()
    assert validate(tmp_path) == []
    truth = truth_of(run_of_rea)
    assert truth.cost == "params"
    assert truth.regret(run_of_rea)[-1] >= 0
    front = truth.front()
    assert (np.diff(front[:, 0]) > 0).all()
    assert (np.diff(front[:, 1]) < 0).all()
    assert 0 < truth.hypervolume(run_of_rea) < 1
    write_report(tmp_path, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("<svg") == 7
    file = tmp_path / "cifar10" / "rea.jsonl"
    lines = file.read_text().splitlines()
    row = json.loads(lines[1])
    lines[1] = json.dumps([*row[:-1], row[-1] - 1e-9])
    file.write_text("\n".join(lines) + "\n")
    assert [problem.split(":")[0] for problem in validate(tmp_path)] == ["cifar10/rea, seed 0"]


@pytest.mark.parametrize("env", ["NB201/BuildCell-v0", "NB201/EditCell-v0"])
def test_a_learner_drives_lanes_that_share_a_search(env, tmp_path):
    pytest.importorskip("stable_baselines3")
    setup = Setup(dataset="cifar100", budget=1e5, env=env)
    bench(["ppo(num_envs=4)", "a2c(num_envs=3)"], [setup], 2, tmp_path)
    results = read_runs(tmp_path)
    assert results["cifar100", "ppo(num_envs=4)"][0].header["env"]["num_envs"] == 4
    assert all(r.cell.size > 20 for r in results["cifar100", "a2c(num_envs=3)"])
    assert validate(tmp_path) == []


def test_lanes_of_a_whole_search_cannot_share_it(tmp_path):
    pytest.importorskip("stable_baselines3")
    with pytest.raises(NB201Error, match="cannot share a search"):
        bench(["ppo(num_envs=4)"], [Setup(max_queries=10, env="NB201/Search-v0")], 1, tmp_path)


def test_learners_log_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    pytest.importorskip("stable_baselines3")
    bench([f"ppo(tensorboard={tmp_path / 'logs'})"], [Setup(max_queries=30)], 1, tmp_path / "r")
    assert len(list((tmp_path / "logs" / "cifar10" / "PPO-0").glob("events.*"))) == 1


def test_seconds_by_macs_keep_their_mean(tmp_path):
    bench([], [SETUP], 2, tmp_path)
    truth = truth_of(read_runs(tmp_path)["cifar10", "random"][0])
    assert np.mean(truth.by_macs * truth.seconds) == pytest.approx(np.mean(truth.seconds))
    by_macs = truth.by_macs * truth.seconds / truth.table.macs("cifar10")
    assert by_macs.max() == pytest.approx(by_macs.min())


def test_the_checklist_names_what_is_missing(tmp_path):
    pytest.importorskip("stable_baselines3")
    bench(["ppo"], [SETUP], 2, tmp_path)
    items = checklist(tmp_path, read_runs(tmp_path))
    missing = {item.how for item in items if not item.is_met}
    assert any("headers do not record it" in how for how in missing)
    assert any("seeds 0 to 1" in item.how for item in items)
    assert any("PPO" in item.how or "ppo on cifar10" in item.how for item in items)


@pytest.mark.parametrize("charge", ["fresh", "resume", "cached"])
@pytest.mark.parametrize("trial", ["per-search", "per-query"])
def test_runs_of_several_workers_are_valid(charge, trial, tmp_path):
    setup = Setup("mini", "gratings", trial=trial, workers=4, charge=charge, max_queries=200, rungs=(1, 8))
    bench(["random", "rea", "asha"], [setup], 4, tmp_path)
    assert validate(tmp_path) == []


def test_an_order_that_changed_is_another_agent(tmp_path):
    scores = tmp_path / "scores.txt"
    scores.write_text("\n".join(map(str, range(15_625))))
    bench([f"rea(start={scores})"], [SETUP], 1, tmp_path / "r")
    scores.write_text("\n".join(map(str, range(15_625, 0, -1))))
    with pytest.raises(NB201Error, match="holds runs with other settings"):
        bench([f"rea(start={scores})"], [SETUP], 2, tmp_path / "r")


def test_compressed_results_do_not_grow(tmp_path):
    bench([], [SETUP], 1, tmp_path)
    before = summaries(tmp_path)
    for file in list(tmp_path.glob("*/*.jsonl")):
        with lzma.open(f"{file}.xz", "wt") as packed:
            packed.write(file.read_text())
        file.unlink()
    assert summaries(tmp_path) == before
    assert validate(tmp_path) == []
    with pytest.raises(NB201Error, match="compressed results, which do not grow"):
        bench([], [SETUP], 2, tmp_path)
    (tmp_path / "cifar10" / "random.jsonl.xz").write_bytes(b"not xz")
    with pytest.raises(NB201Error, match="no xz file, or damaged"):
        summaries(tmp_path)


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        ("rea(starts=5)", "name it by start="),
        ("rea(sample=3,sample=5)", "given twice"),
        ("rea(population=10000000000)", "population must be a whole number"),
        ("gp(acquisition=ucb)", "acquisition must be one of"),
        ("maskable-ppo(num_envs=4)", "has no option 'num_envs'"),
    ],
)
def test_options_that_mean_nothing_are_refused(agent, said, tmp_path):
    with pytest.raises(NB201Error, match=said):
        bench([agent], [SETUP], 1, tmp_path)


@pytest.mark.parametrize("objectives", [(("params", "<=1e-9"),), (("params", 1e15),)])
def test_objectives_beyond_reason_are_refused(objectives, tmp_path):
    with pytest.raises(NB201Error, match="params"):
        bench([], [Setup(max_queries=5, objectives=objectives)], 1, tmp_path)


def test_a_report_says_how_its_results_are_made_again(tmp_path, monkeypatch):
    setups = [Setup("mini", "digits", max_queries=5, rungs=(1, 8), charge="resume", objectives=(("params", 0.5),))]
    bench(["rea(sample=4)"], setups, 2, tmp_path / "one", seed=7)
    (command,) = commands_of(read_runs(tmp_path / "one"))
    assert command == (
        "nb201 bench --queries 5 --table mini --dataset digits --rungs 1,8 --objectives params=0.5 --charge resume "
        "--agent 'rea(sample=4)' --runs 2 --seed 7 --out results"
    )
    bench([], [Setup(trial=0, missing="mask", max_queries=3)], 1, tmp_path / "other")
    assert "--trial 0 --missing mask" in commands_of(read_runs(tmp_path / "other"))[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    for file in (tmp_path / "one").glob("*/*.jsonl"):
        assert file.read_bytes() == (tmp_path / "results" / "digits" / file.name).read_bytes()
    page = tmp_path / "pages" / "report.html"
    page.parent.mkdir()
    write_report(tmp_path / "one", page)
    links = re.findall(r'href="([^"]+jsonl)"', page.read_text())
    assert len(links) == 4
    assert all((page.parent / unquote(html.unescape(link))).exists() for link in links)


def test_bands_are_the_intervals_of_each_point():
    curves = np.random.default_rng(0).normal(size=(40, 5))
    low, high = bootstrap_band(curves)
    for point in range(5):
        np.testing.assert_allclose((low[point], high[point]), bootstrap_interval(curves[:, point]))


def test_a_searcher_that_uses_seconds_searches_alone():
    class Slow:
        def ask(self):
            return Query(5, seconds=3.0)

        def tell(self, result):
            pass

    oracle = Oracle.open("published", "cifar10", budget=5_000)
    with pytest.raises(NB201Error, match="leave workers at 1"):
        search_in_parallel(Slow(), oracle, 2)
