"""What nats_bench says in words, and how it reads an architecture string."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.compat.records import ArchResults
from nb201_env.space import OPS

COMMENT = (
    "In this dict, train-loss/accuracy/time is the metric on the {} of CIFAR-10. The test-loss/accuracy/time is the "
    "performance of the CIFAR-10 test set after training on the {} by {} epochs. The per-time and total-time indicate "
    "the per epoch and total time costs, respectively."
)
TRAINED_ON = {"cifar10-valid": "train set", "cifar10": "train+valid sets"}

# What nats_bench prints of the runs on each set of training images: a title and an official split.
_PRINTED = {
    "cifar10-valid": (("train", "train"), ("valid", "x-valid")),
    "cifar10": (("train", "train"), ("test ", "ori-test")),
    "cifar100": (("train", "train"), ("valid", "x-valid"), ("test", "x-test")),
    "ImageNet16-120": (("train", "train"), ("valid", "x-valid"), ("test", "x-test")),
}


def describe(results: ArchResults, extra: str | None) -> list[str]:
    """The lines that nats_bench prints of a cell, without the splits that the table does not have."""
    names = results.get_dataset_names()
    lines = [results.arch_str, f"datasets : {names}, extra-info : {extra}"]
    for name in names:
        costs = results.get_compute_costs(name)
        latency = costs["latency"]
        shown = f"{1000 * latency:.2f}" if latency is not None and latency > 0 else None
        lines.append(f"{name:14s} FLOP={costs['flops']:6.2f} M, Params={costs['params']:.3f} MB, latency={shown} ms.")
        metrics = [(title, results.metric_or_none(name, split)) for title, split in _PRINTED[name]]
        texts = [f"{title} : [{_metric_text(metric)}]" for title, metric in metrics if metric is not None]
        lines.append(f"{name:14s} {', '.join(texts)}")
    return lines


def _metric_text(metric: dict[str, Any]) -> str:
    loss = "unknown" if metric["loss"] is None else f"{metric['loss']:.3f}"
    return f"loss = {loss} & top1 = {metric['accuracy']:.2f}%"


def str2lists(arch_str: str) -> list[tuple[tuple[str, int], ...]]:
    """(op, source) pairs of each node's incoming edges."""
    nodes = [[term.split("~") for term in node.strip("|").split("|")] for node in arch_str.split("+")]
    return [tuple((op, int(source)) for op, source in node) for node in nodes]


def str2matrix(arch_str: str, search_space: tuple[str, ...] = OPS) -> npt.NDArray[np.float64]:
    """Op codes as a float matrix, [target, source]."""
    lists = str2lists(arch_str)
    matrix = np.zeros((len(lists) + 1, len(lists) + 1))
    for target, node in enumerate(lists, start=1):
        for op, source in node:
            if op not in search_space:
                raise ValueError(f"this op ({op}) is not in {search_space}")
            matrix[target, source] = search_space.index(op)
    return matrix
