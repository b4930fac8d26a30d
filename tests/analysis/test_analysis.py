"""Analyses against values computed otherwise, and against what is known of the published table."""

import numpy as np
import pytest

from nb201_env import ALL_OPS, NEIGHBORS, NUM_CELLS, MissingDataError, open_table
from nb201_env.analysis import (
    correlation_matrix,
    costs,
    effects,
    landscape,
    learning_curves,
    local_maxima,
    noise,
    pareto_front,
    percent,
    ranks,
    spearman,
    split_of,
    stability,
    steps_to,
    values_of_all,
    walk_autocorrelation,
)
from nb201_env.cli import main
from nb201_env.space.isomorphism import representatives
from nb201_env.tables.export import columns_of
from nb201_env.tables.writer import TableWriter


@pytest.fixture(scope="module")
def published():
    return open_table("published")


@pytest.fixture(scope="module")
def mini():
    return open_table("mini")


def test_ranks_are_scipys():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).integers(10, size=60)
    np.testing.assert_array_equal(ranks(values), stats.rankdata(values) - 1)
    other = np.random.default_rng(1).random(60)
    other[3] = np.nan
    expected = stats.spearmanr(np.delete(values, 3), np.delete(other, 3)).statistic
    assert spearman(values, other) == pytest.approx(expected)
    assert np.isnan(spearman(np.zeros(5), np.arange(5)))


@pytest.mark.parametrize(
    ("dataset", "maxima", "with_params"), [("cifar10", 13, 0.71), ("cifar100", 25, 0.73), ("ImageNet16-120", 34, 0.68)]
)
def test_what_is_known_of_the_published_table(published, dataset, maxima, with_params):
    values = percent(published, dataset)
    assert split_of(published, dataset, published.recipes(dataset)[0]) == "valid"
    assert len(local_maxima(values)) == maxima
    assert spearman(values, published.params(dataset)) == pytest.approx(with_params, abs=0.005)


def test_data_sets_of_the_published_table_agree(published):
    columns = values_of_all(published)
    assert list(columns) == ["cifar10 valid", "cifar100 valid", "ImageNet16-120 valid"]
    found = correlation_matrix(list(columns.values()))
    np.testing.assert_allclose(found[np.triu_indices(3, 1)], [0.976, 0.960, 0.961], atol=0.001)


def test_noise_is_that_of_trials_and_of_classes(published):
    recipe = published.recipes("cifar10")[0]
    found = noise(published, "cifar10", recipe)
    trials = 100 * published.accuracy("cifar10", trial="all").astype(float)
    for cell in (0, 77, 6111, 15624):
        known = trials[cell][~np.isnan(trials[cell])]
        expected = known.std(ddof=1) if known.size > 1 else np.nan
        assert found.trials[cell] == pytest.approx(expected, nan_ok=True)
    of = representatives()
    for cell in (5, 300, 9000):
        there = found.accuracy[of == of[cell]]
        expected = there.std(ddof=1) if there.size > 1 else np.nan
        assert found.classes[cell] == pytest.approx(expected, nan_ok=True, abs=1e-6)
    assert np.nanmean(found.classes) == pytest.approx(0.22, abs=0.005)


def test_local_maxima_and_climbs():
    values = -steps_to(4711).astype(float)
    found = landscape(values, np.random.default_rng(0))
    assert found.maxima.tolist() == local_maxima(values).tolist() == [4711]
    assert (found.ends == 4711).all()
    np.testing.assert_array_equal(found.steps, found.distance)
    np.testing.assert_array_equal(found.by_distance[1], -np.arange(7.0))
    flat = np.zeros(NUM_CELLS)
    assert local_maxima(flat).size == 0
    assert np.isnan(walk_autocorrelation(flat, np.random.default_rng(0))).all()


def test_cells_without_a_value_are_no_maxima():
    values = np.random.default_rng(0).random(NUM_CELLS)
    values[NEIGHBORS[100]] = np.nan
    values[200] = np.nan
    found = landscape(values, np.random.default_rng(0))
    assert 100 in found.maxima
    assert 200 not in found.maxima
    assert np.isfinite(values[found.maxima]).all()
    assert np.isfinite(found.autocorrelation).all()


def test_walks_lose_the_memory_of_one_edge_in_six():
    """A sum of effects of edges keeps 1 - 1/6 * 5/4 of itself a step: the new op is uniform over the four others."""
    weights = np.random.default_rng(0).normal(size=(6, 5))
    values = weights[np.arange(6), ALL_OPS].sum(axis=1)
    found = walk_autocorrelation(values, np.random.default_rng(1))
    assert found[0] == pytest.approx(1.0, abs=0.01)
    assert found[1] == pytest.approx(1 - 1.25 / 6, abs=0.03)
    assert found[3] == pytest.approx((1 - 1.25 / 6) ** 3, abs=0.06)


def test_effects_of_sums_are_found_again():
    weights = np.random.default_rng(0).normal(size=(6, 5))
    weights -= weights.mean(axis=1, keepdims=True)
    values = 50 + weights[np.arange(6), ALL_OPS].sum(axis=1)
    found = effects(values)
    np.testing.assert_allclose(found.mean, weights, atol=1e-9)
    assert found.explained == pytest.approx(1.0)
    with pytest.raises(MissingDataError, match="no cell with avg_pool_3x3 on edge"):
        effects(np.where(ALL_OPS[:, 0] == 4, np.nan, values))


def test_the_front_is_what_nothing_beats():
    rng = np.random.default_rng(0)
    values, cost = rng.integers(30, size=400).astype(float), rng.integers(30, size=400).astype(float)
    values[7] = np.nan
    front = pareto_front(values, cost)
    points = {(value, paid) for value, paid in zip(values, cost, strict=True) if not np.isnan(value)}
    expected = {
        (value, paid)
        for value, paid in points
        if not any(v >= value and c <= paid and (v, c) != (value, paid) for v, c in points)
    }
    assert {(values[i], cost[i]) for i in front} == expected
    assert len(front) == len(expected)


def test_training_of_mini(mini):
    recipe = mini.recipes("digits")[0]
    found = learning_curves(mini, "digits", recipe)
    last = 100 * mini.accuracy("digits").astype(float)
    np.testing.assert_allclose(found.values[:, -1], np.quantile(last, found.quantiles))
    ranking = stability(mini, "digits", recipe)
    assert ranking.judged_by == "test"
    test = mini.accuracy("digits", split="test")
    assert ranking.all[2] == pytest.approx(spearman(mini.accuracy("digits", epoch=3), test))
    assert (ranking.best < ranking.all).all()


def test_what_a_table_has_not_is_said(published):
    recipe = published.recipes("cifar100")[0]
    for analysis in (learning_curves, stability):
        with pytest.raises(MissingDataError, match="accuracy of cifar100 after epoch 200 alone"):
            analysis(published, "cifar100", recipe)
    assert list(costs(published, "cifar100", recipe)) == [
        "params (million)", "MACs (million)", "latency (ms)", "training (seconds)",
    ]  # fmt: skip


def test_a_table_of_one_trial_says_nothing_of_noise(tmp_path):
    with TableWriter(tmp_path / "one.zarr", "one") as writer:
        writer.add_dataset("some", num_classes=10, image_size=8)
        writer.add_training("some", "short", "full", epochs=1)
        correct = np.random.default_rng(0).integers(1000, size=(1, 1, NUM_CELLS))
        writer.add_split("some", "short", "full", "valid", images=1000, epochs=[1], correct=correct)
    table = open_table(tmp_path / "one.zarr")
    with pytest.raises(MissingDataError, match="has no cell of some with two trials"):
        noise(table, "some", "short")
    assert list(costs(table, "some", "short")) == ["params (million)", "MACs (million)"]


@pytest.fixture(scope="module")
def first_release(tmp_path_factory):
    """As NAS-Bench-201's first file has CIFAR-10: by one schedule nets of the half alone, by the other both."""
    path = tmp_path_factory.mktemp("first") / "first.zarr"
    rng = np.random.default_rng(0)
    with TableWriter(path, "first") as writer:
        writer.add_dataset("cifar10", num_classes=10, image_size=32)
        for recipe, epochs, nets in (("12ep", 12, ("half",)), ("200ep", 200, ("half", "full"))):
            for trained_on in nets:
                where, seconds = ("cifar10", recipe, trained_on), 10.0 if trained_on == "half" else 20.0
                writer.add_training(*where, epochs=epochs, epoch_seconds=np.full(NUM_CELLS, seconds))
                for split in ("valid", "test") if trained_on == "half" else ("test",):
                    writer.add_split(*where, split, images=10_000, epochs=[epochs], trial_seeds=[777],
                                     correct=rng.integers(1, 10_000, (1, 1, NUM_CELLS)))  # fmt: skip
    return open_table(path)


def test_splits_that_only_other_nets_have_are_not_asked_for(first_release):
    assert first_release.usual_splits("cifar10", recipe="12ep") == ("valid",)
    assert first_release.usual_splits("cifar10", recipe="200ep") == ("valid", "test")
    assert list(values_of_all(first_release)) == ["cifar10 12ep valid", "cifar10 200ep valid", "cifar10 200ep test"]
    assert split_of(first_release, "cifar10", "12ep") == "valid"
    names = ["cifar10/12ep/valid_accuracy", "cifar10/200ep/test_accuracy", "cifar10/200ep/valid_accuracy"]
    assert sorted(name for name in columns_of(first_release) if "accuracy" in name) == names


def test_seconds_are_of_the_nets_that_are_judged(first_release):
    assert costs(first_release, "cifar10", "200ep")["training (seconds)"][0] == 200 * 20.0
    assert costs(first_release, "cifar10", "12ep")["training (seconds)"][0] == 12 * 10.0


def test_the_command_says_which_nets(first_release, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["nb201", "table", "info", str(first_release.path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert "cifar10 / 12ep / test of nets trained on half: epoch 12" in shown
    assert "cifar10 / 200ep / test: epoch 200" in shown
