"""Mapping over worker processes, in order, or in this process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


@contextmanager
def worker_map(jobs: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """`map` over so many processes, results in order as they come; plain `map` for one job.

    Processes are spawned, so that threads of this one, of zarr or torch say, are no concern of theirs. On leaving, work
    that has not begun is dropped.
    """
    if jobs == 1:
        yield map
        return
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
