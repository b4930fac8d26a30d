"""What the environments that query cells one by one have in common: a search that spans episodes."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.envs.problem import Problem, checked_render_mode
from nb201_env.envs.render import RENDER_MODES, Scene, draw
from nb201_env.envs.resets import RESET_OPTIONS, asks_for_new_search, changes_of, search_seed
from nb201_env.errors import BudgetExhaustedError, NB201Error
from nb201_env.simulation.column import NO_TRIAL
from nb201_env.simulation.oracle import Evaluation, Oracle
from nb201_env.space import EDGES

Observation = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]
Info = dict[str, Any]


class CellEnv(gym.Env[Observation, int]):
    """A search over the cells of one column of a table; a subclass says what an action and an episode are.

    The arguments are described by `nb201_env.envs.build.BuildCellEnv`.

    Attributes:
        problem: what the arguments name.
        oracle: what the search sees and has used up.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)

    ways_to_pay: ClassVar[tuple[str, ...]]
    """Of the rewards that the argument `reward` may name, see `nb201_env.envs.rewards.Reward`."""
    reset_options: ClassVar[tuple[str, ...]] = RESET_OPTIONS
    num_actions: ClassVar[int]
    num_slots: ClassVar[int]
    """Number of values that an edge can show."""

    def __init__(
        self,
        table: str = "published",
        dataset: str = "cifar10",
        recipe: str | None = None,
        epoch: int | None = None,
        split: str = "valid",
        trial: str | int = "per-search",
        missing: str = "refuse",
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
        self.render_mode = checked_render_mode(render_mode)
        self._begin_problem(
            Problem.from_arguments(
                self.ways_to_pay, table=table, dataset=dataset, recipe=recipe, epoch=epoch, split=split, trial=trial,
                missing=missing, budget=budget, charge=charge, overrun=overrun, max_queries=max_queries,
                observation=observation, reward=reward, mask=mask, objectives=objectives, on_exhausted=on_exhausted,
            )
        )  # fmt: skip
        self._started = False
        self.observation_space: Any = self.problem.observation_space(self.num_slots, self.num_actions)
        self.action_space: Any = gym.spaces.Discrete(self.num_actions)
        self._vector = np.zeros(self.num_slots * len(EDGES) + self.problem.shows_incumbent, np.float32)

    @abstractmethod
    def _mask(self) -> npt.NDArray[np.int8]:
        """Legal actions, (num_actions,)."""

    @abstractmethod
    def _codes(self) -> list[int]:
        """What each edge shows."""

    @abstractmethod
    def _shown_accuracy(self) -> float | None:
        """Observed accuracy of the cell in hand, if it has been observed."""

    def _begin_problem(self, problem: Problem) -> None:
        """Search something else."""
        self.problem, self.oracle = problem, Oracle(problem.column, problem.rules)
        self._form, self._shows_mask = problem.observation, problem.shows_mask
        self._shows_incumbent, self._pays = problem.shows_incumbent, problem.pays
        self._rewards, self._is_drawn = problem.reward, problem.column.is_drawn

    def _begin_search(self, seed: int | None, options: Mapping[str, Any]) -> bool:
        """Begin a new search if a reset asks for one; whether it does."""
        is_new = asks_for_new_search(options) or seed is not None or not self._started
        if changes := changes_of(options):
            self._begin_problem(self.problem.changed(**changes))
        if is_new:
            self.oracle.new_search(search_seed(options.get("trial_seed"), seed, self.np_random))
            self._started = True
        elif self.problem.raises and self.oracle.exhausted:
            raise BudgetExhaustedError(
                f"the search has ended after {self.oracle.n_queries} queries and {self.oracle.seconds_used:.1f} s; "
                "reset(options={'new_search': True}) begins another"
            )
        return is_new

    def _value(self, result: Evaluation) -> float:
        """The reward's column for what a query observed, 0 if nothing."""
        if not result.observed:
            return 0.0
        return self._rewards.item(result.index, result.trial if self._is_drawn else 0)

    def _nothing(self) -> Evaluation:
        """Stands for the query of an episode that ended without one."""
        return Evaluation(-1, self.oracle.epoch, 0.0, 0.0, NO_TRIAL, False, False, 0.0)

    def _observe(self) -> Observation:
        if self._form == "index":
            return np.array(self._codes(), np.int8)
        if self._shows_incumbent:
            self._vector[-1] = self.oracle.incumbent_accuracy
        if self._form == "onehot":
            return self._vector.copy()
        return {"observation": self._vector.copy(), "action_mask": self._mask()}

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Legal actions, bool (num_actions,), in the way that sb3-contrib asks for them."""
        return self._mask().astype(bool)

    def _step_info(self) -> Info:
        return {"action_mask": self._mask()} if self._shows_mask else {}

    def _query_info(self, result: Evaluation) -> Info:
        oracle, info = self.oracle, self._step_info()
        if oracle.objectives is not None:
            vector = oracle.objectives.vector(result.index, result.accuracy)
            info["reward_vector"] = vector * result.observed
        info |= {
            "index": result.index,
            "accuracy": result.accuracy,
            "observed": result.observed,
            "trial": result.trial,
            "epoch": result.epoch,
            "query_seconds": result.seconds,
            "seconds_used": oracle.seconds_used,
            "seconds_left": oracle.seconds_left,
            "incumbent_index": oracle.incumbent_index,
            "incumbent_accuracy": oracle.incumbent_accuracy,
            "n_queries": oracle.n_queries,
            "n_distinct": oracle.n_distinct,
            "repeat": result.repeat,
            "budget_exhausted": oracle.exhausted,
        }
        return info

    def render(self) -> Any:
        """The cell, the incumbent and the seconds used: text (`ansi`) or an image, uint8 (height, width, 3)."""
        if self.render_mode is None:
            return None
        return draw(scene_of(self.oracle, self._codes(), self._shown_accuracy()), self.render_mode)


def scene_of(oracle: Oracle, codes: list[int], accuracy: float | None, **more: Any) -> Scene:
    """What is drawn of a search and the cell in hand; `more` are further fields of `Scene`."""
    return Scene(
        tuple(codes),
        incumbent_index=oracle.incumbent_index,
        incumbent_accuracy=oracle.incumbent_accuracy,
        n_queries=oracle.n_queries,
        seconds_used=oracle.seconds_used,
        budget=oracle.rules.budget,
        accuracy=accuracy,
        rungs=oracle.column.rungs,
        **more,
    )


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


def checked_options(options: object, known: tuple[str, ...]) -> dict[str, Any]:
    """Reset options, from the known ones alone; None for none."""
    return {} if options is None else checks.mapping("reset options", options, known)
