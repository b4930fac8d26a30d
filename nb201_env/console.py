"""What all commands show on a terminal: a progress bar, and errors as one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr, if that is a terminal.

    Yields:
        A function to call with how many are done, how many there are, and what is being done if that changes.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def update(done: int, total: int, now: str = what) -> None:
            bar.update(task, description=now, completed=done, total=total)

        yield update


def fail(message: str, code: int = 2) -> NoReturn:
    """Print one line, unless there is nothing to say, and exit."""
    if message:
        line = " ".join(message.splitlines())
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]error:[/red] {escape(line)}")
    sys.exit(code)
