"""Two hashes that say whether two tables hold the same benchmark.

`fingerprint` covers what training determines: counts or means, losses, weights, evaluated epochs, trial seeds, recipes,
image counts and hashes. `timing_fingerprint` covers seconds and latencies, which differ from machine to machine. Dates,
hosts, software versions and the way arrays are cut into chunks are in neither.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import zarr

TIMING = frozenset({"latency", "epoch_seconds", "train_seconds", "eval_seconds"})
_ATTRIBUTES = ("num_classes", "image_size", "image_hashes", "epochs", "recipe", "images", "trial_seeds", "aggregate")


def fingerprints(root: zarr.Group) -> tuple[str, str]:
    """The training and the timing fingerprint of an open table, each 64 hexadecimal digits."""
    training, timing = hashlib.sha256(), hashlib.sha256()
    members: list[tuple[str, Any]] = sorted(root.members(max_depth=None))
    for path, node in members:
        known = {key: node.attrs[key] for key in _ATTRIBUTES if key in node.attrs}
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
        if hasattr(node, "shape"):
            array = np.ascontiguousarray(node[...])
            digest.update(f"{array.dtype.newbyteorder('<').str}{array.shape}".encode())
            digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        whole = timing if path.rpartition("/")[2] in TIMING else training
        whole.update(f"{path} {digest.hexdigest()}\n".encode())
    return training.hexdigest(), timing.hexdigest()
