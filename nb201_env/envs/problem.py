"""What an environment is about, resolved once: its column, its rules, its reward, what is allowed, how it is shown.

The single and the vector form of an environment are made from the same `Problem`, and neither knows the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from nb201_env import checks
from nb201_env.envs.masks import allowed_cells
from nb201_env.envs.render import RENDER_MODES
from nb201_env.envs.rewards import REWARDS
from nb201_env.errors import NB201Error
from nb201_env.simulation.column import Column
from nb201_env.simulation.objectives import Objectives
from nb201_env.simulation.rules import Rules
from nb201_env.space import ALL_OPS, EDGES, NUM_CELLS, OPS

OBSERVATIONS = ("onehot", "index", "dict")
ON_EXHAUSTED = ("truncate", "raise")

_COLUMN = ("table", "dataset", "recipe", "epoch", "split", "trial", "missing")
_RULES = ("budget", "charge", "overrun", "max_queries", "objectives")

ONEHOT = np.eye(len(OPS), dtype=np.float32)[ALL_OPS].reshape(NUM_CELLS, len(EDGES) * len(OPS))
"""The ops of all cells, one-hot, float32 (15625, 30)."""


@dataclass(frozen=True, eq=False)
class Problem:
    """The arguments of an environment that queries cells one by one, made of what they name; see `from_arguments`.

    Attributes:
        arguments: from which it was made.
        column: that is searched.
        rules: of the search.
        objectives: what counts beside accuracy, None for nothing.
        pays: how its reward is paid: by value, by the rise of the incumbent or by the change between cells.
        reward: the reward's column, float64 (15625, trials).
        allowed: cells that satisfy the mask's rule and are on offer, bool (15625,).
    """

    arguments: Mapping[str, Any]
    column: Column
    rules: Rules
    objectives: Objectives | None
    pays: str
    reward: npt.NDArray[np.float64]
    allowed: npt.NDArray[np.bool_]

    @classmethod
    def from_arguments(cls, ways_to_pay: Collection[str], **arguments: Any) -> Problem:
        """Check an environment's arguments and read what they name.

        Args:
            ways_to_pay: which of the rewards the environment can pay.
            arguments: all of those of `nb201_env.envs.build.BuildCellEnv` but `render_mode`.

        Raises:
            NB201Error: for the first argument that is not as described.
            MissingDataError: if the table does not have the values for every cell.
        """
        observation, reward, mask = arguments["observation"], arguments["reward"], arguments["mask"]
        checks.one_of("observation", observation, OBSERVATIONS)
        payable = tuple(name for name, one in REWARDS.items() if one.pays in ways_to_pay)
        checks.one_of("reward", reward, payable)
        checks.one_of("on_exhausted", arguments["on_exhausted"], ON_EXHAUSTED)
        checks.text("mask", mask, "none")
        pays, values, _ = REWARDS[reward]
        if pays == "rise" and observation == "index":
            raise NB201Error(f"reward={reward!r} shows the incumbent's accuracy: use observation='onehot' or 'dict'")
        column = Column.open(**{name: arguments[name] for name in _COLUMN})
        rules = Rules(**{name: arguments[name] for name in _RULES})
        rules.check(column)
        objectives = Objectives(rules.objectives, column) if rules.objectives else None
        everything = {"ways_to_pay": ways_to_pay, **arguments}
        allowed = allowed_cells(mask, column)
        return cls(everything, column, rules, objectives, pays, values(column, objectives), allowed)

    def changed(self, **changes: Any) -> Problem:
        """The same with some arguments changed."""
        return Problem.from_arguments(**{**self.arguments, **changes})

    @cached_property
    def observation(self) -> str:
        """How the cell is shown."""
        return str(self.arguments["observation"])

    @cached_property
    def raises(self) -> bool:
        """Whether no further episode begins after the search has ended."""
        return bool(self.arguments["on_exhausted"] == "raise")

    @cached_property
    def forbids_seen(self) -> bool:
        """Whether cells that the search has observed are not allowed."""
        return bool(self.arguments["mask"] == "unseen")

    @cached_property
    def is_masked(self) -> bool:
        """Whether any action may be illegal."""
        return bool(self.arguments["mask"] != "none") or self.column.is_partial

    @cached_property
    def shows_mask(self) -> bool:
        """Whether info has the legal actions."""
        return self.observation == "dict" or self.is_masked

    @cached_property
    def shows_incumbent(self) -> bool:
        """Whether an observation has the incumbent's accuracy, on which the reward depends."""
        return self.pays == "rise"

    @cached_property
    def offered(self) -> npt.NDArray[np.intp]:
        """Indices of the cells that are on offer, ascending."""
        return np.flatnonzero(self.column.present)

    def observation_space(self, slots: int, actions: int) -> spaces.Space[Any]:
        """The space of observations of six edges of `slots` values each, with so many actions."""
        onehot = spaces.Box(0.0, 1.0, (slots * len(EDGES) + self.shows_incumbent,), np.float32)
        if self.observation == "onehot":
            return onehot
        if self.observation == "index":
            return spaces.MultiDiscrete([slots] * len(EDGES), dtype=np.int8)
        return spaces.Dict({"observation": onehot, "action_mask": spaces.MultiBinary(actions)})


def checked_render_mode(mode: object) -> Any:
    """A render mode of the single environments.

    Raises:
        NB201Error: for any other.
    """
    return checks.one_of("render_mode", mode, (None, *RENDER_MODES))
