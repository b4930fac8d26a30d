"""Proximal policy optimisation (Schulman et al., 2017) through Stable-Baselines3, set for six-step episodes."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from nb201_agents.searcher import Task
from nb201_env.errors import NB201Error

SETTINGS: dict[str, Any] = {
    "n_steps": 60,
    "batch_size": 60,
    "n_epochs": 8,
    "learning_rate": 1e-3,
    "gamma": 1.0,
    "gae_lambda": 1.0,
    "ent_coef": 0.01,
}
"""An update every ten cells. The library's default of 2,048 steps would not update once in 300 queries."""


class PPO:
    """Learns a policy that builds cells; the search is whatever the policy samples while it learns."""

    tuned_on: ClassVar[tuple[str, ...]] = ("cifar100",)

    def __init__(self, task: Task, rng: np.random.Generator):
        for package in ("torch", "stable_baselines3"):  # before a comparison begins, not in the middle of it
            if importlib.util.find_spec(package) is None:
                raise NB201Error(f"the agent ppo needs {package}: pip install 'nb201-env[agents]'")

    def train(self, env: gym.Env[Any, Any], seed: int) -> None:
        """Learn until the budget is used up.

        Raises:
            NB201Error: if the budget ended before the first update, so that nothing was learnt.
        """
        import stable_baselines3
        import torch

        from nb201_env.integrations.sb3 import StopOnBudget

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the nets are small, and a fixed number makes results the same on every machine
        try:
            model = stable_baselines3.PPO("MlpPolicy", env, seed=seed, device="cpu", **SETTINGS)
            model.learn(total_timesteps=sys.maxsize, callback=StopOnBudget())
        finally:
            torch.set_num_threads(threads)
        if model._n_updates == 0:
            raise NB201Error(
                f"PPO made no update: the budget ended within {SETTINGS['n_steps']} steps ({SETTINGS['n_steps'] // 6} "
                "cells); give it more seconds or queries"
            )
