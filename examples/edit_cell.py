"""A greedy walk in 256 lanes: each tries random edits and goes back when a cell is worse, 24 steps on CIFAR-100."""

import gymnasium as gym
import numpy as np

import nb201_env

LANES = 256
env = gym.make_vec("NB201/EditCell-v0", num_envs=LANES, dataset="cifar100", reward="change", trial="mean")
_, info = env.reset(seed=0)
rng, back = np.random.default_rng(0), np.zeros(LANES, np.int64)
undo = np.zeros(LANES, bool)
print(f"start: {100 * info['accuracy'].mean():.2f} % on average")
for _ in range(24):
    actions = np.where(undo, back, rng.integers(30, size=LANES))
    ops = nb201_env.ALL_OPS[info["index"]]
    edges = actions // 5
    back = edges * 5 + ops[np.arange(LANES), edges]
    _, reward, _, truncated, info = env.step(actions)
    undo = reward < 0
last = info["final_info"]
print(f"after 24 steps: {100 * last['accuracy'].mean():.2f} % on average")
print(f"incumbents: {100 * last['incumbent_accuracy'].mean():.2f} %, {last['n_queries'].mean():.0f} queries each")
