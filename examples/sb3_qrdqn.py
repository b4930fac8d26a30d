"""sb3-contrib's QR-DQN learns what each next op is worth, and how sure that is."""

import gymnasium as gym
import torch
from sb3_contrib import QRDQN

import nb201_env  # noqa: F401 (registers the environments)
from nb201_env.integrations.sb3 import LanesVecEnv

torch.set_num_threads(1)  # the nets are too small for more
env = LanesVecEnv(gym.make_vec("NB201/BuildCell-v0", num_envs=8))
model = QRDQN("MlpPolicy", env, seed=0, device="cpu", learning_rate=2e-3, gamma=1.0, learning_starts=600, train_freq=3,
              gradient_steps=4, batch_size=128, exploration_fraction=0.7, exploration_final_eps=0.02,
              policy_kwargs={"net_arch": [64], "n_quantiles": 25})  # fmt: skip
built = []


def remember(local, _):
    built.extend(info["accuracy"] for info in local["infos"] if info.get("observed"))
    return True


model.learn(6 * 2_000, callback=remember)
print(f"{len(built)} cells; mean of all: {100 * sum(built) / len(built):.2f} %, ", end="")
print(f"of the last 200: {100 * sum(built[-200:]) / 200:.2f} %")
