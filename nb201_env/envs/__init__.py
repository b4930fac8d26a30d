"""The Gymnasium environments."""

from nb201_env.envs.build import BuildCellEnv
from nb201_env.envs.edit import EditCellEnv
from nb201_env.envs.search import SearchEnv

__all__ = ["BuildCellEnv", "EditCellEnv", "SearchEnv"]
