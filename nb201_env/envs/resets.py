"""What a reset may ask for: another column or budget, a new search, and its seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nb201_env import checks

RESET_OPTIONS = ("new_search", "budget", "dataset", "recipe", "epoch", "trial_seed")
"""Options of the environments whose searches span episodes."""

CHANGES = ("budget", "dataset", "recipe", "epoch")
"""Those that change what is searched, or for how long, and stay set."""


def changes_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the environment that reset options set."""
    return {key: options[key] for key in CHANGES if key in options} if options else {}


def asks_for_new_search(options: Mapping[str, Any]) -> bool:
    """Whether reset options begin a new search."""
    if not options:
        return False
    new = checks.truth("new_search", options.get("new_search", False))
    return new or bool({*CHANGES, "trial_seed"} & set(options))


def search_seed(trial_seed: object, seed: object, rng: np.random.Generator) -> int:
    """What a new search is seeded with: the option `trial_seed`, or the reset's seed, or a draw.

    Raises:
        NB201Error: if what was given is not an integer from 0 to 2**64 - 1.
    """
    given = seed if trial_seed is None else trial_seed
    return int(rng.integers(2**32)) if given is None else checks.seed("a seed", given)
