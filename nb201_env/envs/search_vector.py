"""Many whole searches at once, written in NumPy.

Observations stand in one array that is changed where something happens and copied out at every step: a search changes
a few of its hundreds of numbers at most steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nb201_env.envs.cell_vector import query_info
from nb201_env.envs.infos import Told
from nb201_env.envs.masks import INDEX_OF_CODE, LegalOps, codes_of
from nb201_env.envs.problem import ONEHOT
from nb201_env.envs.search_problem import DECIDE, RESET_OPTIONS, SearchProblem
from nb201_env.envs.vector import LanesEnv, Step
from nb201_env.errors import NB201Error
from nb201_env.simulation.ledger import Bools, Found, Ledger, Rows
from nb201_env.space import EDGES, OPS

_CELL, _OPS, _SLOTS, _UNSET = len(EDGES) * len(OPS), len(OPS), len(OPS) + 1, len(OPS)
_ROUNDING = 1e-14
"""A variance below this is none: it is a difference of sums of squares."""
_CHOSEN = np.eye(_OPS, _SLOTS, dtype=np.float32)


class SearchVectorEnv(LanesEnv):
    """Many lanes of `NB201/Search-v0`, each a search of its own; arguments, spaces and info are described there.

    A lane remembers which cells it has seen at which rungs, in 2 kB a rung. In the joint kind, actions are
    (num_envs, 7).

    Args:
        num_envs: number of lanes.
        autoreset_mode: `SameStep`, `NextStep` or `Disabled`, see `nb201_env.envs.vector.LanesEnv`.
        render_mode: None; a vector environment draws nothing.
    """

    reset_options: ClassVar[tuple[str, ...]] = RESET_OPTIONS

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str = "SameStep",
        table: str = "mini",
        dataset: str | None = None,
        recipe: str | None = None,
        epoch: int | None = None,
        split: str = "valid",
        trial: str | int = "per-search",
        missing: str = "refuse",
        rungs: Sequence[int] | None = None,
        budget: float | None = None,
        charge: str = "resume",
        max_queries: int | None = None,
        action: str = "sequential",
        observation: str = "flat",
        history: int = 8,
        reward: str = "improvement",
        tasks: Sequence[Mapping[str, Any]] | None = None,
        task_sampling: str = "uniform",
        perturb: float = 0.0,
        family: Mapping[str, Any] | None = None,
        trainings: float | None = None,
        standardise: bool = False,
        describe: bool = False,
        objectives: Mapping[str, float | str] | None = None,
        render_mode: None = None,
    ):
        problem = SearchProblem.from_arguments(
            table=table, dataset=dataset, recipe=recipe, epoch=epoch, split=split, trial=trial, missing=missing,
            rungs=rungs, budget=budget, charge=charge, max_queries=max_queries, action=action, observation=observation,
            history=history, reward=reward, tasks=tasks, task_sampling=task_sampling, perturb=perturb,
            family=family, trainings=trainings, standardise=standardise, describe=describe, objectives=objectives,
        )  # fmt: skip
        super().__init__(problem.action_space(), problem.observation_space(), num_envs, autoreset_mode, render_mode)
        lanes, self._rungs = self.num_envs, problem.num_rungs
        self._rounds = np.zeros(lanes, np.int64)  # searches of each lane since it was seeded
        self._shown = np.zeros((lanes, problem.size), np.float32)
        self._parts = problem.parts(self._shown)
        self._row = self._all * problem.size  # where each lane's observation begins
        starts = {name: part.start for name, part in problem.slices.items()}
        self._phase_at, self._cell_at = self._row + starts.get("phase", 0), self._row + starts["cell"]
        self._curve_at, self._budget_at = self._cell_at + _CELL + len(EDGES), self._row + starts["budget_left"]
        self._no_cell = np.zeros(problem.shapes["cell"], np.float32)
        self._no_cell[_UNSET : _CELL + len(EDGES) : _SLOTS] = 1.0
        self._phase, self._code = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
        self._furthest = np.zeros(lanes, np.int64)  # highest rung, from 1, that was bought of the cell in hand
        self._legal = np.zeros((lanes, problem.num_actions), np.int8)
        actions = np.arange(problem.num_actions)
        # legal actions with a cell in hand, by its highest rung
        bought = np.arange(self._rungs + 1)[:, None]
        self._further = ((actions == 0) | ((actions > bought) & (actions <= self._rungs))).astype(np.int8)
        self._begin_problem(problem)

    def _begin_problem(self, problem: SearchProblem) -> None:
        self.problem = problem
        columns = [task.column for task in problem.tasks]
        rules = [task.rules for task in problem.tasks]
        self._searches = Ledger(columns, rules, self.num_envs, problem.perturb, detailed=True)
        self._true = np.concatenate([column.mean for column in columns])
        self._is_scaled, self._standing_of = problem.reward.pays_by == "scaled", np.zeros(self.num_envs)
        if self._is_scaled:
            self._scales = np.array([task.scale for task in problem.tasks])
        # of the accuracies of all purchases at each rung: how many, their sum and their sum of squares
        self._moments = np.zeros((3, self.num_envs, problem.num_rungs))
        present = [LegalOps(column.present, column.present) for column in columns]
        self._legal_ops = present if any(column.is_partial for column in columns) else None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._parts = self.problem.parts(self._shown)  # views do not survive a pickle

    def start(self, rows: Rows, seeds: list[int | None] | None, options: Mapping[str, Any]) -> list[Told]:
        """Begin a new search in some lanes."""
        problem = self.problem.with_budget(options["budget"]) if "budget" in options else self.problem
        chosen = problem.checked_task(options.get("task"))
        drawn = self._search_seeds(rows, seeds, options.get("trial_seed"))
        if problem is not self.problem:  # all options are good
            self._begin_problem(problem)
        if seeds is not None:
            self._rounds[[lane for lane, one in enumerate(seeds) if one is not None]] = 0
        pairs = zip(drawn.tolist(), self._rounds[rows].tolist(), strict=True)
        tasks = np.array([self.problem.next_task(one, before, chosen) for one, before in pairs])
        self._rounds[rows] += 1
        self._searches.new_search(rows, drawn, tasks)
        self._standing_of[rows] = self._scales[tasks, 2] if self._is_scaled else 0.0
        self._moments[:, rows] = 0.0
        self._shown[rows] = 0.0
        if self.problem.is_described:
            self._parts["task"][rows] = np.array([self.problem.tasks[task].description for task in tasks.tolist()])
        self._parts["budget_left"][rows] = 1.0
        self._drop_cells(rows)
        return self._mask_told(rows)

    def _drop_cells(self, rows: Rows) -> None:
        """Go back, in some lanes, to where no edge is chosen."""
        self._parts["cell"][rows] = self._no_cell
        self._show_phase(rows, 0)
        self._code[rows] = self._furthest[rows] = 0
        self._show_legal_ops(rows)

    def _show_phase(self, rows: Rows, phase: Any) -> None:
        if self.problem.is_sequential:
            flat, at = self._shown.reshape(-1), self._phase_at.take(rows)
            flat[at + self._phase.take(rows)] = 0.0
            flat[at + phase] = 1.0
        self._phase[rows] = phase

    def _show_legal_ops(self, rows: Rows) -> None:
        """Legal ops of the next edge in some lanes."""
        self._legal[rows] = np.arange(self._legal.shape[1]) < _OPS
        if self._legal_ops is not None:
            tasks = self._searches.task.take(rows)
            for task, legal in enumerate(self._legal_ops):
                mine = rows[tasks == task]
                self._legal[mine, :_OPS] = legal.after(self._phase[mine], self._code[mine])

    def _checked(self, actions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        if self.problem.is_sequential:
            return super()._checked(actions)
        ops, rungs = self.problem.checked_queries(np.asarray(actions))
        if len(ops) != self.num_envs:
            raise NB201Error(f"actions are {self.num_envs} rows of seven integers, got {len(ops)}")
        return np.concatenate((ops, rungs[:, None]), axis=1)

    def advance(self, rows: Rows, actions: npt.NDArray[np.int64]) -> Step:
        """Choose an op or buy epochs in some lanes."""
        if not self.problem.is_sequential:
            self._hold(rows, actions[:, :DECIDE])
            return self._buy(rows, rows, actions[:, DECIDE])
        phase = self._phase.take(rows)
        is_deciding = phase == DECIDE
        building = ~is_deciding
        complete = self._choose(rows[building], phase[building], actions[building])
        deciding, rungs = rows[is_deciding], actions[is_deciding]
        buys = (rungs > self._furthest.take(deciding)) & (rungs <= self._rungs)
        self._drop_cells(deciding[~buys])
        wanted = np.zeros(self.num_envs, np.int64)  # rungs from 1
        wanted[complete] = 1
        wanted[deciding[buys]] = rungs[buys]
        buying = np.flatnonzero(wanted)
        return self._buy(rows, buying, wanted.take(buying) - 1)

    def _choose(self, rows: Rows, phase: npt.NDArray[np.int64], actions: npt.NDArray[np.int64]) -> Rows:
        """Choose the next op in some lanes; those whose cell is complete."""
        ops = np.where(actions < _OPS, actions, 0)
        flat, at = self._shown.reshape(-1), self._cell_at.take(rows) + phase * _SLOTS
        flat[at + _UNSET] = 0.0
        flat[at + ops] = 1.0
        self._show_phase(rows, phase + 1)
        self._code[rows] = self._code.take(rows) * _OPS + ops
        if self._legal_ops is not None:
            self._show_legal_ops(rows[phase + 1 < DECIDE])
        return np.asarray(rows[phase == DECIDE - 1])

    def _hold(self, rows: Rows, ops: npt.NDArray[np.int64]) -> None:
        """Take complete cells in hand."""
        self._parts["cell"][rows, _CELL + len(EDGES) :] = 0.0
        self._parts["cell"][rows, : _CELL + len(EDGES)] = _CHOSEN.take(ops, axis=0).reshape(rows.size, -1)
        self._phase[rows], self._code[rows] = DECIDE, codes_of(ops)

    def _buy(self, rows: Rows, buying: Rows, rungs: npt.NDArray[np.int64]) -> Step:
        """Train the cells in hand of some lanes up to rungs from 0; `rows` are all lanes that were stepped."""
        reward, ended = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        nothing = np.zeros(self.num_envs, bool)
        if not buying.size:
            return reward, ended, nothing, self._mask_told(rows), False
        searches, cells = self._searches, INDEX_OF_CODE.take(self._code.take(buying))
        rungs = np.maximum(rungs, searches.first_rung.take(searches.task.take(buying)))
        found = searches.query(buying, cells, rungs)
        before, after, budget = self._standing_of.take(buying), self._paid_by(buying), searches.budget(buying)
        self._standing_of[buying] = after
        paid = self.problem.reward.at_purchase(before, after, found.query_seconds, budget)
        reward[buying] = paid * found.observed
        ended[buying] = searches.exhausted.take(buying)
        self._show_queries(buying, cells, rungs, found)
        told = [self._account(buying, cells, rungs, found), *self._mask_told(rows)]
        if not ended.any():
            return reward, ended, nothing, told, False
        over = np.flatnonzero(ended & ((searches.incumbent_index >= 0) | self._is_scaled))
        worth, budget = self._standing_of.take(over), searches.budget(over)
        left = np.maximum(0.0, budget - searches.seconds_used.take(over))
        reward[over] += self.problem.reward.at_end(worth, left, budget, searches.true_worth(over, self._true))
        return reward, ended, nothing, told, True

    def _paid_by(self, rows: Rows) -> npt.NDArray[np.float64]:
        """What the reward counts of the incumbents of some lanes."""
        searches = self._searches
        if not self._is_scaled:
            return searches.incumbent_worth(rows)
        best, unit, start = self._scales[searches.task.take(rows)].T
        worth = (searches.true_worth(rows, self._true) - best) / unit
        return np.asarray(np.where(searches.incumbent_index.take(rows) >= 0, worth, start))

    def _show_queries(self, rows: Rows, cells: Any, rungs: Any, found: Found) -> None:
        """Show queries in some lanes: the budget left, the curve of the cell in hand, the incumbent, the history."""
        searches, flat = self._searches, self._shown.reshape(-1)
        used, budget = searches.seconds_used.take(rows), searches.budget(rows)
        flat[self._budget_at.take(rows)] = np.maximum(0.0, 1.0 - used / budget)
        seen_at = self._curve_at.take(rows) + rungs
        flat[seen_at], flat[seen_at + self._rungs] = found.accuracy, found.observed
        bought = rows[found.observed], rungs[found.observed]
        for moment, power in enumerate(self._moments):
            power[bought] += found.accuracy[found.observed] ** moment
        is_first = rungs == searches.first_rung.take(searches.task.take(rows))
        again = found.repeat & (not self.problem.is_sequential or is_first)  # of a cell that was not in hand before
        if again.any():
            self._show_curves(rows[again], cells[again])
        furthest = np.maximum(found.highest, np.where(found.observed, rungs, -1)) + 1
        self._furthest[rows] = furthest
        self._legal[rows] = self._further.take(furthest, axis=0)
        shown = np.zeros((rows.size, _CELL + 2 + self._rungs), np.float32)
        shown[:, :_CELL], shown[:, _CELL], shown[:, -1] = ONEHOT.take(cells, axis=0), found.accuracy, 1.0
        shown[np.arange(rows.size), _CELL + 1 + rungs] = 1.0
        is_best = (searches.incumbent_index.take(rows) == cells) & (searches.incumbent_rung.take(rows) == rungs)
        is_best &= found.observed
        self._parts["incumbent"][rows[is_best]] = shown[is_best, :-1]
        if self.problem.history:
            told, latest = (rows, shown) if found.observed.all() else (rows[found.observed], shown[found.observed])
            history = self._parts["history"].reshape(self.num_envs, -1)
            size = latest.shape[1]
            history[told, size:] = history[told, :-size]
            history[told, :size] = latest

    def _show_curves(self, rows: Rows, cells: npt.NDArray[np.int64]) -> None:
        """Show all that was seen of the cells in hand."""
        seen = self._searches.bought(rows, cells)
        curve = self._parts["cell"][:, _CELL + len(EDGES) :]
        curve[rows, : self._rungs], curve[rows, self._rungs :] = self._searches.curve(rows, cells) * seen, seen

    def _account(self, rows: Rows, cells: Any, rungs: Any, found: Found) -> Told:
        """What info says of the queries of some lanes."""
        searches = self._searches
        values = {
            "index": cells,
            **query_info(found),
            "epoch": searches.epoch_of(rows, rungs),
            **self._standing(rows),
        }
        if searches.objectives[0] is not None:
            values["reward_vector"] = searches.vectors(rows, cells, found.accuracy) * found.observed[:, None]
        return Told(rows, values)

    def _standing(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        searches = self._searches
        epoch = searches.incumbent_epoch(rows)
        return {"task": searches.task.take(rows), "incumbent_epoch": epoch, **searches.accounts(rows)}

    def observe(self, rows: Rows) -> Any:
        """Observations of some lanes, as new arrays."""
        shown = self._shown.copy() if rows is self._all else self._shown[rows]
        parts: dict[str, Any] = self.problem.parts(shown)
        if self.problem.is_standardised:
            count, total, squares = self._moments[:, rows]
            mean = total / np.maximum(count, 1.0)
            variance = squares / np.maximum(count, 1.0) - mean**2
            self.problem.standardise(parts, mean, np.sqrt(np.where(variance > _ROUNDING, variance, 0.0)))
        if self.problem.is_flat:
            return shown
        if self.problem.is_sequential:
            parts["action_mask"] = self._legal[rows]
        return {name: parts[name] for name in sorted(parts)}

    def _mask_told(self, rows: Rows) -> list[Told]:
        return [Told(rows, {"action_mask": self._legal[rows]})] if self.problem.is_sequential else []

    def accounts(self) -> dict[str, npt.NDArray[Any]]:
        """Where every lane's search stands, by the keys of its info, as new arrays (num_envs,)."""
        return self._standing(self._all)

    def action_masks(self) -> Bools:
        """Legal actions of every lane, bool (num_envs, actions); all for `action="joint"`."""
        if self.problem.is_sequential:
            return self._legal.astype(bool)
        space: Any = self.single_action_space
        return np.ones((self.num_envs, int(space.nvec.sum())), bool)
