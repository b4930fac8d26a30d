import math

import numpy as np
import pytest
from nb201_agents.harness.stats import (
    bootstrap_interval,
    censored_median,
    censored_median_interval,
    holm,
    hypervolume,
    iqm,
    log_area,
    paired_p,
    pareto_front,
    performance_profile,
    probability_of_improvement,
    step_function,
    stratified_interval,
)


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


def test_censored_median_interval_holds_the_median():
    times = np.concatenate((np.random.default_rng(0).exponential(size=60), np.full(20, math.inf)))
    low, high = censored_median_interval(times)
    assert low < censored_median(times) < high < math.inf
    assert censored_median_interval([1.0, math.inf, math.inf]) == (1.0, math.inf)
    assert censored_median_interval([]) == (math.inf, math.inf)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0


def test_paired_p_tells_a_difference_and_no_more():
    rng = np.random.default_rng(0)
    assert paired_p(rng.normal(0.5, 1, 200)) < 0.001
    assert paired_p(np.zeros(50)) == 1.0
    assert paired_p(np.full(50, 0.1)) < 0.001
    assert paired_p([0.1]) == 1.0
    assert paired_p([0.1, 0.1]) == 0.5
    noise = rng.normal(size=50)
    assert paired_p(noise - noise.mean()) == 1.0


def test_probability_of_improvement_by_hand():
    assert probability_of_improvement([1, 2], [2, 3]) == pytest.approx((2 + 1 + 0.5) / 4)
    assert probability_of_improvement([1, 1], [1, 1]) == 0.5


def test_log_area_by_hand():
    area = log_area(np.array([1.0, 10.0]), np.array([4.0, 2.0]), 1.0, 100.0)
    assert area == pytest.approx(3.0)
    assert log_area(np.array([5.0]), np.array([4.0]), 1.0, 100.0) == pytest.approx(4.0)
    assert log_area(np.array([1.0, 2.0, 1000.0]), np.array([9.0, 1.0, 0.0]), 2.0, 50.0) == pytest.approx(1.0)


def test_medians_are_kaplan_and_meiers():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for _ in range(30):
        times, ends = rng.integers(1, 40, 25).astype(float), rng.integers(10, 45, 25).astype(float)
        seen = np.where(times <= ends, times, np.inf)
        found = stats.ecdf(stats.CensoredData(uncensored=seen[np.isfinite(seen)], right=ends[~np.isfinite(seen)])).sf
        below = found.quantiles[found.probabilities <= 0.5]
        median, (low, high) = censored_median(seen, ends), censored_median_interval(seen, ends)
        if (found.probabilities == 0.5).any():
            continue
        assert median == (below[0] if below.size else math.inf)
        interval = found.confidence_interval(method="log-log")
        for bound, ours in ((interval.low, low), (interval.high, high)):
            under = bound.quantiles[np.nan_to_num(bound.probabilities) <= 0.5]
            assert ours == (under[0] if under.size else math.inf)


def test_a_run_that_ended_early_is_not_one_that_never_came():
    assert censored_median([3, 4, math.inf, math.inf, math.inf], [9, 9, 1, 1, 1]) == 3.5
    assert censored_median([3, 4, math.inf, math.inf, math.inf], [9, 9, 9, 9, 9]) == math.inf


def test_fronts_and_hypervolumes():
    points = [(1, 5), (2, 3), (2, 4), (3, 3), (4, 1), (4, 1)]
    assert pareto_front(points).tolist() == [[1, 5], [2, 3], [4, 1]]
    assert hypervolume(points, (5, 6)) == 1 * 1 + 2 * 3 + 1 * 5
    assert hypervolume([(9, 9)], (5, 6)) == 0
    assert hypervolume(np.zeros((0, 2)), (5, 6)) == 0


def test_profiles_and_stratified_intervals():
    assert performance_profile([3, 1, 2, 2], np.array([0, 1, 2, 3])).tolist() == [0, 0.25, 0.75, 1]
    rng = np.random.default_rng(0)
    strata = [rng.normal(0, 1, 200), rng.normal(9, 1, 200)]
    low, high = stratified_interval(strata, np.mean)
    assert low < np.mean(np.concatenate(strata)) < high
    assert high - low < 0.25  # strata that were mixed would vary by their means too: about 0.9
    assert stratified_interval(strata, np.mean) == (low, high)


def test_paired_tests_of_the_same_keep_their_level():
    """False alarms in 1,000 comparisons of an agent with itself under other seeds: at most 5 %, give or take."""
    rng = np.random.default_rng(0)
    pool = np.abs(rng.standard_t(3, 4000))  # regrets are skewed and have long tails
    alarms = sum(paired_p(rng.choice(pool, 40) - rng.choice(pool, 40), resamples=999) <= 0.05 for _ in range(1_000))
    assert alarms <= 50 + 2 * np.sqrt(1_000 * 0.05 * 0.95)
