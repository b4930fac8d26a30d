"""What the vector environments have in common: lanes, their seeds, the three autoreset modes, batched info.

A subclass says in three hooks what an episode is: `start` begins one in some lanes, `advance` steps some lanes, and
`observe` shows them. All that Gymnasium asks of a vector environment beyond that is here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeGuard

import numpy as np
import numpy.typing as npt
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Space
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from nb201_env import checks
from nb201_env.envs.infos import Infos, Told, added, batched, split
from nb201_env.envs.resets import CHANGES, search_seed
from nb201_env.errors import NB201Error
from nb201_env.simulation.ledger import Bools, Rows

Outcome = tuple[Any, npt.NDArray[np.float64], Bools, Bools, Infos]
"""What a step returns: observations, rewards, terminated, truncated, infos."""


Step = tuple[npt.NDArray[np.float64], Bools, Bools, list[Told], bool]
"""What a step brought: reward, terminated and truncated of each lane, (num_envs,), 0 in lanes that were not stepped;
what infos say of those that were; and whether any episode may have ended, which spares looking for one."""


class LanesEnv(VectorEnv[Any, Any, Any]):
    """Many lanes of one environment, each as if alone.

    Args:
        action_space: of one lane.
        observation_space: of one lane.
        num_envs: number of lanes.
        autoreset_mode: `SameStep`: a lane that ends is reset in the same step, and its last observation and info are
            in `infos["final_obs"]` and `infos["final_info"]`, arrays with the masks `_final_obs` and `_final_info`.
            `NextStep`: it is reset by the next step, which ignores its action. `Disabled`: `reset` must be called
            with `options={"reset_mask": …}`, bool (num_envs,), before the lane is stepped again.
        render_mode: None; a vector environment draws nothing.
    """

    metadata = {"render_modes": [], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)
    reset_options: ClassVar[tuple[str, ...]]
    _spec: EnvSpec | None = None
    _watches = False  # whether something is to be done before a step

    def __init__(
        self,
        action_space: Space[Any],
        observation_space: Space[Any],
        num_envs: int,
        autoreset_mode: Any,
        render_mode: object,
    ):
        modes = {mode.value: mode for mode in AutoresetMode}
        autoreset_mode = getattr(autoreset_mode, "value", autoreset_mode)
        checks.one_of("autoreset_mode", autoreset_mode, tuple(modes))
        if render_mode is not None:
            raise NB201Error(
                f"a vector environment draws nothing: render_mode must be None, got {checks.shown(render_mode)}"
            )
        self.num_envs = checks.whole("num_envs", num_envs, 1)
        self._num_actions = int(getattr(action_space, "n", 0))
        self.render_mode = None
        self.autoreset_mode = modes[autoreset_mode]
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_action_space, self.single_observation_space = action_space, observation_space
        self.action_space = batch_space(action_space, self.num_envs)
        self.observation_space = batch_space(observation_space, self.num_envs)
        self._all: Rows = np.arange(self.num_envs)
        self._done = np.ones(self.num_envs, bool)  # lanes whose episode has ended, or has not begun
        self._any_done = True
        self._started = np.zeros(self.num_envs, bool)  # lanes that have been reset
        self._is_running = False  # all have
        self._is_closing = False  # whether a step is resetting the lanes that it ended
        self._generators: list[np.random.Generator] | None = None
        self._seeds: list[int] | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """How the environment was made, as plain data: an autoreset mode is its name, so that it becomes JSON."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None:
            kwargs = {key: getattr(value, "value", value) for key, value in spec.kwargs.items()}
            spec = replace(spec, kwargs=kwargs)
        self._spec = spec

    @abstractmethod
    def start(self, rows: Rows, seeds: list[int | None] | None, options: Mapping[str, Any]) -> list[Told]:
        """Begin an episode in some lanes.

        Args:
            rows: the lanes, ascending.
            seeds: that a reset gave, one for each lane of all, None for those that go on without.
            options: of a reset, those of `reset_options`.

        Returns:
            What is to be said about these lanes.
        """

    @abstractmethod
    def advance(self, rows: Rows, actions: npt.NDArray[np.int64]) -> Step:
        """Step some lanes; `rows` is `self._all` itself where all are."""

    @abstractmethod
    def observe(self, rows: Rows) -> Any:
        """Observations of some lanes, as new arrays (n, …)."""

    @abstractmethod
    def accounts(self) -> dict[str, npt.NDArray[Any]]:
        """Where every lane's search stands, by the keys of its info, as new arrays (num_envs,)."""

    def _before_step(self) -> None:
        """What is to be done before a step, where `_watches`."""

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Infos]:
        """Begin an episode in every lane, or in those of `options["reset_mask"]`.

        Args:
            seed: begins new searches: of lane 0, the next lanes' being one higher each, or one for each lane.
            options: as for the single environment, and `reset_mask`, bool (num_envs,).
        """
        known = (*self.reset_options, "reset_mask")
        options = checks.mapping("reset options", {} if options is None else options, known)
        rows = self._masked_rows(options.pop("reset_mask", None))
        common = [key for key in CHANGES if key in self.reset_options]
        if rows.size < self.num_envs and set(common) & set(options):
            *most, last = common
            names = f"{', '.join(most)} and {last} are" if most else f"{last} is"
            raise NB201Error(f"{names} set for all lanes: leave reset_mask out")
        told = self.start(rows, self._seed_lanes(seed, rows), options)
        self._started[rows] = True
        self._is_running = bool(self._started.all())
        self._done[rows] = False
        self._any_done = bool(self._done.any())
        return self.observe(self._all), batched(told, self.num_envs)

    def step(self, actions: npt.ArrayLike) -> Outcome:
        """Step every lane.

        Raises:
            NB201Error: for actions that are not in the action space, or if a lane's episode has ended and
                `autoreset_mode` is `Disabled`.
        """
        if self._watches:
            self._before_step()
        chosen = self._checked(actions)
        if self._is_running and not self._any_done:
            reward, terminated, truncated, told, ends = self.advance(self._all, chosen)
            if ends:
                return self._close(reward, terminated, truncated, told)
            infos = batched(told, self.num_envs) if told else {}
            return self.observe(self._all), reward, terminated, truncated, infos
        self._check_running()
        resetting, going = np.flatnonzero(self._done), np.flatnonzero(~self._done)
        told = self.start(resetting, None, {})
        self._done[resetting] = False
        if not going.size:
            nothing = np.zeros(self.num_envs, bool)
            return self._close(np.zeros(self.num_envs), nothing, nothing.copy(), told)
        reward, terminated, truncated, more, _ = self.advance(going, chosen[going])
        return self._close(reward, terminated, truncated, told + more)

    def _close(self, reward: npt.NDArray[np.float64], terminated: Bools, truncated: Bools, told: list[Told]) -> Outcome:
        """Reset the lanes that have just ended, if that is the mode, and put together what the step returns."""
        infos = batched(told, self.num_envs)
        done = terminated | truncated
        ended = int(np.count_nonzero(done))
        if self.autoreset_mode != AutoresetMode.SAME_STEP or not ended:
            self._done, self._any_done = done, ended > 0
            return self.observe(self._all), reward, terminated, truncated, infos
        rows = self._all if ended == self.num_envs else np.flatnonzero(done)
        about, others = (infos, {}) if rows is self._all else split(infos, rows)
        final = {"final_obs": self._spread(self.observe(rows), rows), "_final_obs": done,
                 "final_info": about, "_final_info": done.copy()}  # fmt: skip
        self._is_closing = True
        told = self.start(rows, None, {})
        self._is_closing = False
        self._done, self._any_done = np.zeros(self.num_envs, bool), False
        return self.observe(self._all), reward, terminated, truncated, final | added(others, told, self.num_envs)

    def _spread(self, observation: Any, rows: Rows) -> Any:
        """Observations of some lanes as those of all, 0 elsewhere."""
        if rows is self._all:
            return observation
        if isinstance(observation, dict):
            return {key: self._spread(part, rows) for key, part in observation.items()}
        spread = np.zeros((self.num_envs, *observation.shape[1:]), observation.dtype)
        spread[rows] = observation
        return spread

    def _masked_rows(self, mask: Any) -> Rows:
        if mask is None:
            return self._all
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise NB201Error(
                f"reset_mask must be bool of shape ({self.num_envs},) with one lane at least, got {mask!r}"
            )
        return self._all if mask.all() else np.flatnonzero(mask)

    def _seed_lanes(self, seed: int | Sequence[int | None] | None, rows: Rows) -> list[int | None] | None:
        """The seed of each lane, None for those that keep theirs; only `rows` are seeded."""
        if seed is None:
            return None
        if _is_seed(seed):
            super().reset(seed=int(seed))
            given: list[Any] = [int(seed) + lane for lane in range(self.num_envs)]
        else:
            given = list(seed) if isinstance(seed, Sequence | np.ndarray) else []
        if len(given) != self.num_envs or not all(one is None or _is_seed(one) for one in given):
            raise NB201Error(f"seed must be an integer from 0, or {self.num_envs} of them, got {seed!r}")
        seeds: list[int | None] = [None] * self.num_envs
        for lane in rows.tolist():
            seeds[lane] = None if given[lane] is None else int(given[lane])
        if None not in seeds:
            self._seeds, self._generators = [one for one in seeds if one is not None], None
        else:
            for lane, one in enumerate(seeds):
                if one is not None:
                    self._generator(lane)
                    self._generators[lane] = np_random(one)[0]  # type: ignore[index]
        return seeds

    def _generator(self, lane: int) -> np.random.Generator:
        """What stands for the `np_random` of a lane's single environment."""
        if self._generators is None:
            self._generators = [np_random(seed)[0] for seed in self._seeds or (None,) * self.num_envs]
        return self._generators[lane]

    def _search_seeds(
        self, rows: Rows, seeds: Sequence[int | None] | None, trial_seed: object
    ) -> npt.NDArray[np.uint64]:
        """What each of some lanes would seed its next search with if it were alone."""
        given = seeds or [None] * self.num_envs
        if trial_seed is not None or None not in (given[lane] for lane in rows):
            nothing = np.random.default_rng(0)  # is not drawn from
            return np.array([search_seed(trial_seed, given[lane], nothing) for lane in rows], np.uint64)
        return np.array([search_seed(None, given[lane], self._generator(lane)) for lane in rows], np.uint64)

    def _check_running(self) -> None:
        if not self._is_running:
            raise NB201Error("no episode is running: call reset() before step()")
        if self.autoreset_mode == AutoresetMode.DISABLED:
            raise NB201Error(
                f"the episode of lane {self._done.argmax()} has ended: call reset with a reset_mask before step()"
            )

    def _checked(self, actions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Discrete actions of all lanes, (num_envs,)."""
        count = self._num_actions
        chosen = np.asarray(actions)
        whole = chosen.dtype.kind in "iu" and chosen.shape == (self.num_envs,)
        # read as unsigned, a negative action is larger than any other
        if not whole or np.maximum.reduce(chosen.astype(np.int64, copy=False).view(np.uint64)) >= count:
            raise NB201Error(
                f"actions are {self.num_envs} integers from 0 to {count - 1}, got {chosen.dtype} of shape "
                f"{chosen.shape}" + (f" from {chosen.min()} to {chosen.max()}" if whole else "")
            )
        return chosen.astype(np.int64, copy=False)


def _is_seed(seed: object) -> TypeGuard[int]:
    return checks.is_whole(seed) and 0 <= seed <= checks.MAX_SEED
