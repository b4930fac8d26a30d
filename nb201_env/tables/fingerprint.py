"""Two hashes that say whether two tables hold the same benchmark.

`fingerprint` covers what training determines: counts or means, losses, weights, evaluated epochs, trial seeds, recipes,
image counts and hashes. `timing_fingerprint` covers seconds and latencies, which differ from machine to machine, and
columns of one's own, which a table may be given later. Dates, hosts, software versions and the way arrays are cut into
chunks are in neither.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from nb201_env.tables.schema import is_own_column

if TYPE_CHECKING:
    import zarr

TIMING = frozenset({"latency", "epoch_seconds", "train_seconds", "eval_seconds"})
_ATTRIBUTES = (
    "num_classes",
    "image_size",
    "image_hashes",
    "epochs",
    "recipe",
    "images",
    "trial_seeds",
    "aggregate",
    "cells",
    "seed",
)


def fingerprints(root: zarr.Group) -> tuple[str, str]:
    """The training and the timing fingerprint of an open table, each 64 hexadecimal digits.

    Of each array its stored hash counts; `nb201_env.tables.verify` compares that with the content.
    """
    training, timing = hashlib.sha256(), hashlib.sha256()
    members: list[tuple[str, Any]] = sorted(root.members(max_depth=None))
    for path, node in members:
        known = {key: node.attrs[key] for key in _ATTRIBUTES if key in node.attrs}
        content = node.attrs["sha256"] if hasattr(node, "shape") else ""
        is_own = hasattr(node, "shape") and is_own_column(path)
        whole = timing if is_own or path.rpartition("/")[2] in TIMING else training
        whole.update(f"{path} {json.dumps(known, sort_keys=True)} {content}\n".encode())
    return training.hexdigest(), timing.hexdigest()


def digest(array: Any) -> str:
    """SHA-256 of the dtype, shape and little-endian values of a NumPy or Zarr array; all NaNs are one."""
    values = np.ascontiguousarray(array[...])
    little, flat = values.dtype.newbyteorder("<"), values.reshape(-1)
    found = hashlib.sha256(f"{little.str}{values.shape}".encode())
    for start in range(0, flat.size, _BLOCK):  # so that copies stay in the processor's cache
        part = flat[start : start + _BLOCK]
        if part.dtype.kind == "f":
            part = np.where(np.isnan(part), np.nan, part).astype(values.dtype, copy=False)
        found.update(part.astype(little, copy=False).data)
    return found.hexdigest()


_BLOCK = 1 << 15


EPOCHS_PER_CHUNK = 10
"""Epochs that are stored, read and checked together."""


def chunk_digests(values: Any) -> dict[str, Any]:
    """The attribute `chunks` of an array of more epochs than a chunk holds: how many epochs each has, and its hash."""
    starts = range(0, values.shape[-2], EPOCHS_PER_CHUNK)
    hashes = [digest(values[..., start : start + EPOCHS_PER_CHUNK, :]) for start in starts]
    return {"epochs": EPOCHS_PER_CHUNK, "sha256": hashes}
