import math
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nb201_env.envs
from nb201_env import BudgetExhaustedError, Cell, NB201Error, open_table

ID = "NB201/BuildCell-v0"

INFO_KEYS = {
    *("index", "accuracy", "observed", "trial", "epoch", "query_seconds", "seconds_used"),
    *("seconds_left", "incumbent_index", "incumbent_accuracy", "n_queries", "n_distinct", "repeat", "budget_exhausted"),
}


def build(env, ops):
    env.reset()
    for op in ops[:-1]:
        assert env.step(op)[1:4] == (0.0, False, False)
    return env.step(ops[-1])


def test_registration_is_idempotent_and_needs_no_import():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nb201_env.register_environments()
    code = f"import gymnasium; gymnasium.make('nb201_env:{ID}').reset(seed=0)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=6, max_size=6), st.sampled_from(["cifar10", "cifar100", "ImageNet16-120"]))
def test_the_reward_of_any_six_actions_is_the_table_value(ops, dataset):
    env = gym.make(ID, dataset=dataset, trial="mean")
    env.reset(seed=0)
    _, reward, terminated, truncated, info = build(env, ops)
    cell = Cell.parse(ops)
    assert reward == open_table("published").accuracy(dataset)[cell.index]
    assert (terminated, truncated) == (True, False)
    assert info["index"] == cell.index


def test_observations_show_the_edges_chosen_so_far():
    onehot, index = gym.make(ID), gym.make(ID, observation="index")
    first, _ = onehot.reset(seed=0)
    assert first.reshape(6, 6).argmax(axis=1).tolist() == index.reset(seed=0)[0].tolist() == [5] * 6
    chosen = [5] * 6
    for edge, op in enumerate([3, 0, 4, 1, 2, 2]):
        chosen[edge] = op
        a, b = onehot.step(op)[0], index.step(op)[0]
        assert a.sum() == 6
        assert a.reshape(6, 6).argmax(axis=1).tolist() == b.tolist() == chosen
    assert first.reshape(6, 6).argmax(axis=1).tolist() == [5] * 6


def test_rewards():
    table = open_table("published")
    accuracy = float(table.accuracy("cifar10")[6111])
    ops = Cell(6111).ops

    def reward(name):
        env = gym.make(ID, trial="mean", reward=name)
        env.reset(seed=0)
        build(env, Cell(1651).ops)
        return build(env, ops)[1]

    assert reward("accuracy") == accuracy
    assert reward("log-error") == pytest.approx(-math.log(1 - accuracy))
    assert reward("improvement") == pytest.approx(accuracy - float(table.accuracy("cifar10")[1651]))
    assert reward("regret") == 0.0


def test_improvements_add_up_to_the_incumbent_which_is_observed():
    env = gym.make(ID, reward="improvement")
    env.action_space.seed(0)
    obs, info = env.reset(seed=0)
    assert obs.shape == (37,)
    total = 0.0
    for _ in range(30):
        for _ in range(6):
            obs, reward, _, _, info = env.step(env.action_space.sample())
            total += reward
        assert obs[-1] == np.float32(info["incumbent_accuracy"])
        assert env.reset()[0][-1] == np.float32(info["incumbent_accuracy"])
    assert total == pytest.approx(info["incumbent_accuracy"])


def test_a_budget_spans_episodes_and_then_every_episode_is_truncated_at_once():
    env = gym.make(ID, budget=4_000)
    env.reset(seed=0)
    ops = [3, 0, 0, 3, 0, 0]
    _, reward, terminated, truncated, info = build(env, ops)
    assert reward > 0
    assert terminated
    seconds = info["query_seconds"]
    while not info["budget_exhausted"]:
        _, reward, terminated, truncated, info = build(env, ops)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["observed"] is False
    assert (info["accuracy"], info["query_seconds"]) == (0.0, 0.0)
    assert info["seconds_used"] == pytest.approx(info["n_queries"] * seconds)
    assert info["seconds_used"] + info["seconds_left"] == pytest.approx(4_000)
    for _ in range(3):
        env.reset()
        _, reward, terminated, truncated, again = env.step(0)
        assert (reward, terminated, truncated, again["index"]) == (0.0, False, True, -1)
        assert again["n_queries"] == info["n_queries"]


def test_infos_are_plain_finite_values():
    env = gym.make(ID)
    env.reset(seed=0)
    info = build(env, [0] * 6)[4]
    assert set(info) == INFO_KEYS
    assert {type(value) for value in info.values()} <= {int, float, str, bool}
    assert not any(value != value for value in info.values())
    assert info["seconds_left"] == math.inf


def test_what_begins_a_new_search():
    env = gym.make(ID, max_queries=100)
    env.reset(seed=5)
    seen = [build(env, [3, op, 0, 0, 0, 3])[4]["trial"] for op in range(5)]
    assert build(env, [0] * 6)[4]["n_queries"] == 6
    env.reset(options={"new_search": True})
    assert env.unwrapped.oracle.n_queries == 0
    env.reset(seed=5)
    assert [build(env, [3, op, 0, 0, 0, 3])[4]["trial"] for op in range(5)] == seen
    env.reset(options={"trial_seed": 5})
    assert [build(env, [3, op, 0, 0, 0, 3])[4]["trial"] for op in range(5)] == seen
    env.reset(options={"dataset": "cifar100", "budget": 50_000.0})
    info = build(env, [0] * 6)[4]
    assert info["n_queries"] == 1
    assert info["seconds_left"] < 50_000
    with pytest.raises(NB201Error, match="unknown reset options 'epochs'"):
        env.reset(options={"epochs": 1})


def test_on_exhausted_raise():
    env = gym.make(ID, max_queries=1, on_exhausted="raise")
    env.reset(seed=0)
    for op in range(5):
        env.step(op)
    env.step(0)
    with pytest.raises(BudgetExhaustedError, match="ended after 1 queries"):
        env.reset()
    env.reset(options={"new_search": True})


@pytest.mark.parametrize("action", [-1, 5, 1.0, None, True, "3", [1]])
def test_bad_actions(action):
    env = gym.make(ID).unwrapped
    env.reset(seed=0)
    with pytest.raises(NB201Error, match="an action is an integer from 0 to 4"):
        env.step(action)


def test_stepping_before_reset_or_after_the_end():
    env = gym.make(ID).unwrapped
    with pytest.raises(NB201Error, match="call reset"):
        env.step(0)
    build(env, [0] * 6)
    with pytest.raises(NB201Error, match="call reset"):
        env.step(0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"table": "nats"}, "no table 'nats'"),
        ({"dataset": "cifar"}, "no dataset 'cifar'"),
        ({"epoch": 12}, "has epochs 200, not 12"),
        ({"split": "test"}, "must not see test images"),
        ({"observation": "graph"}, "observation must be one of onehot, index, dict, got 'graph'"),
        ({"reward": "error"}, "reward must be one of accuracy, log-error, improvement, regret, got 'error'"),
        ({"mask": "all"}, "mask must be one of none, connected, canonical, unseen, params<=X"),
        ({"on_exhausted": "stop"}, "on_exhausted must be one of truncate, raise, got 'stop'"),
        ({"budget": 10}, "a budget of 10 s buys no query"),
        ({"reward": "improvement", "observation": "index"}, "use observation='onehot' or 'dict'"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(NB201Error, match=message):
        gym.make(ID, **kwargs)


def test_render_ansi():
    env = gym.make(ID, render_mode="ansi", budget=10_000)
    env.reset(seed=0)
    env.step(3)
    assert "0→1 nor_conv_3x3  0→2 ·" in env.render()
    assert "no incumbent, 0 queries, 0 of 10,000 GPU-seconds" in env.render()
    build(env, [3] * 6)
    assert "incumbent 1462 at" in env.render()
