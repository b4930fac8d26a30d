"""What the vector environments have in common: lanes, their seeds, the three autoreset modes, batched info."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from nb201_env import checks
from nb201_env.envs.single import CellEnv, search_seed
from nb201_env.errors import BudgetExhaustedError, NB201Error
from nb201_env.simulation.lanes import Lanes, LaneSearches, SharedSearch

BUDGET_SCOPES = ("lane", "shared")

Bools = npt.NDArray[np.bool_]
Infos = dict[str, Any]
Outcome = tuple[Any, npt.NDArray[np.float64], Bools, Bools, Infos]
"""What a step returns: observations, rewards, terminated, truncated, infos."""


class LanesEnv(VectorEnv[Any, Any, Any]):
    """Many lanes of one environment, each as if alone; a subclass begins episodes and steps lanes.

    Args:
        single: an environment of the same arguments, which names the spaces.
        num_envs: number of lanes.
        autoreset_mode: `SameStep`: a lane that ends is reset in the same step, and its last observation and info are
            in `infos["final_obs"]` and `infos["final_info"]`, arrays with the masks `_final_obs` and `_final_info`.
            `NextStep`: it is reset by the next step, which ignores its action. `Disabled`: `reset` must be called
            with `options={"reset_mask": …}`, bool (num_envs,), before the lane is stepped again.
    """

    metadata = {"render_modes": [], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)
    _spec: EnvSpec | None = None

    def __init__(self, single: Any, num_envs: int, autoreset_mode: str):
        modes = {mode.value: mode for mode in AutoresetMode}
        autoreset_mode = getattr(autoreset_mode, "value", autoreset_mode)
        checks.one_of("autoreset_mode", autoreset_mode, tuple(modes))
        num_envs = checks.whole("num_envs", num_envs, 1)
        if single.render_mode is not None:
            raise NB201Error(
                f"a vector environment draws nothing: render_mode must be None, got {single.render_mode!r}"
            )
        self.num_envs = num_envs
        self.render_mode = None
        self.autoreset_mode = modes[autoreset_mode]
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_action_space, self.single_observation_space = single.action_space, single.observation_space
        self.action_space = batch_space(single.action_space, num_envs)
        self.observation_space = batch_space(single.observation_space, num_envs)
        self._all: Lanes = np.arange(num_envs)
        self._done = np.ones(num_envs, bool)  # lanes whose episode has ended, or has not begun
        self._started = np.zeros(num_envs, bool)  # lanes that have been reset
        self._is_running = False  # all have
        self._closing = False  # whether a step is resetting the lanes that it ended
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
    def _begin(self, lanes: Lanes) -> None:
        """Begin an episode in some lanes."""

    @abstractmethod
    def _observe(self) -> Any:
        """Observations of all lanes, as new arrays."""

    @abstractmethod
    def _reset_info(self, lanes: Lanes) -> Infos:
        """What a reset says about some lanes."""

    @abstractmethod
    def accounts(self) -> dict[str, npt.NDArray[Any]]:
        """Where every lane's search stands, by the keys of its info, as new arrays (num_envs,)."""

    def _masked_lanes(self, mask: Any) -> Lanes:
        if mask is None:
            return self._all
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise NB201Error(
                f"reset_mask must be bool of shape ({self.num_envs},) with one lane at least, got {mask!r}"
            )
        return np.flatnonzero(mask)

    def _seed_lanes(self, seed: int | Sequence[int | None] | None, lanes: Lanes) -> list[int | None] | None:
        """The seed of each lane, None for those that keep theirs; only `lanes` are seeded."""
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
        for lane in lanes.tolist():
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
        self, lanes: Lanes, seeds: Sequence[int | None] | None = None, trial_seed: object = None
    ) -> npt.NDArray[np.uint64]:
        """What each of some lanes would seed its next search with if it were alone."""
        given = seeds or [None] * self.num_envs
        if trial_seed is not None or None not in (given[lane] for lane in lanes):
            nothing = np.random.default_rng(0)  # is not drawn from
            return np.array([search_seed(trial_seed, given[lane], nothing) for lane in lanes], np.uint64)
        return np.array([search_seed(None, given[lane], self._generator(lane)) for lane in lanes], np.uint64)

    def _note_started(self, lanes: Lanes) -> None:
        self._started[lanes] = True
        self._is_running = bool(self._started.all())

    def _check_running(self) -> None:
        if not self._is_running:
            raise NB201Error("no episode is running: call reset() before step()")
        if self.autoreset_mode == AutoresetMode.DISABLED and self._done.any():
            raise NB201Error(
                f"the episode of lane {self._done.argmax()} has ended: call reset with a reset_mask before step()"
            )

    def _close(self, reward: Any, terminated: Bools, truncated: Bools, infos: Infos) -> Outcome:
        """Reset the lanes that have just ended, if that is the mode, and put together what the step returns."""
        done = terminated | truncated
        ended = int(np.count_nonzero(done))
        if self.autoreset_mode != AutoresetMode.SAME_STEP or not ended:
            self._done = done
            return self._observe(), reward, terminated, truncated, infos
        together = ended == self.num_envs
        lanes = self._all if together else np.flatnonzero(done)
        final = {
            "final_obs": self._observe(),
            "_final_obs": done,
            "final_info": infos if together else only(infos, done),
            "_final_info": done.copy(),
        }
        self._closing = True
        self._begin(lanes)
        self._closing = False
        reset = self._reset_info(lanes)
        if not together:
            reset = united(only(infos, ~done), reset)
        return self._observe(), reward, terminated, truncated, final | reset

    def _checked(self, actions: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
        """Discrete actions of all lanes, (num_envs,)."""
        chosen = np.asarray(actions)
        whole = chosen.dtype.kind in "iu" and chosen.shape == (self.num_envs,)
        # read as unsigned, a negative action is larger than any other
        if not whole or chosen.astype(np.int64, copy=False).view(np.uint64).max() >= count:
            raise NB201Error(
                f"actions are {self.num_envs} integers from 0 to {count - 1}, got {chosen.dtype} of shape "
                f"{chosen.shape}" + (f" from {chosen.min()} to {chosen.max()}" if whole else "")
            )
        return chosen.astype(np.int64, copy=False)


def _is_seed(seed: object) -> TypeGuard[int]:
    return checks.is_whole(seed) and 0 <= seed <= checks.MAX_SEED


def masked(values: Mapping[str, Any], mask: Bools) -> Infos:
    """Batched info in Gymnasium's way: each array with a mask of the lanes that it says something about."""
    return {**values, **{f"_{key}": mask.copy() for key in values}}


def only(infos: Infos, mask: Bools) -> Infos:
    """Info of some lanes alone; the others' entries are 0."""
    if mask.all():
        return infos
    kept = {key: infos[f"_{key}"] & mask for key in infos if key[0] != "_"}
    return {
        name: value
        for key, rows in kept.items()
        if rows.any()
        for name, value in ((key, blank(infos[key], ~rows)), (f"_{key}", rows))
    }


def united(one: Infos, other: Infos) -> Infos:
    """Info about different lanes as one."""
    joint = dict(one)
    for key in (key for key in other if key[0] != "_"):
        rows = other[f"_{key}"]
        if key not in one:
            joint[key], joint[f"_{key}"] = other[key], rows
        else:
            shape = (-1,) + (1,) * (other[key].ndim - 1)
            joint[key] = np.where(rows.reshape(shape), other[key], one[key])
            joint[f"_{key}"] = one[f"_{key}"] | rows
    return joint


def blank(values: npt.NDArray[Any], rows: Bools) -> npt.NDArray[Any]:
    """A copy of an array that is 0 in some rows."""
    values = values.copy()
    values[rows] = 0
    return values


class CellVectorEnv(LanesEnv):
    """Many lanes of an environment whose searches span episodes; arguments, spaces and info are described there.

    A lane remembers which cells its search has seen, in 2 kB.

    Args:
        num_envs: number of lanes.
        autoreset_mode: see `LanesEnv`.
        budget_scope: `lane`: each lane is a search of its own, seeded with seed + lane. `shared`: the lanes are the
            workers of one search; queries are charged in lane order, and info has `wall_seconds`, which advances by
            the slowest query of each step (and, where new episodes begin with a query in the same step, by the
            slowest of those).
        kwargs: of the single environment.

    Raises:
        NB201Error: as the single environment does. With `on_exhausted="raise"`, before any lane is reset; in the mode
            `SameStep` at the step after, so that what the last step observed is not lost.
    """

    single_env: type[CellEnv]

    def __init__(
        self, num_envs: int = 1, *, autoreset_mode: str = "SameStep", budget_scope: str = "lane", **kwargs: Any
    ):
        checks.one_of("budget_scope", budget_scope, BUDGET_SCOPES)
        self._single: Any = self.single_env(**kwargs)
        super().__init__(self._single, num_envs, autoreset_mode)
        self._shared = budget_scope == "shared"
        self._open_searches()

    def _open_searches(self) -> None:
        oracle = self._single.oracle
        self._searches = (SharedSearch if self._shared else LaneSearches)(oracle, self.num_envs)
        self._epoch = np.full(self.num_envs, oracle.epoch)
        self._epoch.flags.writeable = False  # every info hands out the same array

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Infos]:
        """Begin an episode in every lane, or in those of `options["reset_mask"]`.

        Args:
            seed: begins new searches: of lane 0, the next lanes' being one higher each, or one for each lane.
            options: as for the single environment, and `reset_mask`, bool (num_envs,).
        """
        known = (*self._single.reset_options, "reset_mask")
        options = checks.mapping("reset options", {} if options is None else options, known)
        lanes = self._masked_lanes(options.pop("reset_mask", None))
        how = self._how_to_begin(options)
        if lanes.size < self.num_envs and {"budget", "dataset", "recipe", "epoch"} & set(options):
            raise NB201Error("budget, dataset, recipe and epoch are set for all lanes: leave reset_mask out")
        seeds = self._seed_lanes(seed, lanes)
        if self._single.configure(options):
            new = np.ones(lanes.size, bool)
            if set(options) - {"new_search", "trial_seed"}:
                self._open_searches()
        else:
            new = ~self._started[lanes] & (not self._shared or not self._started.any())
        if seeds is not None:
            new |= np.array([seeds[lane] is not None for lane in lanes])
        if new.any():
            self._begin_searches(lanes[new], seeds, options.get("trial_seed"))
        self._note_started(lanes)
        self._begin(lanes, **how)
        return self._observe(), self._reset_info(lanes)

    def _how_to_begin(self, options: dict[str, Any]) -> dict[str, Any]:
        """Take out the options that say how an episode begins, as arguments of `_begin`."""
        return {}

    def _begin_searches(self, lanes: Lanes, seeds: list[int | None] | None, trial_seed: object) -> None:
        if self._shared:
            self._searches.new_search(self._all, self._search_seeds(lanes[:1], seeds, trial_seed))
        else:
            self._searches.new_search(lanes, self._search_seeds(lanes, seeds, trial_seed))

    def _refuse_exhausted(self, lanes: Lanes) -> Bools:
        """Which searches have ended; with `on_exhausted="raise"` no lane of them may begin an episode."""
        exhausted = self._searches.exhausted
        if self._single._raises and exhausted[lanes].any() and not self._closing:
            raise BudgetExhaustedError(
                f"the search of lane {lanes[exhausted[lanes]][0]} has ended; reset(options={{'new_search': True}}) "
                "begins another"
            )
        return exhausted

    def _check_running(self) -> None:
        super()._check_running()
        if self._single._raises and self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._refuse_exhausted(self._all)

    def _pay(self, result: Mapping[str, Any], cells: Any, incumbent: npt.NDArray[np.float64]) -> Any:
        """Rewards of queries; `incumbent` is each lane's incumbent's accuracy before them."""
        single, accuracy = self._single, result["accuracy"]
        if single._reward_name in ("accuracy", "change"):
            paid = accuracy
        elif single._reward_name == "improvement":
            if self._shared:  # the lanes raise one incumbent, one after the other
                incumbent = np.maximum.accumulate(np.concatenate((incumbent[:1], accuracy)))[:-1]
            paid = np.maximum(0.0, accuracy - incumbent)
        else:
            paid = np.array([single._reward(a, 0.0) for a in accuracy.tolist()])
        return paid if single._objectives is None else single._objectives.score(paid, cells, accuracy)

    def accounts(self) -> dict[str, npt.NDArray[Any]]:
        """Where every lane's search stands, by the keys of its info, as new arrays (num_envs,)."""
        return self._searches.accounts()

    def _accounts(self, index: Any, found: Mapping[str, Any]) -> Infos:
        """Info of all lanes by key, without masks."""
        infos: Infos = {"index": index, **found, "epoch": self._epoch, **self._searches.accounts()}
        if self._single._objectives is not None:
            vector = self._single._objectives.vector(index, found["accuracy"])
            infos["reward_vector"] = vector * found["observed"][:, None]
        return infos

    @abstractmethod
    def _mask(self) -> npt.NDArray[np.int8]:
        """Legal actions of every lane, (num_envs, actions)."""

    def action_masks(self) -> Bools:
        """Legal actions of every lane, bool (num_envs, actions)."""
        return self._mask().astype(bool)
