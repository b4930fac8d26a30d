import math

import numpy as np
import pytest
from nb201_agents.harness.stats import bootstrap_interval, censored_median, iqm, step_function


def test_iqm_is_the_mean_of_the_middle_half():
    assert iqm([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0]) == pytest.approx(np.mean([2, 3, 4, 5]))
    assert iqm(np.arange(5.0)) == pytest.approx(2.0)
    assert iqm([0.0, 0.0, 1.0, 9.0, 9.0, 9.0]) == pytest.approx((0.5 * 0 + 1 + 9 + 0.5 * 9) / 3)
    assert iqm(np.tile([1.0, 2.0, 3.0, 50.0], (3, 1))).tolist() == [2.5] * 3


def test_bootstrap_interval_of_a_mean_is_about_two_standard_errors():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert low < values.mean() < high
    assert bootstrap_interval(values) == (low, high)


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        low, high = bootstrap_interval(rng.normal(size=50), rng=rng, resamples=300)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 400 <= 0.98


def test_censored_median():
    assert censored_median([3, 1, math.inf]) == 3
    assert censored_median([1, math.inf, math.inf]) == math.inf
    assert censored_median([1, 2, math.inf, math.inf]) == math.inf
    assert censored_median([1, 2, 3, 8, math.inf]) == 3
    assert censored_median([1, 2, 3, 4]) == 2.5
    assert censored_median([]) == math.inf


def test_step_function_never_interpolates():
    values = step_function(np.array([1.0, 3.0]), np.array([10.0, 20.0]), np.array([0.5, 1.0, 2.9, 3.0, 99.0]))
    assert np.array_equal(values, [np.nan, 10, 10, 20, 20], equal_nan=True)
    assert np.isnan(step_function(np.array([]), np.array([]), np.array([1.0]))).all()
