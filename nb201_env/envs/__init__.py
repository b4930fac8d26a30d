"""The Gymnasium environments."""

from nb201_env.envs.build import BuildCellEnv

__all__ = ["BuildCellEnv"]
