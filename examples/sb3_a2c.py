"""Stable-Baselines3's A2C, 64 lanes at once through LanesVecEnv, on ImageNet16-120."""

import gymnasium as gym
from stable_baselines3 import A2C

import nb201_env  # noqa: F401 (registers the environments)
from nb201_env.integrations.sb3 import LanesVecEnv

env = LanesVecEnv(gym.make_vec("NB201/BuildCell-v0", num_envs=64, dataset="ImageNet16-120"))
model = A2C("MlpPolicy", env, seed=0, device="cpu", n_steps=6, gamma=1.0, learning_rate=2e-3, normalize_advantage=True)
accuracies = []
for _ in range(40):
    model.learn(64 * 6 * 2, reset_num_timesteps=False)
    accuracies.append(sum(episode["r"] for episode in list(model.ep_info_buffer)) / len(model.ep_info_buffer))
print(f"mean of the last 100 cells, after 128 and after {128 * 40}:")
print(f"{100 * accuracies[0]:.2f} % and {100 * accuracies[-1]:.2f} %")
