"""CIFAR-10, CIFAR-100 and ImageNet16-120 from their standard archives, split as NAS-Bench-201 splits them.

The user names a folder that holds `cifar-10-python.tar.gz` or, unpacked, `cifar-10-batches-py/`; likewise
`cifar-100-python`; and `ImageNet16/` with `train_data_batch_1` to `_10` and `val_data` (Chrabaszcz et al., 2017). Every
file of images is checked against its published MD5, and unpickling allows nothing but arrays.

CIFAR-10's training images are halved by Python's generator, seed 1021, which reproduces the published split. The
halves of CIFAR-100's and ImageNet16-120's held-out images are not reproducible: they are read from the official lists
`cifar100-test-split.txt` and `imagenet-16-120-test-split.txt` if these lie in the folder, and otherwise drawn from a
fixed seed. The table's provenance says which.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env import NB201Error
from nb201_env.checks import is_whole
from nb201_env.importers.unpickle import IMAGES, restricted_load
from nb201_generator.images import ImageSet, Split

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

CIFAR10_FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
CIFAR100_FILES = {"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"}
IMAGENET16_FILES = {
    "train_data_batch_1": "27846dcaa50de8e21a7d1a35f30f0e91",
    "train_data_batch_2": "c7254a054e0e795c69120a5727050e3f",
    "train_data_batch_3": "4333d3df2e5ffb114b05d2ffc19b1e87",
    "train_data_batch_4": "1620cdf193304f4a92677b695d70d10f",
    "train_data_batch_5": "348b3c2fdbb3940c4e9e834affd3b18d",
    "train_data_batch_6": "6e765307c242a1b3d7d5ef9139b48945",
    "train_data_batch_7": "564926d8cbf8fc4818ba23d2faac7564",
    "train_data_batch_8": "f4755871f718ccb653440b9dd0ebac66",
    "train_data_batch_9": "bb6dd660c38c58552125b1a92f86b5d4",
    "train_data_batch_10": "8f03f34ac4b42271a294f91bf480f29b",
    "val_data": "3410e3017fdaefba8d5073aaa65e4bd6",
}
IMAGENET16_CLASSES = 120

CIFAR10_SEED = 1021  # of Python's generator: reproduces NAS-Bench-201's cifar-split.txt
DRAWN_SEED = 201  # of the halves that no official list is there for

OFFICIAL_SUMS = {"cifar100": (25_109_591, 24_885_409), "ImageNet16-120": (9_093_224, 8_903_776)}
"""Of the indices of the official halves, valid and test."""

# Means and standard deviations of the channels, of 255 (NAS-Bench-201's code).
CIFAR10_STATS = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
CIFAR100_STATS = (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)
IMAGENET16_STATS = (122.68, 116.66, 104.01), (63.22, 61.26, 65.09)


def cifar10(folder: Path) -> ImageSet:
    """Nets trained on one half of the training images, validated on the other: the training set `half`."""
    images, labels, test = _cifar10(folder)
    order = list(range(len(labels)))
    random.Random(CIFAR10_SEED).shuffle(order)
    half = len(order) // 2
    first, second = (np.sort(part) for part in (order[:half], order[half:]))
    splits = {"train": _split(images, labels, first), "valid": _split(images, labels, second), "test": _split(*test)}
    return _image_set("cifar10", 10, splits, CIFAR10_STATS, "half", "official: Python's generator, seed 1021")


def cifar10_full(folder: Path) -> ImageSet:
    """Nets trained on all training images, with no validation split: the training set `full` of cifar10."""
    images, labels, test = _cifar10(folder)
    splits = {"train": _split(images, labels), "test": _split(*test)}
    return _image_set("cifar10", 10, splits, CIFAR10_STATS, "full", "official")


def _cifar10(folder: Path) -> tuple[Bytes, Labels, tuple[Bytes, Labels]]:
    read = _reader(folder, "cifar-10-batches-py", "cifar-10-python.tar.gz", CIFAR10_FILES)
    batches = [_arrays(read(name), "labels", 32) for name in CIFAR10_FILES if name.startswith("data")]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return images, labels, _arrays(read("test_batch"), "labels", 32)


def cifar100(folder: Path) -> ImageSet:
    """Nets trained on all training images; the official test images are halved into valid and test."""
    read = _reader(folder, "cifar-100-python", "cifar-100-python.tar.gz", CIFAR100_FILES)
    train, held_out = (_arrays(read(name), "fine_labels", 32) for name in ("train", "test"))
    return _halved("cifar100", 100, train, held_out, CIFAR100_STATS, folder / "cifar100-test-split.txt")


def imagenet16_120(folder: Path) -> ImageSet:
    """The first 120 classes of ImageNet at 16x16; its validation images are halved into valid and test."""
    read = _reader(folder, "ImageNet16", None, IMAGENET16_FILES)
    parts = [_arrays(read(name), "labels", 16) for name in IMAGENET16_FILES]
    train = tuple(np.concatenate(arrays) for arrays in zip(*parts[:-1], strict=True))
    kept = [_first_classes(*part) for part in (train, parts[-1])]
    lists = folder / "imagenet-16-120-test-split.txt"
    return _halved("ImageNet16-120", IMAGENET16_CLASSES, kept[0], kept[1], IMAGENET16_STATS, lists)


def _first_classes(images: Bytes, labels: Labels) -> tuple[Bytes, Labels]:
    """Images of labels 1 to 120, counted from 0 from here on."""
    kept = labels <= IMAGENET16_CLASSES
    return images[kept], labels[kept] - 1


Stats = tuple[tuple[float, ...], tuple[float, ...]]


def _halved(
    name: str, num_classes: int, train: tuple[Bytes, Labels], held_out: tuple[Bytes, Labels], stats: Stats, lists: Path
) -> ImageSet:
    count = len(held_out[1])
    if lists.exists():
        valid, test = (_list(lists, key, count) for key in ("xvalid", "xtest"))
        if len(np.union1d(valid, test)) < count or not len(valid) == len(test) == count // 2:
            raise NB201Error(f"{lists}: xvalid and xtest must halve the {count:,} images, each once")
        is_official = (int(valid.sum()), int(test.sum())) == OFFICIAL_SUMS.get(name)
        source = f"{'official' if is_official else 'as listed'}: {lists.name}"
    else:
        order = np.random.default_rng(DRAWN_SEED).permutation(count)
        valid, test = np.sort(order[: count // 2]), np.sort(order[count // 2 :])
        source = f"drawn by numpy's default generator, seed {DRAWN_SEED}"
    splits = {"train": _split(*train), "valid": _split(*held_out, valid), "test": _split(*held_out, test)}
    return _image_set(name, num_classes, splits, stats, "full", source)


def _list(path: Path, key: str, count: int) -> Labels:
    """Indices under a key: a list of integers, or NAS-Bench-201's pair of a type name and a list of strings."""
    try:
        values = json.loads(path.read_text())[key]
        values = values[1] if values and values[0] == "int" else values
        if not isinstance(values, list) or not all(isinstance(value, str) or is_whole(value) for value in values):
            raise TypeError(key)
        indices = np.array([int(value) for value in values])
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise NB201Error(f"{path}: no split list ({type(error).__name__})") from None
    if not indices.size or indices.min() < 0 or indices.max() >= count:
        raise NB201Error(f"{path}: {key} has indices outside 0 to {count - 1}")
    return indices


def _split(images: Bytes, labels: Labels, chosen: Labels | None = None) -> Split:
    if chosen is not None:
        images, labels = images[chosen], labels[chosen]
    return Split(images.astype(np.float32) / 255.0, labels.astype(np.int64))


def _image_set(
    name: str, num_classes: int, splits: dict[str, Split], stats: Stats, trained_on: str, source: str
) -> ImageSet:
    mean, std = (tuple(value / 255.0 for value in values) for values in stats)
    return ImageSet(name, num_classes, splits, mean, std, trained_on, source)


def _reader(folder: Path, unpacked: str, archive: str | None, files: dict[str, str]) -> Callable[[str], Any]:
    """A function from the name of a file to what it holds, its MD5 checked first."""

    def read(name: str) -> Any:
        source, content = _content(folder, unpacked, archive, name)
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != files[name]:
            raise NB201Error(
                f"{source} is not the published file: MD5 {found}, expected {files[name]}; download it again"
            )
        return restricted_load(io.BytesIO(content), source, IMAGES, encoding="bytes")

    return read


def _content(folder: Path, unpacked: str, archive: str | None, name: str) -> tuple[str, bytes]:
    path = folder / unpacked / name
    if path.is_file():
        return str(path), path.read_bytes()
    if archive is not None and (folder / archive).exists():
        try:
            with tarfile.open(folder / archive) as tar:
                member = tar.extractfile(f"{unpacked}/{name}")
                if member is not None:
                    return f"{folder / archive}:{name}", member.read(_MOST_BYTES)
        except KeyError:
            pass
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            raise NB201Error(
                f"{folder / archive} is no complete archive ({type(error).__name__}); download it again"
            ) from None
    either = f"{folder / archive} or " if archive else ""
    raise NB201Error(f"{name} is missing: expected {either}{folder / unpacked}; name their folder with --data")


_MOST_BYTES = 1 << 30


def _arrays(record: Any, key: str, size: int) -> tuple[Bytes, Labels]:
    """Images (n, 3, size, size) and labels (n,) of a batch, whose keys may be bytes or strings."""
    plain = {k.decode() if isinstance(k, bytes) else k: v for k, v in record.items()}
    images = plain["data"].values.reshape(-1, 3, size, size)
    return np.asarray(images, np.uint8), np.asarray(plain[key], np.int64)


ARCHIVES = {
    "cifar10": cifar10,
    "cifar10-full": cifar10_full,
    "cifar100": cifar100,
    "ImageNet16-120": imagenet16_120,
}
"""Data sets by the name that `nb201 generate --dataset` takes."""
