"""BuildCell in many lanes at once, written in NumPy.

While every lane is at the same edge, a step is a few array operations on all of them; once lanes diverge (a search
ended, a partial reset), the same operations take the rows that they concern.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from nb201_env.cell import EDGES, OPS
from nb201_env.envs.build import UNSET, BuildCellEnv
from nb201_env.envs.masks import INDEX_OF_CODE, LegalOps, allowed_cells
from nb201_env.errors import BudgetExhaustedError, NB201Error
from nb201_env.lanes import Lanes, LaneSearches, SharedSearch

BUDGET_SCOPES = ("lane", "shared")
_EDGES, _OPS, _SLOTS = len(EDGES), len(OPS), len(OPS) + 1
_CHOSEN = np.eye(_OPS, _SLOTS, dtype=np.float32)

Infos = dict[str, Any]


class BuildCellVectorEnv(VectorEnv[Any, Any, Any]):
    """Many lanes of `NB201/BuildCell-v0`; arguments, spaces, rewards and info are described there.

    Args:
        num_envs: number of lanes.
        autoreset_mode: `SameStep`: a lane that ends is reset in the same step, and its last observation and info are
            in `infos["final_obs"]` and `infos["final_info"]`, arrays with the masks `_final_obs` and `_final_info`.
            `NextStep`: it is reset by the next step, which ignores its action. `Disabled`: `reset` must be called
            with `options={"reset_mask": …}`, bool (num_envs,), before the lane is stepped again.
        budget_scope: `lane`: each lane is a search of its own, seeded with seed + lane. `shared`: the lanes are the
            workers of one search; queries are charged in lane order, and info has `wall_seconds`, which advances by
            the slowest query of each step.
        kwargs: of the single environment. Info leaves out `arch`; `nb201_env.Cell(index).arch` has it.

    Raises:
        NB201Error: as the single environment does.
    """

    metadata = {"render_modes": [], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self, num_envs: int = 1, *, autoreset_mode: str = "SameStep", budget_scope: str = "lane", **kwargs: Any
    ):
        modes = {mode.value: mode for mode in AutoresetMode}
        if autoreset_mode not in modes:
            raise NB201Error(f"autoreset_mode must be one of {', '.join(modes)}, got {autoreset_mode!r}")
        if budget_scope not in BUDGET_SCOPES:
            raise NB201Error(f"budget_scope must be one of {', '.join(BUDGET_SCOPES)}, got {budget_scope!r}")
        if num_envs < 1:
            raise NB201Error(f"num_envs must be at least 1, got {num_envs}")
        if kwargs.get("render_mode") is not None:
            raise NB201Error(f"a vector environment draws nothing: render_mode must be None, got {kwargs!r}")
        self._single = single = BuildCellEnv(**kwargs)
        self.num_envs = num_envs
        self.render_mode = None
        self.autoreset_mode = modes[autoreset_mode]
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_action_space, self.single_observation_space = single.action_space, single.observation_space
        self.action_space = batch_space(single.action_space, num_envs)
        self.observation_space = batch_space(single.observation_space, num_envs)
        self._shared = budget_scope == "shared"
        self._all: Lanes = np.arange(num_envs)
        self._open_searches()

        self._is_index = single._observation == "index"
        width = _EDGES if self._is_index else single._vector.size
        start = np.zeros(width, np.int8 if self._is_index else np.float32)
        start[slice(None) if self._is_index else slice(UNSET, _SLOTS * _EDGES, _SLOTS)] = UNSET if self._is_index else 1
        self._start = start
        self._observation = np.tile(start, (num_envs, 1))
        self._edge = np.full(num_envs, _EDGES)  # of each lane; not kept up while `_lockstep` says it for all
        self._code = np.zeros(num_envs, np.int64)
        self._lockstep: int | None = None  # the edge of all lanes, if they are at one and no search has ended
        self._done = np.ones(num_envs, bool)  # lanes whose episode has ended
        self._started = np.zeros(num_envs, bool)
        self._is_running = False  # all have started
        self._generators: list[np.random.Generator] | None = None
        self._seeds: list[int] | None = None

    def _open_searches(self) -> None:
        oracle, mask = self._single.oracle, self._single._mask_name
        self._searches = (SharedSearch if self._shared else LaneSearches)(oracle, self.num_envs)
        own = mask == "unseen" and not self._shared
        self._legal = self._single._legal
        if own:
            self._legal = LegalOps(allowed_cells(mask, self._single._table, oracle.dataset), self.num_envs)
        self._column = {
            "dataset": np.full(self.num_envs, oracle.dataset, dtype=object),
            "recipe": np.full(self.num_envs, oracle.recipe, dtype=object),
            "epoch": np.full(self.num_envs, oracle.epoch),
        }
        for values in self._column.values():
            values.flags.writeable = False  # every info hands out the same arrays

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Infos]:
        """Begin an episode in every lane, or in those of `options["reset_mask"]`.

        Args:
            seed: begins new searches: of lane 0, the next lanes' being one higher each, or one for each lane.
            options: as for the single environment, and `reset_mask`, bool (num_envs,).
        """
        options = dict(options or {})
        lanes = self._masked_lanes(options.pop("reset_mask", None))
        seeds = self._seed_lanes(seed)
        if self._single.configure(options):
            new = np.ones(lanes.size, bool)
            if set(options) - {"new_search", "trial_seed"}:
                if lanes.size < self.num_envs:
                    raise NB201Error("budget, dataset, recipe and epoch are set for all lanes: leave reset_mask out")
                self._open_searches()
        else:
            new = ~self._started[lanes]
        if seeds is not None:
            new |= np.array([seeds[lane] is not None for lane in lanes])
        if new.any():
            self._begin_searches(lanes[new], seeds, options.get("trial_seed"))
        self._begin_episodes(lanes)
        return self._observe(), self._step_info(lanes)

    def _masked_lanes(self, mask: Any) -> Lanes:
        if mask is None:
            return self._all
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise NB201Error(
                f"reset_mask must be bool of shape ({self.num_envs},) with one lane at least, got {mask!r}"
            )
        return np.flatnonzero(mask)

    def _seed_lanes(self, seed: int | Sequence[int | None] | None) -> list[int | None] | None:
        if seed is None:
            return None
        if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
            super().reset(seed=int(seed))
            seeds: list[int | None] = [int(seed) + lane for lane in range(self.num_envs)]
        else:
            seeds = list(seed) if isinstance(seed, Sequence | np.ndarray) else []
            whole = all(one is None or (isinstance(one, int | np.integer) and one >= 0) for one in seeds)
            if len(seeds) != self.num_envs or not whole:
                raise NB201Error(f"seed must be an integer from 0, or {self.num_envs} of them, got {seed!r}")
        if None not in seeds:
            self._seeds, self._generators = seeds, None  # type: ignore[assignment]
        return seeds

    def _begin_searches(self, lanes: Lanes, seeds: list[int | None] | None, trial_seed: int | None) -> None:
        if trial_seed is not None:
            drawn = np.full(lanes.size, trial_seed, np.uint64)
        elif seeds is not None:
            drawn = np.array([self._drawn_seed(lane) if seeds[lane] is None else seeds[lane] for lane in lanes])
        else:
            drawn = np.array([self._drawn_seed(lane) for lane in lanes])
        if self._shared:
            self._searches.new_search(self._all, drawn.astype(np.uint64)[:1])
        else:
            self._searches.new_search(lanes, drawn.astype(np.uint64))
        self._started[self._all if self._shared else lanes] = True
        self._is_running = bool(self._started.all())
        if self._single._mask_name == "unseen":
            self._legal.restore(None if self._shared else lanes)

    def _drawn_seed(self, lane: int) -> int:
        """What the single environment of a lane would draw for its next search."""
        if self._seeds is None:
            return int(self.np_random.integers(2**32))
        if self._generators is None:
            self._generators = [np_random(seed)[0] for seed in self._seeds]
        return int(self._generators[lane].integers(2**32))

    def _begin_episodes(self, lanes: Lanes) -> None:
        exhausted = self._searches.exhausted
        if self._single._raises and exhausted[lanes].any():
            raise BudgetExhaustedError(
                f"the search of lane {lanes[exhausted[lanes]][0]} has ended; reset(options={{'new_search': True}}) "
                "begins another"
            )
        if self._lockstep is not None:
            self._edge[:] = self._lockstep
        rows = slice(None) if lanes.size == self.num_envs else lanes
        self._observation[rows] = self._start
        self._edge[rows], self._code[rows], self._done[rows] = 0, 0, False
        together = lanes.size == self.num_envs or (self._edge == 0).all()
        self._lockstep = 0 if together and not exhausted.any() else None

    def step(self, actions: npt.ArrayLike) -> tuple[Any, npt.NDArray[np.float64], Any, Any, Infos]:
        """Choose the next op in every lane; `actions` are integers (num_envs,).

        Raises:
            NB201Error: for other actions, or if a lane's episode has ended and `autoreset_mode` is `Disabled`.
        """
        ops = self._checked(actions)
        if not self._is_running:
            raise NB201Error("no episode is running: call reset() before step()")
        if self._lockstep is not None:
            return self._step_together(ops, self._lockstep)
        return self._step_apart(ops)

    def _step_together(self, ops: npt.NDArray[np.int64], edge: int) -> tuple[Any, Any, Any, Any, Infos]:
        self._code *= _OPS
        self._code += ops
        if self._is_index:
            self._observation[:, edge] = ops
        else:
            self._observation[:, edge * _SLOTS : (edge + 1) * _SLOTS] = _CHOSEN.take(ops, axis=0)
        if edge + 1 < _EDGES:
            self._lockstep = edge + 1
            nothing = np.zeros(self.num_envs, bool)
            return self._observe(), np.zeros(self.num_envs), nothing, nothing.copy(), self._step_info(self._all)
        self._lockstep = None
        self._edge[:] = _EDGES
        return self._finish(self._all, np.zeros(self.num_envs, bool))

    def _step_apart(self, ops: npt.NDArray[np.int64]) -> tuple[Any, Any, Any, Any, Infos]:
        reset = np.flatnonzero(self._done)
        if reset.size and self.autoreset_mode == AutoresetMode.DISABLED:
            raise NB201Error(f"the episode of lane {reset[0]} has ended: call reset with a reset_mask before step()")
        lanes = np.flatnonzero(~self._done)
        edge, chosen = self._edge[lanes], ops[lanes]
        if reset.size:
            self._begin_episodes(reset)
            if not lanes.size:
                nothing = np.zeros(self.num_envs, bool)
                return self._observe(), np.zeros(self.num_envs), nothing, nothing.copy(), self._step_info(self._all)
        self._lockstep = None
        if self._is_index:
            self._observation[lanes, edge] = chosen
        else:
            self._observation[lanes[:, None], edge[:, None] * _SLOTS + np.arange(_SLOTS)] = _CHOSEN.take(chosen, axis=0)
        ended = np.zeros(self.num_envs, bool)
        ended[lanes] = self._searches.exhausted[lanes]
        going = lanes[~ended[lanes]]
        self._code[going] = self._code[going] * _OPS + ops[going]
        self._edge[going] += 1
        self._edge[ended] = _EDGES
        return self._finish(going[self._edge[going] == _EDGES], ended)

    def _finish(self, complete: Lanes, ended: npt.NDArray[np.bool_]) -> tuple[Any, Any, Any, Any, Infos]:
        """Query the lanes whose cell is complete, close those whose search had ended, and reset as the mode says."""
        reward = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, bool)
        done = ended.copy()
        done[complete] = True
        infos: Infos = {}
        if done.any():
            infos = self._end_info(complete, ended, done, reward, terminated)
        truncated = done & ~terminated
        self._done = done
        if self.autoreset_mode != AutoresetMode.SAME_STEP or not done.any():
            infos |= self._step_info(self._all)
            if not done.any():
                self._lockstep = self._common_edge()
            return self._observe(), reward, terminated, truncated, infos
        if self._single._shows_mask:
            infos |= self._masked("action_mask", self._mask(), done)
        final = {
            "final_obs": self._observe(),
            "_final_obs": done.copy(),
            "final_info": infos,
            "_final_info": done.copy(),
        }
        lanes = np.flatnonzero(done)
        self._begin_episodes(lanes)
        return self._observe(), reward, terminated, truncated, final | self._step_info(self._all)

    def _common_edge(self) -> int | None:
        edge = int(self._edge[0])
        return edge if (self._edge == edge).all() and not self._searches.exhausted.any() else None

    def _end_info(self, complete: Lanes, ended: Any, done: Any, reward: Any, terminated: Any) -> Infos:
        """Info of the lanes that ended; fills in rewards and terminations."""
        searches = self._searches
        index = np.where(ended, -1, 0)
        found = {
            "accuracy": np.zeros(self.num_envs),
            "observed": np.zeros(self.num_envs, bool),
            "trial": np.where(ended, -1, 0),
            "query_seconds": np.zeros(self.num_envs),
            "repeat": np.zeros(self.num_envs, bool),
        }
        if complete.size:
            cells = INDEX_OF_CODE.take(self._code.take(complete))
            before = searches.incumbent_accuracy[complete]
            result = searches.query(complete, cells)
            index[complete] = cells
            for key, values in result.items():
                found[key][complete] = values
            observed = result["observed"]
            terminated[complete] = observed
            reward[complete] = np.where(observed, self._rewards(result["accuracy"], before), 0.0)
            if self._single._mask_name == "unseen":
                new = observed & ~result["repeat"]
                self._forget(complete[new])
        infos: Infos = {"index": index} | found | self._column | searches.accounts()
        if not done.all():
            infos = {k: v if v.dtype == object else np.where(done, v, np.zeros(1, v.dtype)) for k, v in infos.items()}
        mask = done.copy()
        return infos | {f"_{key}": mask for key in infos}

    def _forget(self, lanes: Lanes) -> None:
        """Take cells that have now been seen out of the legal ones."""
        if self._shared:
            for code in self._code[lanes].tolist():
                self._legal.remove(code)
        else:
            self._legal.remove(self._code[lanes], lanes)

    def _rewards(self, accuracy: npt.NDArray[np.float64], incumbent: npt.NDArray[np.float64]) -> Any:
        if self._single._reward_name == "accuracy":
            return accuracy
        if self._single._reward_name == "improvement" and not self._shared:
            return np.maximum(0.0, accuracy - incumbent)
        if self._single._reward_name == "improvement":  # the lanes raise one incumbent, one after the other
            before = np.maximum.accumulate(np.concatenate((incumbent[:1], accuracy)))[:-1]
            return np.maximum(0.0, accuracy - before)
        pairs = zip(accuracy.tolist(), incumbent.tolist(), strict=True)
        return np.array([self._single._reward(a, i) for a, i in pairs])

    def _observe(self) -> Any:
        if self._single._reward_name == "improvement":
            self._observation[:, -1] = self._searches.incumbent_accuracy
        if self._single._observation == "dict":
            return {"action_mask": self._mask(), "observation": self._observation.copy()}
        return self._observation.copy()

    def _mask(self) -> npt.NDArray[np.int8]:
        return self._legal.after(self._edge if self._lockstep is None else self._lockstep, self._code)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Legal ops of every lane, bool (num_envs, 5)."""
        return self._mask().astype(bool)

    def _step_info(self, lanes: Lanes) -> Infos:
        if not self._single._shows_mask:
            return {}
        mask = np.zeros(self.num_envs, bool)
        mask[lanes] = True
        return self._masked("action_mask", self._mask() * mask[:, None], mask)

    def _masked(self, key: str, values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> Infos:
        return {key: values, f"_{key}": mask.copy()}

    def _checked(self, actions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        ops = np.asarray(actions)
        whole = ops.dtype.kind in "iu" and ops.shape == (self.num_envs,)
        if not whole or ops.min() < 0 or ops.max() >= _OPS:
            raise NB201Error(
                f"actions are {self.num_envs} integers from 0 to {_OPS - 1}, got {ops.dtype} of shape {ops.shape}"
                + (f" from {ops.min()} to {ops.max()}" if whole else "")
            )
        return ops.astype(np.int64, copy=False)
