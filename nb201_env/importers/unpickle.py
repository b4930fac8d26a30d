"""Reading pickles from outside: only names on an explicit list are ever looked up, so nothing in the file can run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import IO, Any

from nb201_env.errors import TableFormatError


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], allowed: Mapping[str, Any], encoding: str):
        super().__init__(file, encoding=encoding)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[f"{module}.{name}"]
        except KeyError:
            raise TableFormatError(f"refused: the pickle names {module}.{name}, which no such file needs") from None


def restricted_load(
    file: IO[bytes], source: str, allowed: Mapping[str, Any] | None = None, encoding: str = "ASCII"
) -> Any:
    """Unpickle a file that may name nothing but `allowed` (none by default).

    Args:
        file: an open binary file.
        source: what to call the file in errors.
        allowed: "module.name" to the object that stands for it.
        encoding: of strings that Python 2 wrote, as in `pickle.load`.

    Raises:
        TableFormatError: if the file is no pickle, is cut short, or names anything else.
    """
    try:
        return _Unpickler(file, allowed or {}, encoding).load()
    except TableFormatError as error:
        raise TableFormatError(f"{source}: {error}") from None
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        raise TableFormatError(f"{source}: not a complete pickle file ({error})") from None
