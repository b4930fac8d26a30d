"""`check_searcher` passes our own searchers and catches each broken rule."""

import random

import numpy as np
import pytest
from nb201_agents.searcher import Query, agent_names, make_agent
from nb201_agents.testing import check_searcher

from nb201_env import NUM_CELLS, InvalidCellError, NB201Error


class Honest:
    def __init__(self, task, rng):
        self.rng = rng

    def ask(self):
        return Query(int(self.rng.integers(NUM_CELLS)))

    def tell(self, result):
        assert result.observed


class Quitter(Honest):
    def ask(self):
        return None


class Gambler(Honest):
    def ask(self):
        return Query(random.randrange(NUM_CELLS))


class Disturber(Honest):
    def tell(self, result):
        np.random.random()  # noqa: NPY002


class Stranger(Honest):
    def ask(self):
        return Query(-1)


def test_an_honest_searcher_passes():
    check_searcher(Honest)


@pytest.mark.parametrize("name", ["random", "params", "rea", "rea-50", "local-search", "reinforce"])
def test_our_searchers_pass(name):
    assert name in agent_names()
    check_searcher(lambda task, rng: make_agent(name, task, rng), "cifar100")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Quitter, "asked for only 0 of 60 queries"),
        (Gambler, "two searches from one seed differ"),
        (Disturber, "drew from a global generator"),
        (lambda task, rng: object(), "has the methods ask"),
    ],
)
def test_a_broken_rule_is_named(make, message):
    with pytest.raises(NB201Error, match=message):
        check_searcher(make)


def test_a_cell_that_there_is_not():
    with pytest.raises(InvalidCellError, match="got -1"):
        check_searcher(Stranger)
