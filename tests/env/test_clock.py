import math

import pytest

from nb201_env import NB201Error, SimulatedClock


def test_fresh_pays_in_full_every_time():
    clock = SimulatedClock()
    assert [clock.pay(3, 10, 100.0, 5.0) for _ in range(2)] == [105.0, 105.0]
    assert (clock.seconds_used, clock.queries, clock.seconds_left) == (210.0, 2, math.inf)


def test_resume_pays_only_further_epochs():
    clock = SimulatedClock(charge="resume")
    assert clock.pay(3, 1, 10.0, 5.0) == 15.0
    assert clock.pay(3, 10, 100.0, 5.0) == 95.0
    assert clock.pay(3, 4, 40.0, 5.0) == 5.0
    assert clock.pay(3, 11, 110.0, 5.0) == 15.0
    assert clock.pay(4, 1, 10.0, 5.0) == 15.0


def test_cached_pays_once_for_a_cell_and_epoch():
    clock = SimulatedClock(charge="cached", max_queries=3)
    assert [clock.pay(3, 1, 10.0, 5.0), clock.pay(3, 1, 10.0, 5.0), clock.pay(3, 2, 20.0, 5.0)] == [15.0, 0.0, 25.0]
    assert clock.exhausted


def test_stop_before_charges_nothing_for_what_does_not_fit():
    clock = SimulatedClock(budget=20.0)
    assert clock.pay(0, 1, 15.0, 0.0) == 15.0
    assert not clock.exhausted
    assert clock.pay(1, 1, 6.0, 0.0) is None
    assert clock.exhausted
    assert clock.pay(2, 1, 1.0, 0.0) is None
    assert (clock.seconds_used, clock.queries, clock.seconds_left) == (15.0, 1, 5.0)


def test_stop_before_may_use_the_budget_up_exactly():
    clock = SimulatedClock(budget=20.0)
    assert [clock.pay(0, 1, 10.0, 0.0), clock.pay(1, 1, 10.0, 0.0), clock.pay(2, 1, 10.0, 0.0)] == [10.0, 10.0, None]


def test_stop_after_lets_the_last_query_cross():
    clock = SimulatedClock(budget=20.0, overrun="stop-after")
    assert [clock.pay(cell, 1, 15.0, 0.0) for cell in range(3)] == [15.0, 15.0, None]
    assert (clock.seconds_used, clock.seconds_left) == (30.0, 0.0)


def test_restart_forgets_everything():
    clock = SimulatedClock(charge="resume", max_queries=1)
    clock.pay(0, 1, 10.0, 1.0)
    clock.restart()
    assert not clock.exhausted
    assert clock.pay(0, 1, 10.0, 1.0) == 11.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 0}, "budget must be a number of seconds above 0, or None for no limit, got 0"),
        ({"budget": math.nan}, "got nan"),
        ({"charge": "free"}, "charge must be one of fresh, resume, cached, got 'free'"),
        ({"overrun": "stop"}, "overrun must be one of stop-before, stop-after, got 'stop'"),
        ({"max_queries": 0}, "max_queries must be a whole number at least 1"),
        ({"charge": "cached"}, "set max_queries"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(NB201Error, match=message):
        SimulatedClock(**arguments)
