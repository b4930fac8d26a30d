import pytest

from nb201_env import open_table


@pytest.fixture
def bar():
    """What the last 200 cells that a learner builds must reach on average: two points above the mean of all cells."""
    return float(open_table("published").accuracy("cifar10").mean()) + 0.02
