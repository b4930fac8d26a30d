"""The environment in which six choices build a cell, alone and in many lanes.

The lanes are written in NumPy. While every lane is at the same edge, a step is a few array operations on all of them;
once lanes diverge (a search ended, a partial reset), the same operations take the rows that they concern.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nb201_env.envs.cell_vector import CellVectorEnv, nothing_found, query_info
from nb201_env.envs.infos import Told
from nb201_env.envs.masks import INDEX_OF_CODE, LegalOps
from nb201_env.envs.problem import Problem
from nb201_env.envs.single import CellEnv, Info, Observation, checked_action, checked_options
from nb201_env.envs.vector import Step
from nb201_env.errors import NB201Error
from nb201_env.simulation.ledger import Found, Rows
from nb201_env.space import EDGES, OPS

UNSET = len(OPS)
"""Stands in an observation for the op of an edge that is not chosen yet."""

_EDGES, _OPS, _SLOTS = len(EDGES), len(OPS), len(OPS) + 1
_SMALL_INDEX = INDEX_OF_CODE.astype(np.int16)  # scattered reads are quicker from a small table
_CHOSEN = np.eye(_OPS, _SLOTS, dtype=np.float32)
_WAYS = ("value", "rise")


class BuildCellEnv(CellEnv):
    """Build a cell of NAS-Bench-201, one edge after the other, and be paid its accuracy.

    ## Description
    An episode chooses an operation for each of the six edges of a cell. The sixth choice completes the cell; the table
    says which accuracy its training reaches and how many GPU-seconds that takes. Seconds are counted against the
    budget of a *search*, which spans episodes.

    ## Action space
    `Discrete(5)`: the op of the next edge, in the order none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3.
    Edges come in the official order (0→1), (0→2), (1→2), (0→3), (1→3), (2→3).

    ## Observation space
    * `onehot`: `Box(0, 1, (36,), float32)`, for each edge one of six slots: the five ops and "not chosen yet".
    * `index`: `MultiDiscrete([6] * 6)`, int8: the op code of each edge, 5 where not chosen yet.
    * `dict`: `observation` as in `onehot`, and `action_mask`, int8 of shape (5,), 1 where an action is legal.

    With `reward="improvement"` the one-hot vector has one more entry, the incumbent's accuracy (0 before any).

    ## Rewards
    0 until the sixth step, which pays what the argument `reward` names: `accuracy`, the observed accuracy as a
    fraction, or another of `nb201_env.envs.rewards.REWARDS`, but for those that pay changes between cells.

    With `objectives`, each weight times its objective (as a share of the table's largest) is subtracted from the
    accuracy, or from what the reward makes of it; a cell beyond a limit is worth minus the shares by which it exceeds
    its limits. The incumbent is the observed cell of highest worth in this sense, the first of equals.

    ## Starting state
    No edge is chosen. `reset(seed=…)` and `reset(options={"new_search": True})` begin a new search: second 0, no
    incumbent, new draws of the trials. Any other reset, except the first, continues the search.

    ## Episode end
    Terminated after six steps. Truncated, with reward 0, when the search has ended: at the sixth step if the query
    does not fit the budget, and at the first step of every later episode.

    ## Arguments
    * `table`: name or path of a table. `dataset`, `recipe` (None: the only one), `epoch` (None: the last), `split`
      (valid or train), `trial` (per-search, per-query, mean or a number): what is searched, see
      [the column](../oracle-and-rules.md).
    * `missing`: `refuse` a table that lacks a value of some cell, or `mask`: such cells are not on offer. They are
      illegal where the mask is heeded, and building one is an error.
    * `budget` (None: no limit), `charge`, `overrun`, `max_queries`: see [the rules](../oracle-and-rules.md).
    * `observation`, `reward`: as above.
    * `mask`: which ops are legal: those from which some completion is an allowed cell. `none`: all of them;
      `connected`: cells whose output depends on the input; `canonical`: one cell of each class of exactly equal ones;
      `unseen`: cells that the search has not observed; `params<=X`: cells of at most X parameters. Where no op is
      legal, all are. A mask advises: an agent that ignores it is not stopped. `action_masks()` returns it as bool.
    * `objectives`: what counts beside the reward: a dict from error, params, macs, latency and train_seconds to a
      weight, or to a limit such as `"<=500000"`. Latency is in seconds a batch of 256 images.
    * `on_exhausted`: `truncate` as above, or `raise` a BudgetExhaustedError instead of beginning another episode.
    * `render_mode`: `ansi` (text), `rgb_array` (an image; needs matplotlib) or None.

    `reset` takes the options `new_search`, `budget`, `dataset`, `recipe`, `epoch` and `trial_seed`, each of which
    begins a new search. `budget`, `dataset`, `recipe` and `epoch` stay set; `trial_seed`, from which the trials are
    drawn, is for that search alone, and the same for all lanes.

    ## Info
    At the end of an episode: `index`, `accuracy`, `observed`, `trial` (-1: the mean), `epoch`, `query_seconds`,
    `seconds_used`, `seconds_left` (inf: no limit), `incumbent_index` (-1: none), `incumbent_accuracy`, `n_queries`,
    `n_distinct`, `repeat`, `budget_exhausted`; `Cell(info["index"]).arch` is the cell's arch string. `action_mask` is
    there at every step with `observation="dict"` or a mask other than none, and nothing else before the end. An episode
    that ended before its cell was complete has index -1. With `objectives` also `reward_vector`, float64
    (objectives,): those objectives in the order given, in natural units, negated, so that larger is better, and 0 where
    nothing was observed. `"error": 0` adds the error without weighing it.

    ## Version history
    * v0: first version.

    `gymnasium.make_vec` makes `BuildCellVectorEnv`, whose own arguments are `autoreset_mode` and `budget_scope`.
    """

    ways_to_pay: ClassVar[tuple[str, ...]] = _WAYS
    num_actions: ClassVar[int] = _OPS
    num_slots: ClassVar[int] = _SLOTS

    _edge = _EDGES
    _code = 0  # the choices so far as digits of base 5
    _accuracy: float | None = None

    def _begin_problem(self, problem: Problem) -> None:
        super()._begin_problem(problem)
        self._legal = LegalOps(problem.allowed, problem.column.present)
        self._start = np.zeros(_SLOTS * _EDGES + problem.shows_incumbent, np.float32)
        self._start[UNSET : _SLOTS * _EDGES : _SLOTS] = 1.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin an episode, and a new search where the class docstring says so."""
        super().reset(seed=seed)
        if self._begin_search(seed, checked_options(options, self.reset_options)) and self.problem.forbids_seen:
            self._legal.restore()
        self._edge = self._code = 0
        self._accuracy = None
        self._ops = [UNSET] * _EDGES
        self._vector[:] = self._start
        return self._observe(), self._step_info()

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Choose the op of the next edge.

        Raises:
            NB201Error: if the action is not an integer from 0 to 4, the episode has ended, or the cell is not on offer.
        """
        edge = self._edge
        if edge >= _EDGES:
            raise NB201Error("no episode is running: call reset() before step()")
        op = checked_action(action, _OPS)
        self._ops[edge] = op
        self._vector[edge * _SLOTS + UNSET] = 0.0
        self._vector[edge * _SLOTS + op] = 1.0
        if self.oracle.exhausted:
            self._edge = _EDGES
            return self._observe(), 0.0, False, True, self._query_info(self._nothing())
        self._edge, self._code = edge + 1, self._code * _OPS + op
        if self._edge < _EDGES:
            return self._observe(), 0.0, False, False, self._step_info()
        before = self.oracle.incumbent_worth
        result = self.oracle.query(INDEX_OF_CODE.item(self._code))
        if not result.observed:
            return self._observe(), 0.0, False, True, self._query_info(result)
        self._accuracy = result.accuracy
        if not result.repeat and self.problem.forbids_seen:
            self._legal.remove(self._code)
        reward = self.oracle.incumbent_worth - before if self._pays == "rise" else self._value(result)
        return self._observe(), reward, True, False, self._query_info(result)

    def _mask(self) -> npt.NDArray[np.int8]:
        return self._legal.after(self._edge, self._code)

    def _codes(self) -> list[int]:
        return self._ops

    def _shown_accuracy(self) -> float | None:
        return self._accuracy


class BuildCellVectorEnv(CellVectorEnv):
    """Many lanes of `NB201/BuildCell-v0`; arguments, spaces and info are described there, but for these.

    Args:
        num_envs: number of lanes.
        autoreset_mode: `SameStep`, `NextStep` or `Disabled`, see `nb201_env.envs.vector.LanesEnv`.
        budget_scope: `lane`: each lane is a search of its own, seeded with seed + lane. `shared`: the lanes are the
            workers of one search; queries are charged in lane order, those that begin an episode first, and info has
            `wall_seconds`, which advances by the slowest query of each step (and, where new episodes begin with a query
            in the same step, by the slowest of those).
        render_mode: None; a vector environment draws nothing.

    Raises:
        NB201Error: as the single environment does. With `on_exhausted="raise"`, before any lane is reset; in the mode
            `SameStep` at the step after, so that what the last step observed is not lost.
    """

    ways_to_pay: ClassVar[tuple[str, ...]] = _WAYS
    num_actions: ClassVar[int] = _OPS
    num_slots: ClassVar[int] = _SLOTS

    def _begin_problem(self, problem: Problem) -> None:
        super()._begin_problem(problem)
        counts_apart = problem.forbids_seen and not self._is_shared
        self._legal = LegalOps(problem.allowed, problem.column.present, self.num_envs if counts_apart else None)
        self._is_index = problem.observation == "index"
        width = _EDGES if self._is_index else _EDGES * _SLOTS + problem.shows_incumbent
        self._start = np.zeros(width, np.int8 if self._is_index else np.float32)
        self._start[slice(None) if self._is_index else slice(UNSET, _SLOTS * _EDGES, _SLOTS)] = (
            UNSET if self._is_index else 1
        )
        self._shown = np.tile(self._start, (self.num_envs, 1))
        self._row = self._all * width  # where each lane's observation begins
        self._edge = np.full(self.num_envs, _EDGES)  # of each lane; not kept up while `_lockstep` says it for all
        self._code = np.zeros(self.num_envs, np.int64)
        self._lockstep: int | None = None  # the edge of all lanes, if they are at one and no search has ended

    def _begin_searches(self, rows: Rows, seeds: list[int | None] | None, trial_seed: object) -> None:
        super()._begin_searches(rows, seeds, trial_seed)
        if self.problem.forbids_seen:
            self._legal.restore(None if self._is_shared else rows)

    def begin(self, rows: Rows, options: Mapping[str, Any]) -> list[Told]:
        """Begin an episode in some lanes: no edge is chosen."""
        if self._lockstep is not None:
            self._edge[:] = self._lockstep
        place: Any = slice(None) if rows is self._all else rows
        self._shown[place] = self._start
        self._edge[place], self._code[place] = 0, 0
        together = rows is self._all or (self._edge == 0).all()
        self._lockstep = 0 if together and not self._searches.exhausted.any() else None
        return self._mask_told(rows)

    def advance(self, rows: Rows, actions: npt.NDArray[np.int64]) -> Step:
        """Choose the next op in some lanes."""
        edge = self._lockstep
        if edge is not None and rows is self._all:
            return self._advance_together(actions, edge)
        if edge is not None:
            self._edge[:], self._lockstep = edge, None
        return self._advance_apart(rows, actions)

    def _advance_together(self, ops: npt.NDArray[np.int64], edge: int) -> Step:
        if self._searches.is_partial and edge + 1 == _EDGES:  # before anything is changed
            self._searches.refuse_absent(self._all, _SMALL_INDEX.take(self._code * _OPS + ops).astype(np.int64))
        self._code *= _OPS
        self._code += ops
        if self._is_index:
            self._shown[:, edge] = ops
        else:
            # two entries of each row change; writing them is three times faster than writing one-hot rows
            self._shown[:, edge * _SLOTS + UNSET] = 0.0
            self._shown.reshape(-1)[self._row + (ops + edge * _SLOTS)] = 1.0
        if edge + 1 < _EDGES:
            self._lockstep = edge + 1
            nothing = np.zeros(self.num_envs, bool)
            told = self._mask_told(self._all) if self._shows_mask else []
            return np.zeros(self.num_envs), nothing, nothing.copy(), told, False
        index = _SMALL_INDEX.take(self._code).astype(np.int64)
        found = self._searches.query(self._all, index)
        self._lockstep = None
        self._edge[:] = _EDGES
        self._forget(self._all, found)
        told = [self._account(self._all, index, query_info(found)), *self._mask_told(self._all)]
        return self._paid(found), found.observed.copy(), ~found.observed, told, True

    def _advance_apart(self, rows: Rows, ops: npt.NDArray[np.int64]) -> Step:
        edge, is_over = self._edge[rows], self._searches.exhausted[rows]
        if self._searches.is_partial:
            last = (edge + 1 == _EDGES) & ~is_over
            complete = rows[last]
            self._searches.refuse_absent(complete, INDEX_OF_CODE.take(self._code[complete] * _OPS + ops[last]))
        if self._is_index:
            self._shown[rows, edge] = ops
        else:
            self._shown[rows[:, None], edge[:, None] * _SLOTS + np.arange(_SLOTS)] = _CHOSEN.take(ops, axis=0)
        going = rows[~is_over]
        self._code[going] = self._code[going] * _OPS + ops[~is_over]
        self._edge[going] += 1
        self._edge[rows[is_over]] = _EDGES
        return self._finish(rows, rows[is_over], going[self._edge[going] == _EDGES])

    def _finish(self, rows: Rows, over: Rows, complete: Rows) -> Step:
        """Query the lanes whose cell is complete; the episodes of lanes whose search was over end as well."""
        reward, told = np.zeros(self.num_envs), self._mask_told(rows)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        if complete.size:
            index = INDEX_OF_CODE.take(self._code.take(complete))
            found = self._searches.query(complete, index)
            terminated[complete], truncated[complete] = found.observed, ~found.observed
            reward[complete] = self._paid(found)
            self._forget(complete, found)
            told.append(self._account(complete, index, query_info(found)))
        if over.size:
            truncated[over] = True
            told.append(self._account(over, np.full(over.size, -1), nothing_found(over.size)))
        ends = bool(complete.size or over.size)
        if not ends and (self._edge == self._edge[0]).all() and not self._searches.exhausted.any():
            self._lockstep = int(self._edge[0])
        return reward, terminated, truncated, told, ends

    def _forget(self, rows: Rows, found: Found) -> None:
        """Take cells that were seen for the first time out of the legal ones, where the mask says so."""
        if not self.problem.forbids_seen:
            return
        new = rows[found.observed & ~found.repeat]
        if self._is_shared:
            for code in self._code[new].tolist():
                self._legal.remove(code)
        else:
            self._legal.remove(self._code[new], new)

    def observe(self, rows: Rows) -> Any:
        """Observations of some lanes, as new arrays."""
        if self._shows_incumbent:
            self._shown[:, -1] = self._searches.incumbent_accuracy(self._all)
        shown = self._shown.copy() if rows is self._all else self._shown[rows]
        return {"action_mask": self._mask()[rows], "observation": shown} if self._is_dict else shown

    def _mask(self) -> npt.NDArray[np.int8]:
        return self._legal.after(self._edge if self._lockstep is None else self._lockstep, self._code)
