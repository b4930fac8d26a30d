"""What PyTorch computes on: devices, checked where their names come from outside, and threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nb201_env.errors import NB201Error


def checked_device(name: str) -> Any:
    """The `torch.device` of a name, of the CPU or a CUDA device that is there.

    Raises:
        NB201Error: if it is another, or a CUDA device that PyTorch does not see.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise NB201Error(f"unknown device {name!r}; use cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise NB201Error(f"unknown device {name!r}; use cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise NB201Error(f"device {name!r}: this PyTorch sees {torch.cuda.device_count() or 'no'} CUDA device; use cpu")
    return device


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, and on as many as before afterwards.

    For small nets, several are no faster, and on a busy machine many times slower; and a fixed number makes results the
    same on every machine.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
