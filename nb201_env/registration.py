"""Telling Gymnasium about the environments."""

import gymnasium as gym

ENVIRONMENTS = {"NB201/BuildCell-v0": "nb201_env.envs.build:BuildCellEnv"}
"""Ids and entry points, as strings, so that specs survive JSON and nothing is imported before it is made."""


def register_environments() -> None:
    """Register every environment that is not registered yet."""
    for name, entry_point in ENVIRONMENTS.items():
        if name not in gym.registry:
            gym.register(name, entry_point=entry_point)
