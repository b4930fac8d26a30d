"""Searches that begin with what other tables say."""

import numpy as np
import pytest
from nb201_agents.harness.bench import bench
from nb201_agents.harness.results import read_runs
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.validate import validate
from nb201_agents.searcher import Task, make_agent
from nb201_agents.searchers.gaussian_process import product
from nb201_agents.searchers.sources import (
    GPSource,
    RidgeSource,
    SourceOrder,
    _common_features,
    _Corrected,
    source_scores,
)
from nb201_agents.testing import check_searcher
from scipy.optimize import minimize_scalar

from nb201_env import ALL_OPS, NUM_CELLS, PARAMS, Evaluation, NB201Error, open_table

ALL = (SourceOrder, RidgeSource, GPSource)


def asked(searcher, count, value):
    cells = []
    for _ in range(count):
        cells.append(searcher.ask().cell)
        searcher.tell(Evaluation(cells[-1], 200, value(cells[-1]), 1.0, 0, True, False, value(cells[-1])))
    return cells


@pytest.mark.parametrize("make", ALL)
def test_they_keep_the_rules(make):
    check_searcher(make)


@pytest.mark.parametrize("make", ALL)
def test_the_searched_set_is_no_source(make):
    rng = np.random.default_rng(0)
    every = set(open_table("mini").datasets)
    assert set(make(Task("cifar10", 200, (200,)), rng).pretrained_on) == every
    assert set(make(Task("digits", 8, (8,)), rng).pretrained_on) == every - {"digits"}


def test_the_order_is_that_of_the_prior():
    task = Task("digits", 8, (8,))
    by_params = asked(SourceOrder(task, np.random.default_rng(0), params=1.0), 50, lambda cell: 0.5)
    assert (np.diff(PARAMS[by_params]) <= 0).all()
    names, scores = source_scores("mini", "digits")
    assert set(names) == {"gratings", "shapes", "backdrops"}
    for name, own in zip(names, scores, strict=True):
        accuracy = open_table("mini").accuracy(name)
        assert (np.diff(own[np.argsort(accuracy, kind="stable")]) >= 0).all()
    by_source = asked(SourceOrder(task, np.random.default_rng(0), params=0.0), 50, lambda cell: 0.5)
    assert (np.diff(scores.mean(axis=0)[by_source]) <= 1e-12).all()
    assert len(set(by_source)) == 50


@pytest.mark.parametrize("make", [RidgeSource, GPSource])
def test_a_prior_that_misleads_is_left(make):
    """Where values fall with the prior, a model leaves the order, which never does."""
    order = asked(SourceOrder(Task("cifar10", 200, (200,)), np.random.default_rng(0)), NUM_CELLS, lambda cell: 0.0)
    place = np.empty(NUM_CELLS)
    place[order] = np.arange(NUM_CELLS)
    convolutions = (ALL_OPS == 3).sum(axis=1)

    def value(cell):
        return 0.9 - 0.1 * convolutions[cell]

    cells = asked(make(Task("cifar10", 200, (200,)), np.random.default_rng(0)), 60, value)
    assert convolutions[cells[-20:]].mean() < convolutions[order[:60]].mean() - 1.0


@pytest.mark.parametrize("make", [RidgeSource, GPSource])
def test_the_scale_of_values_does_not_matter(make):
    task, rng = Task("cifar10", 200, (200,)), np.random.default_rng(3)
    noise = rng.normal(size=NUM_CELLS)
    one, other = (
        asked(make(task, np.random.default_rng(0)), 25, lambda cell, a=a, b=b: a + b * float(noise[cell]))
        for a, b in ((0.1, 0.01), (0.7, 0.1))
    )
    assert one == other


@pytest.mark.parametrize("correlations", [product(0.6), _common_features()])
def test_shift_and_scale_are_the_likeliest(correlations):
    rng = np.random.default_rng(1)
    prior, deviation, noise = rng.normal(size=NUM_CELLS), 0.4, 0.2
    cells = rng.choice(NUM_CELLS, 12, replace=False)
    values = 0.5 + 0.1 * (prior[cells] + rng.normal(size=12))
    process = _Corrected(prior, correlations, deviation, noise)
    for cell, value in zip(cells.tolist(), values.tolist(), strict=True):
        process.add(cell, value)
    (shift, scale), variance, _ = process._fit()
    covariance = correlations[(ALL_OPS[cells][:, None] != ALL_OPS[cells]).sum(axis=2)] + noise * np.eye(12)
    inverse, one = np.linalg.inv(covariance), np.ones(12)

    def shift_at(scale):
        return one @ inverse @ (values - scale * prior[cells]) / (one @ inverse @ one)

    def surprise(log_scale):
        scale = np.exp(log_scale)
        rest = values - scale * prior[cells] - shift_at(scale)
        return 2 * 11 * log_scale + rest @ inverse @ rest / (scale * deviation) ** 2

    best = np.exp(minimize_scalar(surprise, bounds=(-8, 2), method="bounded", options={"xatol": 1e-10}).x)
    assert scale == pytest.approx(best, rel=1e-4)
    assert shift == pytest.approx(shift_at(scale), rel=1e-6)
    assert variance == pytest.approx((scale * deviation) ** 2)
    rest = values - shift - scale * prior[cells]
    others = correlations[(ALL_OPS[:100, None] != ALL_OPS[cells]).sum(axis=2)]
    assert process.mean()[:100] == pytest.approx(shift + scale * prior[:100] + others @ inverse @ rest)


def test_a_start_comes_first_and_options_are_checked():
    task, rng = Task("cifar10", 200, (200,), start=(5, 9)), np.random.default_rng(0)
    for make in ALL:
        assert asked(make(task, rng), 3, lambda cell: 0.5)[:2] == [5, 9]
    for name, said in (("gp-source(params=2)", "params must be a finite number from 0 to 1"),
                       ("ridge-source(noise=0)", "noise must be a finite number from 1e-06 to 1e"),
                       ("gp-source(similarity=-1)", "similarity must be a finite number from 0"),
                       ("source-order(table=nowhere)", "nowhere")):  # fmt: skip
        with pytest.raises(NB201Error, match=said):
            make_agent(name, Task("cifar10", 200, (200,)), rng)


def test_results_say_what_they_were_trained_on(tmp_path):
    bench(["gp-source", "source-order"], [Setup(max_queries=12)], 2, tmp_path)
    run = read_runs(tmp_path)["cifar10", "gp-source"][0]
    assert set(run.header["pretrained_on"]) == set(open_table("mini").datasets)
    assert validate(tmp_path) == []
