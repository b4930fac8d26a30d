"""Weight sharing: the supernet is its cells' networks, and every method descends along the gradient that it claims."""

import json
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nb201_env import Cell, NB201Error, TableFormatError, open_table
from nb201_env.cli import main
from nb201_env.space import NONE

torch = pytest.importorskip("torch")

from nb201_agents.harness.report import write_report  # noqa: E402
from nb201_agents.harness.results import read_runs  # noqa: E402
from nb201_agents.harness.validate import validate  # noqa: E402
from nb201_agents.oneshot.cost import seconds_of_parts, work_of  # noqa: E402
from nb201_agents.oneshot.method import Batch, Shared  # noqa: E402
from nb201_agents.oneshot.methods import darts  # noqa: E402
from nb201_agents.oneshot.methods.beta_darts import MOST, BetaDARTS  # noqa: E402
from nb201_agents.oneshot.methods.darts import DARTS  # noqa: E402
from nb201_agents.oneshot.methods.drnas import DrNAS  # noqa: E402
from nb201_agents.oneshot.methods.enas import ENAS  # noqa: E402
from nb201_agents.oneshot.methods.gdas import GDAS  # noqa: E402
from nb201_agents.oneshot.methods.rsps import RSPS  # noqa: E402
from nb201_agents.oneshot.methods.setn import SETN  # noqa: E402
from nb201_agents.oneshot.paths import logits_of_paths  # noqa: E402
from nb201_agents.oneshot.recipe import OneShotRecipe  # noqa: E402
from nb201_agents.oneshot.search import METHODS, Search, search  # noqa: E402
from nb201_agents.oneshot.supernet import Supernet  # noqa: E402
from nb201_agents.oneshot.trajectory import judge_of, read_trajectory  # noqa: E402
from nb201_agents.searcher import Task, make_agent  # noqa: E402
from nb201_generator.images import ImageSet, Split  # noqa: E402

LEARNERS = {"rsps": RSPS, "setn": SETN, "darts-1": DARTS, "gdas": GDAS, "drnas": DrNAS, "beta-darts": BetaDARTS,
           "enas": ENAS, "darts-2": lambda shared: DARTS(shared, order=2)}  # fmt: skip
CELLS = [Cell(i) for i in (1651, 1835, 7581, 1462, 4317, 112, 6111)]
TINY = OneShotRecipe(channels=4, cells_per_stage=1, clip=None)


def batch(seed, count=8):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 8, 8, generator=generator, dtype=torch.float64)
    return Batch(images, torch.randint(5, (count,), generator=generator))


def shared(recipe=TINY, seed=0, momentum=0.0):
    torch.manual_seed(seed)
    net = Supernet(5, recipe.channels, recipe.cells_per_stage, recipe.affine, recipe.running).double()
    optimizer = torch.optim.SGD(net.parameters(), 0.025, momentum, weight_decay=recipe.weight_decay)
    return Shared(net, optimizer, recipe, np.random.default_rng(seed))


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("cells_per_stage", [1, 2])
def test_a_path_is_the_network_of_its_cell(running, affine, cells_per_stage):
    torch.manual_seed(1)
    net = Supernet(5, 4, cells_per_stage, affine, running).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        net(batch(9).images, weights=torch.full((6, 5), 0.2, dtype=torch.float64))  # moves running statistics
    for cell in CELLS:
        for mode in (True, False):
            network = net.train(mode).network_of(cell)
            state = {name: one.clone() for name, one in net.state_dict().items()}
            torch.testing.assert_close(net(batch(3).images, ops=cell.ops), network(batch(3).images), rtol=0, atol=0)
            net.load_state_dict(state)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_paths_at_once_are_what_each_is_alone(running, affine):
    torch.manual_seed(1)
    net = Supernet(5, 4, 2, affine, running).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        net(batch(9).images, weights=torch.full((6, 5), 0.2, dtype=torch.float64))  # moves running statistics
    net.eval()
    images = torch.stack([batch(seed).images for seed in range(len(CELLS))])
    found = logits_of_paths(net, images, [cell.ops for cell in CELLS])
    alone = torch.stack([net(own, ops=cell.ops) for own, cell in zip(images, CELLS, strict=True)])
    torch.testing.assert_close(found, alone)


def test_paths_on_batches_of_unlike_sizes_are_evaluated_as_one_by_one():
    shares, sizes = shared(), [8, 8, 3, 8, 3, 900]  # the last is more than goes through the network at once
    batches = [batch(seed, count) for seed, count in enumerate(sizes)]
    paths = [cell.ops for cell in CELLS[: len(sizes)]]
    found = shares.accuracies(batches, paths)
    work, shares.work = shares.work, np.zeros_like(shares.work)
    assert found == [shares.accuracies([one], [path])[0] for one, path in zip(batches, paths, strict=True)]
    np.testing.assert_allclose(work, shares.work)
    assert shares.net.training
    assert len(set(found)) > 2


def test_weights_of_one_op_an_edge_are_a_path():
    net = shared().net
    for cell in CELLS:
        weights = torch.nn.functional.one_hot(torch.tensor(cell.ops), 5).double()
        expected = net(batch(3).images, ops=cell.ops)
        torch.testing.assert_close(net(batch(3).images, weights), expected)
        torch.testing.assert_close(net(batch(3).images, weights, cell.ops), expected)


def test_darts_first_order_is_the_gradient_of_the_validation_loss():
    one = shared()
    method, step = DARTS(one), 1e-6
    method.alphas.values.data = method.alphas.values.data.double()
    found = method.gradient(batch(1), batch(2))
    for edge, op in [(0, 0), (2, 3), (5, 1)]:
        sides = []
        for sign in (1, -1):
            method.alphas.values.data[edge, op] += sign * step
            sides.append(one.loss(batch(2), method.weights()).item())
            method.alphas.values.data[edge, op] -= sign * step
        assert found[edge, op].item() == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-4, abs=1e-8)


def exactly_unrolled(one, method):
    """The gradient of the validation loss after a step of the weights, by differentiating through the step."""
    names, parameters = zip(*one.net.named_parameters(), strict=True)

    def loss(values, which):
        logits = torch.func.functional_call(
            one.net, dict(zip(names, values, strict=True)), (which.images, method.weights())
        )
        return torch.nn.functional.cross_entropy(logits, which.labels)

    gradients = torch.autograd.grad(loss(parameters, batch(1)), parameters, create_graph=True, allow_unused=True)
    group = one.optimizer.param_groups[0]
    moved = [p - group["lr"] * ((0 if g is None else g) + group["weight_decay"] * p)
             for p, g in zip(parameters, gradients, strict=True)]  # fmt: skip
    return torch.autograd.grad(loss(moved, batch(2)), method.alphas.values)[0]


def test_darts_second_order_is_that_of_an_exactly_unrolled_step(monkeypatch):
    monkeypatch.setattr(darts, "DIFFERENCE", 1e-6)  # its own 0.01 crosses kinks of ReLUs in so small a net
    one = shared()
    method = DARTS(one, order=2)
    method.alphas.values.data = 100 * method.alphas.values.data.double()
    before = [parameter.clone() for parameter in one.net.parameters()]
    found, exact = method.unrolled_gradient(batch(1), batch(2)), exactly_unrolled(one, method)
    first = method.gradient(batch(1), batch(2))
    assert (found - exact).norm() < 0.01 * (exact - first).norm()
    assert all(torch.equal(old, new) for old, new in zip(before, one.net.parameters(), strict=True))


def test_gdas_has_the_gradient_of_its_relaxation():
    one = shared()
    one.progress = 0.5
    method = GDAS(one)
    method.alphas.values.data = 100 * method.alphas.values.data.double()
    state = one.rng.bit_generator.state
    hard, ops = method.draw()
    assert torch.equal(hard.detach(), torch.nn.functional.one_hot(torch.tensor(ops), 5).double())
    direction = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    found = torch.autograd.grad((hard * direction).sum(), method.alphas.values)[0]

    def softened(values):
        one.rng.bit_generator.state = state
        uniform = torch.tensor(one.rng.random((6, 5)))
        noise = -torch.log(-torch.log(uniform))
        return ((values.log_softmax(1) + noise) / method.temperature()).softmax(1)

    values = method.alphas.values.detach().requires_grad_()
    expected = torch.autograd.grad((softened(values) * direction).sum(), values)[0]
    torch.testing.assert_close(found, expected)


def test_gdas_draws_by_its_probabilities():
    one = shared()
    method = GDAS(one)
    method.alphas.values.data = 500 * method.alphas.values.data.double()
    counts = Counter(method.draw()[1][0] for _ in range(4_000))
    expected = method.probabilities()[0] * 4_000
    statistic = sum((counts[op] - float(expected[op])) ** 2 / float(expected[op]) for op in range(5))
    assert statistic < 18.5  # chi-squared of 4 degrees, 1 in 1,000


@pytest.mark.parametrize("method", [RSPS, SETN])
def test_paths_are_uniform(method):
    one = shared()
    chosen = []
    one.loss = lambda batch, weights=None, ops=None: chosen.append(ops) or one.net.stem[0].weight.sum()
    one.descend = lambda loss: None
    made = method(one)
    if isinstance(made, SETN):
        made.alphas.descend = lambda gradient: None
        one.loss = lambda batch, weights=None, ops=None: (
            (chosen.append(ops) if ops else None)
            or (one.net.stem[0].weight.sum() if weights is None else weights.sum())
        )
    for _ in range(3_000):
        made.step(batch(1, 1), batch(2, 1))
    for edge in range(6):
        counts = Counter(ops[edge] for ops in chosen)
        assert sum((counts[op] - 600) ** 2 / 600 for op in range(5)) < 18.5
    pairs = Counter((ops[0], ops[5]) for ops in chosen)
    assert sum((pairs[a, b] - 120) ** 2 / 120 for a in range(5) for b in range(5)) < 51.2  # of 24 degrees


def test_drnas_descends_along_the_gradient_of_a_mean_over_draws():
    """On a linear loss, whose mean over the Dirichlet distribution is known."""
    one = shared()
    method = DrNAS(one)
    method.alphas.values.data = 300 * method.alphas.values.data.double()
    slope = torch.arange(30, dtype=torch.float64).reshape(6, 5) / 10
    draws = [torch.autograd.grad((method.weights() * slope).sum(), method.alphas.values)[0] for _ in range(3_000)]
    values = method.alphas.values.detach().requires_grad_()
    concentration = torch.nn.functional.elu(values) + 1
    mean = concentration / concentration.sum(1, keepdim=True)
    expected = torch.autograd.grad((mean * slope).sum(), values)[0]
    found = torch.stack(draws)
    error = found.std(dim=0) / len(draws) ** 0.5
    assert ((found.mean(dim=0) - expected).abs() < 4.5 * error + 1e-9).all()


def test_enas_estimates_the_gradient_of_the_expected_reward():
    """REINFORCE on two edges of known rewards, against the sum over all paths."""
    one = shared()
    method = ENAS(one)
    policy = method.policy

    def log_p(path):
        logits, _ = policy._logits(torch.tensor([5, *path[:-1]]))
        return logits.log_softmax(1)[range(len(path)), path].sum()

    def reward(path):
        return 0.1 * path[0] + 0.05 * path[1] ** 2

    head = policy._head.bias
    exact = torch.autograd.grad(sum(log_p([a, b]).exp() * reward([a, b]) for a in range(5) for b in range(5)), head)[0]
    with torch.no_grad():
        first = policy._logits(torch.tensor([5]))[0][0].softmax(0)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1_500):
        path = policy.sample(rng.random(6))[:2]
        found.append(torch.autograd.grad(log_p(path) * (reward(path) - 0.5), head)[0])
    found = torch.stack(found)
    error = found.std(dim=0) / len(found) ** 0.5
    assert first.sum() == pytest.approx(1.0)
    assert ((found.mean(dim=0) - exact).abs() < 4.5 * error + 1e-9).all()


def test_beta_decay_grows():
    one = shared()
    method = BetaDARTS(one)
    plain = method.gradient(batch(1), batch(2))
    one.progress = 1.0
    grown = method.gradient(batch(1), batch(2))
    torch.testing.assert_close(grown - plain, MOST / 6 * method.probabilities().to(grown), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_method_learns_what_it_is_shown(name):
    one = shared(replace(TINY, samples=10), momentum=0.9)
    method, train = LEARNERS[name](one), batch(1, 32)
    one.net.float()
    train = Batch(train.images.float(), train.labels)
    uniform = torch.full((6, 5), 0.2)
    with torch.no_grad():
        before = one.loss(train, uniform).item()
    for _ in range(30):
        method.step(train, train)
    with torch.no_grad():
        assert one.loss(train, uniform).item() < before
    assert isinstance(method.current(), Cell)
    assert isinstance(method.final([train]), Cell)
    torch.testing.assert_close(method.probabilities().double().sum(dim=1), torch.ones(6, dtype=torch.float64))


@pytest.fixture(scope="module")
def images():
    rng, splits = np.random.default_rng(0), {}
    for split in ("train", "valid"):
        labels = rng.integers(3, size=64)
        pictures = rng.normal(size=(64, 3, 8, 8)).astype(np.float32)
        pictures[np.arange(64), labels] += 2.0
        splits[split] = Split(pictures, labels)
    return ImageSet("colours", 3, splits, (0.0,) * 3, (1.0,) * 3)


SHORT = replace(
    TINY, epochs=3, batch_size=32, valid_batch_size=24, samples=5, controller_steps=2, flip=False, crop_padding=0
)


def test_paths_are_evaluated_on_validation_images_as_they_are_in_batches_of_one_size(images):
    recipe = replace(SHORT, flip=True, crop_padding=2)
    batches = list(Search("rsps", recipe, images, 0).batches_for_evaluation())
    assert [len(one.labels) for one in batches] == [24, 24]  # of 64: the last 16 wait for another epoch
    known = {picture.tobytes() for picture in images.splits["valid"].images}
    assert {picture.tobytes() for one in batches for picture in one.images.numpy()} < known
    whole = Search("rsps", replace(SHORT, valid_batch_size=512), images, 0)
    assert [len(one.labels) for one in whole.batches_for_evaluation()] == [64]


class StopError(Exception):
    """In the place of a kill."""


@pytest.mark.parametrize("method", METHODS)
def test_a_search_that_was_stopped_comes_to_the_same_bytes(method, images, tmp_path):
    whole, stopped = tmp_path / "whole.jsonl", tmp_path / "stopped.jsonl"
    found = search(method, SHORT, images, whole)

    def stop(done, total):
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        search(method, SHORT, images, stopped, progress=stop)
    assert search(method, SHORT, images, stopped) == found
    assert stopped.read_bytes() == whole.read_bytes()
    header, *rows, last = map(json.loads, whole.read_text().splitlines())
    assert header["method"] == method
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(0 <= row["skips"] <= 6 and len(row["entropy"]) == 6 for row in rows)
    assert last["found"] == found.index
    # the loss of the weights, that of the alphas, and what the second order or ENAS's controller needs beside
    passes = {"rsps": 1, "darts-2": 5, "enas": 1 + 2 * 20 * 24 / 3 / 64}.get(method, 2)
    assert rows[-1]["work"][0] == pytest.approx(passes * 192, abs=1e-3)
    looks = 5 * 24 / 3 if method in ("rsps", "setn", "enas") else 0  # at the paths among which the last is chosen
    assert last["work"][0] == pytest.approx(passes * 192 + looks, abs=1e-3)
    assert not stopped.with_name("stopped.jsonl.checkpoint").exists()


def test_a_checkpoint_of_another_search_or_a_damaged_one_is_refused(images, tmp_path):
    out, checkpoint = tmp_path / "some.jsonl", tmp_path / "some.jsonl.checkpoint"

    def stop(done, total):
        raise StopError

    with pytest.raises(StopError):
        search("gdas", SHORT, images, out, progress=stop)
    with pytest.raises(NB201Error, match="is of another search"):
        search("gdas", SHORT, images, out, seed=1)
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(NB201Error, match="is no checkpoint"):
        search("gdas", SHORT, images, out)
    out.touch()
    with pytest.raises(NB201Error, match="exists already"):
        search("gdas", SHORT, images, out)
    with pytest.raises(NB201Error, match="method must be one of rsps, darts-1"):
        search("darts", SHORT, images, tmp_path / "other.jsonl")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: lines[:2],
        lambda lines: [lines[0].replace("method", "way"), *lines[1:]],
        lambda lines: [*lines[:-1], '{"found": 15625}'],
        lambda lines: [lines[0], lines[2], *lines[2:]],
        lambda lines: [lines[0], lines[1].replace("entropy", "order"), *lines[2:]],
        lambda lines: [lines[0], "[" * 10_000, *lines[2:]],
        lambda lines: ["[]", *lines[1:]],
    ],
)
def test_a_file_that_is_no_trajectory_is_refused(spoil, images, tmp_path):
    out = tmp_path / "some.jsonl"
    search("rsps", SHORT, images, out)
    assert read_trajectory(out).cells.shape == (3,)
    out.write_text("".join(f"{line}\n" for line in spoil(out.read_text().splitlines())))
    with pytest.raises(TableFormatError, match="is no search by weight sharing"):
        read_trajectory(out)


def run_command(monkeypatch, *arguments, command="oneshot"):
    monkeypatch.setattr(sys, "argv", ["nb201", command, *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def test_the_command_finds_a_cell_and_judges_it_by_the_table(tmp_path, monkeypatch, capsys):
    out = tmp_path / "found.jsonl"
    assert run_command(monkeypatch, "rsps", "--epochs", 1, "--table", "mini", "--out", out) == 0
    shown, trajectory = capsys.readouterr().out, read_trajectory(out)
    accuracy = open_table("mini").accuracy("digits")
    assert f"found {trajectory.found.index}  {trajectory.found.arch}" in shown
    assert (
        f"found: {100 * accuracy[trajectory.found.index]:.2f} %; the best cell has {100 * accuracy.max():.2f} %"
        in shown
    )
    np.testing.assert_array_equal(trajectory.judged(open_table("mini")).accuracy, accuracy.astype(float))
    assert run_command(monkeypatch, "rsps", "--table", "published", "--out", tmp_path / "other.jsonl") == 2
    assert "has not the images digits" in capsys.readouterr().err


def test_what_a_table_cannot_judge_is_said_before_anything_is_trained(synthetic):
    with pytest.raises(NB201Error, match="name a recipe, there are several: long, short"):
        judge_of(synthetic, "toy", {})
    judged = judge_of(synthetic, "toy", {}, "long")
    np.testing.assert_array_equal(judged.seconds, synthetic.train_seconds("toy", recipe="long"))
    mini = open_table("mini")
    with pytest.raises(NB201Error, match="the valid images of digits are not those"):
        judge_of(mini, "digits", {**mini.attrs("digits")["image_hashes"], "valid": "0" * 64})


def test_weight_sharing_begins_with_no_cells_and_is_what_its_name_says():
    for option in ("start=params", "method=rsps"):
        with pytest.raises(NB201Error, match="the agent gdas has no option"):
            make_agent(f"gdas({option})", Task("digits", 8, (8,)), np.random.default_rng(0))


@pytest.mark.parametrize("dataset", ["cifar10", "ImageNet16-120"])
def test_seconds_of_parts_add_up_to_those_of_cells(dataset):
    """On the published table, whose seconds are the official formula's."""
    seconds = open_table("published").train_seconds(dataset)
    parts = seconds_of_parts(seconds.astype(float), 1)
    assert (parts >= 0).all()
    cells = [index for index in range(0, 15625, 97) if NONE not in Cell(index).ops]
    found = np.array([work_of(Cell(index).ops) @ parts for index in cells])
    np.testing.assert_allclose(found, seconds[cells], rtol=0.2)
    assert np.corrcoef(found, seconds[cells])[0, 1] > 0.99
    assert parts @ work_of(None) > found.max()


def test_seconds_of_parts_are_found_again():
    known = np.concatenate(([3.0], np.tile([0.0, 0.0, 1.0, 2.0, 0.5], 6)))
    seconds = np.array([work_of(Cell(index).ops) @ known for index in range(15625)])
    seconds[::7] = np.nan
    np.testing.assert_allclose(seconds_of_parts(10 * seconds, 10), known, atol=1e-9)
    with pytest.raises(NB201Error, match="does not say the seconds of enough cells"):
        seconds_of_parts(np.zeros(0), 10)


def test_a_comparison_charges_the_supernet(tmp_path, monkeypatch, capsys):
    out, agent = tmp_path / "results", "rsps(epochs=2)"
    rules = ("--table", "mini", "--dataset", "digits", "--runs", 2, "--out", out)
    assert run_command(monkeypatch, "--agents", agent, *rules, "--budget", 200, command="bench") == 0
    for run in read_runs(out)["digits", agent]:
        assert run.cell.size == 1
        assert 0 < run.header["trajectory"][0]["seconds"] < run.header["trajectory"][-1]["seconds"] < run.spent[0]
        assert run.ended[0] == run.spent[0] + run.seconds[0] < 200
        assert run.would_take.tolist() == [row["cell"] for row in run.header["trajectory"]]
    assert validate(out) == []
    assert write_report(out, tmp_path / "report.html")
    assert "epochs of the supernet" in (tmp_path / "report.html").read_text()
    file = out / "digits" / f"{agent}.jsonl"
    text = file.read_text()
    for old, new in (
        ('"spent": [[0', '"spent": [[1'),
        ('"spent": [[0,', '"spent": [[0, 0,'),
        ('"spent": [', '"spent": ["'),
        ('"trajectory": [{"epoch": 1', '"trajectory": [{"epoch": 2'),
        ('"trajectory": [', '"trajectory": [7,'),
    ):
        assert old in text
        file.write_text(text.replace(old, new))
        with pytest.raises(NB201Error, match="is not a complete result file"):
            read_runs(out)
    spent = json.loads(text.splitlines()[0])["spent"][0][1]
    file.write_text(text.replace(f'"spent": [[0, {spent}', '"spent": [[0, 500.0'))
    assert "the search had ended by then" in validate(out)[0]


def test_a_supernet_that_does_not_fit_the_budget_ends_the_search(tmp_path, monkeypatch):
    out = tmp_path / "results"
    rules = ("--table", "mini", "--dataset", "digits", "--runs", 1, "--out", out, "--budget", 1)
    assert run_command(monkeypatch, "--agents", "darts-1(epochs=1)", *rules, command="bench") == 0
    (run,) = read_runs(out)["digits", "darts-1(epochs=1)"]
    assert run.cell.size == 0
    assert run.would_take.size == 1


def test_other_images_than_the_tables_are_refused():
    task = Task("digits", 8, (8,), train_seconds=np.ones(15625), image_hashes={"train": "0" * 64})
    with pytest.raises(NB201Error, match="the train images of digits are not those that the table"):
        make_agent("rsps", task, np.random.default_rng(0))
