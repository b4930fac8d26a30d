"""The vector environment against Gymnasium's SyncVectorEnv over the single one, step by step."""

import pickle

import gymnasium as gym
import numpy as np
import pytest

import nb201_env  # noqa: F401 (registers the environments)
from nb201_env import BudgetExhaustedError, NB201Error, open_table
from nb201_env.envs.masks import allowed_cells

ID = "NB201/BuildCell-v0"
MODES = ("SameStep", "NextStep", "Disabled")
LANES = 5
VARIANTS = [
    {},
    {"dataset": "cifar100", "trial": "mean"},
    {"dataset": "ImageNet16-120", "trial": 0},
    {"observation": "index"},
    {"observation": "dict", "mask": "connected"},
    {"observation": "dict", "reward": "improvement", "budget": 15_000},
    {"reward": "improvement", "budget": 12_000, "overrun": "stop-after"},
    {"reward": "log-error", "mask": "params<=400000"},
    {"reward": "regret", "mask": "canonical"},
    {"observation": "index", "budget": 9_000},
    {"mask": "unseen", "max_queries": 9},
    {"charge": "cached", "max_queries": 6, "mask": "unseen"},
    {"charge": "resume", "budget": 12_000, "max_queries": 7, "reward": "improvement"},
]


def vector(**kwargs):
    return gym.make_vec(ID, num_envs=LANES, vectorization_mode="vector_entry_point", **kwargs)


def sync(mode, **kwargs):
    return gym.make_vec(ID, num_envs=LANES, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **kwargs)


def assert_same(ours, theirs, rows=None):
    """Arrays, dicts of arrays with masks, or object arrays of observations are equal where the mask says they count."""
    if isinstance(ours, dict):
        keys = set(theirs) - {"arch", "_arch"}
        assert set(ours) == keys
        for key in keys:
            mask = theirs.get(f"_{key}", rows)
            assert_same(ours[key], theirs[key], mask)
        return
    theirs = np.asarray(theirs)
    if rows is not None and theirs.dtype == object and not isinstance(theirs[rows.argmax()], str):
        for lane in np.flatnonzero(rows):
            one = {key: value[lane] for key, value in ours.items()} if isinstance(ours, dict) else ours[lane]
            np.testing.assert_array_equal(one, theirs[lane])
        return
    rows = slice(None) if rows is None else rows
    if np.asarray(ours).dtype.kind == "f":
        np.testing.assert_allclose(ours[rows], theirs[rows], rtol=1e-15)
    else:
        np.testing.assert_array_equal(ours[rows], theirs[rows])


def assert_same_info(ours, theirs):
    theirs, ours = dict(theirs), dict(ours)
    mask = theirs.get("_final_obs")
    if mask is not None:
        final_ours, final_theirs = ours.pop("final_obs"), theirs.pop("final_obs")
        for lane in np.flatnonzero(mask):
            if isinstance(final_theirs[lane], dict):
                for key, value in final_theirs[lane].items():
                    np.testing.assert_array_equal(final_ours[key][lane], value)
            else:
                np.testing.assert_array_equal(final_ours[lane], final_theirs[lane])
    assert_same(ours, theirs)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kwargs", VARIANTS, ids=str)
def test_equal_to_sync_vector_env(kwargs, mode):
    ours, theirs = vector(autoreset_mode=mode, **kwargs), sync(mode, **kwargs)
    rng = np.random.default_rng(0)
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.observation_space == theirs.observation_space
    for a, b in zip(ours.reset(seed=3), theirs.reset(seed=3), strict=True):
        assert_same(a, b)
    for step in range(60):
        actions = rng.integers(5, size=LANES) if step % 12 else np.full(LANES, 3)
        got, expected = ours.step(actions), theirs.step(actions)
        for a, b in zip(got[:4], expected[:4], strict=True):
            assert_same(a, b)
        assert_same_info(got[4], expected[4])
        done = expected[2] | expected[3]
        if mode == "Disabled" and (done.any() or step == 20):
            mask = done if step != 20 else done | (np.arange(LANES) < 2)
            options = {"reset_mask": mask}
            results = ours.reset(options=options), theirs.reset(options=dict(options))
            assert_same(results[0][0], results[1][0])
            assert_same(results[0][1], results[1][1])
        if step == 40:
            options = {"new_search": True}
            for a, b in zip(ours.reset(options=options), theirs.reset(options=dict(options)), strict=True):
                assert_same(a, b)


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
    allowed = allowed_cells(mask, open_table("published"), "cifar10")
    for step in range(60):
        legal = info["action_mask"]
        actions = (legal * rng.random(legal.shape)).argmax(axis=1)
        *_, info = env.step(actions)
        if step % 6 == 5:
            assert allowed[info["final_info"]["index"]].all()
            assert mask != "unseen" or not info["final_info"]["repeat"].any()


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"autoreset_mode": "sometimes"}, "autoreset_mode must be one of"),
        ({"budget_scope": "mine"}, "budget_scope must be one of"),
        ({"render_mode": "ansi"}, "draws nothing"),
        ({"mask": "big"}, "mask must be one of"),
        ({"mask": "params<=1"}, "leaves no cell"),
        ({"split": "test"}, "must not see"),
        ({"epoch": 7}, "epoch"),
        ({"dataset": "mnist"}, "mnist"),
    ],
)
def test_bad_arguments(kwargs, said):
    with pytest.raises(NB201Error, match=said):
        vector(**kwargs)


@pytest.mark.parametrize("actions", [[0] * 4, [0.5] * 5, [5] * 5, [-1] * 5, [[0] * 5], [True] * 5])
def test_bad_actions(actions):
    env = vector()
    env.reset(seed=0)
    with pytest.raises(NB201Error, match="5 integers from 0 to 4"):
        env.step(actions)


@pytest.mark.parametrize("seed", ["one", 1.5, True, [1, 2], [0, 1, 2, 3, -4], [0, 1, 2, 3, "4"]])
def test_bad_seeds(seed):
    with pytest.raises(NB201Error, match="seed must be an integer from 0, or 5 of them"):
        vector().reset(seed=seed)


def test_steps_out_of_turn():
    env = vector(autoreset_mode="Disabled")
    with pytest.raises(NB201Error, match="call reset"):
        env.step([0] * 5)
    env.reset(seed=0)
    for _ in range(6):
        env.step([0] * 5)
    with pytest.raises(NB201Error, match="call reset"):
        env.step([0] * 5)
    with pytest.raises(NB201Error, match="reset_mask"):
        env.reset(options={"reset_mask": np.zeros(5, bool)})


def test_exhausted_lanes_can_raise():
    env = vector(max_queries=1, on_exhausted="raise")
    env.reset(seed=0)
    with pytest.raises(BudgetExhaustedError):
        for _ in range(6):
            env.step([0] * 5)


def test_specs_survive_json_and_pickle():
    spec = vector(mask="unseen", autoreset_mode="NextStep").spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    again = gym.make_vec(type(spec).from_json(spec.to_json()), num_envs=2)
    assert again.autoreset_mode.value == "NextStep"
