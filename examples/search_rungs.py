"""Multi-fidelity search: train to the first rung, go on only with what leads there, on the table `mini`."""

import gymnasium as gym
import numpy as np

import nb201_env  # noqa: F401 (registers the environments)


def search(keep, seed):
    """The recommended cell's accuracy; cells go up a rung when they are in the best share `keep` of it so far."""
    env = gym.make("NB201/Search-v0", reward="true")
    env.reset(seed=seed)
    rng, seen, ended = np.random.default_rng(seed), {1: [], 2: [], 3: []}, False
    action, rung = int(rng.integers(5)), 0
    while not ended:
        _, reward, ended, _, info = env.step(action)
        action, rung = int(rng.integers(5)), 0 if action == 0 and info["action_mask"][2] == 0 else rung
        if "index" in info:  # a purchase: go on to the next rung, or leave the cell
            rung += 1
            seen[rung].append(info["accuracy"])
            good = info["accuracy"] >= np.quantile(seen[rung], 1 - keep)
            action = rung + 1 if good and rung < 3 else 0
            rung = rung if action else 0
    return reward, info["n_distinct"]


for keep in (1.0, 0.3):
    found = np.array([search(keep, seed) for seed in range(20)])
    print(f"best {keep:.0%} go on: {100 * found[:, 0].mean():.2f} % with {found[:, 1].mean():.0f} cells a search")
