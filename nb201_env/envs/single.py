"""What the environments that query cells one by one have in common: a search that spans episodes."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from nb201_env import checks
from nb201_env.envs.masks import allowed_cells
from nb201_env.envs.objectives import OBJECTIVES, Objectives
from nb201_env.envs.render import RENDER_MODES, Scene, draw
from nb201_env.envs.rewards import make_reward
from nb201_env.errors import BudgetExhaustedError, NB201Error
from nb201_env.simulation.clock import SimulatedClock
from nb201_env.simulation.oracle import NO_TRIAL, Evaluation, Oracle
from nb201_env.space import ALL_OPS, EDGES, NUM_CELLS, OPS
from nb201_env.tables.table import open_table

OBSERVATIONS = ("onehot", "index", "dict")
ON_EXHAUSTED = ("truncate", "raise")

ONEHOT = np.eye(len(OPS), dtype=np.float32)[ALL_OPS].reshape(NUM_CELLS, len(EDGES) * len(OPS))
"""The ops of all cells, one-hot, float32 (15625, 30)."""

Observation = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]
Info = dict[str, Any]


class CellEnv(gym.Env[Observation, int]):
    """A search over the cells of one column of a table; a subclass says what an action and an episode are.

    The arguments are those of `nb201_env.envs.build.BuildCellEnv`.

    Attributes:
        oracle: what the search sees and has used up.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)

    rewards: ClassVar[tuple[str, ...]]
    """Names that the argument `reward` may take."""
    reset_options: ClassVar[tuple[str, ...]] = ("new_search", "budget", "dataset", "recipe", "epoch", "trial_seed")
    num_actions: ClassVar[int]

    def __init__(
        self,
        table: str = "published",
        dataset: str = "cifar10",
        recipe: str | None = None,
        epoch: int | None = None,
        split: str = "valid",
        trial: str | int = "per-search",
        budget: float | None = None,
        charge: str = "fresh",
        overrun: str = "stop-before",
        max_queries: int | None = None,
        observation: str = "onehot",
        reward: str = "accuracy",
        mask: str = "none",
        objectives: Mapping[str, float | str] | None = None,
        on_exhausted: str = "truncate",
        render_mode: str | None = None,
    ):
        checks.one_of("observation", observation, OBSERVATIONS)
        checks.one_of("reward", reward, self.rewards)
        checks.one_of("on_exhausted", on_exhausted, ON_EXHAUSTED)
        checks.one_of("render_mode", render_mode, (None, *RENDER_MODES))
        checks.text("mask", mask, "none")
        if reward == "improvement" and observation == "index":
            raise NB201Error("reward='improvement' shows the incumbent's accuracy: use observation='onehot' or 'dict'")
        self._wanted = {} if objectives is None else checks.mapping("objectives", objectives, OBJECTIVES)
        if self._wanted and reward in ("improvement", "regret"):
            raise NB201Error(f"reward={reward!r} knows accuracy alone: with objectives, choose another reward")
        self.render_mode = render_mode
        self._observation = observation
        self._reward_name = reward
        self._mask_name = mask
        self._shows_mask = observation == "dict" or mask != "none"
        self._raises = on_exhausted == "raise"
        self._table = open_table(table)
        column: dict[str, Any] = {
            "dataset": dataset,
            "recipe": recipe,
            "epoch": epoch,
            "split": split,
            "trial": trial,
        }
        clock: dict[str, Any] = {
            "budget": budget,
            "charge": charge,
            "overrun": overrun,
            "max_queries": max_queries,
        }
        self._open_oracle(column, clock)
        self._started = False
        self._make_spaces()

    def _make_spaces(self) -> None:
        edges, slots = self._slots()
        size = slots * edges + (self._reward_name == "improvement")
        onehot = spaces.Box(0.0, 1.0, (size,), np.float32)
        self._vector = np.zeros(size, np.float32)
        self.action_space: Any = spaces.Discrete(self.num_actions)
        self.observation_space: Any = {
            "onehot": onehot,
            "index": spaces.MultiDiscrete([slots] * edges, dtype=np.int8),
            "dict": spaces.Dict({"observation": onehot, "action_mask": spaces.MultiBinary(self.num_actions)}),
        }[self._observation]

    @abstractmethod
    def _slots(self) -> tuple[int, int]:
        """Number of edges, and of values that an edge can show."""

    @abstractmethod
    def _mask(self) -> npt.NDArray[np.int8]:
        """Legal actions, (num_actions,)."""

    @abstractmethod
    def _codes(self) -> list[int]:
        """What each edge shows."""

    def _open_oracle(self, column: dict[str, Any], clock: dict[str, Any]) -> None:
        """Search another column or under another clock, if both are sound; else nothing changes."""
        oracle = Oracle(self._table, **column, clock=SimulatedClock(**clock))
        reward = make_reward(self._reward_name, oracle)
        objectives = Objectives(self._wanted, oracle) if self._wanted else None
        self._allowed = allowed_cells(self._mask_name, self._table, oracle.dataset)
        self._column, self._clock = column, clock
        self.oracle, self._reward, self._objectives = oracle, reward, objectives

    def _begin_search(self, seed: int | None, options: Mapping[str, Any]) -> bool:
        """Begin a new search if a reset asks for one; whether it does."""
        if self.configure(options) or seed is not None or not self._started:
            self.oracle.new_search(search_seed(options.get("trial_seed"), seed, self.np_random))
            self._started = True
            return True
        if self._raises and self.oracle.exhausted:
            raise BudgetExhaustedError(
                f"the search has ended after {self.oracle.n_queries} queries and "
                f"{self.oracle.clock.seconds_used:.1f} s; reset(options={{'new_search': True}}) begins another"
            )
        return False

    def configure(self, options: Mapping[str, Any]) -> bool:
        """Take over reset options that set something, and say whether they ask for a new search."""
        if isinstance(options, Mapping) and not options:
            return False
        options = checks.mapping("reset options", options, self.reset_options)
        changes: dict[str, Any] = {key: options[key] for key in ("dataset", "recipe", "epoch") if key in options}
        if changes or "budget" in options:
            budget = options.get("budget", self._clock["budget"])
            self._open_oracle(self._column | changes, self._clock | {"budget": budget})
        return bool(
            changes
            or checks.truth("new_search", options.get("new_search", False))
            or {"budget", "trial_seed"} & set(options)
        )

    def _pay(self, result: Evaluation, incumbent: float) -> float:
        """The reward of an observed query; `incumbent` is the incumbent's accuracy before it."""
        reward = self._reward(result.accuracy, incumbent)
        if self._objectives is None:
            return reward
        return float(self._objectives.score(reward, result.index, result.accuracy))

    def _nothing(self) -> Evaluation:
        """Stands for the query of an episode that ended without one."""
        return Evaluation(-1, self.oracle.epoch, 0.0, 0.0, NO_TRIAL, False, False)

    def _observe(self) -> Observation:
        if self._observation == "index":
            return np.array(self._codes(), np.int8)
        if self._reward_name == "improvement":
            self._vector[-1] = self.oracle.incumbent_accuracy
        if self._observation == "onehot":
            return self._vector.copy()
        return {"observation": self._vector.copy(), "action_mask": self._mask()}

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Legal actions, bool (num_actions,), in the way that sb3-contrib asks for them."""
        return self._mask().astype(bool)

    def _step_info(self) -> Info:
        return {"action_mask": self._mask()} if self._shows_mask else {}

    def _query_info(self, result: Evaluation) -> Info:
        oracle, clock = self.oracle, self.oracle.clock
        info = self._step_info()
        if self._objectives is not None:
            vector = self._objectives.vector(result.index, result.accuracy)
            info["reward_vector"] = vector * result.observed
        info |= {
            "index": result.index,
            "accuracy": result.accuracy,
            "observed": result.observed,
            "trial": result.trial,
            "epoch": result.epoch,
            "query_seconds": result.seconds,
            "seconds_used": clock.seconds_used,
            "seconds_left": clock.seconds_left,
            "incumbent_index": oracle.incumbent_index,
            "incumbent_accuracy": oracle.incumbent_accuracy,
            "n_queries": clock.queries,
            "n_distinct": oracle.n_distinct,
            "repeat": result.repeat,
            "budget_exhausted": clock.exhausted,
        }
        return info

    def render(self) -> Any:
        """The cell, the incumbent and the seconds used: text (`ansi`) or an image, uint8 (height, width, 3)."""
        if self.render_mode is None:
            return None
        oracle = self.oracle
        scene = Scene(
            tuple(self._codes()),
            incumbent_index=oracle.incumbent_index,
            incumbent_accuracy=oracle.incumbent_accuracy,
            n_queries=oracle.n_queries,
            seconds_used=oracle.clock.seconds_used,
            budget=oracle.clock.budget,
            accuracy=self._shown_accuracy(),
        )
        return draw(scene, self.render_mode)

    @abstractmethod
    def _shown_accuracy(self) -> float | None:
        """Observed accuracy of the cell in hand, if it has been observed."""


def search_seed(trial_seed: object, seed: object, rng: np.random.Generator) -> int:
    """What a new search is seeded with: the option `trial_seed`, or the reset's seed, or a draw.

    Raises:
        NB201Error: if what was given is not an integer from 0 to 2**64 - 1.
    """
    given = seed if trial_seed is None else trial_seed
    return int(rng.integers(2**32)) if given is None else checks.seed("a seed", given)


def checked_action(action: object, count: int) -> int:
    """An action as an int.

    Raises:
        NB201Error: if it is not an integer from 0 to count - 1.
    """
    if type(action) is int and 0 <= action < count:
        return action
    try:
        number = operator.index(action)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if isinstance(action, bool | np.bool_) or not 0 <= number < count:
        raise NB201Error(f"an action is an integer from 0 to {count - 1}, got {action!r}")
    return number
