"""What queries cost and when a search ends, on a column of invented prices."""

import math
from dataclasses import replace

import numpy as np
import pytest

from nb201_env import NUM_CELLS, Column, NB201Error, Oracle, Rules
from nb201_env.simulation.ledger import Ledger

EPOCHS = (1, 4, 10, 11)


@pytest.fixture(scope="module")
def column():
    """Ten seconds an epoch and five a pass, for every cell, at four epochs."""
    found = Column.open("mini", "gratings", rungs=(1, 2, 3, 4))
    train = np.repeat(10.0 * np.array(EPOCHS)[:, None], NUM_CELLS, axis=1)
    return replace(found, rungs=EPOCHS, train=train, evaluation=np.full(NUM_CELLS, 5.0))


def paid(column, queries, **rules):
    """Seconds of each (cell, epoch), None where not observed, of an oracle; a row of a ledger pays the same."""
    oracle, ledger = Oracle(column, Rules(**rules)), Ledger([column], [Rules(**rules)], 2)
    ledger.new_search(np.arange(2), np.zeros(2, np.uint64))
    found = []
    for cell, epoch in queries:
        result = oracle.query(cell, epoch)
        found.append(result.seconds if result.observed else None)
        if not ledger.exhausted[0]:
            row = ledger.query(np.array([0]), np.array([cell]), np.array([EPOCHS.index(epoch)]))
            assert row.observed[0] == result.observed
            assert row.query_seconds[0] == result.seconds
        assert ledger.exhausted[0] == oracle.exhausted
        assert ledger.seconds_used[0] == oracle.seconds_used
        assert ledger.n_queries[0] == oracle.n_queries
        assert ledger.incumbent_index[0] == oracle.incumbent_index
    assert ledger.n_queries[1] == 0
    return found, oracle


def test_fresh_pays_in_full_every_time(column):
    found, oracle = paid(column, [(3, 10), (3, 10)])
    assert found == [105.0, 105.0]
    assert (oracle.seconds_used, oracle.n_queries, oracle.seconds_left) == (210.0, 2, math.inf)


def test_resume_pays_only_further_epochs(column):
    queries = [(3, 1), (3, 10), (3, 4), (3, 11), (4, 1), (3, 1)]
    assert paid(column, queries, charge="resume")[0] == [15.0, 95.0, 5.0, 15.0, 15.0, 5.0]


def test_cached_pays_once_for_a_cell_and_epoch(column):
    found, oracle = paid(column, [(3, 1), (3, 1), (3, 4), (3, 1)], charge="cached", max_queries=3)
    assert found == [15.0, 0.0, 45.0, None]
    assert oracle.exhausted


def test_stop_before_charges_nothing_for_what_does_not_fit(column):
    found, oracle = paid(column, [(0, 1), (1, 1), (2, 1)], budget=29.0)
    assert found == [15.0, None, None]
    assert (oracle.seconds_used, oracle.n_queries, oracle.seconds_left) == (15.0, 1, 14.0)


def test_stop_before_may_use_the_budget_up_exactly(column):
    found, _ = paid(column, [(0, 1), (1, 1), (2, 1)], budget=30.0)
    assert found == [15.0, 15.0, None]


def test_stop_after_lets_the_last_query_cross(column):
    found, oracle = paid(column, [(0, 1), (1, 1), (2, 1)], budget=20.0, overrun="stop-after")
    assert found == [15.0, 15.0, None]
    assert (oracle.seconds_used, oracle.seconds_left) == (30.0, 0.0)


def test_a_new_search_forgets_everything(column):
    oracle = Oracle(column, Rules(charge="resume", max_queries=1))
    oracle.query(0, 1)
    assert oracle.exhausted
    oracle.new_search(0)
    assert not oracle.exhausted
    assert oracle.query(0, 1).seconds == 15.0


def test_the_highest_rung_is_recommended_before_the_best_value(column):
    accuracy = np.zeros((4, NUM_CELLS, 1), np.float32)
    accuracy[0, 7], accuracy[2, 8], accuracy[2, 9], accuracy[2, 10] = 0.9, 0.3, 0.5, 0.5
    _, oracle = paid(replace(column, accuracy=accuracy), [(7, 1), (8, 10), (9, 10), (10, 10), (7, 1)])
    assert (oracle.incumbent_index, oracle.incumbent_epoch, oracle.incumbent_accuracy) == (9, 10, 0.5)


def test_prices_are_the_same_of_numbers_and_of_arrays():
    rng = np.random.default_rng(0)
    train, evaluation, before, seen = [*rng.random((3, 50)).tolist(), rng.integers(2, size=50).tolist()]
    for charge in ("fresh", "resume", "cached"):
        rules = Rules(charge=charge, max_queries=5)
        arrays = rules.price(*map(np.array, (train, evaluation, before, seen)))
        assert [rules.price(*one) for one in zip(train, evaluation, before, seen, strict=True)] == arrays.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 0}, "budget must be a number of seconds above 0, or None for no limit, got 0"),
        ({"budget": math.nan}, "got nan"),
        ({"charge": "free"}, "charge must be one of fresh, resume, cached, got 'free'"),
        ({"overrun": "stop"}, "overrun must be one of stop-before, stop-after, got 'stop'"),
        ({"max_queries": 0}, "max_queries must be a whole number at least 1"),
        ({"charge": "cached"}, "set max_queries"),
        ({"objectives": {"big beauty": 1}}, "unknown objectives 'big beauty'"),
        ({"objectives": ["params"]}, "objectives must be a dict of error, params"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(NB201Error, match=message):
        Rules(**arguments)
