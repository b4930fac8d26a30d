"""Speed of environments: `make bench-env`. Every line is a ratio of seconds a step of one lane, taken side by side."""

from __future__ import annotations

import resource

import gymnasium as gym
import numpy as np
from gymnasium.utils.performance import benchmark_step, benchmark_vector_step
from side_by_side import ratio
from stable_baselines3.common.vec_env import DummyVecEnv

import nb201_env
from nb201_env.envs.masks import INDEX_OF_CODE
from nb201_env.integrations.sb3 import LanesVecEnv
from nb201_env.registration import ENVIRONMENTS

ID = "NB201/BuildCell-v0"
ROUNDS = 7


def stepper(env: gym.Env[object, object], steps: int):
    """Random steps of a single environment."""
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(env.action_space.n, size=steps).tolist()

    def run() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return run


def lanes_stepper(env: object, lanes: int, steps: int = 60, actions: int = 5):
    """Random steps of all lanes of anything with `reset` and `step`."""
    env.reset()
    drawn = np.random.default_rng(0).integers(actions, size=(steps, lanes))

    def run() -> None:
        for row in drawn:
            env.step(row)

    return run


def bare_loop(lanes: int, steps: int = 60):
    """The least that a vector environment must do: write the one-hot observations, look cells up, hand out copies."""
    values = nb201_env.open_table("published").accuracy("cifar10")[INDEX_OF_CODE]
    drawn = np.random.default_rng(0).integers(5, size=(steps, lanes))
    start = np.tile([0, 0, 0, 0, 0, 1], 6).astype(np.float32)
    state, code, row = np.tile(start, (lanes, 1)), np.zeros(lanes, np.int64), np.arange(lanes) * 36
    out = []

    def run() -> None:
        for step, ops in enumerate(drawn):
            edge = step % 6
            code.__imul__(5)
            code.__iadd__(ops)
            state[:, edge * 6 + 5] = 0.0
            state.reshape(-1)[row + (ops + edge * 6)] = 1.0
            reward, terminated, truncated = np.zeros(lanes), np.zeros(lanes, bool), np.zeros(lanes, bool)
            if edge == 5:
                reward[:] = values.take(code)
                terminated[:] = True
                final = state.copy()
                state[:], code[:] = start, 0
                out[:] = [final]
            out[:] = [state.copy(), reward, terminated, truncated]

    return run


def bare_search_loop(lanes: int, steps: int = 60):
    """The least that lanes of Search-v0 must do: write the same observation where a choice changes it, hand out copies.

    Every seventh step also moves the history on and looks an accuracy up, as a purchase does.
    """
    env = gym.make("NB201/Search-v0").unwrapped
    size, at = env.problem.size, env.problem.slices
    values = nb201_env.open_table("mini").accuracy("gratings")[INDEX_OF_CODE]
    drawn = np.random.default_rng(0).integers(5, size=(steps, lanes))
    state, code, row = np.zeros((lanes, size), np.float32), np.zeros(lanes, np.int64), np.arange(lanes) * size
    history, flat = state[:, at["history"]], state.reshape(-1)
    item = history.shape[1] // 8
    out = []

    def run() -> None:
        for step, ops in enumerate(drawn):
            phase = step % 7
            reward, terminated, truncated = np.zeros(lanes), np.zeros(lanes, bool), np.zeros(lanes, bool)
            if phase < 6:
                code.__imul__(5)
                code.__iadd__(ops)
                flat[row + (at["cell"].start + phase * 6 + 5)] = 0.0
                flat[row + (at["cell"].start + phase * 6 + ops)] = 1.0
            else:
                reward[:] = values.take(code)
                history[:, item:] = history[:, :-item].copy()
                history[:, 30] = reward
                state[:, at["cell"]], code[:] = 0.0, 0
            out[:] = [state.copy(), reward, terminated, truncated]

    return run


def official_speeds() -> None:
    """Steps a second as `gymnasium.utils.performance` measures them, with random actions."""
    for name in ENVIRONMENTS:
        single = benchmark_step(gym.make(name), target_duration=2, seed=0)
        lanes = benchmark_vector_step(gym.make_vec(name, num_envs=1_024), target_duration=2, seed=0)
        print(f"{name}: {single:,.0f} steps a second alone, {lanes:,.0f} in 1,024 lanes")


def main() -> None:
    official_speeds()
    ratio("single, gym.make, BuildCell / CartPole-v1", stepper(gym.make(ID), 6_000),
          stepper(gym.make("CartPole-v1"), 6_000), target="1/3", rounds=ROUNDS)  # fmt: skip
    sync = gym.make_vec(ID, num_envs=64, vectorization_mode="sync", vector_kwargs={"autoreset_mode": "SameStep"})
    sync_run = lanes_stepper(sync, 64)
    best = 1.0
    for lanes in (64, 1_024, 4_096, 16_384):
        env = gym.make_vec(ID, num_envs=lanes)
        # both do 60 steps, so a ratio of runs times 64 / lanes is that of a lane's step
        runs = ratio(f"{lanes} lanes, runs, vector / SyncVectorEnv(64)", lanes_stepper(env, lanes), sync_run,
                     rounds=ROUNDS)  # fmt: skip
        best = min(best, runs * 64 / lanes)
        print(f"  a lane's step: 1/{lanes / 64 / runs:.0f}")
        ratio(f"{lanes} lanes, vector / bare NumPy loop", lanes_stepper(env, lanes), bare_loop(lanes), target="2",
              rounds=ROUNDS)  # fmt: skip
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"  peak memory so far: {peak:.0f} MB")
    print(f"best lane count, a lane's step: 1/{1 / best:.0f} of SyncVectorEnv(64)'s; target 1/200")
    for lanes in (64, 1_024):
        search = gym.make_vec("NB201/Search-v0", num_envs=lanes)
        ratio(f"{lanes} lanes, Search-v0 / bare NumPy loop", lanes_stepper(search, lanes, 210),
              bare_search_loop(lanes, 210), rounds=ROUNDS)  # fmt: skip
    index = gym.make_vec(ID, num_envs=16_384, observation="index")
    ratio("16,384 lanes, index / one-hot", lanes_stepper(index, 16_384), lanes_stepper(env, 16_384), target="1/2",
          rounds=ROUNDS)  # fmt: skip
    for lanes in (64, 1_024):
        dummy = DummyVecEnv([lambda: gym.make(ID)] * lanes)
        bridge = LanesVecEnv(gym.make_vec(ID, num_envs=lanes))
        ratio(f"{lanes} lanes, SB3 bridge / DummyVecEnv", lanes_stepper(bridge, lanes), lanes_stepper(dummy, lanes),
              target="1/15", rounds=ROUNDS)  # fmt: skip
    for lanes, target in ((1_024, "1/3"), (4_096, "1/2")):
        cartpole = gym.make_vec("CartPole-v1", num_envs=lanes, vectorization_mode="vector_entry_point")
        ours = gym.make_vec(ID, num_envs=lanes)
        ratio(f"{lanes} lanes, BuildCell / CartPole-v1, vector", lanes_stepper(ours, lanes),
              lanes_stepper(cartpole, lanes, actions=2), target=target, rounds=ROUNDS)  # fmt: skip


if __name__ == "__main__":
    main()
