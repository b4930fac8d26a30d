"""NAS-Bench-201's `.pth` files, v1_0 and v1_1, in either container of PyTorch.

They are read with `weights_only=True`, so that PyTorch builds nothing but tensors, plain containers and the numpy
scalars that the files need.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from nb201_env.errors import NB201Error, TableFormatError
from nb201_env.importers.nats import Imported, Progress, import_records


def import_pth(
    path: str | os.PathLike[str], out: str | os.PathLike[str], progress: Progress = lambda done, total: None
) -> Imported:
    """Make a table from a `.pth` file. Needs PyTorch, and tens of gigabytes of memory for the official files.

    What v1_0 lacks, training times of 200 epochs and evaluation times, is missing in the table.

    Raises:
        NB201Error: if PyTorch is not installed.
        TableFormatError: if the file is damaged, names a foreign type, or is not of the official layout.
    """
    try:
        import torch
    except ImportError:
        raise NB201Error("reading a .pth file needs PyTorch: pip install 'nb201-env[generator]'") from None

    scalar = np.float64(0).__reduce__()[0]
    # Files that were written with numpy 1 name the function by its old module.
    allowed: list[Any] = [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, type(np.dtype("f8"))]
    try:
        with torch.serialization.safe_globals(allowed):
            whole = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types; all of them mean that the file is not what it should be
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableFormatError(f"{os.fspath(path)}: no NAS-Bench-201 file ({reason})") from None
    return import_records(whole, os.fspath(path), Path(out), "NAS-Bench-201 .pth file", progress)
