"""Several tables as one."""

import numpy as np
import pytest

from nb201_env import NUM_CELLS, NB201Error, open_table
from nb201_env.tables.join import join_tables
from nb201_env.tables.writer import TableWriter


def write(path, dataset="cifar10", recipe="12ep", trained_on="half", split="valid", hashes=None, classes=10,
          seeds=(1, 2), loss=None, images=50):  # fmt: skip
    counts = np.random.default_rng(len(path.name)).integers(100, size=(2, 3, NUM_CELLS))
    with TableWriter(path, path.name.partition(".")[0], {"device": "abacus"}, "free", ["A", path.name]) as writer:
        writer.add_dataset(dataset, num_classes=classes, image_size=32, image_hashes=hashes,
                           latency=counts[0, 0], params=np.arange(NUM_CELLS))  # fmt: skip
        writer.add_training(dataset, recipe, trained_on, epochs=3, images=images, epoch_seconds=counts[0, 0])
        writer.add_split(
            dataset,
            recipe,
            trained_on,
            split,
            images=100,
            epochs=[1, 2, 3],
            trial_seeds=seeds,
            correct=counts,
            loss=loss,
        )
    return path


def test_nets_of_half_and_of_all_images(tmp_path):
    half = write(tmp_path / "half.zarr", hashes={"half/valid": "1", "half/test": "2"})
    full = write(tmp_path / "full.zarr.zip", trained_on="full", split="test", hashes={"test": "2"})
    other = write(tmp_path / "other.zarr", dataset="digits", trained_on="full")
    join_tables([half, full, other], tmp_path / "all.zarr.zip", "all")
    table = open_table(tmp_path / "all.zarr.zip")
    assert table.verify() == []
    assert set(table.datasets) == {"cifar10", "digits"}
    assert table.splits("cifar10", recipe="12ep") == ("valid", "test")
    for source, dataset, split in ((half, "cifar10", "valid"), (full, "cifar10", "test"), (other, "digits", "valid")):
        for column in ("accuracy", "epochs"):
            ask = {"trial": "all"} if column == "accuracy" else {}
            found, expected = (getattr(t, column)(dataset, split=split, **ask) for t in (table, open_table(source)))
            assert np.array_equal(found, expected)
    assert table.attrs("cifar10")["image_hashes"] == {"half/valid": "1", "half/test": "2", "test": "2"}
    assert (table.latency("cifar10") == open_table(half).latency("cifar10")).all()
    assert [one["name"] for one in table.attributes["provenance"]["joined"]] == ["half", "full", "other"]
    assert table.attributes["citation"] == ["A", "half.zarr", "full.zarr.zip", "other.zarr"]
    assert table.attributes["license"] == "free"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, r"has trials of seeds \[1, 2\], a table before it of seeds \[1, 2\]: only different ones"),
        ({"seeds": (2, 3)}, "only different ones can be joined"),
        ({"seeds": None}, "has trials of seeds None"),
        ({"seeds": (3, 4), "images": 60}, "images is 60, but 50"),
        ({"recipe": "200ep", "classes": 100}, "the macs of cifar10 differ from those in"),
        ({"recipe": "200ep", "hashes": {"half/test": "3"}}, "half/test is '3', but '2'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, other, said):
    one = write(tmp_path / "one.zarr", hashes={"half/test": "2"})
    with pytest.raises(NB201Error, match=said):
        join_tables([one, write(tmp_path / "two.zarr", **other)], tmp_path / "out.zarr", "out")
    assert not (tmp_path / "out.zarr").exists()


def test_trials_of_other_seeds_follow(tmp_path):
    losses = np.random.default_rng(0).random((2, 3, NUM_CELLS))
    first = write(tmp_path / "first.zarr")
    second = write(tmp_path / "second.zarr", seeds=(3, 4), loss=losses)
    join_tables([first, second], tmp_path / "both.zarr.zip", "both")
    both, one, two = (open_table(path) for path in (tmp_path / "both.zarr.zip", first, second))
    assert both.verify() == []
    assert len(both.trials("cifar10")) == 4
    every = both.accuracy("cifar10", trial="all")
    assert np.array_equal(every[:, :2], one.accuracy("cifar10", trial="all"))
    assert np.array_equal(every[:, 2:], two.accuracy("cifar10", trial="all"))
    assert both.attrs("cifar10/12ep/half/valid")["trial_seeds"] == [1, 2, 3, 4]
    assert np.isnan(both.array("cifar10/12ep/half/valid/loss")[:2]).all()
    assert np.array_equal(both.array("cifar10/12ep/half/valid/loss")[2:], losses)
    assert np.array_equal(both.train_seconds("cifar10"), one.train_seconds("cifar10"))
    assert both.fingerprint not in (one.fingerprint, two.fingerprint)


def test_trials_of_a_part_of_the_space_follow(tmp_path):
    counts, rows = np.full((1, 1, NUM_CELLS), 7), np.arange(NUM_CELLS) // 2 * 2
    for name, seed, stop in (("all", 777, NUM_CELLS), ("part", 888, 100)):
        there = np.arange(NUM_CELLS) < stop
        with TableWriter(tmp_path / f"{name}.zarr", name) as writer:
            writer.add_dataset("toy", num_classes=2, image_size=8)
            writer.add_training("toy", "1ep", "full", epochs=1, trained_as=np.where(there, rows, -1))
            writer.add_split("toy", "1ep", "full", "valid", images=9, epochs=[1], trial_seeds=[seed],
                             correct=np.where(there, counts, -1))  # fmt: skip
    for names in (("all", "part"), ("part", "all")):
        out = tmp_path / f"{names[0]}-first.zarr"
        join_tables([tmp_path / f"{name}.zarr" for name in names], out, "toy")
        table = open_table(out)
        assert table.verify() == []
        np.testing.assert_array_equal(table.array("toy/1ep/full/trained_as"), rows)
        assert sorted((~np.isnan(table.accuracy("toy", trial="all"))).sum(axis=0)) == [100, NUM_CELLS]
    with TableWriter(tmp_path / "odd.zarr", "odd") as writer:
        writer.add_dataset("toy", num_classes=2, image_size=8)
        writer.add_training("toy", "1ep", "full", epochs=1, trained_as=np.arange(NUM_CELLS))
        writer.add_split("toy", "1ep", "full", "valid", images=9, epochs=[1], trial_seeds=[999], correct=counts)
    with pytest.raises(NB201Error, match="rows are copies of other cells"):
        join_tables([tmp_path / "all.zarr", tmp_path / "odd.zarr"], tmp_path / "no.zarr", "toy")


def test_a_column_is_not_a_recipe(tmp_path):
    write(tmp_path / "nets.zarr", recipe="mini")
    with TableWriter(tmp_path / "own.zarr", "own") as writer:
        writer.add_dataset("cifar10", num_classes=10, image_size=32, params=np.arange(NUM_CELLS))
        writer.add_column("cifar10", "mini", np.zeros(NUM_CELLS))
    for names in (("nets", "own"), ("own", "nets")):
        with pytest.raises(NB201Error, match=r"own\.zarr: cifar10/mini is a column there and a recipe elsewhere"):
            join_tables([tmp_path / f"{name}.zarr" for name in names], tmp_path / "all.zarr", "all")
    assert not (tmp_path / "all.zarr").exists()


def test_the_same_column_with_holes_is_the_same(tmp_path):
    for name in ("a", "b"):
        with TableWriter(tmp_path / f"{name}.zarr", name) as writer:
            writer.add_dataset("cifar10", num_classes=10, image_size=32)
            writer.add_column("cifar10", "energy", np.where(np.arange(NUM_CELLS) % 2, np.nan, 1.0))
    join_tables([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "all.zarr", "all")
    assert np.nansum(open_table(tmp_path / "all.zarr").own_column("cifar10", "energy")) == (NUM_CELLS + 1) // 2
