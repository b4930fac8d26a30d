"""Calling a function on tasks in worker processes, which end with this one, whatever ends it.

A worker is a fresh interpreter that reads tasks from its standard input, so that threads of this process are no concern
of it, the caller's script is not imported again, and the end of the input tells it that the parent is gone. It can be
confined to so much time and memory, for reading files from outside.
"""

from __future__ import annotations

import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

from nb201_env import checks
from nb201_env.errors import NB201Error


class WorkerError(NB201Error):
    """A worker process ended, or took too long, before it had done its task."""


class Done(NamedTuple):
    """What came of a task.

    Attributes:
        task: its position.
        value: what the function returned, or one of the values that it yielded.
        error: what it raised instead.
        is_last: False for a yielded value that others follow.
    """

    task: int
    value: Any
    error: Exception | None
    is_last: bool


@dataclass(frozen=True)
class Limits:
    """What a worker may use for one task.

    Attributes:
        seconds: until its first value, and from one to the next.
        memory: bytes beyond what the process has at its start; enforced on Linux.
    """

    seconds: float
    memory: int


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Iterable[Any],
    jobs: int = 1,
    limits: Callable[[Any], Limits] | None = None,
) -> Iterator[Done]:
    """Call a function on every task; results as they come, not in order.

    A worker that ends is replaced, and what it was doing is reported as failed.

    Args:
        function: of a task, importable by name. If it is a generator, what it yields comes one by one.
        tasks: one for each call.
        jobs: number of processes; with one, and no limits, everything happens in this one.
        limits: from a task to its limits.

    Raises:
        NB201Error: at once, if `jobs` is no whole number from 1.
    """
    return _run(function, tasks, checks.whole("jobs", jobs, 1), limits)


def _run(
    function: Callable[[Any], Any], tasks: Iterable[Any], jobs: int, limits: Callable[[Any], Limits] | None
) -> Iterator[Done]:
    if jobs == 1 and limits is None:
        for position, task in enumerate(tasks):
            for value, error, is_last in _outcomes(function, task):
                yield Done(position, value, error, is_last)
        return
    waiting, messages = enumerate(tasks), queue.SimpleQueue[tuple[_Worker, Any]]()
    workers: list[_Worker] = []
    try:
        while True:
            for position, task in islice(waiting, jobs - sum(worker.is_busy for worker in workers)):
                limit = limits(task) if limits else None
                worker = _free_worker(workers, function, limit, messages)
                worker.begin(position, task, limit)
            busy = [worker for worker in workers if worker.is_busy]
            if not busy:
                return
            yield from _next_done(busy, messages)
    finally:
        for worker in workers:
            worker.end()


def in_order(results: Iterable[Done]) -> Iterator[Any]:
    """Values of tasks that return one each, in the order of the tasks; the first error is raised."""
    early: dict[int, Any] = {}
    following = 0
    for done in results:
        if done.error is not None:
            raise done.error
        early[done.task] = done.value
        while following in early:
            yield early.pop(following)
            following += 1


def _free_worker(workers: list[_Worker], function: Any, limit: Limits | None, messages: Any) -> _Worker:
    """A worker that can take a task under a limit; the list keeps those that are alive."""
    memory = limit.memory if limit else 0
    for worker in [worker for worker in workers if not worker.is_busy]:
        if worker.is_alive and worker.memory >= memory:
            return worker
        worker.end()
        workers.remove(worker)
    workers.append(_Worker(function, memory, messages))
    return workers[-1]


def _next_done(busy: list[_Worker], messages: Any) -> Iterator[Done]:
    """Wait until a worker says something, ends, or is overdue."""
    deadline = min(worker.deadline for worker in busy)
    try:
        timeout = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
        worker, message = messages.get(timeout=timeout)
    except queue.Empty:
        now = time.monotonic()
        yield from (worker.give_up(_OVERDUE) for worker in busy if worker.deadline <= now)
        return
    if not worker.is_busy:  # the end of one that has been given up
        return
    if message is None:
        yield worker.give_up(f"its process ended ({_how(worker.process.wait())})")
    elif (done := worker.take(message)) is not None:
        yield done


def _outcomes(function: Callable[[Any], Any], task: Any) -> Iterator[tuple[Any, Exception | None, bool]]:
    """(value, error, is_last) of all that a call returns or yields."""
    try:
        value = function(task)
        if isinstance(value, Generator):
            for one in value:
                yield one, None, False
            value = None
    except Exception as error:  # whatever goes wrong with one task is for the caller to judge
        yield None, error, True
    else:
        yield value, None, True


_READY = "ready"
_STARTING = 60.0
"""Seconds that a new process may take to start, on a busy machine."""
_OVERDUE = "it took too long"


class _Worker:
    """One process, and a thread that listens to it."""

    def __init__(self, function: Callable[[Any], Any], memory: int, messages: Any):
        self.memory, self.is_alive, self.is_busy = memory, True, False
        self.deadline = math.inf
        self._task, self._seconds = 0, math.inf
        self._is_ready = False
        code = "from nb201_env.parallel import serve; serve()"
        # in a session of its own, so that Ctrl-C reaches the parent alone, which decides what becomes of its workers
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if memory else None,  # what an evil file makes the interpreter say
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._input = self.process.stdin
        threading.Thread(target=self._listen, args=(self.process.stdout, messages), daemon=True).start()
        self._send((sys.path, memory))
        self._send(function)

    def _listen(self, output: BinaryIO, messages: Any) -> None:
        with suppress(Exception):  # the end of the output, within a message or between two
            while True:
                messages.put((self, pickle.load(output)))
        messages.put((self, None))

    def _send(self, value: Any) -> None:
        with suppress(OSError):  # it has ended, which the listener reports
            pickle.dump(value, self._input)
            self._input.flush()

    def begin(self, position: int, task: Any, limits: Limits | None) -> None:
        self._task, self.is_busy = position, True
        self._seconds = limits.seconds if limits else math.inf
        self.deadline = time.monotonic() + self._seconds + (0.0 if self._is_ready else _STARTING)
        self._send(task)

    def take(self, message: Any) -> Done | None:
        self.deadline = time.monotonic() + self._seconds
        if message == _READY:
            self._is_ready = True
            return None
        value, error, is_last = message
        self.is_busy = not is_last
        return Done(self._task, value, error, is_last)

    def give_up(self, reason: str) -> Done:
        """Of the task that it has not done."""
        self.end()
        self.is_alive = self.is_busy = False
        return Done(self._task, None, WorkerError(reason), True)

    def end(self) -> None:
        """At once, whatever it is doing; tasks write files whole or not at all."""
        self.process.kill()
        self.process.wait()
        with suppress(OSError):
            self._input.close()


def _how(code: int) -> str:
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"exit code {code}"


def serve() -> None:
    """Do the tasks that come on standard input until it ends. Run by `run_tasks` in its worker processes."""
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    source = sys.stdin.buffer
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a task prints is no message
    try:
        sys.path[:], memory = pickle.load(source)
        function = pickle.load(source)
    except (EOFError, pickle.UnpicklingError):
        sys.exit(1)  # the parent was gone before it had said what to do
    threading.Thread(target=_read_tasks, args=(source, tasks), daemon=True).start()
    if memory:
        _confine(memory)
    _reply(output, _READY)
    while True:
        for value, error, is_last in _outcomes(function, tasks.get()):
            _reply(output, (value, portable(error), is_last))


def _read_tasks(source: BinaryIO, tasks: queue.SimpleQueue[Any]) -> None:
    with suppress(Exception):
        while True:
            tasks.put(pickle.load(source))
    os._exit(1)  # the parent is gone


def _reply(output: BinaryIO, message: Any) -> None:
    try:
        pickle.dump(message, output, protocol=pickle.HIGHEST_PROTOCOL)
        output.flush()
    except BrokenPipeError:
        os._exit(1)  # the parent is gone


def portable(error: Exception | None) -> Exception | None:
    """An error that can be sent to another process."""
    if error is None or isinstance(error, NB201Error):
        return error
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # whatever an exception of another package does when it is pickled
        return RuntimeError(f"{type(error).__name__}: {error}")


def _confine(memory: int) -> None:
    """Let this process have so many bytes more than it has now, and die with its parent even in the midst of C code."""
    if sys.platform != "linux":
        return
    import ctypes
    import resource

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    set_death_signal = 1
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
