"""Tables that lack some cells: refused, or searched without them."""

import gymnasium as gym
import numpy as np
import pytest
from cases import BUILD, EDIT, MODES, SEARCH, assert_same, assert_same_info
from nb201_agents.harness.bench import bench
from nb201_agents.harness.results import read_runs
from nb201_agents.harness.run import run
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.truth import truth_of

from nb201_env import ALL_OPS, NUM_CELLS, Column, MissingDataError, NB201Error, Oracle, open_table
from nb201_env.tables.writer import TableWriter

THIRD = {"trial": 2, "missing": "mask"}  # of the published cells, 7,456 have no third trial
LACKING = 15_000


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """Two trials of four epochs; 15,000 cells have nothing, and some of the others lack an epoch or one trial."""
    path = tmp_path_factory.mktemp("tables") / "partial.zarr"
    rng = np.random.default_rng(0)
    correct = rng.integers(10, 90, (2, 4, NUM_CELLS))
    order = rng.permutation(NUM_CELLS)
    correct[:, :, order[:LACKING]] = -1
    correct[:, 0, order[LACKING : LACKING + 100]] = -1
    correct[1, :, order[LACKING + 100 : LACKING + 200]] = -1
    with TableWriter(path, "partial") as writer:
        writer.add_dataset("toy", num_classes=2, image_size=8)
        writer.add_training("toy", "4ep", "full", epochs=4, epoch_seconds=1 + rng.random(NUM_CELLS))
        writer.add_split("toy", "4ep", "full", "valid", images=100, epochs=range(1, 5), trial_seeds=[1, 2],
                         correct=correct, eval_seconds=np.full(NUM_CELLS, 0.1))  # fmt: skip
    return str(path)


CASES = [
    (BUILD, THIRD),
    (BUILD, {**THIRD, "mask": "unseen", "max_queries": 20, "reward": "regret"}),
    (BUILD, {**THIRD, "mask": "canonical", "observation": "dict"}),
    (EDIT, THIRD),
    (EDIT, {**THIRD, "mask": "unseen", "observation": "dict", "reward": "improvement", "budget": 20_000}),
    (SEARCH, {"table": "published", "dataset": "cifar10", "charge": "fresh", **THIRD}),
    (SEARCH, {"tasks": [{"table": "published", "dataset": "cifar100", "rungs": [200]},
                        {"table": "published", "dataset": "cifar10", "rungs": [200]}], "charge": "fresh", **THIRD}),
]  # fmt: skip
every_case = pytest.mark.parametrize(("name", "kwargs"), CASES, ids=range(len(CASES)))


def legal(env, rng):
    masks = env.unwrapped.action_masks()
    return (masks * rng.random(masks.shape)).argmax(axis=-1)


def test_a_partial_table_is_refused_with_the_way_out(partial):
    message = (
        "15100 of 15625 cells have no value on toy / 4ep / valid at some of the epochs 1, 2, 4: complete the "
        "table, or search the cells that are there with missing='mask'"
    )
    with pytest.raises(MissingDataError, match=message):
        Oracle.open(partial, "toy", rungs=[1, 2, 4])
    for name in (BUILD, EDIT, SEARCH):
        with pytest.raises(MissingDataError, match="missing='mask'"):
            gym.make(name, table=partial, dataset="toy")


def test_a_column_knows_which_cells_it_has_at_every_rung(partial):
    last = Column.open(partial, "toy", missing="mask")
    assert np.count_nonzero(last.present) == NUM_CELLS - LACKING
    curves = Column.open(partial, "toy", rungs=[1, 4], missing="mask")
    assert np.count_nonzero(curves.present) == NUM_CELLS - LACKING - 100
    second = Column.open(partial, "toy", rungs=[1, 4], trial=1, missing="mask")
    assert np.count_nonzero(second.present) == NUM_CELLS - LACKING - 200
    assert (np.isnan(curves.mean) == ~curves.present).all()
    with pytest.raises(MissingDataError, match="15625 of 15625 cells have no value on toy"):
        Column.open(partial_of_nothing(partial), "toy", missing="mask")


def partial_of_nothing(partial):
    path = partial.replace("partial.zarr", "nothing.zarr")
    with TableWriter(path, "nothing") as writer:
        writer.add_dataset("toy", num_classes=2, image_size=8)
        writer.add_training("toy", "4ep", "full", epochs=1, epoch_seconds=np.ones(NUM_CELLS))
        writer.add_split("toy", "4ep", "full", "valid", images=100, epochs=[1], correct=np.full((1, 1, NUM_CELLS), -1))
    return path


def test_an_absent_cell_is_refused_as_a_query(partial):
    oracle = Oracle.open(partial, "toy", missing="mask")
    present = oracle.column.present
    absent, there = int(np.flatnonzero(~present)[0]), np.flatnonzero(present)[:3]
    with pytest.raises(MissingDataError, match=f"cell {absent} is not on offer"):
        oracle.query(absent)
    with pytest.raises(MissingDataError, match=f"cell {absent} is not on offer"):
        oracle.evaluate([*there, absent])
    assert oracle.n_queries == 0
    assert oracle.evaluate(there).observed.all()


@every_case
def test_who_follows_the_mask_meets_no_absent_cell(name, kwargs):
    env, rng = gym.make(name, **kwargs), np.random.default_rng(0)
    env.reset(seed=0)
    queries = 0
    for _ in range(300):
        *_, terminated, truncated, info = env.step(legal(env, rng))
        queries += info.get("observed", False)
        if terminated or truncated:
            env.reset()
    assert queries > 5


@pytest.mark.parametrize("mode", MODES)
@every_case
def test_lanes_are_equal_to_sync_vector_env(name, kwargs, mode):
    ours = gym.make_vec(name, 4, "vector_entry_point", autoreset_mode=mode, **kwargs)
    theirs = gym.make_vec(name, 4, "sync", vector_kwargs={"autoreset_mode": mode}, **kwargs)
    for a, b in zip(ours.reset(seed=3), theirs.reset(seed=3), strict=True):
        assert_same(a, b)
    rng = np.random.default_rng(0)
    for _ in range(80):
        actions = legal(ours, rng)
        got, expected = ours.step(actions), theirs.step(actions)
        for a, b in zip(got[:4], expected[:4], strict=True):
            assert_same(a, b)
        assert_same_info(got[4], expected[4])
        done = expected[2] | expected[3]
        if mode == "Disabled" and done.any():
            for env in (ours, theirs):
                env.reset(options={"reset_mask": done.copy()})


def test_who_does_not_follow_the_mask_is_told():
    absent = int(np.flatnonzero(~Column.open("published", "cifar10", **THIRD).present)[0])
    single, lanes = gym.make(BUILD, **THIRD), gym.make_vec(BUILD, num_envs=2, **THIRD)
    for env, actions in ((single, ALL_OPS[absent]), (lanes, ALL_OPS[[absent, absent]].T)):
        env.reset(seed=0)
        for action in actions[:-1]:
            env.step(action)
        with pytest.raises(MissingDataError, match=f"cell {absent} is not on offer"):
            env.step(actions[-1])
    with pytest.raises(MissingDataError, match="not on offer"):
        gym.make(EDIT, **THIRD).reset(options={"start": absent})


def test_absent_cells_are_no_optimum():
    env = gym.make(BUILD, reward="regret", **THIRD)
    column = env.unwrapped.problem.column
    table = open_table("published").accuracy("cifar10")
    best = np.where(column.present, table, 0).max()
    assert best < table.max() or column.present[table.argmax()]
    worst = column.accuracy[0, :, 0].astype(np.float64) - float(best)
    np.testing.assert_allclose(env.unwrapped.problem.reward[column.present, 0], worst[column.present], rtol=1e-6)


@pytest.mark.parametrize("agent", ["random", "params", "rea", "rea-50", "local-search", "reinforce", "maskable-ppo"])
def test_agents_search_what_is_there(agent, partial):
    if agent == "maskable-ppo":
        pytest.importorskip("sb3_contrib")
    setup = Setup(table=partial, dataset="toy", max_queries=120, missing="mask")
    present = Column.open(partial, "toy", missing="mask").present
    header, results = run(agent, setup, 0)
    assert header["env"]["kwargs"]["missing"] == "mask"
    assert len(results) == 120
    assert present[[result.index for result in results]].all()


def test_a_comparison_on_a_partial_table(partial, tmp_path):
    setup = Setup(table=partial, dataset="toy", max_queries=30, missing="mask")
    bench(["random"], [setup], 3, tmp_path)
    found = read_runs(tmp_path)["toy", "random"][0]
    truth = truth_of(found)
    assert np.isfinite(truth.regret(found)).all()
    assert truth.regret(found).min() >= 0
    with pytest.raises(NB201Error, match="ppo heeds no mask"):
        bench(["ppo"], [setup], 3, tmp_path)


@pytest.mark.parametrize("apart", [False, True])
def test_lanes_go_on_after_a_refused_cell(partial, apart):
    env = gym.make_vec(BUILD, num_envs=2, table=partial, dataset="toy", missing="mask")
    column = Column.open(partial, "toy", missing="mask")
    absent, there = (ALL_OPS[np.flatnonzero(column.present == wanted)[0]] for wanted in (False, True))
    env.reset(seed=0)
    if apart:  # the second lane is an edge behind
        for op in there:
            env.step(np.array([op, op]))
        env.reset(options={"reset_mask": np.array([True, False])}, seed=1)
    for op in absent[:5]:
        env.step(np.array([op, op]))
    before = env.unwrapped.observe(np.arange(2)).copy()
    with pytest.raises(MissingDataError):
        env.step(np.array([absent[5], absent[5]]))
    np.testing.assert_array_equal(env.unwrapped.observe(np.arange(2)), before)
    env.reset(seed=0)
    for op in there:
        ended = env.step(np.array([op, op]))
    assert ended[2].all()
