"""A check of a searcher of your own, for your own tests.

from nb201_agents.testing import check_searcher

def test_my_searcher():
check_searcher(MySearcher)
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from nb201_agents.harness.run import search
from nb201_agents.searcher import Searcher, Task
from nb201_env import Column, Evaluation, NB201Error, Oracle, Rules

QUERIES = 60
_BUDGET = 2e5


def check_searcher(make: Callable[[Task, np.random.Generator], Any], dataset: str = "cifar10") -> None:
    """Check that a searcher keeps the rules of the harness, on the published table.

    * It has `ask()` and `tell(result)`, and asks for cells that there are.
    * The same generator makes the same search.
    * It leaves the global generators of `random` and NumPy alone, by which agents would disturb one another.
    * It bears every end: by queries, by seconds, and by the first query already.

    Args:
        make: the searcher's class, or a function `(task, rng)` that makes one.
        dataset: of the published table.

    Raises:
        NB201Error: naming the first rule that is broken.
    """
    before = random.getstate(), _numpy_state()
    first = _search(make, dataset, 0, Rules(max_queries=QUERIES))
    if len(first) < QUERIES:
        raise NB201Error(
            f"the searcher asked for only {len(first)} of {QUERIES} queries; it should go on until the end"
        )
    if _search(make, dataset, 0, Rules(max_queries=QUERIES)) != first:
        raise NB201Error("two searches from one seed differ: the searcher must draw from nothing but its rng")
    if (random.getstate(), _numpy_state()) != before:
        raise NB201Error("the searcher drew from a global generator of random or NumPy; use the rng that it is given")
    for rules in (Rules(_BUDGET), Rules(max_queries=1)):
        _search(make, dataset, 1, rules)


def _search(make: Any, dataset: str, seed: int, rules: Rules) -> list[Evaluation]:
    column = Column.open("published", dataset)
    oracle = Oracle(column, rules)
    task = Task(dataset, column.epoch, column.rungs, rules.budget, rules.max_queries, column.present)
    searcher = make(task, np.random.default_rng(seed))
    if not isinstance(searcher, Searcher):
        raise NB201Error(f"a searcher has the methods ask() and tell(result), {type(searcher).__name__} has not")
    return search(searcher, oracle)


def _numpy_state() -> str:
    return repr(np.random.get_state())  # noqa: NPY002 (it is what is looked after)
