import json

import numpy as np
import pytest
from nb201_agents.harness.bench import ALWAYS, ROW, Setup, bench, run, versions
from nb201_agents.harness.report import summaries, write_report
from nb201_agents.harness.results import read_runs, truth_of

from nb201_env import NB201Error, open_table

SETUP = Setup(budget=40_000)


def test_results_are_complete_and_the_same_on_any_number_of_workers(tmp_path):
    files = {}
    for jobs in (1, 2):
        files[jobs] = bench(["rea"], [SETUP], 5, tmp_path / str(jobs), seed=3, jobs=jobs)
        assert (tmp_path / str(jobs) / "wall_clock.jsonl").read_text().count("\n") == 5 * 4
    assert [f.name for f in files[1]] == ["rea.jsonl", "random.jsonl", "params.jsonl", "local-search.jsonl"]
    for one, two in zip(files[1], files[2], strict=True):
        assert one.read_bytes() == two.read_bytes()
    table = open_table("published")
    runs = read_runs(tmp_path / "1")
    assert {agent for _, agent in runs} == {"rea", *ALWAYS}
    for (dataset, agent), all_runs in runs.items():
        assert [r.header["seed"] for r in all_runs] == [3, 4, 5, 6, 7]
        every = table.accuracy(dataset, trial="all")
        for r in all_runs:
            assert r.header["agent"] == agent
            assert r.header["row"] == list(ROW)
            assert r.header["fingerprint"] == table.fingerprint
            assert r.header["versions"] == versions()
            assert r.seconds_used[-1] <= 40_000
            assert (r.reward == every[r.cell, r.trial]).all()
            assert (r.seconds == table.train_seconds(dataset)[r.cell]).all()


def test_runs_of_different_agents_are_paired_by_their_seed():
    seen = [dict(zip(*_cells_and_trials(agent), strict=True)) for agent in ("random", "params", "rea")]
    both = [set(a) & set(b) for a, b in ((seen[0], seen[1]), (seen[0], seen[2]), (seen[1], seen[2]))]
    assert any(both)
    for cells, (a, b) in zip(both, ((0, 1), (0, 2), (1, 2)), strict=True):
        assert all(seen[a][cell] == seen[b][cell] for cell in cells)


def _cells_and_trials(agent):
    _, results = run(agent, Setup(max_queries=400), 0)
    return [r.index for r in results], [r.trial for r in results]


def test_a_finished_comparison_is_not_run_again_and_can_be_extended(tmp_path):
    bench([], [SETUP], 2, tmp_path)
    times = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*.jsonl")}
    called = []
    bench(["rea"], [SETUP], 2, tmp_path, progress=lambda what, done, total: called.append((what, done, total)))
    assert called[-1] == (2, 2, "cifar10 rea")
    assert all(file.stat().st_mtime_ns == time for file, time in times.items())


def test_what_a_folder_already_holds_is_not_overwritten(tmp_path, synthetic_path):
    bench([], [SETUP], 2, tmp_path)
    with pytest.raises(NB201Error, match="holds runs with other settings or seeds"):
        bench([], [Setup(budget=50_000)], 2, tmp_path)
    with pytest.raises(NB201Error, match="holds runs with other settings or seeds"):
        bench([], [SETUP], 3, tmp_path)
    other = Setup(table=str(synthetic_path), dataset="toy", recipe="long", max_queries=5)
    with pytest.raises(NB201Error, match="holds results of another table"):
        bench([], [other], 2, tmp_path)


@pytest.mark.parametrize(
    ("setup", "runs", "message"),
    [
        (Setup(), 1, "set a budget in simulated seconds, or a number of queries"),
        (Setup(budget=100), 1, "buys no query"),
        (Setup(max_queries=5), 0, "runs must be a whole number at least 1"),
        (Setup(dataset="mnist", max_queries=5), 1, "no dataset 'mnist'"),
    ],
)
def test_bad_arguments(tmp_path, setup, runs, message):
    with pytest.raises(NB201Error, match=message):
        bench([], [setup], runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ppo_that_cannot_update_is_an_error(tmp_path):
    pytest.importorskip("stable_baselines3")
    with pytest.raises(NB201Error, match="PPO made no update"):
        run("ppo", Setup(max_queries=5), 0)


def test_the_final_value_is_what_the_search_did_not_see(tmp_path, synthetic_path):
    bench([], [Setup(dataset="cifar100", max_queries=30)], 3, tmp_path / "published")
    for runs in read_runs(tmp_path / "published").values():
        for r in runs:
            truth, final = truth_of(r), truth_of(r).final(r)
            cell, trial = r.cell[r.incumbent[-1]], r.trial[r.incumbent[-1]]
            trials = truth.by_trial[cell]
            others = np.delete(trials, trial)
            assert final.honest == pytest.approx(np.nanmean(others))
            assert final.observed == pytest.approx(trials[trial]) == pytest.approx(100 * r.reward.max())
            assert final.mean == pytest.approx(np.nanmean(trials))
    setup = Setup(table=str(synthetic_path), dataset="toy", recipe="long", max_queries=30)
    bench([], [setup], 2, tmp_path / "toy")
    test = open_table(synthetic_path).accuracy("toy", split="test", recipe="long")
    for runs in read_runs(tmp_path / "toy").values():
        for r in runs:
            assert truth_of(r).final(r).honest == pytest.approx(100 * test[r.cell[r.incumbent[-1]]])


def test_the_page_is_self_contained_and_reproducible(tmp_path):
    pytest.importorskip("matplotlib")
    bench(["rea"], [SETUP, Setup(dataset="cifar100", budget=90_000)], 4, tmp_path / "r")
    rows = write_report(tmp_path / "r", tmp_path / "a.html")
    write_report(tmp_path / "r", tmp_path / "b.html")
    page = (tmp_path / "a.html").read_text()
    assert page == (tmp_path / "b.html").read_text()
    assert page.count("<svg") == 4
    assert "<script" not in page
    assert 'src="' not in page
    assert rows == summaries(tmp_path / "r")
    assert [(row.dataset, row.runs) for row in rows] == [("cifar10", 4)] * 4 + [("cifar100", 4)] * 4
    for row in rows:
        assert row.regret_interval[0] <= row.regret <= row.regret_interval[1]
        assert row.mean == pytest.approx(
            truth_of(read_runs(tmp_path / "r")[row.dataset, row.agent][0]).mean.max() - row.regret
        )


def test_damaged_results_are_named(tmp_path):
    with pytest.raises(NB201Error, match="no results in"):
        read_runs(tmp_path)
    bench([], [SETUP], 1, tmp_path)
    file = tmp_path / "cifar10" / "random.jsonl"
    file.write_text(file.read_text()[:-10])
    with pytest.raises(NB201Error, match=r"random\.jsonl is not a complete result file"):
        read_runs(tmp_path)


def test_results_of_a_changed_table_are_refused(tmp_path):
    bench([], [SETUP], 1, tmp_path)
    file = tmp_path / "cifar10" / "random.jsonl"
    lines = file.read_text().splitlines()
    header = json.loads(lines[0]) | {"fingerprint": "0" * 64}
    file.write_text("\n".join([json.dumps(header), *lines[1:]]) + "\n")
    with pytest.raises(NB201Error, match="its fingerprint differs"):
        summaries(tmp_path)
