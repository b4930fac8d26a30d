"""Search-v0, alone and in lanes, against a search that is written out with dicts and loops."""

import gymnasium as gym
import numpy as np
import pytest
from search_reference import ReferenceSearch

from nb201_env import Column
from nb201_env.simulation.family import Law, TaskFamily

ID = "NB201/Search-v0"
MINI = ("mini", "gratings", (1, 3, 8))
DIGITS = ("mini", "digits", (1, 3, 8))
LAW = {"field": 0.3, "noise": (0.1, 0.2)}
SOURCES = [Column.open(table, dataset, rungs=rungs) for table, dataset, rungs in (MINI, DIGITS)]
FAMILY = [TaskFamily(SOURCES, Law(**LAW)).column(number) for number in (5, 6)]
UNLIKE_TOLD = {"tasks": [{"rungs": [8]}, {"dataset": "digits", "rungs": [1, 3, 8]}, {"rungs": [3, 8]}]}
UNLIKE = [("mini", one.get("dataset", "gratings"), tuple(one["rungs"])) for one in UNLIKE_TOLD["tasks"]]
FAMILY_TOLD = {"family": {"start": 5, "stop": 7, **LAW}, "tasks": [{}, {"dataset": "digits"}]}

# (tasks of the reference, how the environment is told of them, further arguments of both)
CASES = [
    ([MINI], {}, {}),
    ([MINI], {}, {"charge": "fresh", "budget": 5.0}),
    ([MINI], {}, {"reward": "area", "history": 3}),
    ([MINI], {}, {"reward": "true", "perturb": 0.05}),
    ([MINI], {}, {"perturb": 0.1, "reward": "improvement", "history": 0}),
    ([MINI], {}, {"max_queries": 9}),
    ([("mini", "digits", (2, 8))], {"dataset": "digits", "rungs": [2, 8]}, {"budget": 6.0}),
    ([("published", "cifar100", (200,))], {"table": "published", "dataset": "cifar100"}, {}),
    ([("published", "cifar10", (200,))], {"table": "published", "dataset": "cifar10"}, {"trial": "mean"}),
    ([("published", "cifar10", (200,))], {"table": "published", "dataset": "cifar10"}, {"trial": 0, "charge": "fresh"}),
    ([MINI, DIGITS], {"tasks": [{}, {"dataset": "digits"}]}, {"budget": 8.0}),
    ([MINI, DIGITS], {"tasks": [{}, {"dataset": "digits"}]}, {"task_sampling": "round-robin", "perturb": 0.02}),
    ([MINI], {}, {"objectives": {"params": 0.3, "latency": 0.1}}),
    ([MINI], {}, {"objectives": {"error": 0.5, "macs": "<=1000000"}, "reward": "area"}),
    ([MINI, DIGITS], {"tasks": [{}, {"dataset": "digits"}]}, {"objectives": {"train_seconds": 1}, "reward": "true"}),
    ([MINI], {}, {"reward": "regret", "standardise": True}),
    ([MINI, DIGITS], {"tasks": [{}, {"dataset": "digits"}]}, {"reward": "regret-area", "describe": True}),
    (
        [("published", "cifar100", (200,))],
        {"table": "published", "dataset": "cifar100"},
        {"objectives": {"params": 0.3}, "reward": "regret", "trainings": 7.5, "standardise": True, "history": 12},
    ),
    (FAMILY, FAMILY_TOLD, {"reward": "regret", "standardise": True, "describe": True, "trainings": 9}),
    (FAMILY, FAMILY_TOLD, {"reward": "regret-area", "standardise": True, "budget": 8.0}),
    (UNLIKE, UNLIKE_TOLD, {"budget": 8.0}),
    (UNLIKE, UNLIKE_TOLD, {"standardise": True, "budget": 6.0, "objectives": {"params": 0.3}}),
    (UNLIKE, UNLIKE_TOLD, {"charge": "fresh", "perturb": 0.05, "task_sampling": "round-robin", "budget": 8.0}),
]
SEEDS = 4


def actions(action, rungs, rng):
    """An endless row of actions, with cells that come again."""
    few = rng.integers(5, size=(6, 6))
    while True:
        ops = few[rng.integers(6)] if rng.random() < 0.4 else rng.integers(5, size=6)
        if action == "joint":
            yield np.array([*ops, rng.integers(rungs)])
        else:
            yield from (int(op) for op in ops)
            for _ in range(rng.integers(1, 3)):
                yield int(rng.integers(max(5, rungs + 1)))


def rungs_of(tasks):
    return max(len(task.rungs if tasks is FAMILY else task[2]) for task in tasks)


def check(observation, info, expected, legal, found):
    for name, part in expected.items():
        close(name, observation[name], np.array(part, np.float32), 1e-6, 1e-7)
    if legal is not None:
        assert info["action_mask"].tolist() == legal
        assert observation["action_mask"].tolist() == legal
    if found is None:
        assert "index" not in info
        return
    assert set(found) == {key for key in info if key != "action_mask"}
    for key, value in found.items():
        close(key, info[key], value, 1e-9, 1e-12)


def close(name, value, expected, relative, absolute):
    """As NumPy's assertion, which takes most of the time if it is called for each of these."""
    difference = np.abs(np.subtract(value, expected, dtype=float))
    if difference.shape != np.shape(expected) or not (difference <= absolute + relative * np.abs(expected)).all():
        np.testing.assert_allclose(value, expected, rtol=relative, atol=absolute, err_msg=name)
        raise AssertionError(f"{name}: shapes differ")


@pytest.mark.parametrize("action", ["sequential", "joint"])
@pytest.mark.parametrize(("tasks", "told", "more"), CASES, ids=range(len(CASES)))
def test_one_search(action, tasks, told, more):
    env = gym.make(ID, **told, **more, action=action, observation="dict")
    reference = ReferenceSearch(tasks, **more, action=action)
    queries = 0
    for seed in range(SEEDS):
        reference.round = 0  # a seed begins the turns of the tasks again
        observation, info = env.reset(seed=seed)
        check(observation, info, reference.reset(seed), reference.legal() if action == "sequential" else None, None)
        rng, ended = np.random.default_rng(seed), False
        for one in actions(action, rungs_of(tasks), rng):
            observation, reward, ended, truncated, info = env.step(one)
            expected, wanted, over, found = reference.step(one)
            check(observation, info, expected, reference.legal() if action == "sequential" else None, found)
            assert reward == pytest.approx(wanted, abs=1e-9)
            assert (ended, truncated) == (over, False)
            queries += found is not None
            if ended:
                break
    assert queries > 20


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
@pytest.mark.parametrize("action", ["sequential", "joint"])
@pytest.mark.parametrize(("tasks", "told", "more"), CASES[::2], ids=range(0, len(CASES), 2))
def test_lanes(mode, action, tasks, told, more):
    """Every lane is a search of its own; after its first, its seeds are drawn as Gymnasium's generators draw them."""
    lanes = 3
    if tasks is not FAMILY and tasks[0][0] == "mini":  # searches that end within the test
        more = {"budget": 6.0} | more if "trainings" not in more else more
    env = gym.make_vec(ID, num_envs=lanes, **told, **more, action=action, observation="dict", autoreset_mode=mode)
    references = [ReferenceSearch(tasks, **more, action=action) for _ in range(lanes)]
    draws = [np.random.default_rng(seed) for seed in range(10, 10 + lanes)]
    observation, info = env.reset(seed=10)
    for lane, reference in enumerate(references):
        reference.reset(10 + lane)
    rows = [actions(action, rungs_of(tasks), np.random.default_rng(lane)) for lane in range(lanes)]
    resetting, ends = [False] * lanes, 0
    for _ in range(250):
        chosen = [next(row) for row in rows]
        observation, reward, terminated, _, info = env.step(np.array(chosen))
        for lane, reference in enumerate(references):
            if resetting[lane]:
                expected, found, over = reference.reset(int(draws[lane].integers(2**32))), None, False
                wanted = 0.0
            else:
                expected, wanted, over, found = reference.step(chosen[lane])
            assert reward[lane] == pytest.approx(wanted, abs=1e-9)
            assert terminated[lane] == over
            seen, said = observation, info
            if over and mode == "SameStep":
                seen, said = info["final_obs"], info["final_info"]
            row = {key: values[lane] for key, values in seen.items()}
            about = {key: values[lane] for key, values in said.items() if key[0] != "_" and key[:5] != "final"
                     and said[f"_{key}"][lane]}  # fmt: skip
            check(row, about, expected, reference.legal() if action == "sequential" else None, found)
            resetting[lane] = over and mode == "NextStep"
            ends += over
            if over and mode == "SameStep":
                expected = reference.reset(int(draws[lane].integers(2**32)))
                row = {key: values[lane] for key, values in observation.items()}
                for name, part in expected.items():
                    close(name, row[name], np.array(part, np.float32), 1e-6, 1e-7)
    assert ends > 0
