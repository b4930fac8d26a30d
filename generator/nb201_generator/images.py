"""Images to train on: four sets that need no download, the standard archives, and any `.npz`.

* `digits`: scikit-learn's 8x8 handwritten digits, ten classes, each in two random colours that are drawn once.
* `gratings`: coloured 8x8 gratings drawn from a seed; the class is an orientation, a frequency, and sine or square
  wave.
* `shapes`: outlines of 8x8 shapes drawn from a seed, of any size, place and colours; the class is the shape.
* `backdrops`: the digits in random colours over 8x8 patches of twelve photographs that scikit-image ships.
* `cifar10`, `cifar10-full`, `cifar100`, `ImageNet16-120`: see `nb201_generator.archives`.
* a path ending in `.npz`: arrays `{split}_images` (n, 3, size, size), uint8 or float, and `{split}_labels` (n,), for
  the splits train, valid and test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env import NB201Error
from nb201_env.files import read_npz
from nb201_env.tables.schema import MAX_IMAGE_SIZE, NAME

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Split:
    """Images (n, 3, size, size), float32 before normalisation, and labels (n,), int64."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class ImageSet:
    """One data set.

    Attributes:
        name: under which a table stores it.
        num_classes: number of classes.
        splits: train, valid and test.
        mean: of each channel, subtracted after augmentation.
        std: of each channel, divided by after that.
        trained_on: `half` or `full`, the part of the training images that `train` is.
        split_source: where the division into splits comes from.
    """

    name: str
    num_classes: int
    splits: dict[str, Split]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    trained_on: str = "full"
    split_source: str = "in the order of the source"

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return int(self.splits["train"].images.shape[-1])

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the images and labels of each split; those that go with a training half are named after it."""
        return dict(self._hashes)

    @cached_property
    def _hashes(self) -> dict[str, str]:
        prefix, found = "half/" if self.trained_on == "half" else "", {}
        for name, split in self.splits.items():
            one = hashlib.sha256(np.ascontiguousarray(split.images).data)
            one.update(np.ascontiguousarray(split.labels).data)
            found[prefix + name] = one.hexdigest()
        return found


def load_images(name: str, folder: str | None = None) -> ImageSet:
    """The data set of a name or path.

    Args:
        name: digits, gratings, one of `nb201_generator.archives.ARCHIVES`, or the path of an `.npz`.
        folder: with the archives.

    Raises:
        NB201Error: if there is none, or a package, file or array that it needs is missing.
    """
    from nb201_generator.archives import ARCHIVES

    if name.endswith(".npz"):
        return _from_npz(Path(name))
    if name in ARCHIVES:
        if folder is None:
            raise NB201Error(f"the data set {name} is read from its archive: name the folder that holds it with --data")
        return ARCHIVES[name](Path(folder))
    if name not in DRAWN:
        names = ", ".join([*DRAWN, *ARCHIVES])
        raise NB201Error(f"unknown data set {name!r}; use one of {names}, or the path of an .npz")
    return DRAWN[name]()


def _image_set(name: str, images: npt.NDArray[Any], labels: npt.NDArray[Any], sizes: dict[str, int]) -> ImageSet:
    """Cut arrays into splits of given sizes, in order, and normalise by the training images."""
    splits, start = {}, 0
    for split, count in sizes.items():
        part = slice(start, start + count)
        splits[split] = Split(np.ascontiguousarray(images[part], np.float32), labels[part].astype(np.int64))
        start += count
    return _normalised(name, splits)


def _normalised(name: str, splits: dict[str, Split]) -> ImageSet:
    train = splits["train"].images
    mean, std = train.mean(axis=(0, 2, 3), dtype=np.float64), train.std(axis=(0, 2, 3), dtype=np.float64)
    if not min(std) > 0.0:
        flat = ("red", "green", "blue")[int(np.argmin(std))]
        raise NB201Error(f"{name}: the {flat} channel of the training images has one value: it cannot be normalised")
    num_classes = int(max(split.labels.max() for split in splits.values())) + 1
    return ImageSet(name, num_classes, splits, tuple(mean.tolist()), tuple(std.tolist()))


DIGITS_SIZES = {"train": 896, "valid": 450, "test": 451}
_DIGITS_NOISE, _DIGITS_CONTRAST = 0.05, 1.2


def digits() -> ImageSet:
    """Handwritten digits in two random colours, at least 1.2 apart, with a little noise.

    White on black, most cells reach 95 %; made harder by noise alone, cells differ less than seeds do.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise NB201Error("the data set digits needs scikit-learn: pip install 'nb201-env[generator]'") from None
    rng = np.random.default_rng(201)
    data = load_digits()
    order = rng.permutation(len(data.images))
    images = _coloured(data.images[order] / 16.0, _DIGITS_CONTRAST, _DIGITS_NOISE, rng)
    return _image_set("digits", images, data.target[order], DIGITS_SIZES)


GRATINGS_SIZES = {"train": 512, "valid": 500, "test": 5_000}
_ORIENTATIONS, _FREQUENCIES, _WAVES = 6, (1.0, 1.7), 2
_GRATINGS_NOISE, _GRATINGS_CONTRAST = 0.1, 0.5  # with noise of 0.35 and no least contrast, cells stay at chance


def gratings() -> ImageSet:
    """24 classes: six orientations, two frequencies, sine or square wave.

    Phase and noise are random, and so are the two colours, which are at least 0.5 apart.
    """
    rng = np.random.default_rng(201)
    total, size = sum(GRATINGS_SIZES.values()), 8
    labels = rng.integers(_ORIENTATIONS * len(_FREQUENCIES) * _WAVES, size=total)
    orientation, rest = np.divmod(labels, len(_FREQUENCIES) * _WAVES)
    frequency, wave = np.divmod(rest, _WAVES)
    angle = np.pi * orientation / _ORIENTATIONS
    cycles = np.asarray(_FREQUENCIES)[frequency] / size * 2 * np.pi
    y, x = np.mgrid[:size, :size]
    along = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    signal = np.sin(cycles[:, None, None] * along + rng.uniform(0, 2 * np.pi, total)[:, None, None])
    signal = np.where(wave[:, None, None] == 1, np.sign(signal), signal)
    images = _coloured((signal + 1) / 2, _GRATINGS_CONTRAST, _GRATINGS_NOISE, rng)
    return _image_set("gratings", images, labels, GRATINGS_SIZES)


SHAPES_SIZES = {"train": 512, "valid": 400, "test": 1_000}
_SHAPES_NOISE, _SHAPES_CONTRAST = 0.05, 1.2
_OVERSAMPLED, _LINE = 4, 0.22  # a shape is drawn at four times the size; half the thickness of a line, in radii


def shapes() -> ImageSet:
    """Eight classes, outlines of a disc, a square, a diamond, a plus, a cross, two bars, a triangle and a T.

    Radius, place and the two colours are random, the colours at least 1.2 apart, and there is a little noise.
    """
    rng = np.random.default_rng(201)
    total, size = sum(SHAPES_SIZES.values()), 8
    labels = rng.integers(len(_SHAPES), size=total)
    fine = (np.arange(size * _OVERSAMPLED) + 0.5) / _OVERSAMPLED
    radius = rng.uniform(2.0, 3.5, (total, 1, 1))
    centre = rng.uniform(radius, size - radius, (2, total, 1, 1))
    y, x = (fine[:, None] - centre[0]) / radius, (fine - centre[1]) / radius
    signal = np.zeros((total, fine.size, fine.size))
    for label, is_inside in enumerate(_SHAPES):
        chosen = labels == label
        signal[chosen] = is_inside(y[chosen], x[chosen])
    signal = signal.reshape(total, size, _OVERSAMPLED, size, _OVERSAMPLED).mean(axis=(2, 4))
    return _image_set("shapes", _coloured(signal, _SHAPES_CONTRAST, _SHAPES_NOISE, rng), labels, SHAPES_SIZES)


def _ring(distance: Any) -> Any:
    return np.abs(distance - (1 - _LINE)) <= _LINE


def _within(y: Any, x: Any) -> Any:
    return np.maximum(np.abs(y), np.abs(x)) <= 1


_SHAPES: tuple[Callable[[Any, Any], Any], ...] = (
    lambda y, x: _ring(np.hypot(y, x)),
    lambda y, x: _ring(np.maximum(np.abs(y), np.abs(x))),
    lambda y, x: _ring(np.abs(y) + np.abs(x)),
    lambda y, x: (np.minimum(np.abs(y), np.abs(x)) <= _LINE) & _within(y, x),
    lambda y, x: (np.abs(np.abs(y) - np.abs(x)) <= 1.4 * _LINE) & _within(y, x),
    lambda y, x: _ring(np.abs(y)) & _within(y, x),
    lambda y, x: _ring(np.maximum(y, 2 * np.abs(x) - y)) & _within(y, x),
    lambda y, x: ((np.abs(x) <= _LINE) | (y <= 2 * _LINE - 1)) & _within(y, x),
)
"""Of coordinates that are 1 at the edge of a shape, whether a point is on its outline."""


PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "retina",
)
BACKDROPS_SIZES = {"train": 640, "valid": 450, "test": 707}
_BACKDROPS_CONTRAST = 0.8


def backdrops() -> ImageSet:
    """Handwritten digits in random colours over patches of photographs, as in mnist-back-image.

    (Larochelle and others, ICML 2007, section 3.) A patch is 16x16 pixels of one of twelve photographs that
    scikit-image ships, at half the resolution; no two overlap. The ink is at least 0.8 from the patch's mean colour.

    Which photograph a patch is from was tried as the class, and dropped: cells differ by less than seeds do.
    """
    try:
        from skimage import data
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise NB201Error(f"the data set backdrops needs {error.name}: pip install 'nb201-env[generator]'") from None
    rng = np.random.default_rng(201)
    drawn = load_digits()
    order = rng.permutation(len(drawn.images))
    patches = rng.permutation(np.concatenate([_patches(getattr(data, name)()) for name in PHOTOGRAPHS]))[: len(order)]
    mean = patches.mean(axis=(2, 3), keepdims=True)
    ink = _apart(mean, rng.uniform(0, 1, mean.shape), _BACKDROPS_CONTRAST)
    images = patches + (ink - patches) * (drawn.images[order] / 16.0)[:, None]
    return _image_set("backdrops", images, drawn.target[order], BACKDROPS_SIZES)


def _patches(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Patches (n, 3, 8, 8) from 0 to 1 of a picture at half its resolution, row by row."""
    size = 8
    colours = np.broadcast_to(picture[..., None], (*picture.shape, 3)) if picture.ndim == 2 else picture
    rows, columns = (length // (2 * size) for length in colours.shape[:2])
    cut = colours[: rows * 2 * size, : columns * 2 * size] / 255.0
    half = cut.reshape(rows * size, 2, columns * size, 2, 3).mean(axis=(1, 3))
    return np.asarray(half.reshape(rows, size, columns, size, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, size, size))


def _apart(start: npt.NDArray[np.float64], colours: npt.NDArray[np.float64], least: float) -> npt.NDArray[np.float64]:
    """Colours (n, 3, 1, 1), moved away from others in their direction where they are not `least` apart."""
    difference = colours - start
    return np.asarray(start + difference * np.maximum(1.0, least / np.linalg.norm(difference, axis=1, keepdims=True)))


def _coloured(
    signal: npt.NDArray[np.float64], contrast: float, noise: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Images (n, 3, size, size) that fade from one random colour to another, as a signal from 0 to 1 says.

    The colours, in [0, 1]^3, are at least `contrast` apart; Gaussian noise is added.
    """
    colours = rng.uniform(0, 1, (2, len(signal), 3, 1, 1))
    images = colours[0] + (_apart(colours[0], colours[1], contrast) - colours[0]) * signal[:, None]
    return np.asarray(images + noise * rng.standard_normal(images.shape))


def _from_npz(path: Path) -> ImageSet:
    if not NAME.fullmatch(path.stem):
        raise NB201Error(
            f"{path} gives the data set its name: call the file by letters, digits, spaces and _ . + - alone"
        )
    arrays = read_npz(path, MAX_BYTES)
    if missing := {f"{split}_{what}" for split in SPLITS for what in ("images", "labels")} - set(arrays):
        raise NB201Error(f"{path} has no array {min(missing)!r}; it has {', '.join(sorted(arrays))}")
    found = {split: _checked_split(path, split, arrays) for split in SPLITS}
    sizes = {split: images.shape[2] for split, (images, _) in found.items()}
    if len(set(sizes.values())) > 1:
        raise NB201Error(f"{path}: images must be of one size in all splits, got {sizes}")
    classes = int(found["train"][1].max()) + 1
    for split, (_, labels) in found.items():
        if classes > len(found["train"][1]) or labels.max() >= classes:
            raise NB201Error(
                f"{path}: {split}_labels go up to {labels.max()}: classes are numbered from 0, and the training images "
                "must have the highest"
            )
    return _normalised(path.stem, {split: Split(*pair) for split, pair in found.items()})


MAX_BYTES = 8 << 30
"""Largest `.npz` of images that is read."""


def _checked_split(path: Path, split: str, arrays: dict[str, Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Images as float32 and labels as int64 of one split of an `.npz`."""
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    square = images.ndim == 4 and images.shape[1] == 3 and images.shape[2] == images.shape[3] and images.size > 0
    whole = labels.dtype.kind in "iu" and labels.shape == images.shape[:1]
    labelled = whole and labels.size > 0 and labels.min() >= 0 and labels.max() < 2**31  # before a cast to others
    fits = square and images.shape[2] % 4 == 0 and images.shape[2] <= MAX_IMAGE_SIZE and images.dtype.kind in "fiu"
    if not fits or not labelled:
        raise NB201Error(
            f"{path}: {split}_images must be (n, 3, size, size) with size a multiple of 4 and {split}_labels (n,) "
            f"whole numbers from 0, got {images.dtype} {images.shape} and {labels.dtype} {labels.shape}"
        )
    with np.errstate(over="ignore"):
        scaled = (images / (255.0 if images.dtype == np.uint8 else 1.0)).astype(np.float32)
    if not np.isfinite(scaled).all():
        raise NB201Error(f"{path}: {split}_images has values that are not finite")
    return scaled, labels.astype(np.int64)


DRAWN = {"digits": digits, "gratings": gratings, "shapes": shapes, "backdrops": backdrops}
"""Sets that need no download."""
