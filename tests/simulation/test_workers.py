"""Simulated workers against an event loop that is written out, second by second."""

import numpy as np
import pytest

from nb201_env import NB201Error, Oracle
from nb201_env.simulation.workers import Workers


def simulated(plan, prices, workers, budget):
    """(start, end, cell) in the order of ending, of a list of workers with the time at which each is idle."""
    idle, used, ended = [0.0] * workers, 0.0, []
    for number, (cell, price) in enumerate(zip(plan, prices, strict=True)):
        if used + price > budget:
            break
        used += price
        first = min(range(workers), key=lambda worker: (idle[worker], worker))
        ended.append((idle[first] + price, number, idle[first], cell))
        idle[first] += price
    return [(start, end, cell) for end, _, start, cell in sorted(ended)]


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_results_come_in_the_order_in_which_they_end(count):
    plan = np.random.default_rng(count).integers(15_625, size=200).tolist()
    oracle = Oracle.open("published", "cifar10", budget=150_000.0, seed=3)
    prices = oracle.column.train[0][plan].tolist()
    workers, cells, found, is_over = Workers(oracle, count), iter(plan), [], False
    while True:
        while workers.has_free and not is_over:
            is_over = not workers.submit(next(cells))
        finished = workers.wait()
        if finished is None:
            break
        assert workers.now == finished.started + finished.result.seconds
        assert finished.result.accuracy == oracle.value(finished.result.index)
        found.append((finished.started, workers.now, finished.result.index))
    assert found == simulated(plan, prices, count, 150_000.0)
    assert len(found) == oracle.n_queries > 30
    assert oracle.seconds_used == pytest.approx(sum(end - start for start, end, _ in found))
    assert workers.now < 150_000.0 / count * 1.2


def test_what_has_begun_is_seen_although_the_budget_ended():
    workers = Workers(Oracle.open("published", "cifar10", max_queries=3), 3)
    assert all(workers.submit(cell) for cell in (1462, 0, 6111))
    assert not workers.has_free
    with pytest.raises(NB201Error, match="idle workers"):
        workers.submit(5)
    assert sorted(workers.wait().result.index for _ in range(3)) == [0, 1462, 6111]
    assert workers.wait() is None
    assert not workers.has_free


def test_resuming_pays_for_further_epochs_alone():
    oracle = Oracle.open("mini", "gratings", rungs=[1, 3, 8], charge="resume")
    workers = Workers(oracle, 2)
    workers.submit(6111, 1)
    first = workers.wait()
    workers.submit(6111, 8)
    second = workers.wait()
    column = oracle.column
    assert first.result.seconds == column.train[0, 6111] + column.evaluation[6111]
    assert second.result.seconds == pytest.approx(
        column.train[2, 6111] - column.train[0, 6111] + column.evaluation[6111]
    )
    assert second.started == first.result.seconds


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True, None])
def test_bad_numbers_of_workers(count):
    with pytest.raises(NB201Error, match="workers must be a whole number"):
        Workers(Oracle.open("published", "cifar10"), count)


@pytest.mark.parametrize(("charge", "epochs"), [("resume", (8, 8)), ("resume", (1, 8)), ("cached", (8, 8))])
def test_a_query_that_builds_on_a_running_one_waits_for_it(charge, epochs):
    oracle = Oracle.open("mini", "digits", rungs=[1, 8], charge=charge, max_queries=9)
    workers = Workers(oracle, 2)
    assert all(workers.submit(6111, epoch) for epoch in epochs)
    first, second = workers.wait(), workers.wait()
    assert (first.started, first.result.epoch, second.result.epoch) == (0.0, *epochs)
    assert second.started == first.result.seconds
    assert workers.now == second.started + second.result.seconds


def test_queries_that_pay_in_full_wait_for_nothing():
    workers = Workers(Oracle.open("mini", "digits", max_queries=9), 2)
    assert workers.submit(6111)
    assert workers.submit(6111)
    assert (workers.wait().started, workers.wait().started) == (0.0, 0.0)
