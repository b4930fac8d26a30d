"""Reading pickles from outside: only names on an explicit list are ever looked up, so nothing in the file can run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import IO, Any

from nb201_env.errors import TableFormatError


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], allowed: Mapping[str, Any]):
        super().__init__(file)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[f"{module}.{name}"]
        except KeyError:
            raise TableFormatError(f"refused: the pickle names {module}.{name}, which no such file needs") from None


def restricted_load(file: IO[bytes], source: str, allowed: Mapping[str, Any] | None = None) -> Any:
    """Unpickle a file that may name nothing but `allowed` (none by default).

    Args:
        file: an open binary file.
        source: what to call the file in errors.
        allowed: "module.name" to the object that stands for it.

    Raises:
        TableFormatError: if the file is no pickle, is cut short, or names anything else.
    """
    try:
        return _Unpickler(file, allowed or {}).load()
    except TableFormatError as error:
        raise TableFormatError(f"{source}: {error}") from None
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        raise TableFormatError(f"{source}: not a complete pickle file ({error})") from None
