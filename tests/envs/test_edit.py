"""EditCell-v0, and objectives."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nb201_env import ALL_OPS, PARAMS, BudgetExhaustedError, Cell, Column, NB201Error, index_of, open_table
from nb201_env.envs.masks import allowed_cells

ID = "NB201/EditCell-v0"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 15_624), st.lists(st.integers(0, 29), min_size=1, max_size=24))
def test_a_walk_through_the_table(start, actions):
    env = gym.make(ID, trial="mean", reward="change")
    accuracy = open_table("published").accuracy("cifar10")
    _, info = env.reset(seed=0, options={"start": start})
    ops, total, queries, seconds = list(Cell(start).ops), 0.0, 1, info["query_seconds"]
    for step, action in enumerate(actions):
        edge, op = divmod(action, 5)
        queries += ops[edge] != op
        ops[edge] = op
        observation, reward, terminated, truncated, info = env.step(action)
        total += reward
        seconds += info["query_seconds"]
        assert observation.reshape(6, 5).argmax(axis=1).tolist() == ops
        assert (info["index"], info["accuracy"]) == (index_of(ops), accuracy[index_of(ops)])
        assert (info["n_queries"], terminated, truncated) == (queries, False, step == 23)
    assert total == pytest.approx(float(accuracy[index_of(ops)]) - float(accuracy[start]))
    assert info["seconds_used"] == pytest.approx(seconds)


def test_choosing_the_present_op_is_free_and_pays_what_is_known():
    env = gym.make(ID)
    _, first = env.reset(seed=0, options={"start": 6111})
    _, reward, *_, info = env.step(5 * 0 + Cell(6111).ops[0])
    assert reward == first["accuracy"]
    assert (info["query_seconds"], info["repeat"], info["n_queries"]) == (0.0, True, 1)
    assert info["seconds_used"] == first["seconds_used"] > 0


@pytest.mark.parametrize("start", [6111, Cell(6111).arch, list(Cell(6111).ops), Cell(6111)])
def test_start_cells(start):
    env, lanes = gym.make(ID), gym.make_vec(ID, num_envs=3)
    assert env.reset(options={"start": start})[1]["index"] == 6111
    assert lanes.reset(options={"start": start})[1]["index"].tolist() == [6111] * 3
    mask = np.array([False, True, False])
    assert lanes.reset(options={"start": 7, "reset_mask": mask})[1]["index"].tolist() == [0, 7, 0]
    with pytest.raises(NB201Error, match="index must be an integer from 0 to 15624, got 15625"):
        env.reset(options={"start": 15_625})


def test_a_budget_ends_in_the_middle_of_an_episode():
    env = gym.make(ID, budget=6_000)
    env.reset(seed=0)
    ended, rng = False, np.random.default_rng(0)
    while not ended:
        _, reward, _, ended, info = env.step(rng.integers(30))
    assert (reward, info["observed"], info["budget_exhausted"]) == (0.0, False, True)
    assert info["seconds_used"] <= 6_000
    _, info = env.reset()
    assert not info["observed"]
    _, reward, _, truncated, info = env.step(0)
    assert (reward, truncated, info["index"]) == (0.0, True, -1)
    raising = gym.make(ID, max_queries=1, on_exhausted="raise")
    raising.reset(seed=0)
    with pytest.raises(BudgetExhaustedError):
        raising.reset()


@pytest.mark.parametrize("mask", ["connected", "params<=500000", "unseen"])
def test_following_a_mask_leads_to_allowed_cells(mask):
    env = gym.make_vec(ID, num_envs=50, mask=mask, autoreset_mode="SameStep")
    allowed, rng = allowed_cells(mask, Column.open("published", "cifar10")), np.random.default_rng(0)
    _, info = env.reset(seed=0, options={"start": 0})
    for _ in range(23):
        before = info["index"]
        legal = info["action_mask"]
        assert not legal[np.arange(50)[:, None], np.arange(6) * 5 + ALL_OPS[before]].any()
        *_, info = env.step((legal * rng.random(legal.shape)).argmax(axis=1))
        targets = allowed[info["index"]]
        assert targets.all() or not allowed[before][~targets].any()  # cut off cells may have no allowed neighbour
        assert mask != "unseen" or not info["repeat"].any()
    assert allowed[info["index"]].all()


@pytest.mark.parametrize("name", [ID, "NB201/BuildCell-v0"])
def test_objectives_by_hand(name):
    table, cell = open_table("published"), 6111
    accuracy, latency = float(table.accuracy("cifar10")[cell]), float(table.latency("cifar10")[cell])

    def outcome(wanted):
        env = gym.make(name, trial="mean", objectives=wanted)
        env.reset(seed=0, options={"start": 0} if name == ID else None)
        for edge, op in enumerate(Cell(cell).ops):
            _, reward, *_, info = env.step(op + (5 * edge if name == ID else 0))
        return reward, info["reward_vector"].tolist()

    reward, vector = outcome({"params": 0.5, "error": 2.0, "latency": "<=10"})
    assert vector == pytest.approx([-PARAMS[cell], accuracy - 1, -latency])
    assert reward == pytest.approx(accuracy - 0.5 * PARAMS[cell] / PARAMS.max() - 2 * (1 - accuracy))
    limit = float(latency / 2)
    reward, _ = outcome({"latency": f"<={limit!r}", "params": 1.0})
    assert reward == pytest.approx(-1.0)
