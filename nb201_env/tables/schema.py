"""The table format, version 2, written down once: groups, arrays, attributes, units.

A table is a Zarr (v3) hierarchy, in a folder or in an uncompressed zip. Rows are cells in official index order. What
was not measured is absent or holds the fill value; a reader never fills it in.

    /                                       the table
    /{dataset}                              images and what does not depend on training
    /{dataset}/{recipe}                     one training schedule; epoch 12 of `200ep` is not `12ep`
    /{dataset}/{recipe}/{trained_on}        nets trained on one set of images
    /{dataset}/{recipe}/{trained_on}/{split}    those nets evaluated on one split

`GROUPS` lists the attributes and arrays of each level.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.checks import is_whole
from nb201_env.space import NUM_CELLS

FORMAT = "nb201-table"
VERSION = 2
"""A reader refuses a table whose version is higher; an added optional array or attribute does not raise it. Version 1
had no manifest and no hashes of chunks."""

MANIFEST = "manifest-sha256.txt"
"""File at the top of a table with a line `{sha256}  {path}` for every other file, as `sha256sum --check` reads it."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+ -]{0,99}")
"""What data sets and recipes may be called: a name never leads out of the folder that is called after it."""

COLUMN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,63}")
"""What a column of one's own may be called."""

MAX_EPOCH = 2**31 - 1
MAX_CLASSES = 10**6
MAX_IMAGE_SIZE = 2**16
MAX_IMAGES = 2**32 - 2
MAX_SECONDS = 1e12
"""Thirty thousand years; what is longer is no measurement, and sums of it would overflow."""

SPLITS = ("train", "valid", "test", "valtest")
"""`valtest` mixes both halves, as the official files store some curves; no searcher may see it, nor test."""

TRAINED_ON = ("half", "full")

MISSING_COUNT = {"uint16": 2**16 - 1, "uint32": 2**32 - 1}
"""Fill value of a count by dtype: the cell was not evaluated."""


@dataclass(frozen=True)
class Field:
    """One array or attribute.

    Attributes:
        name: as stored.
        kind: JSON type of an attribute, or dtype and dimensions of an array.
        required: whether every group of its level has it.
        meaning: what it says, with units.
    """

    name: str
    kind: str
    required: bool
    meaning: str


@dataclass(frozen=True)
class Group:
    """One level of the hierarchy: its path, its attributes and its arrays."""

    path: str
    attributes: tuple[Field, ...]
    arrays: tuple[Field, ...] = ()


GROUPS = (
    Group(
        "/",
        (
            Field("format", "string", True, f"`{FORMAT}`."),
            Field("version", "integer", True, f"Version of this format, now {VERSION}."),
            Field("name", "string", True, "Short name of the table."),
            Field(
                "fingerprint",
                "string",
                True,
                "SHA-256 over all that training determines; see `nb201_env.tables.fingerprint`.",
            ),
            Field("timing_fingerprint", "string", True, "SHA-256 over seconds and latencies."),
            Field("provenance", "object", False, "Where the values come from: source, software, hardware, date."),
            Field("license", "string", False, "What is known about the licence of the values."),
            Field("citation", "array of strings", False, "Works to cite."),
        ),
    ),
    Group(
        "/{dataset}",
        (
            Field("num_classes", "integer", True, "Number of classes."),
            Field("image_size", "integer", True, "Height and width of an image in pixels, a multiple of 4."),
            Field(
                "image_hashes",
                "object",
                False,
                "SHA-256 of the images and labels of each split; `half/{split}` where they go with a training half.",
            ),
        ),
        (
            Field("latency", "float64 (cell)", False, "Seconds to evaluate one batch of 256 images."),
            Field("params", "int64 (cell)", False, "Trainable parameters, where the network is not the published one."),
            Field(
                "macs",
                "int64 (cell)",
                False,
                "Multiply-accumulates an image, where the network is not the published one.",
            ),
            Field(
                "any other name",
                "float64 (cell)",
                False,
                "A column of one's own, such as a latency of some device, an energy or a score; NaN: missing. "
                "Attributes `unit` and `source`.",
            ),
        ),
    ),
    Group(
        "/{dataset}/{recipe}",
        (
            Field("epochs", "integer", True, "Length of the schedule in epochs."),
            Field("recipe", "object", False, "The training recipe in full."),
        ),
    ),
    Group(
        "/{dataset}/{recipe}/{trained_on}",
        (Field("images", "integer", False, "Number of training images."),),
        (
            Field(
                "epoch_seconds",
                "float64 (time_trial, time_epoch, cell)",
                False,
                "GPU-seconds of one training epoch. A dimension of length 1 means: the same for every trial or epoch.",
            ),
            Field(
                "train_seconds",
                "float64 (time_trial, time_epoch, cell)",
                False,
                "GPU-seconds from the start to the end of the epochs in the attribute `epochs`, where the source gives "
                "only such totals. Stands instead of `epoch_seconds`.",
            ),
            Field(
                "trained_as",
                "int64 (cell)",
                False,
                "Index of the cell that was trained for this row, -1 for none: rows of equal cells may be copies.",
            ),
            Field(
                "weights-{seed}-{number}",
                "uint8 (byte)",
                False,
                "Weights of nets that were trained together, as the content of a safetensors file whose tensors are "
                "called `{cell}/{name}`. Attributes `cells` and `seed`.",
            ),
        ),
    ),
    Group(
        "/{dataset}/{recipe}/{trained_on}/{split}",
        (
            Field("images", "integer", True, "Number of images evaluated; an accuracy is correct / images."),
            Field(
                "trial_seeds", "array of integers or null", True, "Training seed of each trial, null if not recorded."
            ),
        ),
        (
            Field("epoch", "int32 (epoch)", True, "The epochs, counted from 1, after which the nets were evaluated."),
            Field(
                "correct",
                "uint16 or uint32 (trial, epoch, cell)",
                False,
                "Images classified correctly; the dtype's maximum: missing.",
            ),
            Field(
                "accuracy",
                "float64 (epoch, cell)",
                False,
                "Fraction correct as a mean over trials (attribute `aggregate`: mean); NaN: missing. "
                "Stands instead of `correct`.",
            ),
            Field("loss", "float64 (trial, epoch, cell)", False, "Mean cross-entropy; NaN: missing."),
            Field(
                "eval_seconds",
                "float64 (time_trial, time_epoch, cell)",
                False,
                "GPU-seconds of one evaluation pass over the split; dimensions of length 1 as above.",
            ),
        ),
    ),
)

RESERVED = frozenset({"error", "accuracy", "train_seconds"}) | {
    field.name for group in GROUPS for field in group.arrays if COLUMN_NAME.fullmatch(field.name)
}
"""Names that mean something else in the format, or where objectives and masks are named."""


# --- what attributes and arrays may hold, checked by the reader, the writer and verify alike --------------------------


def attribute_problems(path: str, attributes: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the attributes of a group, by its path within a table ("" for the top)."""
    for field in group_of(path).attributes:
        if field.name not in attributes:
            if field.required:
                yield f"{field.name} is missing"
            continue
        value, most = attributes[field.name], _MOST.get(field.name)
        if not _KINDS[field.kind](value):
            yield f"{field.name} is no {field.kind}"
        elif most is not None and not 1 <= value <= most:
            yield f"{field.name} is {value}, not 1 to {most}"
        elif field.name == "image_size" and value % 4:
            yield f"image_size is {value}, no multiple of 4: the network halves images twice"
    seeds = attributes.get("trial_seeds")
    if isinstance(seeds, list) and (len(set(seeds)) < len(seeds) or min(seeds, default=0) < 0):
        yield f"trial_seeds must be different whole numbers from 0, not {seeds[:10]}"


_MOST = {"num_classes": MAX_CLASSES, "image_size": MAX_IMAGE_SIZE, "epochs": MAX_EPOCH, "images": MAX_IMAGES}


def group_of(path: str) -> Group:
    """The level of the hierarchy that a group's path stands at."""
    return GROUPS[path.count("/") + 1 if path else 0]


def shape_problems(path: str, shape: tuple[int, ...]) -> Iterator[str]:
    """What is wrong with the shape of an array of the format, by its path."""
    parent, _, name = path.rpartition("/")
    if parent.count("/") > 3:
        return
    for field in group_of(parent).arrays:
        if field.name == name:
            dimensions = field.kind.partition("(")[2].rstrip(")").split(", ")
            cells = dimensions[-1] == "cell"
            if len(shape) != len(dimensions) or min(shape, default=0) < 1 or (cells and shape[-1] != NUM_CELLS):
                expected = ", ".join(str(NUM_CELLS) if d == "cell" else d for d in dimensions)
                yield f"shape {shape} where ({expected}) is expected"


def is_own_column(path: str) -> bool:
    """Whether an array is a column of one's own, by its path."""
    dataset, _, name = path.partition("/")
    return bool(dataset) and "/" not in name and name not in ("latency", "params", "macs")


def value_problems(name: str, values: npt.NDArray[Any], images: int | None = None) -> Iterator[str]:
    """What is wrong with the values of an array of the format.

    Args:
        name: of the array.
        values: all of them.
        images: number of images of the split, for `correct`.
    """
    with np.errstate(invalid="ignore"):
        if name == "accuracy":
            yield from _wrong(
                ~((values >= 0) & (values <= 1)) & ~np.isnan(values), values, "an accuracy outside 0 to 1"
            )
        elif name == "loss":
            yield from _wrong(np.isinf(values) | (values < 0), values, "a loss that is negative or infinite")
        elif name in SECONDS:
            wrong = (values > MAX_SECONDS) | (values < 0)
            yield from _wrong(wrong, values, "seconds that are negative or infinite")
            rows = values.reshape(-1, values.shape[-1])
            holes = np.isnan(rows).any(axis=0) & ~np.isnan(rows).all(axis=0)
            if len(rows) == 1 and holes.any():
                yield f"NaN in a part of cell {int(np.argmax(holes))}"
        elif name in ("params", "macs"):
            yield from _wrong(values < 0, values, f"negative {name}")
        elif name == "trained_as":
            yield from _wrong((values < -1) | (values >= NUM_CELLS), values, "a cell that there is not")
        elif name == "epoch":
            if values[0] < 1 or (np.diff(values) <= 0).any():
                yield "epochs that are not ascending from 1"
        elif name == "correct" and images is not None:
            above = (values > images) & (values != MISSING_COUNT[values.dtype.name])
            yield from _wrong(above, values, f"more correct than the {images} images")


SECONDS = ("latency", "epoch_seconds", "train_seconds", "eval_seconds")


def _wrong(rows: npt.NDArray[np.bool_], values: npt.NDArray[Any], what: str) -> Iterator[str]:
    if rows.any():
        where = np.argwhere(rows)[0]
        yield f"{what}: {values[tuple(where)]} at {place(tuple(where))}"


def place(where: tuple[Any, ...]) -> str:
    """Indices of an array in words."""
    names = ("trial", "epoch", "cell")[-len(where) :] if len(where) < 3 else ("trial", "epoch", "cell")
    return ", ".join(f"{name} {int(number)}" for name, number in zip(names, where, strict=False))


def _is_list_of(kind: type) -> Any:
    return lambda value: isinstance(value, list) and all(type(one) is kind for one in value)


_KINDS: dict[str, Any] = {
    "integer": is_whole,
    "string": lambda value: isinstance(value, str),
    "object": lambda value: isinstance(value, dict),
    "array of strings": _is_list_of(str),
    "array of integers or null": lambda value: value is None or _is_list_of(int)(value),
}
