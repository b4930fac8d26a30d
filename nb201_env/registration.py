"""Telling Gymnasium about the environments."""

import gymnasium as gym

ENVIRONMENTS = {
    "NB201/BuildCell-v0": ("nb201_env.envs.build:BuildCellEnv", "nb201_env.envs.build:BuildCellVectorEnv"),
    "NB201/EditCell-v0": ("nb201_env.envs.edit:EditCellEnv", "nb201_env.envs.edit:EditCellVectorEnv"),
    "NB201/Search-v0": ("nb201_env.envs.search:SearchEnv", "nb201_env.envs.search_vector:SearchVectorEnv"),
}
"""Ids and entry points, single and vector, as strings: specs survive JSON and nothing is imported before it is made."""


def register_environments() -> None:
    """Register every environment that is not registered yet."""
    for name, (single, vector) in ENVIRONMENTS.items():
        if name not in gym.registry:
            gym.register(name, entry_point=single, vector_entry_point=vector)
