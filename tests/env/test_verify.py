"""`Table.verify` finds what is wrong and says where."""

import json
import shutil

import numpy as np
import pytest
import zarr

from nb201_env import NUM_CELLS, open_table
from nb201_env.schema import GROUPS
from nb201_env.table import Table

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
    assert found[0].startswith(f"{VALID}/correct: trial 0, epoch 0")
    assert "cannot be read" in found[0]


def test_a_missing_shard(copy):
    (copy / VALID / "loss/c/0/0/0").unlink()
    assert problems(copy) == [f"{VALID}/loss: not what was written: a chunk is missing or a value was changed"]


def test_counts_above_the_number_of_images(copy):
    overwrite(copy, f"{VALID}/correct", lambda values: values.__setitem__((1, 2, 77), 101))
    found = problems(copy)
    assert f"{VALID}/correct: 101 correct of 100 images at trial 1, epoch 2, cell 77" in found


def test_a_wrong_shape(copy):
    metadata = json.loads((copy / "zarr.json").read_text())
    consolidated = metadata["consolidated_metadata"]["metadata"][f"{VALID}/epoch"]
    consolidated["shape"] = [3]
    (copy / "zarr.json").write_text(json.dumps(metadata))
    assert any("4 epochs where `epoch` lists 3" in problem for problem in problems(copy))


def test_nan_seconds_and_negative_ones(copy):
    overwrite(copy, f"{VALID}/eval_seconds", lambda values: values.__setitem__((0, 0, 5), -1.0))
    assert f"{VALID}/eval_seconds: negative seconds at cell 5" in problems(copy)
    overwrite(copy, "toy/latency", lambda values: values.__setitem__(9, np.nan))
    assert "toy/latency: not what was written: a chunk is missing or a value was changed" in problems(copy)


def test_a_changed_or_missing_attribute(copy):
    metadata = json.loads((copy / "zarr.json").read_text())
    about = metadata["consolidated_metadata"]["metadata"][VALID]["attributes"]
    about["trial_seeds"] = [1, 2]
    (copy / "zarr.json").write_text(json.dumps(metadata))
    assert problems(copy) == ["/: the stored fingerprint is not that of the content: an attribute was changed"]
    del about["images"]
    (copy / "zarr.json").write_text(json.dumps(metadata))
    assert f"{VALID}: images is missing" in problems(copy)


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


def test_xarray_reads_what_we_read(published):
    pytest.importorskip("xarray")
    tree = published.to_xarray()
    split = tree["cifar10/200ep/half/valid"]
    assert split["correct"].dims == ("trial", "epoch", "cell")
    assert (split["correct"].values == published.array("cifar10/200ep/half/valid/correct")).all()
