"""Stable-Baselines3's DQN with the preset of the agent `dqn`, on CIFAR-10."""

import gymnasium as gym
from nb201_agents.learners import stable_baselines
from stable_baselines3 import DQN
from stable_baselines3.common.monitor import Monitor

import nb201_env  # noqa: F401 (registers the environments)
from nb201_env.integrations.sb3 import StopOnBudget

env = Monitor(gym.make("NB201/BuildCell-v0", dataset="cifar10", max_queries=400))
model = DQN("MlpPolicy", env, seed=0, device="cpu", **stable_baselines.DQN.settings)
# the preset's exploration is a fraction of STEPS; the budget ends the training long before
model.learn(total_timesteps=stable_baselines.STEPS, callback=StopOnBudget())

rewards = env.get_episode_rewards()
print(f"mean of the first 100 cells: {100 * sum(rewards[:100]) / 100:.2f} %")
print(f"mean of the last 100 cells: {100 * sum(rewards[-100:]) / 100:.2f} %")
