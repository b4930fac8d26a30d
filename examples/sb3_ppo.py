"""Stable-Baselines3's PPO learns to build cells for CIFAR-10 within 600,000 simulated GPU-seconds."""

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor

import nb201_env  # noqa: F401 (registers the environments)
from nb201_env.integrations.sb3 import StopOnBudget

env = Monitor(gym.make("NB201/BuildCell-v0", dataset="cifar10", budget=600_000), info_keywords=("accuracy", "index"))
# Episodes have six steps: update every ten cells, and do not discount.
settings = {"n_steps": 60, "batch_size": 60, "n_epochs": 8, "learning_rate": 1e-3, "gamma": 1.0, "gae_lambda": 1.0}
model = PPO("MlpPolicy", env, seed=0, device="cpu", ent_coef=0.01, **settings)
model.learn(total_timesteps=100_000, callback=StopOnBudget())

rewards = env.get_episode_rewards()
oracle = env.unwrapped.oracle
print(f"{oracle.n_queries} queries; mean of the first 50: {100 * sum(rewards[:50]) / 50:.2f} %")
print(f"mean of the last 50: {100 * sum(rewards[-51:-1]) / 50:.2f} %")
print(f"incumbent: cell {oracle.incumbent_index} at {100 * oracle.incumbent_accuracy:.2f} %")
