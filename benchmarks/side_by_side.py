"""Timing two pieces of code side by side in one run, so that other load falls on both."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

ROUNDS = 15


def seconds_of(call: Callable[[], object], repeat: int) -> float:
    began = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - began) / repeat


def ratio(
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    repeat: int | tuple[int, int] = 1,
    target: str = "",
    rounds: int = ROUNDS,
) -> float:
    """Print and return the median over rounds of our time by theirs, the two taking turns."""
    mine, other = repeat if isinstance(repeat, tuple) else (repeat, repeat)
    pairs = [(seconds_of(ours, mine), seconds_of(theirs, other)) for _ in range(rounds)]
    result = statistics.median(a / b for a, b in pairs)
    ours_s, theirs_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    shown = f"{result:.2f}" if result >= 0.1 else f"1/{1 / result:.0f}"
    aim = f"; target {target}" if target else ""
    print(f"{what}: {shown} of the other's time ({_unit(ours_s)} against {_unit(theirs_s)}){aim}", flush=True)
    return result


def _unit(seconds: float) -> str:
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def run_python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
