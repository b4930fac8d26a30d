"""Numbers as a page carries them: little-endian arrays in base64, as narrow as keeps them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

Packed = dict[str, Any]
"""An array for a page.

`data` is base64 of an array whose element type `type` is one of u1, u2, u4, f4, f8. Where there is a `palette`, its
elements are positions in that, and null there is a missing value. Where there is `over`, a number or another packed
array, values are to be divided by it; 0 over 0 is a missing value.
"""

_MOST_DISTINCT = 256
_UNSIGNED = ("u1", "u2", "u4")


def pack(values: npt.NDArray[Any]) -> Packed:
    """An array of numbers: integers exactly, floats to the 7 digits of a float32, to 16 where its range is too small.

    Args:
        values: of any shape; NaN and infinities are missing values.
    """
    values = np.where(np.isfinite(values), values, np.nan) if values.dtype.kind == "f" else values
    distinct, positions = np.unique(values, return_inverse=True)
    kind = _kind(values)
    if len(distinct) <= _MOST_DISTINCT and kind != "u1":
        palette = [None if value != value else value for value in distinct.tolist()]
        return {"type": "u1", "data": _text(positions, "u1"), "palette": palette}
    return {"type": kind, "data": _text(values, kind)}


def pack_shares(counts: npt.NDArray[Any], wholes: npt.NDArray[Any]) -> Packed:
    """Counts over wholes, exactly; both are integers of one shape, and 0 over 0 is a missing value."""
    over = int(wholes[0]) if (wholes == wholes[0]).all() else pack(wholes)
    return {**pack(counts), "over": over}


def _kind(values: npt.NDArray[Any]) -> str:
    """The narrowest element type that keeps an array."""
    if values.dtype.kind in "iu" and values.size and values.min() >= 0:
        for kind in _UNSIGNED:
            if values.max() <= np.iinfo(kind).max:
                return kind
    wide = values.astype(np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    return "f4" if np.allclose(narrow, wide, rtol=1e-6, atol=0, equal_nan=True) else "f8"


def _text(values: npt.NDArray[Any], kind: str) -> str:
    return base64.b64encode(values.astype(f"<{kind}").tobytes()).decode("ascii")
