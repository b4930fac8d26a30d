"""Where many tasks are done: in processes of this machine, or on a cluster of Ray.

Both are a function like `nb201_env.parallel.run_tasks`, of a function, tasks, and how many are done at once. Ray's
scheduling, retries and object store are Ray's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from nb201_env.checks import one_of
from nb201_env.errors import NB201Error
from nb201_env.parallel import Done, WorkerError, portable, run_tasks

Engine = Callable[[Callable[[Any], Any], Iterable[Any], int], Iterator[Done]]
"""From a function of a task, the tasks, and how many are done at once, to results as they come."""

ENGINES = ("local", "ray")

RETRIES = 3
"""How often Ray begins a task again whose node or process is gone."""


@contextmanager
def engine(name: str, address: str | None = None, gpus: int = 0) -> Iterator[Engine]:
    """An engine by its name.

    Args:
        name: one of `ENGINES`.
        address: of a cluster, as `auto` or `ray://host:10001`; None starts one on this machine.
        gpus: that each task needs, on a cluster.

    Raises:
        NB201Error: if there is none, Ray is not installed, or the cluster cannot be reached.
    """
    one_of("engine", name, ENGINES)
    if name == "local":
        if address is not None:
            raise NB201Error(f"an address is that of a cluster, and --engine ray uses one; got {address!r} with local")
        yield run_tasks
        return
    try:
        import ray
    except ImportError:
        raise NB201Error("the engine ray needs Ray: pip install 'nb201-env[ray]'") from None
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise NB201Error(f"no cluster of Ray at {address}: {str(error).splitlines()[0]}") from None
    try:
        yield _on_ray(gpus)
    finally:
        ray.shutdown()


def _on_ray(gpus: int) -> Engine:
    """Tasks on the cluster that this process is connected to."""
    import ray

    call = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_outcome)

    def run(function: Callable[[Any], Any], tasks: Iterable[Any], jobs: int) -> Iterator[Done]:
        shared, waiting = ray.put(function), enumerate(tasks)
        flying: dict[Any, int] = {}
        try:
            while True:
                for position, task in islice(waiting, jobs - len(flying)):
                    flying[call.remote(shared, task)] = position
                if not flying:
                    return
                (ready,), _ = ray.wait(list(flying), num_returns=1)
                position = flying.pop(ready)
                try:
                    value, error = ray.get(ready)
                except ray.exceptions.RayError as lost:
                    value, error = None, WorkerError(_last_line(lost))
                yield Done(position, value, error, True)
        finally:
            for ready in flying:
                ray.cancel(ready, force=True)

    return run


def _last_line(error: Exception) -> str:
    """What Ray says of a task that was lost, without its colours."""
    return re.sub(r"\x1b\[\d*m", "", str(error)).strip().splitlines()[-1]


def _outcome(function: Callable[[Any], Any], task: Any) -> tuple[Any, Exception | None]:
    """What a call returns or raises."""
    try:
        return function(task), None
    except Exception as error:  # whatever goes wrong with one task is for the caller to judge
        return None, portable(error)
