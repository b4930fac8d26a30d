"""sb3-contrib's RecurrentPPO learns to search on tasks made of one table, then searches another that it never saw."""

import gymnasium as gym
import numpy as np
from sb3_contrib import RecurrentPPO

import nb201_env  # noqa: F401 (registers the environments)
from nb201_env.integrations.sb3 import LanesVecEnv

QUERIES = 20


def searches(count, dataset, **more):
    """Searches side by side; each shows its latest query, and what came before is for the policy to remember."""
    return gym.make_vec(
        "NB201/Search-v0", num_envs=count, dataset=dataset, rungs=[8], action="joint", history=1, standardise=True,
        reward="regret", trainings=1000.0, max_queries=QUERIES, **more,
    )  # fmt: skip


def found(model):
    """Mean accuracy in percent of what 100 searches of digits recommend."""
    env = searches(100, "digits", autoreset_mode="Disabled")
    observation, _ = env.reset(seed=0)
    state, start = None, np.ones(100, bool)
    for _ in range(QUERIES):
        action, state = model.predict(observation, state, start)
        observation, _, start, _, infos = env.step(action)
    return 100 * infos["incumbent_accuracy"].mean()


env = LanesVecEnv(searches(64, "gratings", family={"stop": 64}))
model = RecurrentPPO("MlpLstmPolicy", env, seed=0, device="cpu", n_steps=20, batch_size=320, n_epochs=4, gamma=0.9,
                     learning_rate=2e-3, policy_kwargs={"lstm_hidden_size": 64})  # fmt: skip
before = found(model)
model.learn(64 * 20 * 16)
print(f"digits, best of {QUERIES} queries: {before:.2f} % untrained, {found(model):.2f} % trained on gratings")
