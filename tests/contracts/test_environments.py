"""What every environment must do, over all ids and the arguments worth trying."""

import copy
import json
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from cases import BUILD, EDIT, IDS, SEARCH, every_case, every_id, sample
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import nb201_env
from nb201_env import NB201Error


def rollout(env, seed, steps=60):
    """Everything that an environment says under random actions."""
    rng = np.random.default_rng(0)
    said = [env.reset(seed=seed)]
    for _ in range(steps):
        said.append(env.step(sample(env, rng)))
        if said[-1][2] or said[-1][3]:
            said.append(env.reset())
    return said


def flat(value):
    """Nested tuples, dicts and arrays as a comparable list."""
    if isinstance(value, dict):
        return [(key, flat(value[key])) for key in sorted(value)]
    if isinstance(value, list | tuple):
        return [flat(one) for one in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


@every_case
def test_check_env_without_a_warning(name, kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(name, **kwargs).unwrapped)


@every_case
def test_the_same_seed_says_the_same(name, kwargs):
    env = gym.make(name, **kwargs)
    first = flat(rollout(env, 1))
    assert flat(rollout(env, 1)) == first == flat(rollout(gym.make(name, **kwargs), 1))


@every_id
def test_another_seed_says_something_else(name):
    env = gym.make(name, **({"perturb": 0.1} if name == SEARCH else {}))  # mini has one trial and so no draws
    assert flat(rollout(env, 1)) != flat(rollout(env, 2))


@every_case
def test_specs_survive_json_pickle_and_deepcopy(name, kwargs):
    spec = gym.make(name, **kwargs).spec
    for other in (
        gym.envs.registration.EnvSpec.from_json(spec.to_json()),
        pickle.loads(pickle.dumps(spec)),
        copy.deepcopy(spec),
    ):
        assert other.kwargs == json.loads(json.dumps(other.kwargs)) == spec.kwargs
        gym.make(other).reset(seed=0)
    vector = gym.make_vec(name, num_envs=2, autoreset_mode="NextStep", **kwargs).spec
    assert pickle.loads(pickle.dumps(vector)) == vector
    assert gym.make_vec(type(vector).from_json(vector.to_json()), num_envs=2).autoreset_mode.value == "NextStep"


@every_id
@pytest.mark.parametrize("mode", [None, "ansi", "rgb_array"])
def test_render_modes(name, mode):
    if mode == "rgb_array":
        pytest.importorskip("matplotlib")
    env = gym.make(name, render_mode=mode, budget=9_000)
    env.reset(seed=0)
    pictures = [env.render()]
    for action in (3, 3, 3, 1, 3, 3):
        env.step(action)
        pictures.append(env.render())
    if mode is None:
        assert pictures == [None] * 7
    elif mode == "ansi":
        assert "nor_conv_3x3" in pictures[-1]
        assert "9,000 GPU-seconds" in pictures[-1]
    else:
        assert {(p.shape, p.dtype.name) for p in pictures} == {((320, 480, 3), "uint8")}
        assert (pictures[0] != pictures[-1]).any()


@every_id
def test_an_unknown_render_mode_is_refused(name):
    kind = gym.registry[name].entry_point.rpartition(":")[2]
    with pytest.raises(NB201Error, match="render_mode must be one of None, ansi, rgb_array, got 'human'"):
        getattr(nb201_env.envs, kind)(render_mode="human")
    with pytest.raises(NB201Error, match="draws nothing"):
        gym.make_vec(name, num_envs=2, vectorization_mode="vector_entry_point", render_mode="ansi")


def test_workers_that_are_spawned_know_the_environments(tmp_path):
    script = tmp_path / "spawn.py"
    script.write_text(
        "import gymnasium as gym\n"
        "if __name__ == '__main__':\n"
        f"    for name in {IDS}:\n"
        "        env = gym.make_vec('nb201_env:' + name, 2, 'async', vector_kwargs={'context': 'spawn'})\n"
        "        env.reset(seed=0)\n"
        "        env.step(env.action_space.sample())\n"
        "        env.close()\n"
    )
    subprocess.run([sys.executable, "-W", "error", script], check=True)


@every_id
@pytest.mark.parametrize("action", [-1, 99, 0.5, "3", None, True, [0]])
def test_bad_actions(name, action):
    env = gym.make(name)
    env.reset(seed=0)
    with pytest.raises(NB201Error, match="an action is an integer from 0 to"):
        env.step(action)
    lanes = gym.make_vec(name, num_envs=2)
    lanes.reset(seed=0)
    with pytest.raises(NB201Error, match="actions are 2 integers from 0 to"):
        lanes.step([action, action])
    with pytest.raises(NB201Error, match="actions are 2 integers from 0 to"):
        lanes.step([0])


@pytest.mark.parametrize("action", [[0] * 6, [5, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 3], [0.0] * 7, 3])
def test_bad_joint_actions(action):
    for env, actions in (
        (gym.make(SEARCH, action="joint"), action),
        (gym.make_vec(SEARCH, num_envs=2, action="joint"), [action, action]),
    ):
        env.reset(seed=0)
        with pytest.raises(NB201Error, match="six ops from 0 to 4 and a rung from 0 to 2"):
            env.step(actions)


BAD_ARGUMENTS = [
    *((name, *rest) for name in IDS for rest in (
        ({"dataset": "mnist"}, "no dataset 'mnist'"),
        ({"epoch": 500}, "not 500"),
        ({"split": "test"}, "must not see"),
        ({"trial": 9}, "trials"),
        ({"observation": "picture"}, "observation must be one of"),
        ({"reward": "fame"}, "reward must be one of"),
        ({"charge": "nothing"}, "charge must be one of"),
        ({"budget": -1}, "budget must be a number of seconds above 0"),
        ({"budget": "much"}, "budget must be a number of seconds above 0"),
        ({"max_queries": 2.5}, "max_queries must be a whole number at least 1"),
        ({"objectives": {"params": None}}, "weight of params"),
        ({"objectives": {"beauty": 1}}, "unknown objectives 'beauty'; known are error"),
        ({"objectives": {"params": -1}}, "weight of params"),
        ({"objectives": {"params": "small"}}, "limit of params"),
        ({"table": "nowhere"}, "no table 'nowhere'"),
    )),
    *((name, *rest) for name in (BUILD, EDIT) for rest in (
        ({"mask": "big"}, "mask must be one of"),
        ({"mask": "params<=1"}, "leaves no cell"),
        ({"on_exhausted": "explode"}, "on_exhausted must be one of"),
        ({"budget": 1}, "buys no query"),
        ({"reward": "improvement", "observation": "index"}, "shows the incumbent"),
    )),
    (EDIT, {"horizon": 0}, "horizon must be a whole number at least 1"),
    (SEARCH, {"rungs": [3, 1]}, "ascending epochs"),
    (SEARCH, {"rungs": []}, "rungs must be a list"),
    (SEARCH, {"rungs": 3}, "rungs must be a list"),
    (SEARCH, {"tasks": [3]}, "tasks must be a dict of table"),
    (SEARCH, {"rungs": [1, 9]}, "not 9"),
    (SEARCH, {"trial": "per-query"}, "a curve belongs to one training"),
    (SEARCH, {"action": "random"}, "action must be one of"),
    (SEARCH, {"tasks": []}, "tasks must be a list of dicts"),
    (SEARCH, {"tasks": [{"budget": 3}]}, "unknown tasks 'budget'; known are table"),
    (SEARCH, {"task_sampling": "best"}, "task_sampling must be one of"),
    (SEARCH, {"perturb": -0.1}, "perturb must be a finite number from 0"),
    (SEARCH, {"history": 1.5}, "history must be a whole number"),
    (SEARCH, {"budget": 1e-6}, "buys no query"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "said"), BAD_ARGUMENTS)
def test_bad_arguments(name, kwargs, said):
    for make in (gym.make, lambda *a, **k: gym.make_vec(*a, num_envs=2, **k)):
        with pytest.raises(NB201Error, match=said):
            make(name, **kwargs)


@every_id
def test_bad_lanes(name):
    for kwargs, said in (
        ({"autoreset_mode": "sometimes"}, "autoreset_mode must be one of"),
        ({"num_envs": 0}, "least"),
    ):
        with pytest.raises(NB201Error, match=said):
            gym.make_vec(name, **{"num_envs": 2, "vectorization_mode": "vector_entry_point", **kwargs})


@every_id
@pytest.mark.parametrize("seed", ["one", 1.5, True, -3, [1], [1, -4], [1, "4"]])
def test_bad_seeds(name, seed):
    with pytest.raises(NB201Error, match="seed must be an integer from 0, or 2 of them"):
        gym.make_vec(name, num_envs=2).reset(seed=seed)
    if not isinstance(seed, bool):
        with pytest.raises(gym.error.Error):
            gym.make(name).unwrapped.reset(seed=seed)


@every_id
def test_bad_options(name):
    for env in (gym.make(name), gym.make_vec(name, num_envs=2)):
        with pytest.raises(NB201Error, match="unknown reset options"):
            env.reset(options={"colour": "red"})
        with pytest.raises(NB201Error, match="budget"):
            env.reset(options={"budget": -5})
    with pytest.raises(NB201Error, match="reset_mask must be bool"):
        gym.make_vec(name, num_envs=2).reset(options={"reset_mask": [1, 0]})


@every_id
def test_steps_out_of_turn(name):
    env = gym.make(name, max_queries=1).unwrapped
    with pytest.raises(NB201Error, match="call reset"):
        env.step(0)
    lanes = gym.make_vec(name, num_envs=2, autoreset_mode="Disabled", max_queries=1)
    with pytest.raises(NB201Error, match="call reset"):
        lanes.step([0, 0])
    env.reset(seed=0)
    lanes.reset(seed=0)
    while not any(env.step(3)[2:4]):
        lanes.step([3, 3])
    lanes.step([3, 3])
    with pytest.raises(NB201Error, match="call reset"):
        env.step(0)
    with pytest.raises(NB201Error, match="call reset with a reset_mask"):
        lanes.step([0, 0])


@every_id
def test_environments_survive_a_pickle(name):
    for env in (gym.make(name).unwrapped, gym.make_vec(name, num_envs=2)):
        env.reset(seed=3)
        other_env = pickle.loads(pickle.dumps(env))
        action = 1 if not hasattr(env, "num_envs") else np.array([1, 1])
        for _ in range(8):
            mine, other = env.step(action), other_env.step(action)
            np.testing.assert_array_equal(mine[0], other[0])
            np.testing.assert_array_equal(mine[1], other[1])
            if np.any(mine[2]) or np.any(mine[3]):
                env.reset(), other_env.reset()


@every_id
def test_a_spec_made_with_an_enumeration_becomes_json(name):
    env = gym.make_vec(name, num_envs=2, autoreset_mode=AutoresetMode.NEXT_STEP)
    again = gym.make_vec(EnvSpec.from_json(env.spec.to_json()), num_envs=2)
    assert again.autoreset_mode == AutoresetMode.NEXT_STEP


@every_id
def test_no_strings_in_info(name):
    env = gym.make(name)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(40):
        *_, terminated, truncated, info = env.step(env.action_space.sample())
        assert not any(isinstance(value, str) for value in info.values())
        if terminated or truncated:
            env.reset()


def test_search_on_the_published_table_ends():
    env = gym.make(SEARCH, table="published")
    env.reset(seed=0)
    bound = env.unwrapped.problem.tasks[0].rules.max_queries
    steps, done, info = 0, False, {}
    while not done:  # one cell over and over, which costs nothing after the first time
        *_, done, truncated, info = env.step(3 if steps % 7 < 6 else 0)
        steps += 1
        assert not truncated
    assert (info["n_queries"], info["n_distinct"]) == (bound, 1)
    assert steps <= 7 * bound < 1_000
    for seed in range(5):  # a search that repeats nothing never ends by it
        env.reset(seed=seed)
        rng, done = np.random.default_rng(seed), False
        while not done:
            *_, done, _, info = env.step(int(rng.integers(5)))
        assert info["n_queries"] < bound or info["n_distinct"] < info["n_queries"]
