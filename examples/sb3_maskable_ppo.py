"""sb3-contrib's MaskablePPO builds small cells alone: at most 400,000 parameters, and none that cost too much."""

import gymnasium as gym
from sb3_contrib import MaskablePPO

import nb201_env
from nb201_env.integrations.sb3 import LanesVecEnv

env = LanesVecEnv(gym.make_vec("NB201/BuildCell-v0", num_envs=16, mask="params<=400000"))
model = MaskablePPO("MlpPolicy", env, seed=0, device="cpu", n_steps=12, batch_size=96, gamma=1.0, learning_rate=1e-3)
built = []


def remember(local, _):
    built.extend((info["accuracy"], info["index"]) for info in local["infos"] if info.get("observed"))
    return True


model.learn(6 * 2_000, callback=remember)
params = nb201_env.open_table("published").params("cifar10")
print(f"largest of {len(built)} cells: {max(params[index] for _, index in built):,} parameters")
for name, part in (("first", built[:200]), ("last", built[-200:])):
    print(f"mean of the {name} 200: {100 * sum(accuracy for accuracy, _ in part) / 200:.2f} %")
