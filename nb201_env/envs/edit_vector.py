"""EditCell in many lanes at once, written in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.envs.edit import NUM_ACTIONS, EditCellEnv, edited, legal_edits
from nb201_env.envs.single import ONEHOT
from nb201_env.envs.vector import CellVectorEnv, Infos, Outcome, masked, only
from nb201_env.simulation.lanes import Lanes
from nb201_env.simulation.oracle import NO_TRIAL
from nb201_env.space import ALL_OPS, NUM_CELLS, Cell

_KEPT = ("accuracy", "trial", "observed", "query_seconds", "repeat")


class EditCellVectorEnv(CellVectorEnv):
    """Many lanes of `NB201/EditCell-v0`; see `nb201_env.envs.vector.CellVectorEnv` for the arguments.

    The reset option `start` is one cell for all lanes that are reset.
    """

    single_env = EditCellEnv

    def __init__(self, num_envs: int = 1, **kwargs: Any):
        super().__init__(num_envs, **kwargs)
        self._index = np.zeros(num_envs, np.int64)
        self._steps = np.full(num_envs, self._single.horizon)
        self._value = np.zeros(num_envs)
        # of each lane's last query; `index` is -1 at a step for which the search had ended already
        self._found: dict[str, npt.NDArray[Any]] = {
            "accuracy": np.zeros(num_envs),
            "trial": np.full(num_envs, NO_TRIAL),
            "observed": np.zeros(num_envs, bool),
            "query_seconds": np.zeros(num_envs),
            "repeat": np.zeros(num_envs, bool),
        }

    def _how_to_begin(self, options: dict[str, Any]) -> dict[str, Any]:
        start = options.pop("start", None)
        return {} if start is None else {"start": Cell.parse(start).index}

    def _begin(self, lanes: Lanes, start: int | None = None) -> None:
        self._place(lanes, start)
        self._query(lanes)
        self._value[lanes] = self._worth()[lanes]

    def _place(self, lanes: Lanes, start: int | None = None) -> None:
        """Put some lanes at the first cell of an episode, which has not been queried yet."""
        self._refuse_exhausted(lanes)
        if start is None:
            self._index[lanes] = [self._generator(lane).integers(NUM_CELLS) for lane in lanes.tolist()]
        else:
            self._index[lanes] = start
        self._steps[lanes], self._done[lanes] = 0, False

    def _query(self, lanes: Lanes) -> None:
        """Query the present cells of some lanes; those whose search has ended observe nothing."""
        seen = self._searches.seen(self._index[:, None])[:, 0]
        nothing = {"accuracy": 0.0, "trial": NO_TRIAL, "observed": False, "query_seconds": 0.0, "repeat": seen[lanes]}
        for key, value in nothing.items():
            self._found[key][lanes] = value
        open_ = lanes[~self._searches.exhausted[lanes]]
        if open_.size:
            result = self._searches.query(open_, self._index[open_])
            for key in _KEPT:
                self._found[key][open_] = result[key]

    def _worth(self) -> npt.NDArray[np.float64]:
        accuracy, objectives = self._found["accuracy"], self._single._objectives
        if objectives is None:
            return accuracy.copy()
        return np.where(self._found["observed"], objectives.score(accuracy, self._index, accuracy), accuracy)

    def step(self, actions: npt.ArrayLike) -> Outcome:
        """Set one edge in every lane; `actions` are integers (num_envs,).

        Raises:
            NB201Error: for other actions, or if a lane's episode has ended and `autoreset_mode` is `Disabled`.
        """
        chosen = self._checked(actions, NUM_ACTIONS)
        self._check_running()
        ended_before = self._searches.exhausted & ~self._done
        resetting = np.flatnonzero(self._done)
        going = np.flatnonzero(~self._done & ~ended_before)
        if resetting.size:
            self._place(resetting)
        self._steps[going] += 1
        before, incumbent = self._index.copy(), self._searches.incumbent_accuracy
        self._index[going] = edited()[self._index[going], chosen[going]]
        asks = self._index != before
        asks[resetting] = True
        self._found["query_seconds"][going], self._found["repeat"][going] = 0.0, True
        self._query(np.flatnonzero(asks))
        self._value[resetting] = self._worth()[resetting]
        reward, rows = np.zeros(self.num_envs), going[self._found["observed"][going]]
        if rows.size:
            reward[rows] = self._rewards(rows, incumbent)
        truncated = ended_before.copy()
        truncated[going] = (self._steps[going] == self._single.horizon) | self._searches.exhausted[going]
        infos = self._info(ended_before)
        return self._close(reward, np.zeros(self.num_envs, bool), truncated, infos)

    def _rewards(self, rows: Lanes, incumbent: npt.NDArray[np.float64]) -> Any:
        if self._single._reward_name == "change":
            before, self._value[rows] = self._value[rows].copy(), self._worth()[rows]
            return self._value[rows] - before
        result = {"accuracy": self._found["accuracy"][rows]}
        return self._pay(result, self._index[rows], incumbent[rows])

    def _info(self, ended_before: npt.NDArray[np.bool_]) -> Infos:
        """Info of all lanes; those whose search had ended before the step have no cell."""
        found = {key: values.copy() for key, values in self._found.items()}
        index = self._index.copy()
        if ended_before.any():
            index[ended_before] = -1
            for key, value in (("accuracy", 0.0), ("trial", NO_TRIAL), ("observed", False), ("query_seconds", 0.0)):
                found[key][ended_before] = value
            found["repeat"][ended_before] = False
        infos = self._accounts(index, found)
        if self._single._shows_mask:
            infos["action_mask"] = self._mask()
        return masked(infos, np.ones(self.num_envs, bool))

    def _reset_info(self, lanes: Lanes) -> Infos:
        rows = np.zeros(self.num_envs, bool)
        rows[lanes] = True
        infos = self._info(np.zeros(self.num_envs, bool))
        if rows.all():
            return infos
        return only(infos, rows)

    def _observe(self) -> Any:
        if self._single._observation == "index":
            return ALL_OPS[self._index].astype(np.int8)
        onehot = ONEHOT[self._index]
        if self._single._reward_name == "improvement":
            onehot = np.concatenate((onehot, self._searches.incumbent_accuracy[:, None].astype(np.float32)), axis=1)
        if self._single._observation == "dict":
            return {"action_mask": self._mask(), "observation": onehot}
        return onehot

    def _mask(self) -> npt.NDArray[np.int8]:
        unseen = self._single._mask_name == "unseen"
        seen = self._searches.seen(edited()[self._index]) if unseen else None
        return legal_edits(self._index, self._single._allowed, seen, self._single._mask_name != "none")
