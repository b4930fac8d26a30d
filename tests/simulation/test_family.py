"""Tasks made of other tasks' tables."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from nb201_env import NUM_CELLS, PARAMS, Column, NB201Error
from nb201_env.simulation.family import TRIAL_TASKS, TRIALS, Law, TaskFamily
from nb201_env.space.isomorphism import representatives

RUNGS = (1, 3, 8)


@pytest.fixture(scope="module")
def sources():
    return [Column.open("mini", dataset, rungs=RUNGS) for dataset in ("gratings", "digits")]


def ranks(values):
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")


def rank_correlation(a, b):
    return np.corrcoef(ranks(a), ranks(b))[0, 1]


def test_a_number_decides_a_task(sources):
    one, again, other = (TaskFamily(sources).column(number) for number in (7, 7, 8))
    assert np.array_equal(one.accuracy, again.accuracy)
    assert not np.array_equal(one.mean, other.mean)
    assert one.accuracy.shape == (len(RUNGS), NUM_CELLS, TRIALS)
    assert one.accuracy.dtype == np.float32
    assert ((one.accuracy >= 0) & (one.accuracy <= 1)).all()
    assert one.rungs == RUNGS
    assert any(np.array_equal(one.train, source.train) for source in sources)


def test_a_source_alone_keeps_its_order(sources):
    law = Law(params=0.0, field=0.0, cell=0.0)
    for number in range(3):
        task = TaskFamily(sources[:1], law).column(number)
        order = np.argsort(sources[0].mean, kind="stable")
        assert (np.diff(task.mean[order]) >= -1e-6).all()
        chance = 1 / 24
        assert task.mean.min() == pytest.approx(chance, abs=1e-6)
        assert chance < task.mean.max() < chance + 0.951 * (1 - chance)


def test_params_and_fields_alone(sources):
    bare = Law(sources=0.0, field=0.0, cell=0.0)
    assert rank_correlation(TaskFamily(sources, bare).column(1).mean, PARAMS) > 0.99
    tasks = [TaskFamily(sources, Law(sources=0.0, params=0.0)).column(number) for number in range(8)]
    assert max(abs(rank_correlation(task.mean, sources[0].mean)) for task in tasks) < 0.6
    shuffled = TaskFamily(sources, Law(params=0.0, field=0.0, cell=0.0, shuffled=True)).column(1)
    assert abs(rank_correlation(shuffled.mean, sources[0].mean)) < 0.05


def test_what_is_a_cells_own_is_the_same_for_equal_cells(sources):
    task = TaskFamily(sources, Law(sources=0.0, params=0.0, field=0.0)).column(1)
    same = representatives("exact")
    assert np.array_equal(task.mean, task.mean[same])
    assert len(np.unique(task.mean)) == pytest.approx(len(np.unique(same)), rel=0.02)
    assert abs(rank_correlation(task.mean, PARAMS)) < 0.05


def test_noise_has_the_deviation_that_the_law_says(sources):
    task = TaskFamily(sources, Law(noise=(0.2, 0.2))).column(3)
    inside = (task.mean > 0.15) & (task.mean < 0.85)
    noise = (task.accuracy[-1] - task.mean[:, None])[inside]
    assert noise.std() == pytest.approx(0.2 * task.mean.std(), rel=0.03)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.03
    quiet = TaskFamily(sources).column(3, "mean")
    assert quiet.accuracy.shape[2] == 1
    assert np.array_equal(quiet.accuracy[-1, :, 0], quiet.mean)


def test_a_cell_that_a_source_lacks_is_not_on_offer(sources):
    present = np.ones(NUM_CELLS, bool)
    present[:10_000] = False
    part = replace(sources[0], present=present)
    task = TaskFamily([part, sources[1]]).column(0)
    assert np.array_equal(task.present, present)
    assert np.isnan(task.mean[:10_000]).all()
    with pytest.raises(NB201Error, match="no two cells in common"):
        TaskFamily([part, replace(sources[1], present=~present)])


@pytest.mark.parametrize(
    ("law", "said"),
    [
        ({"sources": -1.0}, "sources must be a finite number from 0"),
        ({"sources": 0.0, "params": 0.0, "field": 0.0, "cell": 0.0}, "a task must be made of something"),
        ({"noise": (0.3, 0.1)}, "noise must be two ascending numbers above 0"),
        ({"noise": 0.1}, "noise must be two numbers"),
        ({"noise": (0.0, 0.1)}, "above 0"),
        ({"shuffled": 1}, "shuffled must be True or False"),
        ({"start": 4, "stop": 4}, "family: stop must be a whole number from 5"),
        ({"stop": None}, "family: stop must be a whole number"),
        ({"start": -1}, "family: start must be a whole number"),
        ({"colour": 1}, "colour"),
    ],
)
def test_bad_families(law, said):
    with pytest.raises(NB201Error, match=said):
        gym.make("NB201/Search-v0", family={"stop": 9, **law})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"budget": 5.0, "trainings": 5.0}, "give one of them"),
        ({"trainings": -1.0}, "trainings must be a finite number"),
        ({"reward": "regret", "perturb": 0.1}, "make tasks by family"),
        ({"standardise": "yes"}, "standardise must be True or False"),
        ({"family": {"stop": 3}, "trial": 0}, "the trial of a family's tasks must be one of per-search, mean"),
        ({"family": [0, 3]}, "family"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, said):
    with pytest.raises(NB201Error, match=said):
        gym.make("NB201/Search-v0", **arguments)


def test_observations_and_rewards_do_not_depend_on_the_scale(sources):
    """Two tasks that differ by a linear map look and pay the same, whatever is bought."""
    env = gym.make_vec("NB201/Search-v0", num_envs=2, action="joint", standardise=True, reward="regret", trial="mean",
                       rungs=[8], autoreset_mode="Disabled")  # fmt: skip
    task = env.unwrapped.problem.tasks[0]
    column = task.column
    moved = replace(column, accuracy=0.3 + 0.5 * column.accuracy, mean=0.3 + 0.5 * column.mean)
    env.unwrapped._begin_problem(replace(env.unwrapped.problem, tasks=(task, replace(task, column=moved))))
    pairs = []
    for chosen in (0, 1):
        env.reset(seed=0, options={"task": chosen})
        rng = np.random.default_rng(0)
        pairs.append([env.step(np.hstack([rng.integers(5, size=(2, 6)), [[0], [0]]]))[:2] for _ in range(10)])
    for (seen, paid), (other_seen, other_paid) in zip(*pairs, strict=True):
        np.testing.assert_allclose(seen, other_seen, atol=2e-5)
        np.testing.assert_allclose(paid, other_paid, atol=2e-5)
    assert any(paid.any() for _, paid in pairs[0])


def test_tasks_to_train_on_and_to_try_on_are_apart():
    env = gym.make_vec("NB201/Search-v0", num_envs=3, family={"start": TRIAL_TASKS[0], "stop": TRIAL_TASKS[0] + 3})
    means = [task.column.mean for task in env.unwrapped.problem.tasks]
    assert not np.array_equal(means[0], means[1])
    env.reset(seed=0)
    assert set(env.unwrapped.accounts()["task"]) <= {0, 1, 2}


def test_sources_of_unlike_rungs_are_mixed_from_their_last_on():
    long, short = Column.open("mini", "gratings", rungs=RUNGS), Column.open("mini", "digits", rungs=[8])
    family, alike = TaskFamily([long, short]), TaskFamily([long, Column.open("mini", "digits", rungs=RUNGS)])
    found = [(family.column(number, "mean"), alike.column(number, "mean")) for number in range(12)]
    assert {one.rungs for one, _ in found} == {RUNGS, (8,)}
    for one, other in found:
        assert one.dataset == other.dataset
        np.testing.assert_allclose(one.mean, other.mean, atol=1e-6)
        if one.rungs == RUNGS:  # the short one gives its last rung where the other has its first
            assert not np.allclose(one.accuracy[0], other.accuracy[0], atol=1e-3)


@pytest.mark.parametrize("law", [{"sources": 1e308}, {"field": 1e7}, {"noise": (1.0, 1e300)}])
def test_weights_beyond_all_measure_are_refused(law, sources):
    with pytest.raises(NB201Error, match=r"from 0 to 1e\+06"):
        TaskFamily(sources, Law(**law))
    with pytest.raises(NB201Error, match="a task's number must be a whole number from 0 to"):
        TaskFamily(sources).column(2**64)
