"""Choosing an engine."""

import sys

import pytest

from nb201_env import NB201Error
from nb201_env.integrations.engines import engine
from nb201_env.parallel import run_tasks


def test_the_local_engine_is_that_of_the_package():
    with engine("local") as found:
        assert found is run_tasks


@pytest.mark.parametrize(
    ("name", "address", "complaint"),
    [("dask", None, "engine must be one of local, ray"), ("local", "auto", "an address is that of a cluster")],
)
def test_what_is_no_engine_is_refused(name, address, complaint):
    with pytest.raises(NB201Error, match=complaint), engine(name, address):
        pass


def test_without_ray_the_fix_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(NB201Error, match=r"pip install 'nb201-env\[ray\]'"), engine("ray"):
        pass
