"""Vector environments against Gymnasium's SyncVectorEnv over the single ones, step by step."""

import copy

import gymnasium as gym
import numpy as np
import pytest
from cases import BUILD, EDIT, LANES, MODES, SEARCH, assert_same, assert_same_info, every_case, every_id, sample

from nb201_env import NB201Error


@pytest.mark.parametrize("mode", MODES)
@every_case
def test_lanes_are_equal_to_sync_vector_env(name, kwargs, mode):
    ours = gym.make_vec(name, LANES, "vector_entry_point", autoreset_mode=mode, **kwargs)
    theirs = gym.make_vec(name, LANES, "sync", vector_kwargs={"autoreset_mode": mode}, **kwargs)
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.observation_space == theirs.observation_space

    def reset(**how):
        for a, b in zip(ours.reset(**copy.deepcopy(how)), theirs.reset(**copy.deepcopy(how)), strict=True):
            assert_same(a, b)

    reset(seed=3)
    rng = np.random.default_rng(0)
    for step in range(90):
        actions = sample(ours, rng)
        if step % 12 == 0:
            actions[:] = 3 if actions.ndim == 1 else 1
        got, expected = ours.step(actions), theirs.step(actions)
        for a, b in zip(got[:4], expected[:4], strict=True):
            assert_same(a, b)
        assert_same_info(got[4], expected[4])
        done = expected[2] | expected[3]
        if mode == "Disabled" and (done.any() or step == 20):
            reset(options={"reset_mask": done if step != 20 else done | (np.arange(LANES) < 2)})
        if step == 40:
            reset(options={"new_search": True})
        if step == 60 and mode != "Disabled":
            reset(seed=[5, 6, 7, 8, 9])


def pair(name, mode="NextStep", **kwargs):
    ours = gym.make_vec(name, 2, "vector_entry_point", autoreset_mode=mode, **kwargs)
    return ours, gym.make_vec(name, 2, "sync", vector_kwargs={"autoreset_mode": mode}, **kwargs)


@every_id
@pytest.mark.parametrize(
    "resets",
    [
        [{"seed": 0}, {"options": {"trial_seed": 7}}, {"options": {"new_search": True}}, {}],
        [{"seed": 0}, {"seed": 99, "options": {"reset_mask": np.array([True, False])}}, {}, {}],
        [{"seed": [3, None]}, {"seed": [None, 4]}, {}, {"options": {"budget": 20_000.0}}, {}],
    ],
)
def test_resets_draw_what_each_lane_alone_would(name, resets):
    kwargs = {"tasks": [{"epoch": 8}, {"epoch": 7}], "task_sampling": "round-robin"} if name == SEARCH else {}
    ours, theirs = pair(name, **kwargs)
    rng = np.random.default_rng(0)
    for how in resets:
        if how.get("seed") == [3, None]:  # what an unseeded lane draws is anyone's guess
            for env in (ours, theirs):
                env.reset(seed=5)
        got, expected = (env.reset(**copy.deepcopy(how)) for env in (ours, theirs))
        assert_same(got[0], expected[0])
        for _ in range(8):
            actions = sample(ours, rng)
            got, expected = ours.step(actions), theirs.step(actions)
            for a, b in zip(got[:4], expected[:4], strict=True):
                assert_same(a, b)
            assert_same_info(got[4], expected[4])


@pytest.mark.parametrize("name", [BUILD, EDIT])
def test_a_refused_reset_changes_nothing(name):
    for env in (gym.make(name, reward="regret"), gym.make_vec(name, num_envs=2, reward="regret")):
        env.reset(seed=0)
        problem = env.unwrapped.problem
        for options in ({"dataset": "mnist"}, {"budget": -1}, {"dataset": "cifar100", "epoch": 3}, {"colour": 1}):
            with pytest.raises(NB201Error):
                env.reset(options=options)
        if hasattr(env, "num_envs"):
            with pytest.raises(NB201Error, match="set for all lanes"):
                env.reset(options={"dataset": "cifar100", "reset_mask": np.array([True, False])})
        if name == EDIT:
            with pytest.raises(NB201Error):
                env.reset(options={"start": 5, "colour": 1})
        assert env.unwrapped.problem is problem
        _, info = env.reset(options={"budget": 50_000.0})
        assert env.unwrapped.problem.column.dataset == "cifar10"
        assert name == BUILD or np.all(info["index"] != 5)


@every_id
@pytest.mark.parametrize("seed", [-1, 1.5, "7", True, 2**70])
def test_bad_trial_seeds(name, seed):
    for env in (gym.make(name), gym.make_vec(name, num_envs=2)):
        with pytest.raises(NB201Error, match="a seed must be a whole number from 0 to"):
            env.reset(options={"trial_seed": seed})


def test_shared_lanes_that_begin_and_lanes_that_move_are_one_wave():
    env = gym.make_vec(EDIT, 2, autoreset_mode="NextStep", budget_scope="shared", horizon=2)
    env.reset(seed=0)
    env.step([1, 1])
    env.reset(options={"reset_mask": np.array([True, False])})
    before = env.step([2, 2])[4]
    *_, info = env.step([8, 8])  # lane 1 begins anew, lane 0 moves
    assert info["wall_seconds"][0] - before["wall_seconds"][0] == pytest.approx(info["query_seconds"].max())
    assert info["n_queries"][0] == before["n_queries"][0] + 2
