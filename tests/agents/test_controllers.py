"""Controllers: what they see and choose, their training, their files, and how they search."""

import hashlib
import json
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
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

from nb201_env import ALL_OPS, NUM_CELLS, Column, Evaluation, NB201Error, open_table
from nb201_env.cli import main
from nb201_env.integrations.devices import one_thread

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from nb201_agents.controllers.agent import SHIPPED, Controller, shown_history  # noqa: E402
from nb201_agents.controllers.files import read_checkpoint, read_controller, write_checkpoint  # noqa: E402
from nb201_agents.controllers.policy import Bought, Choice, Policy, Seen  # noqa: E402
from nb201_agents.controllers.ppo import (  # noqa: E402
    CELL_OF,
    CODES,
    GOOD,
    OPS_OF,
    Lanes,
    Recipe,
    Step,
    Training,
    advantages_of,
    good_cells,
    known_scores,
)
from nb201_agents.controllers.pretrain import pretrain, pretrain_all  # noqa: E402
from nb201_agents.controllers.softmax import draw, judged  # noqa: E402

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


def random_policy(rungs, seed=0, scores=3):
    torch.manual_seed(seed)
    policy = Policy(torch.randn(scores, NUM_CELLS), rungs)
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
    return Seen(torch.rand(count, 1), torch.from_numpy(history), torch.ones(count, 3))


def bought_of(count, rungs):
    """The same purchases in each of some searches, rungs by code."""
    codes, highest = torch.tensor(list(rungs), dtype=torch.long), torch.tensor(list(rungs.values()), dtype=torch.long)
    return Bought(codes.expand(count, -1), highest.expand(count, -1))


# --- the policy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rungs", [1, 3])
def test_what_is_judged_is_what_was_chosen(rungs):
    policy, seen = random_policy(rungs), seen_of(rungs)
    choice = policy.choose(seen, bought_of(16, {7: 1, 9: rungs}), torch.Generator().manual_seed(1))
    log_prob, entropy, value, _ = policy.judge(seen, choice, choice.cells)
    torch.testing.assert_close(log_prob, choice.log_prob)
    torch.testing.assert_close(value, choice.value)
    torch.testing.assert_close(policy.value(seen), choice.value)
    assert choice.cells.shape == choice.rungs.shape == (16,)
    assert ((entropy > 0) & (entropy < np.log(NUM_CELLS) + np.log(rungs) + 1e-3)).all()


def test_scores_of_cells_are_sums_of_what_the_policy_is_said_to_weigh():
    policy, seen = random_policy(1), seen_of(1)
    seen = seen._replace(visible=torch.tensor([1.0, 0.0, 1.0]).expand(16, 3))
    found = policy._embedded(seen)
    scores, unlike = policy._scores(found, seen), policy.unlike.sigmoid()
    weights, of_ops, of_seen = (
        policy.of_scores(found.search),
        policy.of_ops(found.search),
        policy.of_seen(found.queries),
    )
    for cell in (0, 777, 15_624):
        ops = OPS_OF[cell]
        expected = (weights[:, 0] * policy.scores[0, cell]) + weights[:, 2] * policy.scores[2, cell]
        expected += sum(of_ops[:, edge * 5 + op] for edge, op in enumerate(ops))
        for row in range(16):
            for place in range(5):
                if found.is_there[row, place]:
                    other = found.cells[row, place].argmax(dim=1) != torch.from_numpy(ops)
                    alike = torch.where(other, unlike, torch.ones(())).prod(dim=1)
                    expected[row] += (of_seen[row, place] * alike).sum()
        torch.testing.assert_close(scores[:, cell], expected, rtol=1e-3, atol=1e-4)


def test_building_edge_by_edge_is_drawing_by_the_shares_of_cells():
    generator = torch.Generator().manual_seed(0)
    shares = torch.zeros(1, NUM_CELLS)
    shares[0, [3, 700, 701, 15_000]] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    drawn = draw(shares.expand(4_000, -1), generator)
    for cell, share in ((3, 0.1), (700, 0.2), (701, 0.3), (15_000, 0.4)):
        assert float((drawn == cell).double().mean()) == pytest.approx(share, abs=0.03)
    assert set(drawn.tolist()) == {3, 700, 701, 15_000}


def test_the_softmax_has_the_gradient_of_its_parts():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 30, dtype=torch.float64, generator=generator, requires_grad=True)
    cells, good = torch.randint(30, (2, 4), generator=generator)
    assert torch.autograd.gradcheck(lambda one: judged(one, cells, good), (scores,))
    plain = scores.log_softmax(dim=1)
    log_prob, entropy, likelihood = judged(scores, cells, good)
    torch.testing.assert_close(log_prob, plain.gather(1, cells[:, None])[:, 0])
    torch.testing.assert_close(entropy, -(plain.exp() * plain).sum(dim=1))
    torch.testing.assert_close(likelihood, plain.gather(1, good[:, None])[:, 0])


def test_a_policy_is_not_guided_to_what_it_cannot_choose():
    policy, seen = random_policy(1), seen_of(1)
    choice = policy.choose(seen, bought_of(16, {5: 1}), torch.Generator().manual_seed(0))
    assert (choice.cells != 5).all()
    likelihood = policy.judge(seen, choice, torch.full((16,), 5))[3]
    assert (likelihood == 0).all()
    policy.zero_grad()
    likelihood.sum().backward()
    assert all(one.grad is None or (one.grad == 0).all() for one in policy.parameters())


def test_what_is_hidden_is_not_seen():
    policy, seen = random_policy(1), seen_of(1)
    hidden = seen._replace(visible=torch.tensor([1.0, 0.0, 1.0]).expand(16, 3))
    value = policy.value(hidden)
    assert not torch.equal(value, policy.value(seen))
    policy.scores[1] = torch.randn(NUM_CELLS)
    torch.testing.assert_close(policy.value(hidden), value)
    assert not torch.equal(policy.value(seen), value)


def test_the_order_of_the_history_does_not_matter():
    policy, seen = random_policy(1), seen_of(1)
    turned = seen._replace(history=seen.history.flip(1))
    torch.testing.assert_close(policy.value(seen), policy.value(turned))


@pytest.mark.parametrize("rungs", [1, 3])
def test_only_what_is_left_is_chosen(rungs):
    policy, left = random_policy(rungs), {1_000, 1_001, 9_999}
    closed = dict.fromkeys(set(range(NUM_CELLS)) - left, rungs)
    bought = bought_of(64, closed | (dict.fromkeys(left, rungs - 1) if rungs > 1 else {}))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter *= 0.3  # so that it has no favourite among the three
    choice = policy.choose(seen_of(rungs, 64), bought, torch.Generator().manual_seed(0))
    assert set(choice.cells.tolist()) <= left
    assert len(set(choice.cells.tolist())) > 1
    if rungs > 1:
        assert set(choice.rungs.tolist()) == {2}
    everything = bought_of(64, dict.fromkeys(range(NUM_CELLS), rungs))
    nothing_left = policy.choose(seen_of(rungs, 64), everything, torch.Generator().manual_seed(0))
    assert len(set(nothing_left.cells.tolist())) > 1


def test_codes_are_the_ops_as_digits():
    for cell in (0, 1, 6_111, 15_624):
        assert CODES[cell] == int("".join(map(str, ALL_OPS[cell].tolist())), 5)
        assert CELL_OF[CODES[cell]] == cell
        np.testing.assert_array_equal(OPS_OF[CODES[cell]], ALL_OPS[cell])


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
    steps = [
        Step(Seen(*[nothing] * 3), Choice(*[nothing] * 5, values[t]), rewards[t], ended[t], nothing) for t in range(5)
    ]
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
    policy, lanes = random_policy(3, scores=2), Lanes(RUNGS, 0, torch.device("cpu"))
    generator, mine = torch.Generator().manual_seed(0), [{} for _ in range(RUNGS.lanes)]
    ends = 0
    for _ in range(40):
        step = lanes.step(policy, generator)
        for lane, (code, rung) in enumerate(zip(step.choice.cells.tolist(), step.choice.rungs.tolist(), strict=True)):
            mine[lane][code] = max(mine[lane].get(code, 0), rung + 1)
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
    assert best.shape == (4, GOOD)
    env.reset(seed=0)
    none = np.zeros((12, 1), np.int64)
    for number in range(3):
        infos = env.step(np.zeros((12, 7), np.int64))[-1]
        paid = env.step(np.concatenate((OPS_OF[best[infos["task"], 0]], none), axis=1))[1]
        assert (paid > 0).all()
        others = ALL_OPS[number * 12 : number * 12 + 12].astype(np.int64)
        _, paid, ended, _, _ = env.step(np.concatenate((others, none), axis=1))
        assert ended.all()
        np.testing.assert_array_equal(paid, 0.0)  # nothing is better
    lanes, generator = Lanes(recipe, 0, torch.device("cpu")), torch.Generator().manual_seed(0)
    for _ in range(6):
        step = lanes.step(random_policy(1, scores=2), generator)
        assert set(step.good.tolist()) <= set(best.reshape(-1).tolist())
    assert recipe.guide_after(0.25) == recipe.guide / 2
    assert recipe.guide_after(0.5) == recipe.guide_after(1.0) == 0.0
    assert good_cells(recipe, 1).shape == (4, 1)  # none is needed after the guide


def test_some_searches_are_not_shown_a_source():
    sources = (("mini", "gratings"), ("mini", "digits"))
    recipe = replace(TINY, sources=sources, hide=0.5, lanes=64, queries=4)
    lanes, generator = Lanes(recipe, 0, torch.device("cpu")), torch.Generator().manual_seed(0)
    steps = [lanes.step(random_policy(1), generator) for _ in range(20)]
    for before, after in pairwise(steps):
        goes_on = ~before.ended
        assert torch.equal(after.seen.visible[goes_on], before.seen.visible[goes_on])
    every = torch.cat([step.seen.visible for step in steps])
    assert (every[:, 2] == 1).all()  # parameters are always shown
    assert float((every[:, :2] == 0).any(dim=1).float().mean()) == pytest.approx(0.5, abs=0.15)
    assert ((every == 0).sum(dim=1) <= 1).all()
    assert Lanes(replace(recipe, hide=0.0), 0, torch.device("cpu")).seen().visible.min() == 1


@pytest.mark.parametrize(
    ("law", "count"), [({}, 2), ({"sources": 0}, 1), ({"params": 0}, 1), ({"sources": 0, "params": 0}, 0)]
)
def test_a_policy_knows_what_its_tasks_are_made_of(law, count, tmp_path):
    recipe = replace(TINY, law=tuple(law.items()), hide=1.0, batches=1)
    scores = known_scores(recipe)
    assert scores.shape == (count, NUM_CELLS)
    if "sources" not in law:
        mean = Column.open("mini", "gratings").mean
        assert int(scores[0].argmax()) in CODES[mean == mean.max()]
    pretrain(recipe, tmp_path / "c.safetensors")
    assert len(read_controller(tmp_path / "c.safetensors").policy.scores) == count


def test_it_learns():
    law = ("sources", 0), ("params", 0), ("cell", 0)  # it is told nothing of its one task, and has to find out
    recipe = Recipe(TINY.sources, law=law, batches=1, updates=16, tasks=1, lanes=64, steps=12, learning_rate=3e-3)
    training, returns = Training.begin(recipe), []
    training.train_batch(lambda update, value: returns.append(value))
    ended = [value for value in returns if not np.isnan(value)]  # searches of 24 queries, two updates each
    assert len(ended) == 8
    assert np.mean(ended[-2:]) > ended[0] + 0.2


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
        ({"batches": 0}, "batches must be a whole number from 1"),
        ({"seed": -1}, "seed must be"),
        ({"trainings": 0.0}, "trainings must be a finite number above 0"),
        ({"law": (("colour", 1),)}, "colour"),
        ({"rungs": (1, 9)}, "9"),
        ({"hide": 1.5}, "hide must be a finite number from 0 to 1, got 1.5"),
        ({"queries": 9}, "queries must be at most 8"),
        ({"queries": 10**13}, "queries must be a whole number from 1 to 1000000"),
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
    recipe = about["recipe"]
    many = {**recipe, "sources": [["mini", "gratings"]] * 100_000}  # whose scores would take 6 GB
    wrong = (
        many,
        {**recipe, "sources": [["mini", {}]]},
        {**recipe, "sources": [["mini", 3]]},
        {**recipe, "rungs": [1, 3]},
        {**recipe, "batches": "many"},
        {**recipe, "law": [["field", "x"]]},
    )
    for name, value in (("fingerprints", 3), *(("recipe", one) for one in ({}, None, *wrong))):
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
    assert f"| second-0.safetensors | {hashlib.sha256(SHIPPED.read_bytes()).hexdigest()} |" in protocol
    bench(["controller"], [Setup("mini", "digits", max_queries=3)], 1, tmp_path)
    validate(tmp_path)


def test_of_several_controllers_those_that_are_there_are_not_trained_again(tmp_path):
    out, second = tmp_path / "c.safetensors", replace(TINY, seed=1)
    pretrain(second, tmp_path / "c-1.safetensors")
    before = (tmp_path / "c-1.safetensors").stat().st_mtime_ns
    assert [file.name for file in pretrain_all(TINY, out, 2)] == ["c-0.safetensors", "c-1.safetensors"]
    assert (tmp_path / "c-1.safetensors").stat().st_mtime_ns == before
    assert {path.name for path in tmp_path.iterdir()} == {
        f"c-{seed}.safetensors{end}" for seed in (0, 1) for end in ("", ".json")
    }
    with pytest.raises(NB201Error, match=r"c-0\.safetensors exists already"):
        pretrain_all(replace(TINY, batches=3), out, 2)


def test_runs_of_another_controller_at_the_same_path_are_not_mixed(tmp_path):
    path, setup = tmp_path / "c.safetensors", Setup("mini", "digits", max_queries=3)
    for seed in (0, 1):
        pretrain(replace(TINY, seed=seed), tmp_path / f"{seed}.safetensors")
    path.write_bytes((tmp_path / "0.safetensors").read_bytes())
    bench([f"controller(file={path})"], [setup], 1, tmp_path / "r")
    bench([f"controller(file={path})"], [setup], 2, tmp_path / "r")
    path.write_bytes((tmp_path / "1.safetensors").read_bytes())
    with pytest.raises(NB201Error, match="holds runs with other settings"):
        bench([f"controller(file={path})"], [setup], 3, tmp_path / "r")


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
