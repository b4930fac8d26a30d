"""Search-v0 against a search written out with an Oracle and its clock, and what it adds to them."""

import gymnasium as gym
import numpy as np
import pytest

from nb201_env import ALL_OPS, Cell, NB201Error, Oracle, index_of, open_table
from nb201_env.tables.writer import TableWriter

ID = "NB201/Search-v0"
RUNGS = (1, 3, 8)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A synthetic table of two trials, eight epochs and dear evaluations."""
    path = tmp_path_factory.mktemp("tables") / "noisy.zarr"
    rng = np.random.default_rng(0)
    quality = ALL_OPS @ rng.normal(size=6) + rng.normal(size=15_625)
    curves = 500 + 80 * quality * np.linspace(0.3, 1, 8)[:, None] + 20 * rng.normal(size=(2, 8, 15_625))
    with TableWriter(path, "noisy") as writer:
        writer.add_dataset("synth", num_classes=10, image_size=8)
        seconds = 1 + rng.random(15_625)
        writer.add_training("synth", "8ep", "full", epochs=8, epoch_seconds=seconds)
        writer.add_split("synth", "8ep", "full", "valid", images=1000, epochs=range(1, 9), trial_seeds=[1, 2],
                         correct=np.clip(curves, 0, 1000).astype(int), eval_seconds=0.3 * seconds)  # fmt: skip
    return str(path)


def reference(table, charge, seed, budget, plan):
    """Queries (cell, rung position) in order, until one does not fit: results, incumbents' accuracies, prices."""
    oracle = Oracle.open(table, "synth", rungs=RUNGS, seed=seed, budget=budget, charge=charge)
    results, incumbent, key = [], [], (0, -1.0)
    for cell, rung in plan:
        result = oracle.query(cell, RUNGS[rung])
        if not result.observed:
            break
        results.append(result)
        key = max(key, (rung + 1, result.accuracy))
        incumbent.append(key[1])
    return results, incumbent


@pytest.mark.parametrize("charge", ["resume", "fresh"])
@pytest.mark.parametrize("reward", ["improvement", "area", "true"])
def test_joint_searches_are_those_of_an_oracle(noisy, charge, reward):
    budget, rng = 300.0, np.random.default_rng(1)
    few = rng.integers(15_625, size=12)  # cells come again
    plan = [(int(rng.choice(few)), int(rng.integers(3))) for _ in range(400)]
    results, incumbent = reference(noisy, charge, 5, budget, plan)
    env = gym.make(ID, table=noisy, dataset="synth", budget=budget, charge=charge, action="joint", reward=reward,
                   max_queries=1_000)  # fmt: skip
    env.reset(seed=5)
    total, infos = 0.0, []
    for cell, rung in plan:
        _, paid, terminated, truncated, info = env.step(np.array([*Cell(cell).ops, rung]))
        total += paid
        assert not truncated
        if terminated:
            break
        infos.append(info)
    assert terminated
    assert len(infos) == len(results) > 20
    used = np.cumsum([result.seconds for result in results])
    for info, result, best, seconds in zip(infos, results, incumbent, used, strict=True):
        assert (info["index"], info["epoch"], info["trial"], info["repeat"]) == (
            result.index, result.epoch, result.trial, result.repeat)  # fmt: skip
        assert info["accuracy"] == result.accuracy
        assert info["query_seconds"] == pytest.approx(result.seconds)
        assert info["seconds_used"] == pytest.approx(seconds)
        assert info["incumbent_accuracy"] == best
    last = infos[-1]
    if reward == "improvement":
        assert total == pytest.approx(incumbent[-1])
    elif reward == "area":
        held = np.diff([*used, budget])
        assert total == pytest.approx((np.array(incumbent) * held).sum() / budget)
    else:
        assert total == pytest.approx(open_table(noisy).accuracy("synth")[last["incumbent_index"]])


def test_sequential_phases(noisy):
    env = gym.make(ID, table=noisy, dataset="synth", observation="dict").unwrapped
    observation, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [1] * 5
    for step, op in enumerate((3, 1, 0, 4, 2)):
        assert observation["phase"].argmax() == step
        observation, reward, *_, info = env.step(op)
        assert "index" not in info
        assert reward == 0
        assert observation["budget_left"] == 1
    observation, reward, _, _, info = env.step(3)
    assert info["index"] == index_of((3, 1, 0, 4, 2, 3))
    assert (info["epoch"], reward) == (1, info["accuracy"])
    assert observation["phase"].argmax() == 6
    assert info["action_mask"].tolist() == [1, 0, 1, 1, 0]
    assert observation["cell"][36:].tolist() == [np.float32(info["accuracy"]), 0, 0, 1, 0, 0]
    first = info["accuracy"]
    observation, reward, _, _, info = env.step(3)
    assert (info["epoch"], info["incumbent_epoch"]) == (8, 8)
    assert reward == pytest.approx(info["accuracy"] - first)
    assert info["action_mask"].tolist() == [1, 0, 0, 0, 0]
    assert observation["cell"][36:].tolist() == pytest.approx([first, 0, info["accuracy"], 1, 0, 1])
    assert observation["history"][:3, 30].tolist() == pytest.approx([info["accuracy"], first, 0])
    assert observation["history"][:3, -1].tolist() == [1, 1, 0]
    observation, reward, *_, info = env.step(4)  # means nothing here, and so leaves the cell
    assert "index" not in info
    assert observation["phase"].argmax() == 0
    assert observation["cell"][:36].reshape(6, 6).argmax(axis=1).tolist() == [5] * 6


def test_the_default_budget_is_twenty_full_trainings():
    env = gym.make(ID)
    table = open_table("mini")
    cost = table.train_seconds("gratings") + table.eval_seconds("gratings", split="valid")
    assert env.unwrapped.problem.tasks[0].budget == pytest.approx(20 * cost.mean())


def test_tasks_are_drawn_alike_and_in_turn():
    tasks = [{"epoch": 8}, {"epoch": 7}, {"epoch": 6}]

    def drawn(env, count):
        epochs = []
        for number in range(count):
            env.reset(**({"seed": 1} if number == 0 else {}))
            while "index" not in (info := env.step(np.array([3, 3, 3, 3, 3, 3, 2]))[4]):
                pass
            epochs.append(info["epoch"])
        return epochs

    uniform = np.bincount(drawn(gym.make(ID, tasks=tasks, action="joint"), 300))[6:]
    assert abs(uniform - 100).max() < 4 * np.sqrt(300 * 2 / 9)
    turns = gym.make(ID, tasks=tasks, task_sampling="round-robin", action="joint")
    assert drawn(turns, 5) == [8, 7, 6, 8, 7]
    turns.reset(options={"task": 2})
    assert turns.step(np.array([3, 3, 3, 3, 3, 3, 2]))[4]["task"] == 2


def test_perturbed_tasks_move_similar_cells_alike():
    cells = np.random.default_rng(0).integers(15_625, size=400)
    near = [Cell(int(cell)).neighbors()[0].index for cell in cells]
    far = np.random.default_rng(1).permutation(cells)

    def moved(which, seed):
        env = gym.make(ID, perturb=0.02, action="joint", budget=1e6).unwrapped
        plain = gym.make(ID, action="joint", budget=1e6).unwrapped
        env.reset(seed=seed)
        plain.reset(seed=seed)
        actions = [np.array([*Cell(int(cell)).ops, 2]) for cell in which]
        return np.array([env.step(a)[4]["accuracy"] - plain.step(a)[4]["accuracy"] for a in actions])

    by_seed = [moved(cells, seed) for seed in range(3)]
    assert np.std(by_seed) == pytest.approx(0.02, rel=0.3)
    assert abs(np.corrcoef(by_seed)[0, 1]) < 0.5
    assert np.corrcoef(by_seed[0], moved(near, 0))[0, 1] > 0.6
    assert abs(np.corrcoef(by_seed[0], moved(far, 0))[0, 1]) < 0.2
    assert np.array_equal(by_seed[0], moved(cells, 0))


def test_a_cell_beyond_a_limit_is_never_recommended_before_one_within():
    env = gym.make(ID, action="joint", objectives={"params": "<=60000"})
    env.reset(seed=0)
    rng, params = np.random.default_rng(0), open_table("mini").params("gratings")
    ended, within = False, []
    while not ended:
        _, _, ended, _, info = env.step(np.array([*rng.integers(5, size=6), 2]))
        within += [info["index"]] if info["observed"] and params[info["index"]] <= 60_000 else []
        assert info["reward_vector"].tolist() == [-float(params[info["index"]]) * info["observed"]]
        if within:
            assert params[info["incumbent_index"]] <= 60_000
    assert within


def test_a_picture_shows_what_was_seen_of_the_cell_in_hand(noisy):
    env = gym.make(ID, table=noisy, dataset="synth", charge="fresh", budget=30.0, history=0, render_mode="ansi")
    env.reset(seed=0)
    for op in (3, 1, 0, 4, 2, 3):
        *_, first = env.step(op)
    assert f"{100 * first['accuracy']:.2f} % at epoch {first['epoch']}\n" in env.render()
    for op in (0, 1, 1, 1, 1, 1, 1, 0, 3, 1, 0, 4, 2, 3):
        env.step(op)
    assert f"{100 * first['accuracy']:.2f} % at epoch {first['epoch']}\n" in env.render()


def test_the_option_budget_is_checked_as_the_argument_is():
    env = gym.make(ID)
    for budget, said in ((0, "number of seconds above 0"), (1e-6, "buys no query"), ("much", "number of seconds")):
        with pytest.raises(NB201Error, match=said):
            env.reset(options={"budget": budget})
    env.reset(options={"budget": 7.0})
    assert env.unwrapped.problem.tasks[0].budget == 7.0
    env.reset(options={"budget": None})
    assert env.unwrapped.problem.tasks[0].budget > 10


@pytest.mark.parametrize("bad", [{"task": 99}, {"task": "first"}, {"trial_seed": -1}])
@pytest.mark.parametrize("lanes", [None, 2])
def test_a_refused_reset_leaves_the_search_as_it_was(bad, lanes):
    tasks = {"tasks": [{"table": "mini", "dataset": name} for name in ("digits", "gratings")]}
    if lanes is None:
        env, act = gym.make("NB201/Search-v0", **tasks), lambda op: op
    else:
        env, act = gym.make_vec("NB201/Search-v0", num_envs=lanes, **tasks), lambda op: np.full(lanes, op)
    env.reset(seed=0)
    for op in (3, 3, 3, 3, 3, 3, 0, 1, 1, 1, 1, 1):
        env.step(act(op))
    with pytest.raises(NB201Error):
        env.reset(options={"budget": 50.0, **bad})
    assert np.all(env.step(act(1))[4]["n_queries"] == 2)
