"""The standard archives, on small ones made after their format: pickles of arrays and bytes in a tar."""

import hashlib
import json
import pickle
import random
import tarfile

import numpy as np
import pytest

from nb201_env import NB201Error, TableFormatError

pytest.importorskip("torch")

from nb201_generator import archives
from nb201_generator.images import load_images


def batch(rng, count, size, key, num_classes, first=0):
    labels = (np.arange(count) % num_classes + first).tolist()
    return {b"data": rng.integers(0, 256, (count, 3 * size * size)).astype(np.uint8), key: labels, b"batch_label": b"x"}


def write(folder, name, record, files):
    """A pickle of protocol 2, as the archives have; its MD5 becomes the published one."""
    folder.mkdir(parents=True, exist_ok=True)
    content = pickle.dumps(record, protocol=2)
    (folder / name).write_bytes(content)
    files[name] = hashlib.md5(content).hexdigest()


@pytest.fixture
def data(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name in ("CIFAR10_FILES", "CIFAR100_FILES", "IMAGENET16_FILES"):
        monkeypatch.setattr(archives, name, dict(getattr(archives, name)))
    for name in archives.CIFAR10_FILES:
        write(tmp_path / "cifar-10-batches-py", name, batch(rng, 20, 32, b"labels", 10), archives.CIFAR10_FILES)
    for name in archives.CIFAR100_FILES:
        record = batch(rng, 200, 32, b"fine_labels", 100)
        write(tmp_path / "cifar-100-python", name, record, archives.CIFAR100_FILES)
    for name in archives.IMAGENET16_FILES:
        record = batch(rng, 300, 16, b"labels", 150, first=1)
        write(tmp_path / "ImageNet16", name, record, archives.IMAGENET16_FILES)
    return tmp_path


def test_the_halves_of_cifar10_are_the_published_ones():
    order = list(range(50_000))
    random.Random(archives.CIFAR10_SEED).shuffle(order)
    train, valid = sorted(order[:25_000]), sorted(order[25_000:])
    assert [train[i] for i in (0, 10, 111)] == [0, 26, 203]
    assert [valid[i] for i in (0, 10, 111)] == [1, 18, 242]
    assert sum(train) == 623_618_849


def test_cifar10(data):
    half, full = load_images("cifar10", str(data)), load_images("cifar10-full", str(data))
    assert {name: len(split.labels) for name, split in half.splits.items()} == {"train": 50, "valid": 50, "test": 20}
    assert {name: len(split.labels) for name, split in full.splits.items()} == {"train": 100, "test": 20}
    assert (half.name, half.trained_on, full.trained_on) == ("cifar10", "half", "full")
    assert half.mean == pytest.approx([125.3 / 255, 123.0 / 255, 113.9 / 255])
    everything = np.concatenate([half.splits[name].images for name in ("train", "valid")])
    assert everything.sum() == pytest.approx(full.splits["train"].images.sum())
    first = pickle.loads((data / "cifar-10-batches-py/data_batch_1").read_bytes(), encoding="bytes")[b"data"][0]
    assert np.array_equal(np.rint(255 * full.splits["train"].images[0]).ravel(), first)


def test_cifar100_and_imagenet_are_halved_by_the_official_list_or_a_seed(data, monkeypatch):
    drawn = load_images("cifar100", str(data))
    assert [len(drawn.splits[name].labels) for name in ("train", "valid", "test")] == [200, 100, 100]
    assert "seed 201" in drawn.split_source
    odd, even = list(range(1, 200, 2)), list(range(0, 200, 2))
    listed = data / "cifar100-test-split.txt"
    listed.write_text(json.dumps({"xvalid": ["int", list(map(str, odd))], "xtest": ["int", list(map(str, even))]}))
    found = load_images("cifar100", str(data))
    assert found.splits["valid"].labels.tolist() == [one % 100 for one in odd]
    assert found.splits["test"].labels.tolist() == [one % 100 for one in even]
    assert found.split_source == "as listed: cifar100-test-split.txt"
    monkeypatch.setitem(archives.OFFICIAL_SUMS, "cifar100", (sum(odd), sum(even)))
    assert load_images("cifar100", str(data)).split_source == "official: cifar100-test-split.txt"
    for valid, said in (
        ([5000], "xvalid has indices outside 0 to 199"),
        ([0], "must halve the 200 images"),
        ([1] * 100, "must halve the 200 images"),
        ("0123", "no split list"),
        ([1.9, True], "no split list"),
    ):
        listed.write_text(json.dumps({"xvalid": valid, "xtest": even}))
        with pytest.raises(NB201Error, match=said):
            load_images("cifar100", str(data))
    listed.unlink()
    imagenet = load_images("ImageNet16-120", str(data))
    assert (imagenet.size, imagenet.num_classes) == (16, 120)
    assert len(imagenet.splits["train"].labels) == 10 * 240
    assert set(imagenet.splits["train"].labels.tolist()) == set(range(120))


def test_a_packed_archive_is_read_as_it_is(data, tmp_path):
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as tar:
        tar.add(data / "cifar-10-batches-py", "cifar-10-batches-py")
    (tmp_path / "other").mkdir()
    (tmp_path / "packed.tar.gz").rename(tmp_path / "other" / "cifar-10-python.tar.gz")
    packed, unpacked = (load_images("cifar10", str(folder)) for folder in (tmp_path / "other", data))
    assert packed.hashes() == unpacked.hashes()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", "10 bytes", "a half"])
def test_a_download_that_broke_off_is_said(data, tmp_path, content):
    folder = tmp_path / "broken"
    folder.mkdir()
    with tarfile.open(folder / "whole.tar.gz", "w:gz") as tar:
        tar.add(data / "cifar-10-batches-py", "cifar-10-batches-py")
    whole = (folder / "whole.tar.gz").read_bytes()
    cut = {"10 bytes": whole[:10], "a half": whole[: len(whole) // 2]}.get(content, content)
    (folder / "cifar-10-python.tar.gz").write_bytes(cut)
    with pytest.raises(NB201Error, match=r"is no complete archive \(\w+\); download it again"):
        load_images("cifar10", str(folder))


def test_what_is_missing_changed_or_foreign(data):
    with pytest.raises(NB201Error, match="name the folder that holds it with --data"):
        load_images("cifar10")
    path = data / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(NB201Error, match="test_batch is not the published file: MD5"):
        load_images("cifar10", str(data))
    write(data / "cifar-10-batches-py", "test_batch", {b"data": random.Random}, archives.CIFAR10_FILES)
    with pytest.raises(TableFormatError, match="refused: the pickle names random"):
        load_images("cifar10", str(data))
    path.unlink()
    with pytest.raises(NB201Error, match="test_batch is missing: expected"):
        load_images("cifar10", str(data))
