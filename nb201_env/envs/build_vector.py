"""BuildCell in many lanes at once, written in NumPy.

While every lane is at the same edge, a step is a few array operations on all of them; once lanes diverge (a search
ended, a partial reset), the same operations take the rows that they concern.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.envs.build import UNSET, BuildCellEnv
from nb201_env.envs.masks import INDEX_OF_CODE, LegalOps
from nb201_env.envs.vector import Bools, CellVectorEnv, Infos, Outcome, blank, masked
from nb201_env.simulation.lanes import Lanes
from nb201_env.space import EDGES, OPS

_EDGES, _OPS, _SLOTS = len(EDGES), len(OPS), len(OPS) + 1
_SMALL_INDEX = INDEX_OF_CODE.astype(np.int16)  # scattered reads are quicker from a small table
_CHOSEN = np.eye(_OPS, _SLOTS, dtype=np.float32)


class BuildCellVectorEnv(CellVectorEnv):
    """Many lanes of `NB201/BuildCell-v0`; see `nb201_env.envs.vector.CellVectorEnv` for the arguments."""

    single_env = BuildCellEnv

    def __init__(self, num_envs: int = 1, **kwargs: Any):
        super().__init__(num_envs, **kwargs)
        self._is_index = self._single._observation == "index"
        width = _EDGES if self._is_index else self._single._vector.size
        start = np.zeros(width, np.int8 if self._is_index else np.float32)
        start[slice(None) if self._is_index else slice(UNSET, _SLOTS * _EDGES, _SLOTS)] = UNSET if self._is_index else 1
        self._start = start
        self._observation = np.tile(start, (num_envs, 1))
        self._row = np.arange(num_envs) * width  # where each lane's observation begins
        self._edge = np.full(num_envs, _EDGES)  # of each lane; not kept up while `_lockstep` says it for all
        self._code = np.zeros(num_envs, np.int64)
        self._lockstep: int | None = None  # the edge of all lanes, if they are at one and no search has ended

    def _open_searches(self) -> None:
        super()._open_searches()
        self._legal: LegalOps = self._single._legal
        if self._single._mask_name == "unseen" and not self._shared:
            self._legal = LegalOps(self._single._allowed, self.num_envs)

    def _begin_searches(self, lanes: Lanes, seeds: list[int | None] | None, trial_seed: object) -> None:
        super()._begin_searches(lanes, seeds, trial_seed)
        if self._single._mask_name == "unseen":
            self._legal.restore(None if self._shared else lanes)

    def _begin(self, lanes: Lanes) -> None:
        exhausted = self._refuse_exhausted(lanes)
        if self._lockstep is not None:
            self._edge[:] = self._lockstep
        rows = slice(None) if lanes.size == self.num_envs else lanes
        self._observation[rows] = self._start
        self._edge[rows], self._code[rows], self._done[rows] = 0, 0, False
        together = lanes.size == self.num_envs or (self._edge == 0).all()
        self._lockstep = 0 if together and not exhausted.any() else None

    def step(self, actions: npt.ArrayLike) -> Outcome:
        """Choose the next op in every lane; `actions` are integers (num_envs,).

        Raises:
            NB201Error: for other actions, or if a lane's episode has ended and `autoreset_mode` is `Disabled`.
        """
        ops = self._checked(actions, _OPS)
        if self._lockstep is not None:
            return self._step_together(ops, self._lockstep)
        self._check_running()
        return self._step_apart(ops)

    def _step_together(self, ops: npt.NDArray[np.int64], edge: int) -> Outcome:
        self._code *= _OPS
        self._code += ops
        if self._is_index:
            self._observation[:, edge] = ops
        else:
            # two entries of each row change; writing them is three times faster than writing one-hot rows
            self._observation[:, edge * _SLOTS + UNSET] = 0.0
            self._observation.reshape(-1)[self._row + (ops + edge * _SLOTS)] = 1.0
        if edge + 1 < _EDGES:
            self._lockstep = edge + 1
            nothing = np.zeros(self.num_envs, bool)
            return self._observe(), np.zeros(self.num_envs), nothing, nothing.copy(), self._reset_info(self._all)
        self._lockstep = None
        self._edge[:] = _EDGES
        return self._finish_together()

    def _finish_together(self) -> Outcome:
        """Query the complete cells of all lanes."""
        index = _SMALL_INDEX.take(self._code).astype(np.int64)
        before = self._searches.incumbent_accuracy
        found = self._searches.query(self._all, index)
        terminated = found["observed"]
        reward = self._pay(found, index, before) * terminated
        if self._single._mask_name == "unseen":
            self._forget(self._all[terminated & ~found["repeat"]])
        everywhere = np.ones(self.num_envs, bool)
        infos = self._accounts(index, found)
        infos |= dict.fromkeys(["_" + key for key in infos], everywhere) | self._reset_info(self._all)
        return self._close(reward, terminated.copy(), ~terminated, infos)

    def _step_apart(self, ops: npt.NDArray[np.int64]) -> Outcome:
        reset = np.flatnonzero(self._done)
        lanes = np.flatnonzero(~self._done)
        edge, chosen = self._edge[lanes], ops[lanes]
        if reset.size:
            self._begin(reset)
            if not lanes.size:
                nothing = np.zeros(self.num_envs, bool)
                return self._observe(), np.zeros(self.num_envs), nothing, nothing.copy(), self._reset_info(self._all)
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

    def _finish(self, complete: Lanes, ended: Bools) -> Outcome:
        """Query the lanes whose cell is complete, close those whose search had ended, and reset as the mode says."""
        reward = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, bool)
        done = ended.copy()
        done[complete] = True
        infos: Infos = {}
        if done.any():
            infos = self._end_info(complete, ended, done, reward, terminated)
        else:
            self._lockstep = self._common_edge()
        infos |= self._reset_info(self._all)
        return self._close(reward, terminated, done & ~terminated, infos)

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
            reward[complete] = np.where(observed, self._pay(result, cells, before), 0.0)
            if self._single._mask_name == "unseen":
                new = observed & ~result["repeat"]
                self._forget(complete[new])
        infos = self._accounts(index, found)
        if not done.all():
            infos = {key: blank(values, ~done) for key, values in infos.items()}
        mask = done.copy()
        return infos | {f"_{key}": mask for key in infos}

    def _forget(self, lanes: Lanes) -> None:
        """Take cells that have now been seen out of the legal ones."""
        if self._shared:
            for code in self._code[lanes].tolist():
                self._legal.remove(code)
        else:
            self._legal.remove(self._code[lanes], lanes)

    def _observe(self) -> Any:
        if self._single._reward_name == "improvement":
            self._observation[:, -1] = self._searches.incumbent_accuracy
        if self._single._observation == "dict":
            return {"action_mask": self._mask(), "observation": self._observation.copy()}
        return self._observation.copy()

    def _mask(self) -> npt.NDArray[np.int8]:
        return self._legal.after(self._edge if self._lockstep is None else self._lockstep, self._code)

    def _reset_info(self, lanes: Lanes) -> Infos:
        if not self._single._shows_mask:
            return {}
        rows = np.zeros(self.num_envs, bool)
        rows[lanes] = True
        return masked({"action_mask": self._mask() * rows[:, None]}, rows)
