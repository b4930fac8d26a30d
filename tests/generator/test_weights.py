"""Weights that a table keeps, and steps that are compiled."""

import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from nb201_env import Cell, MissingDataError, TableFormatError, open_table
from nb201_env.tables import weights as module
from nb201_env.tables.join import join_tables
from nb201_env.tables.writer import TableWriter

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from nb201_generator.assemble import merge  # noqa: E402
from nb201_generator.campaign import generate  # noqa: E402
from nb201_generator.images import load_images  # noqa: E402
from nb201_generator.network import Network  # noqa: E402
from nb201_generator.plan import TRIAL_SEEDS, Plan  # noqa: E402
from nb201_generator.recipe import Recipe  # noqa: E402
from nb201_generator.speed import measured  # noqa: E402
from nb201_generator.train import COMPILED, DeviceImages, initial_network, train  # noqa: E402

CELLS = [100, 1462, 6111, 11472, 15624]
RECIPE = Recipe("tiny", 1, 32, channels=8, cells_per_stage=1, flip=False, crop_padding=0)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Ten cells, two trials, of 64 images of three colours."""
    path, rng, arrays = tmp_path_factory.mktemp("images") / "colours.npz", np.random.default_rng(0), {}
    for split in ("train", "valid", "test"):
        labels = rng.integers(3, size=64)
        images = rng.integers(0, 120, (64, 3, 8, 8))
        images[np.arange(64), labels] += 120
        arrays |= {f"{split}_images": images.astype(np.uint8), f"{split}_labels": labels}
    np.savez(path, **arrays)
    return Plan(str(path), epochs=1, start=6105, stop=6115, trials=2, dedupe=True, weights=True)


@pytest.fixture(scope="module")
def table(plan, tmp_path_factory):
    out = tmp_path_factory.mktemp("weights") / "some.zarr"
    assert generate(plan, out) == []
    return open_table(out)


def network_of(table, cell, trial):
    network = Network(Cell(table.trained_as(cell, "colours")), table.num_classes("colours"), 8, 1)
    state = table.weights(cell, "colours", trial=trial)
    network.load_state_dict({name: torch.from_numpy(one) for name, one in state.items()})
    return network.eval()


@torch.no_grad()
def correct(network, images, split):
    batches = DeviceImages(images, torch.device("cpu")).evaluation_batches(split)
    return sum(int((network(images).argmax(dim=1) == labels).sum()) for images, labels in batches)


def test_the_weights_of_a_cell_reach_the_accuracies_of_the_table(plan, table):
    assert table.verify() == []
    images = load_images(plan.dataset)
    for cell in range(plan.start, plan.stop):
        for trial in (0, 1):
            network = network_of(table, cell, trial)
            for split in ("valid", "test"):
                accuracy = table.accuracy("colours", split=split, trial=trial)[cell]
                # the fused network adds in another order, which may tip an image that is on the edge
                assert abs(correct(network, images, split) - accuracy * 64) <= 1


def test_a_block_that_is_trained_again_has_the_same_weights(plan, table):
    kept = []
    block = plan.blocks()[1]
    cells, images = [Cell(index) for index in block.cells], load_images(plan.dataset)
    train(cells, images, plan.settings(), block.seed, keep=lambda net: kept.extend(net.state_dicts()))
    for cell, state in zip(block.cells, kept, strict=True):
        stored = table.weights(cell, "colours", trial=TRIAL_SEEDS.index(block.seed))
        assert state.keys() == stored.keys()
        for name, tensor in state.items():
            np.testing.assert_array_equal(tensor.numpy(), stored[name])


def test_state_dicts_are_what_load_takes_over():
    fused = initial_network([Cell(index) for index in CELLS], 10, RECIPE, 777, torch.device("cpu"))
    for cell, state in zip(CELLS, fused.state_dicts(), strict=True):
        torch.manual_seed(777)
        single = Network(Cell(cell), 10, 8, 1).state_dict()
        assert state.keys() == single.keys()
        assert all(torch.equal(state[name], single[name]) for name in single)


def test_weights_are_in_the_fingerprint_and_survive_a_join(plan, table, tmp_path):
    path = tmp_path / "plain.zarr"
    assert generate(replace(plan, weights=False), path) == []
    assert open_table(path).fingerprint != table.fingerprint
    with TableWriter(tmp_path / "else.zarr", "else") as writer:
        writer.add_dataset("else", num_classes=2, image_size=8)
    join_tables([table.path, tmp_path / "else.zarr"], tmp_path / "both.zarr", "some")
    joined = open_table(tmp_path / "both.zarr")
    for name, one in table.weights(6111, "colours").items():
        np.testing.assert_array_equal(joined.weights(6111, "colours")[name], one)


def test_a_part_without_weights_is_named_and_no_table_is_written(plan, tmp_path):
    shards = [tmp_path / f"{index}.zarr" for index in range(2)]
    for index, out in enumerate(shards):
        assert generate(plan, out, shard=(index, 2)) == []
    part = next(shards[1].with_name("1.zarr.parts").glob("*.npz"))
    with np.load(part) as file:
        arrays = {name: file[name] for name in file.files if name != "weights"}
    np.savez(part, **arrays)
    with pytest.raises(TableFormatError, match=f"{part.name} holds no weights; remove it and generate again"):
        merge(shards, tmp_path / "all.zarr")
    assert not (tmp_path / "all.zarr").exists()


def test_what_is_not_there_is_missing(table):
    with pytest.raises(MissingDataError, match="no weights of cell 0"):
        table.weights(0, "colours")
    with pytest.raises(MissingDataError, match="has trials 0 to 1, not 2"):
        table.weights(6111, "colours", trial=2)
    with pytest.raises(MissingDataError, match=r"has trials 0 to 1, not 'mean'"):
        table.weights(6111, "colours", trial="mean")
    with pytest.raises(MissingDataError, match="holds no weights; `nb201 generate --weights` keeps them"):
        open_table("mini").weights(6111, "digits")


def test_a_shard_that_is_no_safetensors_is_damage(tmp_path):
    out = tmp_path / "bad.zarr"
    with TableWriter(out, "bad") as writer:
        writer.add_dataset("digits", num_classes=10, image_size=8)
        writer.add_training("digits", "mini", "full", epochs=1)
        counts = np.zeros((1, 1, 15625), int)
        seeds = [777]
        writer.add_split("digits", "mini", "full", "test", images=9, epochs=[1], correct=counts, trial_seeds=seeds)
        module.add_weights(writer, "digits/mini/full", 777, 0, [6111], b"\xff" * 64)
    with pytest.raises(TableFormatError, match="is no safetensors"):
        open_table(out).weights(6111, "digits")


def test_without_safetensors_the_fix_is_said(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ValueError, match="pip install safetensors"):
        table.weights(6111, "colours")


def test_compiled_steps_train_the_same_nets(plan, monkeypatch):
    if not (os.environ.get("NB201_COMPILE") and shutil.which("g++")):  # minutes of a C++ compiler
        monkeypatch.setitem(COMPILED, "yes", {"backend": "aot_eager"})
    cells, images = [Cell(index) for index in CELLS[:2]], load_images(plan.dataset)
    plain, compiled = (train(cells, images, RECIPE, 777, compiled=how) for how in ("no", "yes"))
    for split, curves in plain.items():
        # rounding alone, which steps carry on
        np.testing.assert_allclose(compiled[split].loss, curves.loss, rtol=0.02)
        assert (np.abs(compiled[split].correct - curves.correct) <= 0.03 * len(images.splits[split].labels)).all()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_steps_replayed_as_cuda_graphs_train_the_same_nets():
    cells, images = [Cell(index) for index in CELLS], load_images("digits")
    plain, replayed = (train(cells, images, RECIPE, 777, "cuda", compiled=how) for how in ("no", "cuda-graphs"))
    for split, curves in plain.items():
        np.testing.assert_allclose(replayed[split].loss, curves.loss, rtol=0.02)


def test_the_ways_to_compile_are_known():
    assert COMPILED["no"] is None
    assert set(COMPILED) == {"no", "yes", "cuda-graphs"}


def test_the_speed_of_a_device_is_told():
    first, fused, alone, ratio = measured(Plan("digits", start=6100, stop=6104))
    assert first.startswith("one thread of the CPU, PyTorch")
    assert "4 nets fused" in fused
    assert "TFLOP/s" in alone
    assert ratio.startswith("a net of the block takes 1/")
