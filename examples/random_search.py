"""Random search through the environment: what 50 random cells reach on CIFAR-100, and what that would have cost."""

import gymnasium as gym

import nb201_env  # noqa: F401 (registers the environments)

env = gym.make("NB201/BuildCell-v0", dataset="cifar100")
env.action_space.seed(0)
env.reset(seed=0)
for _ in range(50):
    done = False
    while not done:
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        done = terminated or truncated
    env.reset()
print(f"best of {info['n_distinct']} cells: {info['incumbent_index']} at {100 * info['incumbent_accuracy']:.2f} %")
print(f"simulated GPU-hours: {info['seconds_used'] / 3600:.1f}")
