"""The environments and the arguments worth trying, and what their contract tests share."""

import gymnasium as gym
import numpy as np
import pytest

from nb201_env.registration import ENVIRONMENTS

BUILD, EDIT, SEARCH = ENVIRONMENTS
MODES = ("SameStep", "NextStep", "Disabled")
LANES = 5

ARGUMENTS = {
    BUILD: [
        {},
        {"dataset": "cifar100", "trial": "mean"},
        {"dataset": "ImageNet16-120", "recipe": "200ep", "epoch": 200, "trial": 0},
        {"table": "mini", "dataset": "gratings", "epoch": 3, "split": "train"},
        {"observation": "index"},
        {"observation": "dict", "mask": "connected"},
        {"observation": "dict", "reward": "improvement", "budget": 15_000},
        {"reward": "improvement", "budget": 12_000, "overrun": "stop-after"},
        {"reward": "log-error", "mask": "params<=4e5"},
        {"reward": "regret", "mask": "canonical"},
        {"observation": "index", "budget": 9_000},
        {"mask": "unseen", "max_queries": 9},
        {"charge": "cached", "max_queries": 6, "mask": "unseen"},
        {"charge": "resume", "budget": 12_000, "max_queries": 7, "reward": "improvement"},
        {"objectives": {"params": 0.3, "latency": "<=0.02"}},
        {"objectives": {"error": 1, "macs": 0.3, "train_seconds": 0.2}, "reward": "log-error"},
        {"objectives": {"macs": 0.5, "latency": "<=0.015"}, "reward": "improvement", "budget": 30_000},
        {"objectives": {"params": 0.3}, "reward": "regret"},
    ],
    EDIT: [
        {},
        {"reward": "change", "trial": "mean"},
        {"observation": "index", "trial": 0},
        {"observation": "dict", "mask": "connected"},
        {"observation": "dict", "reward": "improvement", "budget": 15_000},
        {"budget": 12_000, "overrun": "stop-after", "reward": "change"},
        {"mask": "unseen", "max_queries": 9, "horizon": 5},
        {"mask": "params<=400000", "reward": "log-error"},
        {"mask": "canonical", "reward": "regret"},
        {"objectives": {"params": 0.3, "latency": "<=0.02"}, "reward": "change"},
        {"objectives": {"error": 1, "macs": 0.3}},
        {"objectives": {"macs": 0.5, "latency": "<=0.015"}, "reward": "improvement", "budget": 30_000},
        {"charge": "resume", "budget": 12_000, "max_queries": 7},
        {"charge": "cached", "max_queries": 30, "horizon": 3},
    ],
    SEARCH: [
        {},
        {"action": "joint", "history": 3},
        {"observation": "dict", "reward": "area"},
        {"action": "joint", "observation": "dict", "reward": "true", "trial": "mean"},
        {"reward": "area", "charge": "fresh", "max_queries": 11},
        {"perturb": 0.05, "reward": "true"},
        {"family": {"stop": 3}, "reward": "regret", "standardise": True, "describe": True, "trainings": 4.0},
        {
            "family": {"start": 7, "stop": 9, "sources": 0.0},
            "reward": "regret-area",
            "action": "joint",
            "trial": "mean",
        },
        {"trial": 0, "rungs": [2, 8]},
        {"objectives": {"params": 0.3, "latency": "<=0.02"}},
        {"tasks": [{"epoch": 8}, {"epoch": 6}, {"epoch": 5}], "task_sampling": "round-robin"},
        {"tasks": [{"dataset": "gratings"}, {"table": "mini", "epoch": 6}, {"epoch": 5}], "perturb": 0.1},
        {"table": "published", "dataset": "cifar100", "charge": "fresh", "max_queries": 30},
        {
            "tasks": [{"rungs": [8]}, {"table": "published", "dataset": "cifar10", "rungs": [200]}],
            "charge": "fresh",
        },
        {"history": 0, "budget": 5.0},
    ],
}
CASES = [pytest.param(name, kwargs, id=f"{name[6:]} {kwargs}") for name in ARGUMENTS for kwargs in ARGUMENTS[name]]
IDS = list(ARGUMENTS)
every_case = pytest.mark.parametrize(("name", "kwargs"), CASES)
every_id = pytest.mark.parametrize("name", IDS)


def sample(env, rng):
    """A random action of a single environment, or of a lane of a vector environment."""
    is_vector = isinstance(env, gym.vector.VectorEnv)
    space, size = (env.single_action_space, (env.num_envs,)) if is_vector else (env.action_space, ())
    if isinstance(space, gym.spaces.Discrete):
        return rng.integers(space.n, size=size or None)
    return rng.integers(0, space.nvec, size=(*size, space.nvec.size))


def assert_same(ours, theirs, rows=None):
    """Arrays, dicts of arrays with masks, or object arrays of observations are equal where the mask says they count."""
    if isinstance(ours, dict):
        keys = set(theirs)
        assert set(ours) == keys
        for key in keys:
            assert_same(ours[key], theirs[key], theirs.get(f"_{key}", rows))
        return
    rows = slice(None) if rows is None else rows
    if np.asarray(ours).dtype.kind == "f":
        np.testing.assert_allclose(ours[rows], np.asarray(theirs)[rows], rtol=1e-15)
    else:
        np.testing.assert_array_equal(ours[rows], np.asarray(theirs)[rows])


def assert_same_info(ours, theirs):
    theirs, ours = dict(theirs), dict(ours)
    if "_final_obs" in theirs:
        final_ours, final_theirs = ours.pop("final_obs"), theirs.pop("final_obs")
        for lane in np.flatnonzero(theirs["_final_obs"]):
            if isinstance(final_theirs[lane], dict):
                for key, value in final_theirs[lane].items():
                    np.testing.assert_array_equal(final_ours[key][lane], value)
            else:
                np.testing.assert_array_equal(final_ours[lane], final_theirs[lane])
    assert_same(ours, theirs)
