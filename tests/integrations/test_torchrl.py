"""TorchRL, trained for real on the published table."""

import runpy
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torchrl")

from torchrl.envs import GymEnv, GymWrapper
from torchrl.envs.utils import check_env_specs

import nb201_env  # noqa: F401 (registers the environments)

EXAMPLE = Path(__file__).parents[2] / "examples" / "torchrl_ppo.py"


@pytest.mark.parametrize("name", ["NB201/BuildCell-v0", "NB201/EditCell-v0", "NB201/Search-v0"])
def test_single_environments_and_lanes_are_understood(name):
    check_env_specs(GymEnv(name))
    check_env_specs(GymWrapper(gym.make_vec(name, num_envs=3)))


def test_ppo_learns(bar):
    means = runpy.run_path(str(EXAMPLE))["means"]  # of 64 cells each
    assert np.mean(means[-4:]) > bar
