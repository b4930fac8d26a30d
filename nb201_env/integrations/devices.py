"""Names of PyTorch's devices, checked where they come from outside."""

from __future__ import annotations

from typing import Any

from nb201_env.errors import NB201Error


def checked_device(name: str) -> Any:
    """The `torch.device` of a name.

    Raises:
        NB201Error: if there is none, or it is a CUDA device and PyTorch sees none.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise NB201Error(f"unknown device {name!r}; use cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise NB201Error(f"device {name!r}: this PyTorch sees no CUDA device; use cpu")
    return device
