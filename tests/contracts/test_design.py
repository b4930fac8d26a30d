"""What keeps the layers apart: nobody reads another object's private names, and a reward is written in one place."""

import ast
import subprocess
import sys
from pathlib import Path

import nb201_agents
import nb201_generator
import pytest

import nb201_env
from nb201_env.envs.rewards import REWARDS, SEARCH_REWARDS

FILES = [path for package in (nb201_env, nb201_agents, nb201_generator)
         for path in sorted(Path(package.__file__).parent.rglob("*.py"))]  # fmt: skip
THEIRS = {"_replace", "_asdict", "_exit", "_n_updates"}  # of named tuples, os and Stable-Baselines3
MOST_LINES = 400


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def is_own(value):
    return (isinstance(value, ast.Name) and value.id in ("self", "cls")) or (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "super"
    )


def test_no_private_name_is_read_across_objects():
    found = []
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in THEIRS:
                if not is_own(node.value):
                    found.append(f"{path.name}:{node.lineno} {ast.unparse(node)}")
            elif isinstance(node, ast.ImportFrom):
                found += [f"{path.name}:{node.lineno} {one.name}" for one in node.names if is_private(one.name)]
    assert not found


def strings(tree):
    """String constants of a module that are no docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and node.body
            and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            and id(node) not in docs}  # fmt: skip


def test_rewards_are_named_in_one_file():
    defaults = {"accuracy", "improvement"}  # of the arguments
    kinds = {"value", "rise", "change"}  # how a reward is paid
    names = {*REWARDS, *SEARCH_REWARDS} - defaults - kinds
    assert names == {"log-error", "regret", "area", "true", "regret-area"}
    where = {path.name for path in FILES if path.is_relative_to(Path(nb201_env.__file__).parent)
             and names & strings(parsed(path))}  # fmt: skip
    assert where == {"rewards.py"}


NEW_REWARD = """
import numpy as np
from nb201_env.envs.rewards import REWARDS, SEARCH_REWARDS, Reward, SearchReward
REWARDS["squared"] = Reward("value", lambda column, objectives: column.accuracy[-1].astype(float) ** 2, "squared")
SEARCH_REWARDS["double"] = SearchReward(lambda before, after, price, budget: 2 * (after - before), lambda *_: 0.0, "")
import gymnasium as gym
for name in ("NB201/BuildCell-v0", "NB201/EditCell-v0"):
    single = gym.make(name, reward="squared")
    lanes = gym.make_vec(name, num_envs=2, reward="squared")
    single.reset(seed=0), lanes.reset(seed=0)
    for action in (3, 1, 3, 2, 3, 4):
        _, reward, *_, info = single.step(action)
        _, rewards, *_ = lanes.step([action] * 2)
        assert rewards[0] == reward == info.get("accuracy", 0.0) ** 2, name
search, more = gym.make("NB201/Search-v0", reward="double"), gym.make_vec("NB201/Search-v0", 2, reward="double")
search.reset(seed=0), more.reset(seed=0)
for action in (3, 1, 3, 2, 3, 4):
    _, reward, *_, info = search.step(action)
    _, rewards, *_ = more.step([action] * 2)
assert rewards[0] == reward == 2 * info["accuracy"]
"""


def test_a_new_reward_needs_its_function_and_its_name_alone():
    subprocess.run([sys.executable, "-W", "error", "-c", NEW_REWARD], check=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_is_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
