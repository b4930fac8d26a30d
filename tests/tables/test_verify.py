"""`Table.verify` finds what is wrong and says where."""

import json
import shutil

import numpy as np
import pytest
import zarr

from nb201_env import NUM_CELLS, MissingDataError, TableFormatError, open_table
from nb201_env.tables.metadata import read_manifest
from nb201_env.tables.schema import GROUPS
from nb201_env.tables.table import Table

VALID = "toy/long/full/valid"


@pytest.fixture
def copy(synthetic_path, tmp_path):
    path = tmp_path / "copy.zarr"
    shutil.copytree(synthetic_path, path)
    return path


def problems(path):
    return Table(path).verify()


def overwrite(path, name, change):
    """Change values behind the back of the stored hashes, as a careless tool would."""
    array = zarr.open_array(path / name, mode="r+")
    values = array[...]
    change(values)
    array[...] = values


def test_nothing_is_wrong(copy, published):
    assert problems(copy) == []
    assert published.verify() == []


def test_a_flipped_byte(copy):
    shard = copy / VALID / "correct/c/0/0/0"
    damaged = bytearray(shard.read_bytes())
    damaged[1000] ^= 1
    shard.write_bytes(damaged)
    found = problems(copy)
    assert found[0] == f"{VALID}/correct/c/0/0/0 is not what was written"
    assert found[1].startswith(f"{VALID}/correct: trial 0, epoch 0")
    assert "cannot be read" in found[1]


def test_a_missing_shard_is_damage_and_no_missing_value(copy):
    (copy / VALID / "loss/c/0/0/0").unlink()
    table = Table(copy)
    assert table.verify() == [
        f"{VALID}/loss/c/0/0/0 is missing",
        f"{VALID}/loss: not what was written: a chunk is missing or a value was changed",
    ]
    with pytest.raises(TableFormatError, match="its values are not those that were written"):
        table.loss("toy", recipe="long")


def test_counts_above_the_number_of_images(copy):
    overwrite(copy, f"{VALID}/correct", lambda values: values.__setitem__((1, 2, 77), 101))
    found = problems(copy)
    assert f"{VALID}/correct: more correct than the 100 images: 101 at trial 1, epoch 2, cell 77" in found


def test_nan_seconds_and_negative_ones(copy):
    overwrite(copy, f"{VALID}/eval_seconds", lambda values: values.__setitem__((0, 0, 5), -1.0))
    said = "seconds that are negative or infinite: -1.0 at trial 0, epoch 0, cell 5"
    assert f"{VALID}/eval_seconds: {said}" in problems(copy)
    overwrite(copy, "toy/latency", lambda values: values.__setitem__(9, np.nan))
    assert "toy/latency: not what was written: a chunk is missing or a value was changed" in problems(copy)
    with pytest.raises(TableFormatError, match="its values are not those that were written"):
        Table(copy).latency("toy")


@pytest.mark.parametrize("where", ["trial_seeds", "images"])
def test_a_changed_attribute_does_not_open(copy, where):
    metadata = json.loads((copy / "zarr.json").read_text())
    about = metadata["consolidated_metadata"]["metadata"][VALID]["attributes"]
    about[where] = {"trial_seeds": [1, 2], "images": 110}[where]
    (copy / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(TableFormatError, match=r"zarr\.json is not what was written"):
        Table(copy)


def test_what_another_tool_added_is_readable_and_named(copy):
    group = zarr.open_group(copy, mode="r+")
    group.create_array("toy/mine", shape=5, dtype="i8")[:] = np.arange(5)
    table = Table(copy)
    assert table.array("toy/mine").tolist() == [0, 1, 2, 3, 4]
    assert table.shape("toy/mine") == (5,)
    assert table.datasets == ("toy",)
    assert table.verify() == ["toy/mine: foreign, added after the table was written"]
    with pytest.raises(MissingDataError, match="has nothing at 'toy/yours'"):
        table.array("toy/yours")


def test_the_written_table_has_what_the_schema_requires_and_nothing_else(synthetic_path, published):
    for table in (open_table(synthetic_path), published):
        for path, node in table.root.members(max_depth=None):
            level = GROUPS[path.count("/") + 1] if not hasattr(node, "shape") else None
            if level is None:
                parent = GROUPS[path.count("/")]
                assert path.rpartition("/")[2] in {field.name for field in parent.arrays}
                assert node.shape[-1] == NUM_CELLS or path.endswith("/epoch")
                assert node.metadata.dimension_names is not None
            else:
                assert set(node.attrs) <= {field.name for field in level.attributes}


@pytest.mark.parametrize("name", ["/tmp/x", "../x", "cifar10/../../x", "a//b", "./x", "a\\b", "c:/x", ""])
def test_a_manifest_names_nothing_outside_the_table(name):
    with pytest.raises(TableFormatError, match="line 1, is damaged"):
        read_manifest(f"{'0' * 64}  {name}\n".encode())


def test_xarray_reads_what_we_read(published):
    pytest.importorskip("xarray")
    tree = published.to_xarray()
    split = tree["cifar10/200ep/half/valid"]
    assert split["correct"].dims == ("trial", "epoch", "cell")
    assert (split["correct"].values == published.array("cifar10/200ep/half/valid/correct")).all()
