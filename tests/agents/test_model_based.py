"""Searchers with a model or with rungs."""

import numpy as np
import pytest
from nb201_agents.harness.bench import bench, run, search
from nb201_agents.harness.results import read_runs
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.truth import truth_of
from nb201_agents.searcher import Task
from nb201_agents.searchers.asha import ASHA
from nb201_agents.searchers.bohb import BOHB, _density
from nb201_agents.searchers.gaussian_process import Posterior, log_likelihood
from nb201_agents.searchers.hyperband import Hyperband
from nb201_agents.searchers.successive_halving import SuccessiveHalving
from nb201_agents.testing import check_searcher

from nb201_env import ALL_OPS, Evaluation, NB201Error, Oracle

RUNGS = (1, 3, 8)
TASK = Task("gratings", 8, RUNGS)


def told(searcher, count, value=lambda cell, epoch: cell / 15_625):
    """What a searcher asks for, told invented accuracies."""
    queries = []
    for _ in range(count):
        query = searcher.ask()
        if query is None:
            break
        queries.append(query)
        accuracy = value(query.cell, query.epoch)
        searcher.tell(Evaluation(query.cell, query.epoch, accuracy, 1.0, 0, True, False))
    return queries


def test_successive_halving_trains_the_best_third_further():
    queries = told(SuccessiveHalving(TASK, np.random.default_rng(0)), 13 + 9)
    assert [query.epoch for query in queries] == [1] * 9 + [3] * 3 + [8] + [1] * 9
    first = [query.cell for query in queries[:9]]
    assert [query.cell for query in queries[9:12]] == sorted(first, reverse=True)[:3]
    assert queries[12].cell == max(first)
    assert len({query.cell for query in queries[:9]}) == 9


def test_hyperband_begins_at_every_rung_in_turn():
    queries = told(Hyperband(TASK, np.random.default_rng(0)), 13 + 5 + 1 + 3 + 1)
    brackets = [1] * 9 + [3] * 3 + [8], [3] * 5 + [8], [8] * 3, [1]
    assert [query.epoch for query in queries] == [epoch for one in brackets for epoch in one]


def test_asha_promotes_as_soon_as_it_may():
    queries = told(ASHA(TASK, np.random.default_rng(0)), 400)
    seen = {epoch: [] for epoch in RUNGS}
    for query in queries:
        seen[query.epoch].append(query.cell)
    assert len(seen[1]) // 4 <= len(seen[3]) <= len(seen[1]) // 3  # more, where a later cell is among the best
    assert len(seen[3]) // 4 <= len(seen[8])
    assert set(seen[8]) <= set(seen[3]) <= set(seen[1])
    assert all(len(set(cells)) == len(cells) for cells in seen.values())
    assert queries[4].epoch == 3  # the fifth question: one of the first four
    assert queries[4].cell == max(query.cell for query in queries[:4])


def test_asha_may_be_asked_before_it_is_told():
    searcher = ASHA(TASK, np.random.default_rng(0))
    asked = [searcher.ask() for _ in range(8)]
    assert len({query.cell for query in asked}) == 8
    for query in asked:
        searcher.tell(Evaluation(query.cell, 1, query.cell / 15_625, 1.0, 0, True, False))
    best = sorted((query.cell for query in asked), reverse=True)[:2]
    assert [searcher.ask().cell for _ in range(2)] == best


def test_bohb_is_hyperband_until_it_has_a_model():
    searcher = BOHB(TASK, np.random.default_rng(0))
    assert [query.epoch for query in told(searcher, 19)] == [1] * 9 + [3] * 3 + [8] + [3] * 5 + [8]


def test_bohb_proposes_what_the_good_cells_have_in_common():
    """Told that the last edge decides, it soon proposes little else than its best op."""
    searcher = BOHB(Task("gratings", 8, (8,)), np.random.default_rng(0))
    queries = told(searcher, 400, lambda cell, epoch: 0.9 * (ALL_OPS[cell, 5] == 3) + 0.1 * cell / 15_625)
    share = np.mean([ALL_OPS[query.cell, 5] == 3 for query in queries[-200:]])
    assert share > 0.6


def test_kernel_densities_add_up_to_one():
    rng = np.random.default_rng(0)
    seen, width = rng.integers(5, size=(20, 6)), rng.uniform(0.1, 0.8, 6)
    assert _density(ALL_OPS.astype(np.int64), seen, width).sum() == pytest.approx(1.0)


def test_the_process_is_the_textbooks():
    """Mean, variance and likelihood of the incremental factor against plain linear algebra."""
    pytest.importorskip("scipy")
    rng = np.random.default_rng(0)
    cells, values = rng.choice(15_625, 70, replace=False).tolist(), rng.random(70)
    trend = np.ones((15_625, 1))
    process = Posterior(trend, 0.7, 0.05, cells, values)
    correlation = 0.7 ** (ALL_OPS[cells][:, None] != ALL_OPS[cells]).sum(axis=2)
    inverse = np.linalg.inv(correlation + 0.05 * np.eye(70))
    mean = inverse.sum(axis=0) @ values / inverse.sum()
    variance = (values - mean) @ inverse @ (values - mean) / 70
    some = rng.choice(15_625, 20)
    cross = 0.7 ** (ALL_OPS[some][:, None] != ALL_OPS[cells]).sum(axis=2)
    expected = mean + cross @ inverse @ (values - mean)
    deviation = np.sqrt(variance * (1 - np.einsum("ij,jk,ik->i", cross, inverse, cross)))
    from scipy.stats import norm

    score = (expected - values.max()) / deviation
    gain = deviation * (score * norm.cdf(score) + norm.pdf(score))
    np.testing.assert_allclose(process.expected_improvement()[some], gain, rtol=1e-6)
    _, logdet = np.linalg.slogdet(correlation + 0.05 * np.eye(70))
    likelihood = -0.5 * 70 * np.log(variance) - 0.5 * logdet
    assert log_likelihood(trend, 0.7, 0.05, cells, values) == pytest.approx(likelihood)


@pytest.mark.parametrize("name", ["gp", "gp(prior=params)", "tpe", "successive-halving", "hyperband", "asha", "bohb"])
def test_they_keep_the_rules_of_the_harness(name):
    from nb201_agents.searcher import make_agent

    for package in ("scipy", "optuna"):
        pytest.importorskip(package)
    check_searcher(lambda task, rng: make_agent(name, task, rng))


@pytest.mark.parametrize("name", ["gp", "gp(prior=params)", "tpe"])
def test_a_model_beats_chance(name):
    for package in ("scipy", "optuna"):
        pytest.importorskip(package)
    regret = {agent: [] for agent in (name, "random")}
    for agent, found in regret.items():
        for seed in range(6):
            _, results = run(agent, Setup(trial="mean", max_queries=80), seed)
            found.append(max(result.accuracy for result in results))
    assert np.mean(regret[name]) > np.mean(regret["random"])


def test_the_process_never_asks_twice():
    pytest.importorskip("scipy")
    _, results = run("gp", Setup(max_queries=60), 0)
    assert len({result.index for result in results}) == 60


def test_a_comparison_with_rungs(tmp_path):
    setup = Setup("mini", "gratings", budget=30.0, charge="resume", rungs=RUNGS)
    bench(["successive-halving", "hyperband", "asha", "random"], [setup], 3, tmp_path)
    runs = read_runs(tmp_path)
    oracle = Oracle.open("mini", "gratings", rungs=RUNGS, budget=30.0, charge="resume")
    for (_, agent), found in runs.items():
        for one in found:
            assert one.header["env"]["kwargs"]["rungs"] == [1, 3, 8]
            oracle.new_search(one.header["seed"])
            for cell, epoch, seconds in zip(one.cell.tolist(), one.epoch.tolist(), one.seconds, strict=True):
                assert oracle.query(cell, epoch).seconds == seconds
            position = one.incumbent[-1]
            assert (one.cell[position], one.epoch[position]) == (oracle.incumbent_index, oracle.incumbent_epoch)
            assert truth_of(one).regret(one).min() >= 0
        if agent in ("successive-halving", "hyperband", "asha"):
            assert {epoch for one in found for epoch in one.epoch.tolist()} == {1, 3, 8}
    with pytest.raises(NB201Error, match="NB201/BuildCell-v0 has no argument rungs"):
        bench(["ppo"], [setup], 3, tmp_path)


def test_a_search_asks_at_rungs():
    oracle = Oracle.open("mini", "digits", rungs=RUNGS, max_queries=13)
    results = search(SuccessiveHalving(Task("digits", 8, RUNGS), np.random.default_rng(0)), oracle)
    assert [result.epoch for result in results] == [1] * 9 + [3] * 3 + [8]
    assert oracle.incumbent_index == results[-1].index
