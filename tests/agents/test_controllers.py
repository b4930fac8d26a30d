"""Controllers: what they see and choose, their training, their files, and how they search."""

import hashlib
import json
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from nb201_agents.harness.bench import bench
from nb201_agents.harness.results import read_runs
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.validate import validate
from nb201_agents.searcher import Task, make_agent
from nb201_agents.testing import check_searcher

from nb201_env import ALL_OPS, NUM_CELLS, Evaluation, NB201Error, open_table
from nb201_env.cli import main
from nb201_env.integrations.devices import one_thread

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from nb201_agents.controllers.agent import SHIPPED, Controller, shown_history  # noqa: E402
from nb201_agents.controllers.files import read_checkpoint, read_controller, write_checkpoint  # noqa: E402
from nb201_agents.controllers.policy import Bought, Choice, Policy, Seen  # noqa: E402
from nb201_agents.controllers.ppo import CODES, GOOD, Lanes, Recipe, Step, Training, advantages_of, good_cells  # noqa: E402
from nb201_agents.controllers.pretrain import pretrain  # noqa: E402

TINY = Recipe((("mini", "gratings"),), batches=2, updates=2, tasks=4, lanes=8, steps=4, queries=6, minibatch=16)
RUNGS = replace(TINY, rungs=(1, 3, 8), trainings=5.0)


@pytest.fixture(autouse=True)
def _on_one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module", params=["one rung", "three rungs"])
def file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("controllers") / "c.safetensors"
    pretrain(TINY if request.param == "one rung" else RUNGS, path)
    return path


def random_policy(rungs, seed=0):
    torch.manual_seed(seed)
    policy = Policy(rungs)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return policy


def seen_of(rungs, count=16, length=5):
    rng = np.random.default_rng(0)
    told = [
        [
            (int(rng.integers(NUM_CELLS)), int(rng.integers(rungs)), rng.random())
            for _ in range(rng.integers(length + 1))
        ]
        for _ in range(count)
    ]
    history = np.stack([shown_history(one, length, rungs) for one in told])
    return Seen(torch.rand(count, 1), torch.from_numpy(history))


def bought_of(count, rungs):
    """The same purchases in each of some searches, rungs by code."""
    codes, highest = torch.tensor(list(rungs), dtype=torch.long), torch.tensor(list(rungs.values()), dtype=torch.long)
    return Bought(codes.expand(count, -1), highest.expand(count, -1))


# --- the policy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rungs", [1, 3])
def test_what_is_judged_is_what_was_chosen(rungs):
    policy, seen = random_policy(rungs), seen_of(rungs)
    choice = policy.choose(seen, bought_of(16, {}), torch.Generator().manual_seed(1))
    log_prob, entropy, value = policy.judge(seen, choice.actions, choice.allowed)
    torch.testing.assert_close(log_prob, choice.log_prob)
    torch.testing.assert_close(value, choice.value)
    torch.testing.assert_close(policy.value(seen), choice.value)
    assert choice.actions.shape == (16, 6 if rungs == 1 else 7)
    assert ((entropy > 0) & (entropy < 6 * np.log(5) + np.log(rungs) + 1e-3)).all()


def test_the_likelihood_of_cells_is_that_of_their_ops():
    policy, seen = random_policy(1), seen_of(1)
    cells = torch.randint(5, (16, 6), generator=torch.Generator().manual_seed(2))
    log_prob, _, _ = policy.judge(seen, cells, torch.ones(16, 6, 5, dtype=torch.bool))
    torch.testing.assert_close(policy.likelihood(seen, cells), log_prob)


def test_the_order_of_the_history_does_not_matter():
    policy, seen = random_policy(1), seen_of(1)
    turned = Seen(seen.left, seen.history.flip(1))
    torch.testing.assert_close(policy.value(seen), policy.value(turned))


@pytest.mark.parametrize("rungs", [1, 3])
def test_only_what_is_left_is_chosen(rungs):
    policy, left = random_policy(rungs), {1_000, 1_001, 9_999}
    closed = dict.fromkeys(set(range(NUM_CELLS)) - left, rungs)
    bought = bought_of(64, closed | (dict.fromkeys(left, rungs - 1) if rungs > 1 else {}))
    choice = policy.choose(seen_of(rungs, 64), bought, torch.Generator().manual_seed(0))
    chosen = {int("".join(map(str, ops)), 5) for ops in choice.actions[:, :6].tolist()}
    assert chosen == left
    if rungs > 1:
        assert set(choice.actions[:, 6].tolist()) == {2}
    everything = bought_of(64, dict.fromkeys(range(NUM_CELLS), rungs))
    nothing_left = policy.choose(seen_of(rungs, 64), everything, torch.Generator().manual_seed(0))
    assert len({tuple(ops) for ops in nothing_left.actions.tolist()}) > 1


def test_codes_are_the_ops_as_digits():
    for cell in (0, 1, 6_111, 15_624):
        assert CODES[cell] == int("".join(map(str, ALL_OPS[cell].tolist())), 5)


def test_an_agent_sees_what_its_training_showed():
    env = gym.make_vec("NB201/Search-v0", num_envs=1, dataset="gratings", rungs=[1, 8], action="joint",
                       observation="dict", history=7, standardise=True, autoreset_mode="Disabled")  # fmt: skip
    observation, _ = env.reset(seed=0)
    rng, told = np.random.default_rng(0), []
    for _ in range(15):
        cell, rung = int(rng.integers(NUM_CELLS)), int(rng.integers(2))
        observation, _, ended, _, info = env.step(np.array([[*ALL_OPS[cell], rung]]))
        if ended[0]:
            break
        told.append((cell, rung, float(info["accuracy"][0])))
        np.testing.assert_allclose(observation["history"][0], shown_history(told, 7, 2), atol=1e-5)
    assert len(told) > 8


# --- training -------------------------------------------------------------------------------------------------------


def test_advantages_are_those_of_the_sum_over_steps():
    rng = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(5, 3, generator=rng), torch.randn(6, 3, generator=rng)
    ended = torch.zeros(5, 3, dtype=torch.bool)
    ended[2, 1] = ended[4, 0] = True
    nothing = torch.zeros(0)
    steps = [Step(Seen(nothing, nothing), Choice(nothing, nothing, nothing, values[t]), rewards[t], ended[t], nothing)
             for t in range(5)]  # fmt: skip
    found = advantages_of(steps, values[5], 0.9, 0.8).view(5, 3)
    for lane in range(3):
        for start in range(5):
            expected, weight = 0.0, 1.0
            for t in range(start, 5):
                over = bool(ended[t, lane])
                expected += weight * float(rewards[t, lane] + 0.9 * values[t + 1, lane] * (not over) - values[t, lane])
                weight *= 0.9 * 0.8
                if over:
                    break
            assert float(found[start, lane]) == pytest.approx(expected, abs=1e-5)


def test_lanes_remember_what_each_search_has_seen():
    policy, lanes = random_policy(3), Lanes(RUNGS, 0, torch.device("cpu"))
    generator, mine = torch.Generator().manual_seed(0), [{} for _ in range(RUNGS.lanes)]
    ends = 0
    for _ in range(40):
        step = lanes.step(policy, generator)
        for lane, actions in enumerate(step.choice.actions.tolist()):
            code = int("".join(map(str, actions[:6])), 5)
            mine[lane][code] = max(mine[lane].get(code, 0), actions[6] + 1)
            if step.ended[lane]:
                mine[lane], ends = {}, ends + 1
            held = lanes._bought.codes[lane], lanes._bought.rungs[lane]
            for code, rung in mine[lane].items():
                assert held[1][held[0] == code].max() == rung
            assert set(held[0].tolist()) - {-1} == set(mine[lane])
    assert ends > 3
    assert len(lanes.take_returns()) == ends
    assert lanes.take_returns() == []


@pytest.mark.parametrize("sight", [0, 2])
def test_a_policy_sees_no_more_than_its_recipe_says(sight, tmp_path):
    recipe, file = replace(TINY, sight=sight), tmp_path / "short.safetensors"
    pretrain(recipe, file)
    assert Lanes(recipe, 0, torch.device("cpu")).seen().history.shape[1] == sight
    asked = []
    for first in (0.1, 0.9):  # the same search, but for its first accuracy
        agent = Controller(Task("gratings", 8, (8,)), np.random.default_rng(0), str(file))
        asked.append([])
        for number in range(9):
            query = agent.ask()
            asked[-1].append(query.cell)
            worth = first if number == 0 else 0.5 + 0.01 * number
            agent.tell(Evaluation(query.cell, 8, worth, 1.0, 0, True, False, worth))
    assert asked[0][0] == asked[1][0]
    assert asked[0] == asked[1] or sight > 0


def test_a_policy_is_guided_to_the_best_cells_of_the_task_in_hand():
    recipe = replace(TINY, queries=3, lanes=12, law=(("noise", (1e-9, 1e-9)),))
    best, env = good_cells(recipe, 0), recipe.env(0)
    assert best.shape == (4, GOOD, 6)
    env.reset(seed=0)
    none = np.zeros((12, 1), np.int64)
    for number in range(3):
        infos = env.step(np.zeros((12, 7), np.int64))[-1]
        paid = env.step(np.concatenate((best[infos["task"], 0], none), axis=1))[1]
        assert (paid > 0).all()
        others = ALL_OPS[number * 12 : number * 12 + 12].astype(np.int64)
        _, paid, ended, _, _ = env.step(np.concatenate((others, none), axis=1))
        assert ended.all()
        np.testing.assert_array_equal(paid, 0.0)  # nothing is better
    lanes, generator = Lanes(recipe, 0, torch.device("cpu")), torch.Generator().manual_seed(0)
    for _ in range(6):
        step = lanes.step(random_policy(1), generator)
        assert {tuple(ops) for ops in step.good.tolist()} <= {tuple(ops) for ops in best.reshape(-1, 6).tolist()}
    assert recipe.guide_after(0.25) == recipe.guide / 2
    assert recipe.guide_after(0.5) == recipe.guide_after(1.0) == 0.0
    assert good_cells(recipe, 1).shape == (4, 1, 6)  # none is needed after the guide


def test_it_learns():
    recipe = Recipe((("mini", "gratings"),), batches=1, updates=16, tasks=1, lanes=64, steps=12, learning_rate=3e-3)
    training, returns = Training.begin(recipe), []
    training.train_batch(lambda update, value: returns.append(value))
    ended = [value for value in returns if not np.isnan(value)]  # searches of 24 queries, two updates each
    assert len(ended) == 8
    assert np.mean(ended[-2:]) > np.mean(ended[:2]) + 0.3


def test_an_interrupted_training_comes_to_the_same_file(tmp_path):
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    said = []
    pretrain(RUNGS, whole, progress=lambda done, total, what: said.append((done, total)))
    assert said == [(done, 4) for done in (1, 2, 3, 4)]

    def interrupt(done, total, what):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(RUNGS, cut, progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir() if "cut" in path.name) == ["cut.safetensors.checkpoint"]
    with pytest.raises(NB201Error, match="belongs to another recipe"):
        pretrain(replace(RUNGS, seed=1), cut)
    pretrain(RUNGS, cut)
    assert cut.read_bytes() == whole.read_bytes()
    card = json.loads((tmp_path / "cut.safetensors.json").read_text())
    assert (card["queries"], len(card["curve"])) == (2 * 2 * 8 * 4, 2)
    assert not (tmp_path / "cut.safetensors.checkpoint").exists()
    with pytest.raises(NB201Error, match="exists already"):
        pretrain(RUNGS, whole)


def test_seeds_search_different_tasks():
    one, other = (replace(TINY, seed=seed).env(0).unwrapped.problem.tasks[0].column for seed in (0, 1))
    assert not np.array_equal(one.mean, other.mean)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": ()}, "name at least one source"),
        ({"sources": (("mini", "cifar10"),)}, "cifar10"),
        ({"batches": 0}, "batches must be a whole number at least 1"),
        ({"seed": -1}, "seed must be"),
        ({"trainings": 0.0}, "trainings must be a finite number above 0"),
        ({"law": (("colour", 1),)}, "colour"),
        ({"rungs": (1, 9)}, "9"),
    ],
)
def test_bad_recipes(tmp_path, changes, said):
    with pytest.raises(NB201Error, match=said):
        pretrain(replace(TINY, **changes), tmp_path / "c.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_the_command(tmp_path, monkeypatch, capsys):
    for more, said in (
        (["--sources", "digits"], "--sources are TABLE:DATASET"),
        (["--law", "field=-1"], "field must be a finite number from 0"),
        (["--rungs", "a"], "--rungs takes epochs such as 1,3,8"),
        (["--device", "abacus"], "unknown device 'abacus'"),
    ):
        monkeypatch.setattr(sys, "argv", ["nb201", "pretrain", "--out", str(tmp_path / "c.safetensors"), *more])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


# --- files ----------------------------------------------------------------------------------------------------------


def test_damaged_and_foreign_files_are_refused_in_one_line(tmp_path):
    from safetensors.torch import load_file, save_file

    good, bad = tmp_path / "c.safetensors", tmp_path / "bad.safetensors"
    pretrain(TINY, good)
    content = good.read_bytes()
    rng = np.random.default_rng(0)
    for cut in (0, 7, 100, len(content) // 2, len(content) - 1):
        bad.write_bytes(content[:cut])
        with pytest.raises(NB201Error, match="is no controller of this version"):
            read_controller(bad)
    header = int.from_bytes(content[:8], "little") + 8
    for _ in range(60):
        flipped = bytearray(content)
        flipped[rng.integers(header)] ^= 1 << int(rng.integers(8))
        bad.write_bytes(flipped)
        with suppress(NB201Error):  # digits of a fingerprint or a number may be others
            read_controller(bad)
    tensors = load_file(good)
    from safetensors import safe_open

    with safe_open(good, "pt") as opened:
        about = json.loads(opened.metadata()["nb201"])

    def refused(tensors, about):
        save_file(tensors, bad, {"nb201": json.dumps(about)})
        with pytest.raises(NB201Error, match="is no controller of this version"):
            read_controller(bad)

    first = next(iter(tensors))
    refused({**tensors, first: tensors[first] * float("nan")}, about)
    refused({**tensors, first: tensors[first][:1]}, about)
    refused({name: one for name, one in tensors.items() if name != first}, about)
    refused(tensors, {**about, "format": "other"})
    for name, value in (("recipe", {}), ("recipe", None), ("recipe", {**about["recipe"], "rungs": [1, 3]}),
                        ("recipe", {**about["recipe"], "batches": "many"}), ("fingerprints", 3)):  # fmt: skip
        refused(tensors, {**about, name: value})
    save_file(tensors, bad)
    with pytest.raises(NB201Error, match="is no controller"):
        read_controller(bad)
    with pytest.raises(NB201Error, match="does not exist"):
        read_controller(tmp_path / "none.safetensors")


def test_a_checkpoint_of_nothing_learnt_or_of_other_weights_is_refused(tmp_path):
    path = tmp_path / "c.checkpoint"
    write_checkpoint(Training.begin(TINY), path)
    with pytest.raises(NB201Error, match="is damaged"):  # without moments there is nothing to go on from
        read_checkpoint(path, TINY, "cpu")


def test_a_controller_says_what_it_was_made_of(file):
    found = read_controller(file)
    assert found.fingerprints == {"mini": open_table("mini").fingerprint}
    assert found.recipe in (TINY, RUNGS)


# --- searching ------------------------------------------------------------------------------------------------------


def test_it_searches(file, tmp_path):
    rungs = read_controller(file).policy.rungs
    if rungs == 1:
        check_searcher(partial(Controller, file=str(file)))
    setup = Setup("mini", "digits", budget=60.0, charge="resume", rungs=None if rungs == 1 else (1, 3, 8))
    name = f"controller(file={file})"
    bench([name], [setup], 3, tmp_path / "one")
    bench([name], [setup], 3, tmp_path / "two", jobs=2)
    runs = read_runs(tmp_path / "one")["digits", name]
    assert runs[0].header["pretrained_on"] == ["gratings"]
    assert len({tuple(run.cell.tolist()) for run in runs}) == 3
    assert validate(tmp_path / "one") == []
    files = [next((tmp_path / folder / "digits").glob("controller*")).read_bytes() for folder in ("one", "two")]
    assert files[0] == files[1]


def test_a_controller_of_rungs_searches_where_there_are_fewer(tmp_path):
    path = tmp_path / "c.safetensors"
    pretrain(RUNGS, path)
    agent = Controller(Task("cifar10", 200, (200,)), np.random.default_rng(0), str(path))
    cells = []
    for _ in range(5):
        query = agent.ask()
        assert query.epoch == 200
        cells.append(query.cell)
        agent.tell(Evaluation(query.cell, 200, 0.5, 1.0, 0, True, False, 0.5))
    assert len(set(cells)) == 5  # one that was trained to the last rung does not come again


def test_the_controller_that_comes_with_the_package_is_that_of_the_protocol(tmp_path):
    controller, mini = read_controller(SHIPPED), open_table("mini")
    assert controller.fingerprints == {"mini": mini.fingerprint}
    assert {dataset for _, dataset in controller.recipe.sources} == set(mini.datasets)
    assert SHIPPED.stat().st_size < 2_000_000
    protocol = (Path(__file__).parents[2] / "docs" / "transfer.md").read_text(encoding="utf-8")
    assert f"| controller-0.safetensors | {hashlib.sha256(SHIPPED.read_bytes()).hexdigest()} |" in protocol
    bench(["controller"], [Setup("mini", "digits", max_queries=3)], 1, tmp_path)
    validate(tmp_path)


def test_more_rungs_than_a_controller_was_trained_for(file):
    rng = np.random.default_rng(0)
    with pytest.raises(NB201Error, match="the controller of the package was trained for searches of 1 rungs at most"):
        make_agent("controller", Task("digits", 8, (1, 2, 3, 8)), rng)
    with pytest.raises(NB201Error, match=r"was trained for searches of \d rungs at most, and this one has 4"):
        Controller(Task("digits", 8, (1, 2, 3, 8)), rng, file=str(file))


def test_cells_that_are_not_on_offer_are_not_asked_for(tmp_path):
    path = tmp_path / "c.safetensors"
    pretrain(TINY, path)
    present = np.zeros(NUM_CELLS, bool)
    present[[5, 77, 12_000]] = True
    agent = Controller(
        Task("cifar10", 200, (200,), present=present, start=(77, 6)), np.random.default_rng(0), str(path)
    )
    asked = []
    while (query := agent.ask()) is not None:
        asked.append(query.cell)
        agent.tell(Evaluation(query.cell, 200, 0.5, 1.0, 0, True, False, 0.5))
    assert asked[0] == 77
    assert sorted(asked) == [5, 77, 12_000]
