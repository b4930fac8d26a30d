import dataclasses
import json
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from nb201_agents.harness import bench as bench_module
from nb201_agents.harness.bench import ALWAYS, bench
from nb201_agents.harness.report import write_report
from nb201_agents.harness.results import ROW, read_runs
from nb201_agents.harness.run import run, versions
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.stats import paired_p
from nb201_agents.harness.summary import summaries
from nb201_agents.harness.truth import truth_of
from nb201_agents.harness.validate import validate

from nb201_env import NUM_CELLS, NB201Error, open_table
from nb201_env.tables.writer import TableWriter

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


def test_an_interruption_while_a_file_is_replaced_leaves_each_run_once(tmp_path, monkeypatch):
    bench([], [SETUP], 3, tmp_path / "whole")
    real, calls = bench_module.replacing, []

    @contextmanager
    def interrupted(path):
        with real(path) as fragment:
            yield fragment
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(bench_module, "replacing", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench([], [SETUP], 3, tmp_path / "some")
    bench([], [SETUP], 3, tmp_path / "some")
    for file in (tmp_path / "whole").glob("*/*.jsonl"):
        assert (tmp_path / "some" / file.parent.name / file.name).read_bytes() == file.read_bytes()


def test_results_by_other_seconds_are_not_mixed(tmp_path):
    bench([], [SETUP], 1, tmp_path)
    for file in tmp_path.glob("*/*.jsonl"):
        header, *rows = file.read_text().splitlines()
        header = json.dumps(json.loads(header) | {"timing_fingerprint": "0" * 64})
        file.write_text("".join(f"{line}\n" for line in (header, *rows)))
    with pytest.raises(NB201Error, match="holds results of another table"):
        bench([], [SETUP], 2, tmp_path)
    with pytest.raises(NB201Error, match="its fingerprint differs"):
        validate(tmp_path)


def test_what_a_folder_already_holds_is_not_overwritten(tmp_path, synthetic_path):
    bench([], [SETUP], 2, tmp_path)
    with pytest.raises(NB201Error, match="holds runs with other settings or seeds"):
        bench([], [Setup(budget=50_000)], 2, tmp_path)
    with pytest.raises(NB201Error, match="holds runs with other settings or seeds"):
        bench([], [SETUP], 2, tmp_path, seed=1)
    with pytest.raises(NB201Error, match="holds 2 runs, more than 1"):
        bench([], [SETUP], 1, tmp_path)
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


def test_a_folder_of_few_runs_grows_to_many(tmp_path):
    few = bench([], [SETUP], 3, tmp_path / "grown")
    before = {file: file.read_bytes() for file in few}
    done = []
    bench([], [SETUP], 8, tmp_path / "grown", progress=lambda *said: done.append(said[:2]), jobs=2)
    assert done[-1] == (15, 15)
    for file in bench([], [SETUP], 8, tmp_path / "whole"):
        grown = tmp_path / "grown" / file.relative_to(tmp_path / "whole")
        assert grown.read_bytes() == file.read_bytes()
        assert grown.read_bytes().startswith(before[grown])


def test_ppo_that_cannot_update_says_so_and_ends_nothing(tmp_path):
    pytest.importorskip("stable_baselines3")
    bench(["ppo"], [Setup(max_queries=5)], 2, tmp_path)
    notes = {row.agent: row.note for row in summaries(tmp_path)}
    assert notes.pop("ppo") == "2 of 2 runs: PPO made no update before the budget ended"
    assert not any(notes.values())


def test_an_agent_that_can_afford_nothing_is_told_in_the_table(tmp_path):
    pytest.importorskip("matplotlib")
    setup = Setup(budget=700.0)  # the cheapest cell costs 542 s, and the largest, with which params begins, far more
    bench([], [setup], 3, tmp_path)
    rows = {row.agent: row for row in write_report(tmp_path, tmp_path / "report.html")}
    assert rows["params"].runs == 0
    assert rows["params"].note == "3 of 3 runs: the first query did not fit the budget"
    assert np.isnan(rows["params"].regret)
    unknown = [np.isnan(row.regret) for row in rows.values()]
    assert unknown == sorted(unknown)  # those without a regret last
    assert "params: 3 of 3 runs: the first query did not fit the budget." in (tmp_path / "report.html").read_text()


def test_the_best_and_what_is_not_worse_are_marked(tmp_path):
    bench(["rea", "rea(population=10)"], [Setup(max_queries=40)], 30, tmp_path)
    rows = {row.agent: row for row in summaries(tmp_path)}
    best = min(rows.values(), key=lambda row: row.regret)
    assert best.p_value == 1.0
    assert not rows["random"].is_best
    assert rows["random"].p_value < 0.01
    assert rows["random"].improvement == 0.5
    assert rows["params"].improvement > 0.9
    assert rows["rea"].p_value == rows["rea(population=10)"].p_value  # the same searches


def test_an_agent_compared_with_itself_is_seldom_told_apart(tmp_path):
    """At most 5 % false alarms, and four standard deviations of the count, among 400 comparisons of 30 runs each."""
    regrets = np.sort(np.random.default_rng(0).exponential(size=5_000))  # as skewed as regrets are
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(400):
        alarms += paired_p(rng.choice(regrets, 30) - rng.choice(regrets, 30), resamples=400) <= 0.05
    assert alarms <= 400 * 0.05 + 4 * np.sqrt(400 * 0.05 * 0.95)


ENVS = {
    "NB201/EditCell-v0": Setup(max_queries=40, env="NB201/EditCell-v0",
                               env_options=(("horizon", 6), ("reward", "change"))),
    "NB201/Search-v0": Setup("mini", "gratings", budget=30.0, charge="resume", rungs=(1, 3, 8), env="NB201/Search-v0",
                             env_options=(("reward", "area"), ("history", 4))),
}  # fmt: skip


@pytest.mark.parametrize("name", ENVS)
def test_learners_drive_any_environment(name, tmp_path):
    pytest.importorskip("sb3_contrib")
    bench(["ppo", "maskable-ppo", "rea"], [ENVS[name]], 2, tmp_path)
    for (_, agent), runs in read_runs(tmp_path).items():
        for one in runs:
            env = one.header["env"]
            assert env["id"] == name
            if agent == "ppo":
                assert env["options"] == dict(ENVS[name].env_options)
            assert ("agent_kwargs" in env) == (agent == "maskable-ppo" and name == "NB201/EditCell-v0")
            assert one.cell.size > 10
    assert validate(tmp_path) == []
    assert all(row.regret >= 0 for row in summaries(tmp_path))


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        (
            Setup(max_queries=9, env="CartPole-v9"),
            "no environment 'CartPole-v9'; those of this package are NB201/BuildCell",
        ),
        (Setup(max_queries=9, env_options=(("reward", "regret"),)), "reward='regret' uses privileged knowledge"),
        (
            Setup("mini", "gratings", max_queries=9, env="NB201/Search-v0", env_options=(("reward", "true"),)),
            "privileged",
        ),
        (Setup(max_queries=9, env_options=(("colour", 3),)), "colour is no option of NB201/BuildCell-v0"),
        (Setup(max_queries=9, env_options=(("budget", 3),)), "budget is no option"),
        (Setup("mini", "gratings", budget=9.0, overrun="stop-after", env="NB201/Search-v0"), "has no argument overrun"),
    ],
)
def test_bad_environments(setup, message, tmp_path):
    pytest.importorskip("stable_baselines3")
    with pytest.raises(NB201Error, match=message):
        bench(["ppo"], [setup], 1, tmp_path / "r")


def test_several_workers_share_a_budget(tmp_path):
    setups = [Setup(budget=80_000, workers=count) for count in (1, 4)]
    for setup in setups:
        bench(["rea", "asha"], [setup], 4, tmp_path / str(setup.workers))
    one, four = (read_runs(tmp_path / str(setup.workers)) for setup in setups)
    assert ("cifar10", "local-search") not in four  # which must be told before it is asked
    for key, runs in four.items():
        for a, b in zip(one[key], runs, strict=True):
            assert b.header["row"][-2:] == ["started", "number"]
            assert b.seconds_used[-1] <= 80_000
            assert b.ended[-1] < 0.4 * a.ended[-1]
            assert (np.diff(b.ended) >= 0).all()
            assert (b.started[b.begun][:4] == 0).all()
    assert validate(tmp_path / "4") == []
    file = tmp_path / "4" / "cifar10" / "rea.jsonl"
    lines = file.read_text().splitlines()
    row = json.loads(lines[9])
    row[5] = 0.0  # as if a fifth worker had begun at once
    others = [json.loads(line) for line in lines[1:] if line[0] == "["][: json.loads(lines[0])["queries"]]
    moved = sorted([one for one in others if one[0] != row[0]] + [row], key=lambda one: one[5] + one[4])
    rest = lines[1 + len(others) :]
    file.write_text("\n".join([lines[0], *map(json.dumps, moved), *rest]) + "\n")
    assert any("idle" in problem for problem in validate(tmp_path / "4"))
    with pytest.raises(NB201Error, match="local-search waits for each answer"):
        bench(["local-search"], [setups[1]], 2, tmp_path / "x")


def test_runs_of_other_rules_are_not_mixed(tmp_path):
    bench([], [SETUP], 2, tmp_path / "a")
    bench(["rea"], [Setup(budget=50_000)], 2, tmp_path / "b")
    (tmp_path / "b" / "cifar10" / "rea.jsonl").rename(tmp_path / "a" / "cifar10" / "rea.jsonl")
    message = r"the runs of .* and rea on cifar10 were made under different rules \(budget 40000 against 50000\)"
    for reduce in (summaries, lambda folder: write_report(folder, tmp_path / "x.html")):
        with pytest.raises(NB201Error, match=message):
            reduce(tmp_path / "a")


def test_a_table_that_moved_is_found(tmp_path, synthetic_path):
    copied = tmp_path / "elsewhere.zarr"
    shutil.copytree(synthetic_path, tmp_path / "first.zarr")
    setup = Setup(table=str(tmp_path / "first.zarr"), dataset="toy", recipe="long", max_queries=5)
    bench([], [setup], 2, tmp_path / "r")
    before = summaries(tmp_path / "r")
    (tmp_path / "first.zarr").rename(copied)
    with pytest.raises(NB201Error, match="no table"):
        summaries(tmp_path / "r")
    assert summaries(tmp_path / "r", str(copied)) == before
    assert validate(tmp_path / "r", str(copied)) == []
    with pytest.raises(NB201Error, match="its fingerprint differs"):
        summaries(tmp_path / "r", "published")


def test_agents_take_options(tmp_path):
    bench(["rea(sample=1)", "rea(mutation=node-first,population=5)", "rea"], [SETUP], 2, tmp_path)
    runs = {agent: found for (_, agent), found in read_runs(tmp_path).items()}
    assert set(runs) == {"rea", "rea(sample=1)", "rea(mutation=node-first,population=5)", *ALWAYS}
    assert runs["rea"][0].cell.tolist() != runs["rea(sample=1)"][0].cell.tolist()
    for bad, said in (
        ("rea(size=3)", "has no option 'size'; it has population, sample, mutation, repeats, start, starts"),
        ("rea(sample=0)", "sample must be a whole number from 1 to 15625, got 0"),
        ("rea(mutation=best)", "mutation must be one of edge, node-first, got 'best'"),
        ("rea(sample)", "options are written as"),
        ("random(x=1)", "has no option 'x'; it has start, starts"),
        ("ppo(start=params)", "has no option 'start'; it has num_envs, tensorboard"),
        ("rea(start=params,starts=0)", "starts must be a whole number"),
        (
            "gp(start=nowhere.txt)",
            "start=nowhere.txt must be params, a column of the table's own (it has none), or a file",
        ),
        ("rea(sample=1", "unknown agent"),
        ("rea(../x=1)", "options are written as"),
        ("ppo(lr=1)", "has no option"),
    ):
        with pytest.raises(NB201Error, match=re.escape(said)):
            bench([bad], [SETUP], 2, tmp_path)


def test_a_table_of_means_has_no_trials_to_draw(tmp_path):
    with TableWriter(tmp_path / "means.zarr", "means") as writer:
        writer.add_dataset("toy", num_classes=2, image_size=8)
        writer.add_training("toy", "one", "full", epochs=1, epoch_seconds=np.ones(NUM_CELLS))
        writer.add_split("toy", "one", "full", "valid", images=10, epochs=[1],
                         accuracy=np.random.default_rng(0).random((1, NUM_CELLS)))  # fmt: skip
    setup = Setup(table=str(tmp_path / "means.zarr"), dataset="toy", max_queries=5)
    with pytest.raises(NB201Error, match="holds only means over trials: use trial='mean'"):
        bench([], [setup], 2, tmp_path / "r")
    bench([], [dataclasses.replace(setup, trial="mean")], 2, tmp_path / "r")
    rows = summaries(tmp_path / "r")
    assert all(np.isnan(row.target_queries) for row in rows)  # no deviation between trials, and so no target
    assert all(np.isfinite(row.regret) for row in rows)


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """Folders of results on the published table and, with rungs, on mini."""
    folders = [tmp_path_factory.mktemp("results") for _ in range(2)]
    other = Setup(dataset="cifar100", trial="per-query", max_queries=40, charge="cached")
    bench(["rea"], [SETUP, other], 4, folders[0])
    bench(["asha"], [Setup("mini", "gratings", budget=20.0, charge="resume", rungs=(1, 3, 8))], 4, folders[1])
    return folders


def test_what_the_harness_wrote_is_valid(validated):
    assert [validate(folder) for folder in validated] == [[], []]


@pytest.mark.parametrize("column", range(5))
def test_any_altered_row_is_found(validated, tmp_path, column):
    rng = np.random.default_rng(column)
    for number in range(20):
        source = validated[number % 2]
        folder = tmp_path / str(number)
        files = sorted(source.glob("*/*.jsonl"))
        file = files[rng.integers(len(files))]
        target = folder / file.relative_to(source)
        target.parent.mkdir(parents=True)
        lines = file.read_text().splitlines()
        rows = [k for k, line in enumerate(lines) if line[0] == "["]
        line = rows[rng.integers(len(rows))]
        row = json.loads(lines[line])
        row[column] = [(row[0] + 1 + int(rng.integers(15_000))) % NUM_CELLS, row[1] + 1, row[2] + 1,
                       row[3] * 0.999, row[4] + 1e-9 * max(1.0, row[4])][column]  # fmt: skip
        lines[line] = json.dumps(row)
        target.write_text("\n".join(lines) + "\n")
        (problem,) = validate(folder)
        assert "seed" in problem


def test_a_run_that_was_cut_short_is_found(validated, tmp_path):
    file = validated[0] / "cifar10" / "rea.jsonl"
    lines = file.read_text().splitlines()
    header = json.loads(lines[0])
    kept = header["queries"] - 5
    target = tmp_path / "cifar10" / "rea.jsonl"
    target.parent.mkdir()
    target.write_text("\n".join([json.dumps(header | {"queries": kept}), *lines[1 : kept + 1]]) + "\n")
    (problem,) = validate(tmp_path)
    assert "enough for any cell of cifar10" in problem


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
    assert page.count("<svg") == 12  # for each data set: two curves, spread, profile, pairs, the chosen cells
    for heading in ("All data sets", "Best practices", "seconds to target, by MACs", "regret over log time"):
        assert heading in page
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
