"""The Gymnasium environments."""

from nb201_env.envs.build import BuildCellEnv
from nb201_env.envs.edit import EditCellEnv

__all__ = ["BuildCellEnv", "EditCellEnv"]
