"""PyTorch: vector environments that take and give tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch

from nb201_env.integrations.devices import checked_device

if TYPE_CHECKING:
    VectorWrapper = gym.vector.VectorWrapper[Any, Any, Any]
else:
    VectorWrapper = gym.vector.VectorWrapper  # takes no parameters before Gymnasium 1.2


class LanesToTorch(VectorWrapper):
    """A vector environment whose observations, rewards and ends are tensors; actions may be tensors or arrays.

    On the CPU they share memory with the environment's arrays, which are new at every step, so that nothing is copied.
    Infos stay as they are. Rewards are float32, as learners want them.

    Args:
        env: made by `gymnasium.make_vec`.
        device: on which the tensors are.
    """

    def __init__(self, env: Any, device: str = "cpu"):
        super().__init__(env)
        self._device: torch.device = checked_device(device)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every lane."""
        observation, infos = self.env.reset(seed=seed, options=options)
        return self._tensors(observation), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step every lane: observations, rewards, terminated, truncated and infos."""
        if isinstance(actions, torch.Tensor):
            actions = actions.cpu().numpy()
        observation, reward, terminated, truncated, infos = self.env.step(actions)
        rewards = np.asarray(reward, np.float32)
        return self._tensors(observation), *map(self._tensors, (rewards, terminated, truncated)), infos

    def _tensors(self, values: Any) -> Any:
        if isinstance(values, dict):
            return {name: self._tensors(part) for name, part in values.items()}
        return torch.from_numpy(values).to(self._device)
