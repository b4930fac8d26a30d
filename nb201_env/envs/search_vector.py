"""Many whole searches at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.envs.search import RESET_OPTIONS, SearchEnv, checked_queries
from nb201_env.envs.vector import Bools, Infos, LanesEnv, Outcome, blank, masked
from nb201_env.errors import NB201Error
from nb201_env.simulation.lanes import Lanes


class SearchVectorEnv(LanesEnv):
    """Many lanes of `NB201/Search-v0`, each a search of its own; arguments, spaces and info are described there.

    A lane remembers what it bought of every cell, in 31 kB.

    Args:
        num_envs: number of lanes.
        autoreset_mode: see `nb201_env.envs.vector.LanesEnv`.
        kwargs: of the single environment.
    """

    def __init__(self, num_envs: int = 1, *, autoreset_mode: str = "SameStep", **kwargs: Any):
        self._single = SearchEnv(**kwargs)
        super().__init__(self._single, num_envs, autoreset_mode)
        self._single.searches = self._single.searches.with_lanes(num_envs)
        self._rounds = np.zeros(num_envs, np.int64)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Infos]:
        """Begin a new search in every lane, or in those of `options["reset_mask"]`.

        Args:
            seed: of lane 0, the next lanes' being one higher each, or one for each lane.
            options: as for the single environment, and `reset_mask`, bool (num_envs,).
        """
        known = (*RESET_OPTIONS, "reset_mask")
        options = checks.mapping("reset options", {} if options is None else options, known)
        lanes = self._masked_lanes(options.pop("reset_mask", None))
        if "budget" in options and lanes.size < self.num_envs:
            raise NB201Error("budget is set for all lanes: leave reset_mask out")
        self._single.configure(options)
        seeds = self._seed_lanes(seed, lanes)
        for lane, one in enumerate(seeds or ()):
            self._rounds[lane] *= one is None
        self._begin_searches(lanes, seeds, options.get("trial_seed"), options.get("task"))
        self._note_started(lanes)
        return self._observe(), self._reset_info(lanes)

    def _begin_searches(
        self, lanes: Lanes, seeds: list[int | None] | None = None, trial_seed: object = None, task: int | None = None
    ) -> None:
        drawn = self._search_seeds(lanes, seeds, trial_seed)
        pairs = zip(drawn.tolist(), self._rounds[lanes].tolist(), strict=True)
        tasks = np.array([self._single.next_task(one, before, task) for one, before in pairs])
        self._rounds[lanes] += 1
        self._single.searches.begin(lanes, drawn, tasks)
        self._done[lanes] = False

    def _begin(self, lanes: Lanes) -> None:
        self._begin_searches(lanes)

    def step(self, actions: npt.ArrayLike) -> Outcome:
        """Choose an op or buy epochs in every lane; integers (num_envs,), or (num_envs, 7) for `action="joint"`.

        Raises:
            NB201Error: for other actions, or if a lane's episode has ended and `autoreset_mode` is `Disabled`.
        """
        single, searches = self._single, self._single.searches
        resetting = np.flatnonzero(self._done)
        going = np.flatnonzero(~self._done)
        if single.sequential:
            chosen = self._checked(actions, single.num_actions)
            self._check_running()
            found = searches.choose(going, chosen[going])
        else:
            ops, rungs = checked_queries(np.asarray(actions), searches.rungs)
            if len(ops) != self.num_envs:
                raise NB201Error(f"actions are {self.num_envs} rows of seven integers, got {len(ops)}")
            self._check_running()
            found = searches.query(going, ops[going], rungs[going])
        reward, queried = found.pop("reward"), found.pop("queried")
        terminated = np.zeros(self.num_envs, bool)
        terminated[going] = searches.ended[going]
        if resetting.size:
            self._begin(resetting)
        infos = self._reset_info(self._all)
        if queried.any():
            infos |= masked({key: blank(values, ~queried) for key, values in found.items()}, queried)
        return self._close(reward, terminated, np.zeros(self.num_envs, bool), infos)

    def _observe(self) -> Any:
        return self._single.batch_of_observations()

    def _reset_info(self, lanes: Lanes) -> Infos:
        if not self._single.sequential:
            return {}
        rows = np.zeros(self.num_envs, bool)
        rows[lanes] = True
        return masked({"action_mask": self._single.searches.legal() * rows[:, None]}, rows)

    def accounts(self) -> dict[str, npt.NDArray[Any]]:
        """Where every lane's search stands, by the keys of its info, as new arrays (num_envs,)."""
        return self._single.searches.accounts()

    def action_masks(self) -> Bools:
        """Legal actions of every lane, bool (num_envs, actions); all for `action="joint"`."""
        if self._single.sequential:
            return self._single.searches.legal().astype(bool)
        return np.ones((self.num_envs, int(self._single.action_space.nvec.sum())), bool)
