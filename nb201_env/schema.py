"""The table format, version 1, written down once: groups, arrays, attributes, units.

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

from dataclasses import dataclass

FORMAT = "nb201-table"
VERSION = 1
"""A reader refuses a table whose version is higher; an added optional array or attribute does not raise it."""

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
                "fingerprint", "string", True, "SHA-256 over all that training determines; see `nb201_env.fingerprint`."
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
            Field("image_size", "integer", True, "Height and width of an image in pixels."),
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
