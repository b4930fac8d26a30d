"""The one way in which arguments are checked: each function returns what it was given as plain data, or raises.

Every message names the argument, what was expected, and the value.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

import numpy as np

from nb201_env.errors import NB201Error

MAX_SEED = 2**64 - 1

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
_short.maxlist = _short.maxtuple = 10
_short.maxlevel = 3


def shown(value: object) -> str:
    """A value as an error message shows it: its repr, cut short, whatever the value is."""
    try:
        return _short.repr(value)
    except Exception:  # a value from outside may fail to show itself in any way
        return f"a {type(value).__name__}"


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is an integer of Python or NumPy; booleans are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def whole(name: str, value: object, least: int, most: int | None = None, fix: str = "") -> int:
    """An integer of Python or NumPy within bounds, as an int.

    Args:
        name: of the argument.
        value: to check.
        least: lower bound, inclusive.
        most: upper bound, inclusive; None for none.
        fix: what to do about it, appended to the message.

    Raises:
        NB201Error: for anything else; booleans and floats are refused.
    """
    if is_whole(value):
        number = operator.index(value)
        if least <= number and (most is None or number <= most):
            return number
    bounds = f"at least {least}" if most is None else f"from {least} to {most}"
    raise NB201Error(f"{name} must be a whole number {bounds}{fix}, got {shown(value)}")


def number(
    name: str,
    value: object,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    what: str = "finite number",
    fix: str = "",
) -> float:
    """A finite number of Python or NumPy within bounds, as a float.

    Args:
        name: of the argument.
        value: to check.
        least: lower bound, inclusive.
        above: lower bound, exclusive.
        most: upper bound, inclusive.
        what: kind of number, for the message.
        fix: what to do about it, appended to the message.

    Raises:
        NB201Error: for anything else; booleans are refused.
    """
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        try:
            plain = float(value)
        except OverflowError:
            plain = math.inf
        if math.isfinite(plain) and least <= plain <= most and plain > above:
            return plain
    bounds = f" from {least:g}" if least > -math.inf else f" above {above:g}" if above > -math.inf else ""
    if most < math.inf:
        bounds += f" to {most:g}" if least > -math.inf else f", at most {most:g}"
    raise NB201Error(f"{name} must be a {what}{bounds}{fix}, got {shown(value)}")


def one_of(name: str, value: object, allowed: Collection[Any]) -> Any:
    """A value that is one of those allowed.

    Raises:
        NB201Error: for any other.
    """
    for one in allowed:
        if value is one or (isinstance(value, str) and isinstance(one, str) and value == one):
            return one
    raise NB201Error(f"{name} must be one of {', '.join(map(str, allowed))}, got {shown(value)}")


def text(name: str, value: object, example: str) -> str:
    """A string that is not empty.

    Raises:
        NB201Error: for anything else.
    """
    if isinstance(value, str) and value:
        return value
    raise NB201Error(f"{name} must be a name such as {example!r}, got {shown(value)}")


def truth(name: str, value: object) -> bool:
    """A boolean of Python or NumPy, as a bool.

    Raises:
        NB201Error: for anything else.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise NB201Error(f"{name} must be True or False, got {shown(value)}")


def seed(name: str, value: object) -> int:
    """A seed: an integer from 0 to 2^64 - 1.

    Raises:
        NB201Error: for anything else.
    """
    return whole(name, value, 0, MAX_SEED)


def mapping(name: str, value: object, keys: Collection[str], some: bool = False) -> dict[str, Any]:
    """A dict from some of the keys.

    Args:
        name: of the argument.
        value: to check.
        keys: that are known.
        some: whether it must not be empty.

    Raises:
        NB201Error: for anything else, or an unknown key.
    """
    if not isinstance(value, Mapping) or (some and not value):
        raise NB201Error(f"{name} must be a dict of {', '.join(keys)}, got {shown(value)}")
    if unknown := [key for key in value if key not in keys]:
        raise NB201Error(f"unknown {name} {', '.join(map(shown, unknown))}; known are {', '.join(keys)}")
    return dict(value)
