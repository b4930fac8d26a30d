"""What the lanes of environments that query cells one by one have in common: searches that span episodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode

from nb201_env import checks
from nb201_env.envs.infos import Told
from nb201_env.envs.problem import Problem
from nb201_env.envs.resets import RESET_OPTIONS, asks_for_new_search, changes_of
from nb201_env.envs.vector import LanesEnv
from nb201_env.errors import BudgetExhaustedError, NB201Error
from nb201_env.simulation.column import NO_TRIAL
from nb201_env.simulation.ledger import Bools, Found, Ledger, Rows
from nb201_env.simulation.oracle import Evaluation
from nb201_env.simulation.shared import SharedSearch

BUDGET_SCOPES = ("lane", "shared")


class CellVectorEnv(LanesEnv):
    """Many lanes of an environment whose searches span episodes; see `nb201_env.envs.build.BuildCellVectorEnv`.

    A lane remembers which cells its search has seen, in 2 kB. A subclass says in `begin` how an episode begins.

    Attributes:
        problem: what the arguments name.
    """

    ways_to_pay: ClassVar[tuple[str, ...]]
    reset_options: ClassVar[tuple[str, ...]] = RESET_OPTIONS
    num_actions: ClassVar[int]
    num_slots: ClassVar[int]

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str = "SameStep",
        budget_scope: str = "lane",
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
        render_mode: None = None,
    ):
        checks.one_of("budget_scope", budget_scope, BUDGET_SCOPES)
        problem = Problem.from_arguments(
            self.ways_to_pay, table=table, dataset=dataset, recipe=recipe, epoch=epoch, split=split, trial=trial,
            missing=missing, budget=budget, charge=charge, overrun=overrun, max_queries=max_queries,
            observation=observation, reward=reward, mask=mask, objectives=objectives, on_exhausted=on_exhausted,
        )  # fmt: skip
        space = problem.observation_space(self.num_slots, self.num_actions)
        super().__init__(Discrete(self.num_actions), space, num_envs, autoreset_mode, render_mode)
        self._is_shared = budget_scope == "shared"
        self._begin_problem(problem)

    def _begin_problem(self, problem: Problem) -> None:
        """Search something else in all lanes."""
        self.problem = problem
        self._shows_mask, self._is_dict = problem.shows_mask, problem.observation == "dict"
        self._shows_incumbent = problem.shows_incumbent
        self._watches = problem.raises or self._is_shared
        column, rules = problem.column, problem.rules
        self._searches: Any = (
            SharedSearch(column, rules, self.num_envs)
            if self._is_shared
            else Ledger([column], [rules], self.num_envs, detailed=problem.pays == "rise")
        )
        self._rewards = np.ascontiguousarray(column.first_present(problem.reward)).reshape(-1)
        # a plain accuracy need not be read from scattered memory twice
        self._pays_accuracy = np.array_equal(problem.reward, column.accuracy[-1], equal_nan=True)
        self._epoch = np.full(self.num_envs, column.epoch)
        self._epoch.flags.writeable = False  # every info hands out the same array

    @abstractmethod
    def begin(self, rows: Rows, options: Mapping[str, Any]) -> list[Told]:
        """Begin an episode in some lanes, whose searches have begun; what is to be said about them."""

    def watch(self, on_query: Callable[[Evaluation], None]) -> None:
        """Call a function with every query of the one search that the lanes share, in the order of charging.

        Raises:
            NB201Error: if each lane has a search of its own.
        """
        if not self._is_shared:
            raise NB201Error("only lanes that share a search are watched: make them with budget_scope='shared'")
        self._searches.on_query = on_query

    def start(self, rows: Rows, seeds: list[int | None] | None, options: Mapping[str, Any]) -> list[Told]:
        """Begin an episode in some lanes, and new searches where a reset asks for them."""
        if options or seeds is not None or not self._is_running:
            is_new = asks_for_new_search(options)
            if changes := changes_of(options):
                self._begin_problem(self.problem.changed(**changes))
            new = ~self._started[rows] & (not self._is_shared or not self._started.any()) | is_new
            if seeds is not None:
                new |= np.array([seeds[lane] is not None for lane in rows])
            if new.any():
                self._begin_searches(rows[new], seeds, options.get("trial_seed"))
        if not self._is_closing:
            self._refuse_exhausted(rows)
        elif self._is_shared:
            self._searches.new_wave()
        return self.begin(rows, options)

    def _begin_searches(self, rows: Rows, seeds: list[int | None] | None, trial_seed: object) -> None:
        if self._is_shared:
            self._searches.new_search(self._all, self._search_seeds(rows[:1], seeds, trial_seed))
        else:
            self._searches.new_search(rows, self._search_seeds(rows, seeds, trial_seed))

    def _refuse_exhausted(self, rows: Rows) -> None:
        """With `on_exhausted="raise"`, no lane whose search has ended may begin an episode."""
        if self.problem.raises and (ended := self._searches.exhausted[rows]).any():
            raise BudgetExhaustedError(
                f"the search of lane {rows[ended][0]} has ended; reset(options={{'new_search': True}}) begins another"
            )

    def _before_step(self) -> None:
        if self._is_shared:
            self._searches.new_wave()
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._refuse_exhausted(self._all)

    def _paid(self, found: Found) -> npt.NDArray[np.float64]:
        """Rewards of queries by value or by rise; 0 where nothing was observed."""
        if self.problem.pays == "rise":
            return found.rise
        if self._pays_accuracy and self.problem.pays == "value":
            return found.accuracy.copy()
        return self._rewards.take(found.place) * found.observed

    def accounts(self) -> dict[str, npt.NDArray[Any]]:
        """Where every lane's search stands, by the keys of its info, as new arrays (num_envs,)."""
        accounts: dict[str, npt.NDArray[Any]] = self._searches.accounts(self._all)
        return accounts

    def _account(self, rows: Rows, index: npt.NDArray[np.int64], found: Mapping[str, npt.NDArray[Any]]) -> Told:
        """What info says of some lanes and the queries that they made."""
        epoch = self._epoch if rows is self._all else self._epoch[rows]
        values = {"index": index, **found, "epoch": epoch, **self._searches.accounts(rows)}
        if self.problem.objectives is not None:
            vector = self.problem.objectives.vector(index, found["accuracy"])
            values["reward_vector"] = vector * found["observed"][:, None]
        return Told(rows, values)

    @abstractmethod
    def _mask(self) -> npt.NDArray[np.int8]:
        """Legal actions of every lane, (num_envs, actions)."""

    def action_masks(self) -> Bools:
        """Legal actions of every lane, bool (num_envs, actions)."""
        return self._mask().astype(bool)

    def _mask_told(self, rows: Rows) -> list[Told]:
        """Legal actions of some lanes, where infos say them."""
        return [Told(rows, {"action_mask": self._mask()[rows]})] if self._shows_mask else []


def query_info(found: Found) -> dict[str, npt.NDArray[Any]]:
    """What info says of queries."""
    return {
        "accuracy": found.accuracy,
        "query_seconds": found.query_seconds,
        "trial": found.trial,
        "observed": found.observed,
        "repeat": found.repeat,
    }


def nothing_found(count: int) -> dict[str, npt.NDArray[Any]]:
    """What info says where a search had ended before, so that nothing was asked."""
    return {
        "accuracy": np.zeros(count),
        "query_seconds": np.zeros(count),
        "trial": np.full(count, NO_TRIAL),
        "observed": np.zeros(count, bool),
        "repeat": np.zeros(count, bool),
    }
