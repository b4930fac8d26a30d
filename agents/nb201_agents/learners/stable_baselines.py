"""Learners of Stable-Baselines3 and sb3-contrib, set for six-step episodes.

The libraries' defaults are made for millions of steps: PPO would not update once in 300 queries. These presets update
every few cells. They were chosen on CIFAR-10 alone, by the regret at 50, 109 and 300 queries.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from nb201_agents.searcher import Task, require
from nb201_env import checks
from nb201_env.integrations.devices import one_thread

STEPS = 10**9
"""Given as `total_timesteps`, which the budget ends long before; DQN's exploration is a fraction of it."""


class StableBaselines:
    """Learns a policy that builds cells; the search is whatever the policy samples while it learns.

    Args:
        task: what is searched.
        rng: not drawn from; the seed of `train` decides.
        num_envs: lanes of a vector environment, which share the search.
        tensorboard: folder in which each run's losses and returns are logged, by data set.
    """

    tuned_on: ClassVar[tuple[str, ...]] = ("cifar10",)
    package: ClassVar[str] = "stable_baselines3"
    algorithm: ClassVar[str]
    settings: ClassVar[dict[str, Any]]
    env_arguments: ClassVar[dict[str, Any]] = {}
    note = ""

    def __init__(self, task: Task, rng: np.random.Generator, num_envs: int = 1, tensorboard: str = ""):
        require(self.algorithm, "torch", self.package)
        if tensorboard:
            require(self.algorithm, "tensorboard", extra="tensorboard")
        self._dataset = task.dataset
        self.num_envs, self._tensorboard = checks.whole("num_envs", num_envs, 1, 10_000), tensorboard

    def train(self, env: gym.Env[Any, Any] | gym.vector.VectorEnv[Any, Any, Any], seed: int) -> None:
        """Learn until the budget is used up; `note` says if it ended before the first update."""
        from stable_baselines3.common.logger import Logger

        from nb201_env.integrations.sb3 import LanesVecEnv, StopOnBudget

        learner = getattr(importlib.import_module(self.package), self.algorithm)
        with one_thread():
            model = learner("MlpPolicy", LanesVecEnv(env) if self.num_envs > 1 else env, seed=seed, device="cpu",
                            **self._scaled())  # fmt: skip
            logger = Logger(None, self._outputs(seed))  # the default one leaves a temporary folder
            model.set_logger(logger)
            try:
                model.learn(total_timesteps=STEPS, callback=StopOnBudget())
            finally:
                logger.close()
        if model._n_updates == 0:
            self.note = f"{self.algorithm} made no update before the budget ended"

    def _scaled(self) -> dict[str, Any]:
        """The settings; what updates every `n_steps` does so after as many cells whatever the number of lanes."""
        steps = self.settings.get("n_steps")
        return self.settings if steps is None else self.settings | {"n_steps": max(1, steps // self.num_envs)}

    def _outputs(self, seed: int) -> list[Any]:
        """Where training is logged: nowhere, or in a folder for TensorBoard, one for each seed."""
        if not self._tensorboard:
            return []
        from stable_baselines3.common.logger import TensorBoardOutputFormat

        return [TensorBoardOutputFormat(f"{self._tensorboard}/{self._dataset}/{self.algorithm}-{seed}")]


class PPO(StableBaselines):
    """Proximal policy optimisation (Schulman et al., 2017); an update every ten cells."""

    algorithm = "PPO"
    settings: ClassVar[dict[str, Any]] = {
        "gamma": 1.0,
        "n_steps": 60,
        "batch_size": 60,
        "n_epochs": 8,
        "learning_rate": 1e-3,
        "gae_lambda": 1.0,
        "ent_coef": 0.01,
    }


class A2C(StableBaselines):
    """Advantage actor-critic (Mnih et al., 2016); an update every five cells."""

    algorithm = "A2C"
    settings: ClassVar[dict[str, Any]] = {
        "gamma": 1.0,
        "n_steps": 30,
        "learning_rate": 1e-3,
        "gae_lambda": 1.0,
        "ent_coef": 0.01,
        "normalize_advantage": True,
    }


class DQN(StableBaselines):
    """Deep Q-learning (Mnih et al., 2015); exploration falls over the first hundred cells."""

    algorithm = "DQN"
    settings: ClassVar[dict[str, Any]] = {
        "gamma": 1.0,
        "learning_rate": 1e-3,
        "buffer_size": 10_000,
        "learning_starts": 60,
        "batch_size": 64,
        "train_freq": 6,
        "gradient_steps": 12,
        "target_update_interval": 60,
        "exploration_fraction": 600 / STEPS,
        "exploration_final_eps": 0.1,
    }


class MaskablePPO(StableBaselines):
    """PPO that never builds a cell twice: invalid actions are masked (Huang and Ontañón, 2022)."""

    package = "sb3_contrib"
    algorithm = "MaskablePPO"
    settings: ClassVar[dict[str, Any]] = {**PPO.settings, "n_steps": 30, "batch_size": 30, "ent_coef": 0.003}
    env_arguments: ClassVar[dict[str, Any]] = {"mask": "unseen"}

    def __init__(self, task: Task, rng: np.random.Generator, tensorboard: str = ""):
        # lanes of one wave do not see what the others are building, so that they would build the same cell
        super().__init__(task, rng, tensorboard=tensorboard)
