"""Stable-Baselines3 and sb3-contrib, trained for real on the published table."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from nb201_env import NB201Error, open_table

pytest.importorskip("stable_baselines3")

from nb201_agents.harness.run import run
from nb201_agents.harness.setup import Setup
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from nb201_env.integrations.sb3 import LanesVecEnv, LogIncumbent, StopOnBudget

ID = "NB201/BuildCell-v0"


def lanes(count, **kwargs):
    return LanesVecEnv(gym.make_vec(ID, num_envs=count, **kwargs))


BRIDGED = [
    (ID, {}),
    (ID, {"observation": "dict", "mask": "connected"}),
    (ID, {"budget": 9_000}),
    ("NB201/EditCell-v0", {"horizon": 5}),
    ("NB201/Search-v0", {"budget": 3.0}),
]


@pytest.mark.parametrize(("name", "kwargs"), BRIDGED, ids=str)
def test_the_bridge_is_equal_to_dummy_vec_env(name, kwargs):
    ours = LanesVecEnv(gym.make_vec(name, num_envs=4, **kwargs))
    theirs = DummyVecEnv([lambda: Monitor(gym.make(name, **kwargs))] * 4)
    ours.seed(3)
    theirs.seed(3)
    same = np.testing.assert_array_equal
    jointly = (lambda a, b: [same(a[key], b[key]) for key in b]) if "observation" in kwargs else same
    jointly(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = rng.integers(5, size=4)
        got, expected = ours.step(actions), theirs.step(actions)
        jointly(got[0], expected[0])
        same(got[1], expected[1])
        same(got[2], expected[2])
        for mine, other in zip(got[3], expected[3], strict=True):
            if "terminal_observation" not in other:
                other.pop("action_mask", None)
                other.pop("TimeLimit.truncated")
                assert mine == other
                continue
            episode, expected_episode = mine.pop("episode"), other.pop("episode")
            assert episode["l"] == expected_episode["l"]
            assert episode["r"] == pytest.approx(expected_episode["r"], abs=1e-6)
            jointly(mine.pop("terminal_observation"), other.pop("terminal_observation"))
            other.pop("action_mask", None)
            assert mine == other


@pytest.mark.parametrize(("agent", "cells"), [("ppo", 500), ("a2c", 600), ("dqn", 500), ("maskable-ppo", 400)])
def test_presets_build_better_cells(agent, cells, bar):
    if agent == "maskable-ppo":
        pytest.importorskip("sb3_contrib")
    _, results = run(agent, Setup(max_queries=cells), seed=0)
    assert len(results) == cells
    assert np.mean([result.accuracy for result in results[-200:]]) > bar
    if agent == "maskable-ppo":
        assert not any(result.repeat for result in results)


def test_lanes_learn(bar):
    model = PPO("MlpPolicy", lanes(16), n_steps=12, batch_size=96, n_epochs=8, learning_rate=1e-3, gamma=1.0, seed=0)
    accuracies = []

    def remember(local, _):
        accuracies.extend(info["accuracy"] for info in local["infos"] if info.get("observed"))
        return True

    model.learn(12_000, callback=remember)
    assert np.mean(accuracies[-200:]) > bar


def test_a_recurrent_policy_learns_to_search():
    make = pytest.importorskip("sb3_contrib").RecurrentPPO
    env = gym.make_vec("NB201/Search-v0", num_envs=64, family={"stop": 1}, rungs=[8], action="joint", history=1,
                       standardise=True, reward="regret", trainings=1000.0, max_queries=10)  # fmt: skip
    model = make("MlpLstmPolicy", LanesVecEnv(env), n_steps=10, batch_size=320, n_epochs=4, gamma=0.9, seed=0,
                 learning_rate=2e-3, policy_kwargs={"lstm_hidden_size": 32}, device="cpu")  # fmt: skip
    returns = []

    def remember(local, _):
        returns.extend(info["episode"]["r"] for info in local["infos"] if "episode" in info)
        return True

    model.learn(64 * 10 * 16, callback=remember)
    assert len(returns) == 64 * 16
    assert np.mean(returns[-256:]) > np.mean(returns[:256]) + 0.3


@pytest.mark.parametrize(("name", "kwargs"), [("NB201/EditCell-v0", {}), ("NB201/Search-v0", {"budget": 4.0})])
def test_the_bridge_takes_the_other_environments(name, kwargs):
    model = A2C("MlpPolicy", LanesVecEnv(gym.make_vec(name, num_envs=4, **kwargs)), n_steps=6, device="cpu", seed=0)
    model.learn(480)
    assert len(model.ep_info_buffer) > 0


@pytest.mark.parametrize("alone", [True, False])
def test_the_incumbent_is_logged(alone, tmp_path):
    env = gym.make(ID, max_queries=40) if alone else lanes(4, max_queries=40, budget_scope="shared")
    model, log = PPO("MlpPolicy", env, n_steps=12, batch_size=12, device="cpu", seed=0), LogIncumbent()
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(6 * 30, callback=[log, StopOnBudget()])
    steps, seconds, accuracies = zip(*log.curve, strict=True)
    assert list(steps) == sorted(steps)
    assert list(seconds) == sorted(seconds)
    assert list(accuracies) == sorted(accuracies)
    assert len(log.curve) >= 6
    written = (tmp_path / "progress.csv").read_text()
    assert "search/incumbent_accuracy" in written.splitlines()[0]


def test_the_budget_stops_learning():
    model = PPO("MlpPolicy", lanes(4, max_queries=3), n_steps=6, batch_size=24, device="cpu")
    model.learn(100_000, callback=StopOnBudget())
    assert model.num_timesteps <= 4 * 24


def test_masks_reach_maskable_ppo():
    contrib = pytest.importorskip("sb3_contrib")
    model = contrib.MaskablePPO("MlpPolicy", lanes(16, mask="params<=400000"), n_steps=12, batch_size=96, device="cpu")
    params = open_table("published").params("cifar10")
    built = []

    def remember(local, _):
        built.extend(info["index"] for info in local["infos"] if info.get("observed"))
        return True

    model.learn(4_000, callback=remember)
    assert len(built) > 500
    assert params[built].max() <= 400_000


def test_other_environments_and_modes_are_refused():
    with pytest.raises(NB201Error, match="SameStep"):
        lanes(2, autoreset_mode="NextStep")
    for env in (gym.make("CartPole-v1"), RecordEpisodeStatistics(gym.make_vec(ID, num_envs=2))):
        with pytest.raises(NB201Error, match="make_vec"):
            LanesVecEnv(env)
    with pytest.raises(NB201Error, match="reset options"):
        lanes(2).set_attr("budget", 3)
    env = lanes(2)
    env.set_options([{"new_search": True}, {"budget": 9_000}])
    with pytest.raises(NB201Error, match="one dict for all of them"):
        env.reset()
