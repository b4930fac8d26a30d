"""Names and sizes of the official data: what NAS-Bench-201 and NATS-Bench call their data sets, recipes and splits."""

from __future__ import annotations

from typing import NamedTuple

RECIPES = {"12": "12ep", "200": "200ep"}
"""What nats_bench calls `hp`, and the recipe that it is."""

EPOCHS = {"12ep": 12, "200ep": 200}


class Source(NamedTuple):
    """What the official name of a training run stands for.

    Attributes:
        dataset: name of the data set in a table.
        trained_on: half or full.
        num_classes: number of classes.
        image_size: height and width in pixels.
        images: number of images of each split, by split.
        splits: official name of each evaluated split to ours.
    """

    dataset: str
    trained_on: str
    num_classes: int
    image_size: int
    images: dict[str, int]
    splits: dict[str, str]


_HALVES = {"x-valid": "valid", "x-test": "test", "ori-test": "valtest"}

SOURCES = {
    "cifar10-valid": Source(
        "cifar10",
        "half",
        10,
        32,
        {"train": 25_000, "valid": 25_000, "test": 10_000},
        {"x-valid": "valid", "ori-test": "test"},
    ),
    "cifar10": Source("cifar10", "full", 10, 32, {"train": 50_000, "test": 10_000}, {"ori-test": "test"}),
    "cifar100": Source(
        "cifar100", "full", 100, 32, {"train": 50_000, "valid": 5_000, "test": 5_000, "valtest": 10_000}, _HALVES
    ),
    "ImageNet16-120": Source(
        "ImageNet16-120", "full", 120, 16, {"train": 151_700, "valid": 3_000, "test": 3_000, "valtest": 6_000}, _HALVES
    ),
}
"""Official name of a set of training images (and of how the nets trained on it are evaluated)."""

LICENSE = (
    "Values of NAS-Bench-201 and NATS-Bench; repositories under the MIT licence, no separate licence for the data "
    "stated."
)
CITATION = (
    "Dong and Yang. NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search. ICLR 2020.",
    "Dong, Liu, Musial and Gabrys. NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size. "
    "IEEE TPAMI 2021.",
)
