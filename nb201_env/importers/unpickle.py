"""The one door for pickles from outside. Nothing in them runs, and no object of NumPy or PyTorch is ever made by them.

A name in a pickle stands for something of this module or the file is refused: numbers and arrays are read from literal
type codes and bytes whose lengths are checked, and tensors are dropped. What a pickle can still do, use up time and
memory or overflow the interpreter's stack, ends with the worker process of `read_files`.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from nb201_env.errors import NB201Error, TableFormatError
from nb201_env.files import regular
from nb201_env.parallel import Done, Limits, WorkerError, run_tasks

_FORMATS = {"f8": "<d", "f4": "<f", "i8": "<q", "i4": "<i", "i2": "<h", "i1": "<b", "u8": "<Q", "u4": "<I", "u2": "<H",
            "u1": "<B"}  # fmt: skip
_MAX_DIMENSIONS = 4


class PlainDict(dict[Any, Any]):
    """What `collections.OrderedDict` stands for: a dict without attributes."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Ignore attributes, such as PyTorch's `_metadata`."""


class Number:
    """What `numpy.dtype` stands for: one of a few little-endian types of numbers."""

    __slots__ = ("code",)

    def __init__(self, code: object, *flags: object):
        plain = code.decode("latin-1") if isinstance(code, bytes) else code
        if not isinstance(plain, str) or plain not in _FORMATS:
            raise TableFormatError("it has a number of a type that no such file needs")
        self.code = plain

    def __setstate__(self, state: object) -> None:
        """Ignore everything but the order of bytes."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", "|", b"<", b"|"):
            raise TableFormatError("it has a number in an order of bytes that no such file has")

    @property
    def size(self) -> int:
        """Bytes of one number."""
        return struct.calcsize(_FORMATS[self.code])


class Array:
    """What `numpy.ndarray` stands for: numbers, made when all is known about them."""

    __slots__ = ("values",)

    def __setstate__(self, state: Any) -> None:
        """Take shape, type and bytes, if they fit one another."""
        version, shape, kind, columns_first, content = state
        whole = isinstance(shape, tuple) and len(shape) <= _MAX_DIMENSIONS and all(type(n) is int for n in shape)
        if not whole or type(kind) is not Number or type(content) is not bytes or version != 1 or columns_first:
            raise TableFormatError("it has an array of a kind that no such file has")
        if min(shape, default=0) < 0 or len(content) != kind.size * math.prod(shape):
            raise TableFormatError("it has an array whose size is not that of its content")
        self.values: npt.NDArray[Any] = np.frombuffer(content, np.dtype("<" + kind.code)).reshape(shape)


def _scalar(kind: object, content: object) -> float | int:
    """What `numpy.core.multiarray.scalar` stands for."""
    content = content.encode("latin-1") if isinstance(content, str) else content
    if type(kind) is not Number or type(content) is not bytes or len(content) != kind.size:
        raise TableFormatError("it has a number whose size is not that of its type")
    return struct.unpack(_FORMATS[kind.code], content)[0]  # type: ignore[no-any-return]


def _reconstruct(kind: object, shape: object, code: object) -> Array:
    """What `numpy.core.multiarray._reconstruct` stands for: an array that waits for its state."""
    if kind is not Array:
        raise TableFormatError("it has an array of a kind that no such file has")
    return Array()


def _encode(text: object, encoding: object) -> bytes:
    """What `_codecs.encode` stands for, by which pickles of protocol 2 hold bytes."""
    if type(text) is not str or encoding != "latin1":
        raise TableFormatError("it has bytes in an encoding that no such file has")
    return text.encode("latin-1")


def _dropped(*arguments: object) -> None:
    """What makes tensors and their storages: weights are not kept."""


class StandIn:
    """A function of this module as a pickle may call it, and not change it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *arguments: object) -> Any:
        """What the function makes of some arguments."""
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        """Refused: a function has no state."""
        raise TableFormatError("it would change a function")


OFFICIAL: Mapping[str, Any] = {
    "collections.OrderedDict": PlainDict,
    "numpy.dtype": Number,
    "numpy.core.multiarray.scalar": StandIn(_scalar),
    "numpy._core.multiarray.scalar": StandIn(_scalar),
    "_codecs.encode": StandIn(_encode),
    "torch._utils._rebuild_tensor_v2": StandIn(_dropped),
    "torch._utils._rebuild_parameter": StandIn(_dropped),
    "torch.storage._load_from_bytes": StandIn(_dropped),
    "torch.FloatStorage": StandIn(_dropped),
    "torch.LongStorage": StandIn(_dropped),
}
"""Names in the official files of NAS-Bench-201 and NATS-Bench, and what each stands for."""

IMAGES: Mapping[str, Any] = {
    "numpy.core.multiarray._reconstruct": StandIn(_reconstruct),
    "numpy._core.multiarray._reconstruct": StandIn(_reconstruct),
    "numpy.ndarray": Array,
    "numpy.dtype": Number,
    "_codecs.encode": StandIn(_encode),
}
"""Names in the archives of images, and what each stands for."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], names: Mapping[str, Any], encoding: str):
        super().__init__(file, encoding=encoding)
        self._names = names

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._names[f"{module}.{name}"]
        except KeyError:
            raise TableFormatError(f"refused: the pickle names {_short(module)}.{_short(name)}, which no such file "
                                   "needs") from None  # fmt: skip

    def persistent_load(self, pid: Any) -> None:
        """A storage of a tensor, which is dropped."""
        if "torch._utils._rebuild_tensor_v2" not in self._names:
            raise TableFormatError("refused: the pickle refers to something outside itself")


def _short(name: str) -> str:
    return name if len(name) <= 60 and name.isprintable() else f"{name[:60]!a}…"


def restricted_load(
    file: IO[bytes], source: str, names: Mapping[str, Any] | None = None, encoding: str = "ASCII"
) -> Any:
    """Unpickle a file that may name nothing but `names` (none by default).

    Args:
        file: an open binary file.
        source: what to call the file in errors.
        names: "module.name" to what stands for it.
        encoding: of strings that Python 2 wrote, as in `pickle.load`.

    Raises:
        TableFormatError: if the file is no pickle, is cut short, names anything else, or needs too much memory.
    """
    try:
        return _Unpickler(file, names or {}, encoding).load()
    except TableFormatError as error:
        raise TableFormatError(f"{source}: {error}") from None
    except MemoryError:
        raise TableFormatError(f"{source}: refused: it takes more memory than such a file may") from None
    except Exception as error:  # pickle raises many types; all mean that the file is not what it should be
        raise TableFormatError(f"{source}: not a complete pickle file ({type(error).__name__})") from None


class Bounded(io.RawIOBase):
    """A file that ends with an error beyond so many bytes, so that a small file cannot unpack to an endless one."""

    def __init__(self, file: IO[bytes], most: int):
        self._file, self._left = file, most

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes."""
        content = self._file.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise TableFormatError("refused: it unpacks to far more than such a file holds")
        buffer[: len(content)] = content
        return len(content)


_BLOCK = 1 << 18


def bounded(file: IO[bytes], size: int) -> io.BufferedReader:
    """What a compressed file of `size` bytes unpacks to, up to 64 MB and 16 times its size."""
    return io.BufferedReader(Bounded(file, (64 << 20) + 16 * size), _BLOCK)


def read_files(
    function: Callable[[Any], Any], tasks: Sequence[tuple[Path, Any]], jobs: int = 1
) -> Iterator[tuple[int, Any]]:
    """Read files from outside in worker processes that may use only so much time and memory.

    Args:
        function: of a task; reads its file, raises TableFormatError for a bad one, may yield several values or none.
        tasks: each a path, and whatever else the function needs.
        jobs: number of processes.

    Yields:
        The position of a task and a value, as they come.

    Raises:
        TableFormatError: if a file is bad, ends the process that reads it, or takes too much time or memory: 8 s and
            1 GB, and 1 s a 200 kB and 32 times its size beyond.
        NB201Error: if a path is no regular file.
    """
    for path, _ in tasks:
        regular(path)
    for done in run_tasks(function, tasks, jobs, _limits):
        if done.error is not None:
            raise _refusal(tasks[done.task][0], done)
        if done.value is not None:
            yield done.task, done.value


MAX_SECONDS, MAX_MEMORY = 4 * 3600.0, 64 << 30
"""Beyond the least that every file may take; the largest official one needs 34 GB and some minutes."""


def _limits(task: tuple[Path, Any]) -> Limits:
    stat = task[0].stat()
    size = min(
        stat.st_size, 512 * getattr(stat, "st_blocks", stat.st_size)
    )  # a sparse file is no larger than its content
    return Limits(seconds=8 + min(size / 200e3, MAX_SECONDS), memory=(1 << 30) + min(32 * size, MAX_MEMORY))


def _refusal(path: Path, done: Done) -> Exception:
    error = done.error
    if isinstance(error, WorkerError):
        return TableFormatError(f"{path}: refused: while it was read, {error}")
    if isinstance(error, NB201Error):
        return error
    if isinstance(error, MemoryError):
        return TableFormatError(f"{path}: refused: it takes more memory than such a file may")
    return TableFormatError(f"{path}: refused: it is not of the official layout ({type(error).__name__})")
