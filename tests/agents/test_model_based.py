"""Searchers with a model or with rungs."""

import numpy as np
import pytest
from nb201_agents.harness.bench import bench
from nb201_agents.harness.results import read_runs
from nb201_agents.harness.run import run, search
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.truth import truth_of
from nb201_agents.searcher import Task
from nb201_agents.searchers.asha import ASHA
from nb201_agents.searchers.bananas import ensemble
from nb201_agents.searchers.bohb import BOHB, _density
from nb201_agents.searchers.dehb import DEHB
from nb201_agents.searchers.encodings import LIVE_OPS, PATHS, path_encoding
from nb201_agents.searchers.gaussian_process import Posterior, log_likelihood, product
from nb201_agents.searchers.hyperband import Hyperband
from nb201_agents.searchers.lstm_controller import Policy
from nb201_agents.searchers.pasha import PASHA
from nb201_agents.searchers.ranker import Ranking
from nb201_agents.searchers.successive_halving import SuccessiveHalving
from nb201_agents.testing import check_searcher

from nb201_env import ALL_OPS, PARAMS, Evaluation, NB201Error, Oracle

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
        searcher.tell(Evaluation(query.cell, query.epoch, accuracy, 1.0, 0, True, False, accuracy))
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
        searcher.tell(Evaluation(query.cell, 1, query.cell / 15_625, 1.0, 0, True, False, query.cell / 15_625))
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
    process = Posterior(trend, product(0.7), 0.05, cells, values)
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


def test_pasha_opens_a_rung_only_when_the_order_changes():
    steady = told(PASHA(TASK, np.random.default_rng(0)), 300)
    assert {query.epoch for query in steady} == {1, 3}
    turned = told(PASHA(TASK, np.random.default_rng(0)), 300, lambda cell, epoch: abs(epoch % 2 - 0.5 - cell / 15_625))
    unsteady = told(PASHA(TASK, np.random.default_rng(0)), 300, lambda cell, epoch: (cell * epoch) % 997 / 997)
    assert {query.epoch for query in unsteady} == {1, 3, 8}
    assert len(turned) == 300


def test_dehb_halves_first_and_breeds_after():
    searcher = DEHB(TASK, np.random.default_rng(0))
    queries = told(searcher, 13 + 5 + 1 + 3 + 13)
    brackets = [1] * 9 + [3] * 3 + [8], [3] * 5 + [8], [8] * 3, [1] * 9 + [3] * 3 + [8]
    assert [query.epoch for query in queries] == [epoch for one in brackets for epoch in one]
    first = [query.cell for query in queries[:9]]
    assert [query.cell for query in queries[9:12]] == sorted(first, reverse=True)[:3]
    assert [len(population) for population in searcher._populations] == [10, 10, 6]


def test_dehb_finds_what_edges_are_worth():
    """Each edge adds what its op's code says: the best cell has code 4 everywhere."""
    searcher = DEHB(Task("gratings", 8, (8,)), np.random.default_rng(1))
    queries = told(searcher, 500, lambda cell, epoch: float(ALL_OPS[cell].sum()) / 24)
    sums = ALL_OPS[[query.cell for query in queries]].sum(axis=1)
    assert sums[-100:].mean() > 20 > 16 > sums[:10].mean()


def test_paths_and_live_ops():
    assert PATHS == [(3,), (0, 4), (1, 5), (0, 2, 5)]
    encoded = path_encoding()
    assert encoded.shape == (15_625, 4 + 16 + 64)
    assert encoded[1651].sum() == 0  # all none
    assert encoded[1835].sum() == 3  # all skip: one sequence of each length
    # the first op is dead when nothing leads on from node 1
    ops = np.array([3, 0, 0, 3, 0, 0])
    cell = int(np.flatnonzero((ops == ALL_OPS).all(axis=1))[0])
    assert LIVE_OPS[cell].tolist() == [0, 0, 0, 3, 0, 0]
    assert (np.where(LIVE_OPS > 0, ALL_OPS, 0) == LIVE_OPS).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_ranker_orders_all_cells_from_156(published, seed):
    from scipy.stats import kendalltau

    rng = np.random.default_rng(seed)
    cells = rng.choice(15_625, 156, replace=False)
    trials = published.accuracy("cifar10", trial="all")[cells]
    seen = np.array([rng.choice(row[~np.isnan(row)]) for row in trials], float)
    scores = Ranking().fit(cells, seen)
    assert kendalltau(scores, published.accuracy("cifar10")).statistic > 0.75


def test_a_fit_of_the_ranker_is_that_of_all_at_once():
    rng = np.random.default_rng(0)
    cells, values = rng.choice(15_625, 60, replace=False), rng.random(60)
    ranking = Ranking()
    for count in (20, 40, 60):
        scores = ranking.fit(cells[:count], values[:count])
    assert np.allclose(scores, Ranking().fit(cells, values), rtol=1e-9, atol=1e-9)


def test_bananas_ensemble_fits_and_differs():
    rng = np.random.default_rng(0)
    encoding = path_encoding()
    cells, others = rng.choice(15_625, 80, replace=False), rng.choice(15_625, 300, replace=False)
    worth = 0.5 + encoding.mean(axis=1)
    predicted = ensemble(encoding[cells], worth[cells], encoding[others], 7)
    assert predicted.shape == (5, 300)
    assert np.corrcoef(predicted.mean(axis=0), worth[others])[0, 1] > 0.5
    assert (predicted.std(axis=0) > 0).all()
    assert (predicted == ensemble(encoding[cells], worth[cells], encoding[others], 7)).all()


def test_the_lstm_learns_what_is_rewarded():
    policy, rng = Policy(0, 0.01), np.random.default_rng(0)
    for _ in range(300):
        ops = policy.sample(rng.random(6))
        policy.learn([ops], [ops.count(3) - 1.2])
    assert np.mean([policy.sample(rng.random(6)).count(3) for _ in range(50)]) > 2.5


def test_thompson_draws_have_the_moments_of_the_posterior():
    rng = np.random.default_rng(0)
    cells, values = rng.choice(15_625, 12, replace=False).tolist(), rng.random(12).tolist()
    posterior = Posterior(np.ones((15_625, 1)), product(0.7), 0.1, cells, values)
    draws = np.array([posterior.draw(rng) for _ in range(400)])
    mean, variance = posterior._mean()
    some = rng.choice(15_625, 40)
    deviation = np.sqrt(variance * (1 - posterior._explained))
    assert np.abs((draws.mean(axis=0) - mean) / deviation)[some].max() < 4.5 / np.sqrt(400)
    assert np.abs(draws.std(axis=0) / deviation - 1)[some].max() < 0.2


def test_nsga2_spreads_over_error_and_params():
    setup = Setup(max_queries=150, trial="mean", objectives=(("params", 0.0),))
    params, plain = (
        np.array([PARAMS[r.index] for r in run("nsga2", one, 3)[1]][75:])
        for one in (setup, Setup(max_queries=150, trial="mean"))
    )
    assert np.median(params) < np.median(plain)


@pytest.mark.parametrize(
    "name",
    ["gp", "tpe", "nsga2", "ranker", "asha", "hyperband", "dehb", "bohb", "successive-halving", "lstm", "bananas"],
)
def test_any_searcher_starts_with_an_order(name, tmp_path):
    scores = np.random.default_rng(0).permutation(15_625)
    file = tmp_path / "scores.txt"
    file.write_text("\n".join(map(str, scores)))
    header, results = run(f"{name}(start={file},starts=15)", Setup("mini", "gratings", trial="mean", max_queries=16), 0)
    expected = np.argsort(-scores)[:15].tolist()
    assert [result.index for result in results][:15] == expected
    assert header["start"]["order"] == str(file)
    file.write_text("1 2 3")
    with pytest.raises(NB201Error, match="15,625 finite numbers"):
        run(f"{name}(start={file})", Setup("mini", "gratings", trial="mean", max_queries=6), 0)
