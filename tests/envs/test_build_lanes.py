"""Lanes of BuildCell beyond what `test_environments` asks of all environments."""

import gymnasium as gym
import numpy as np
import pytest

import nb201_env  # noqa: F401 (registers the environments)
from nb201_env import BudgetExhaustedError, Column, open_table
from nb201_env.envs.masks import allowed_cells

ID = "NB201/BuildCell-v0"
LANES = 5


def vector(**kwargs):
    return gym.make_vec(ID, num_envs=LANES, vectorization_mode="vector_entry_point", **kwargs)


def test_per_query_trials_are_drawn_alike():
    """Each trial of a cell is seen equally often: 3 trials, 3,000 draws, four standard deviations."""
    env = gym.make_vec(ID, num_envs=3_000, trial="per-query")
    env.reset(seed=0)
    for _ in range(6):
        *_, info = env.step(np.full(3_000, 3))
    drawn = np.bincount(info["final_info"]["trial"], minlength=3)
    present = np.count_nonzero(
        ~np.isnan(open_table("published").accuracy("cifar10", trial="all")[info["final_info"]["index"][0]])
    )
    assert np.count_nonzero(drawn) == present
    assert abs(drawn[drawn > 0] - 3_000 / present).max() < 4 * np.sqrt(3_000 * 2 / 9)


@pytest.mark.parametrize("lanes", [1, 64])
def test_a_shared_search_charges_in_lane_order(lanes):
    env = gym.make_vec(ID, num_envs=lanes, budget_scope="shared", budget=40_000, reward="improvement")
    single = gym.make(ID, budget=40_000, reward="improvement")
    env.reset(seed=1)
    single.reset(seed=1)
    actions = np.random.default_rng(0).integers(5, size=(6, lanes))
    for row in actions:
        _, rewards, _, truncated, infos = env.step(row)
    for lane in range(lanes):
        if lane:
            single.reset()
        for row in actions:
            _, reward, _, ended, info = single.step(row[lane])
            if ended:
                break
        assert rewards[lane] == reward
        assert truncated[lane] == ended
    last = infos["final_info"]
    assert last["seconds_used"][0] == info["seconds_used"]
    assert last["incumbent_index"][0] == info["incumbent_index"]
    assert last["wall_seconds"][0] == last["query_seconds"].max()


@pytest.mark.parametrize("mask", ["connected", "canonical", "params<=300000", "unseen"])
def test_following_a_mask_leads_to_allowed_cells(mask):
    env = gym.make_vec(ID, num_envs=500, mask=mask)
    _, info = env.reset(seed=0)
    rng = np.random.default_rng(0)
    allowed = allowed_cells(mask, Column.open("published", "cifar10"))
    for step in range(60):
        legal = info["action_mask"]
        actions = (legal * rng.random(legal.shape)).argmax(axis=1)
        *_, info = env.step(actions)
        if step % 6 == 5:
            assert allowed[info["final_info"]["index"]].all()
            assert mask != "unseen" or not info["final_info"]["repeat"].any()


def test_exhausted_lanes_can_raise():
    env = vector(max_queries=1, on_exhausted="raise")
    env.reset(seed=0)
    for _ in range(6):
        _, reward, *_, info = env.step([3] * 5)
    assert (reward > 0.8).all()  # the query that ended the search is not lost
    assert info["final_info"]["budget_exhausted"].all()
    with pytest.raises(BudgetExhaustedError):
        env.step([0] * 5)
