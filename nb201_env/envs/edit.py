"""The environment in which a cell is changed one edge at a time, alone and in many lanes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.envs.cell_vector import CellVectorEnv, nothing_found, query_info
from nb201_env.envs.infos import Told
from nb201_env.envs.problem import ONEHOT, Problem
from nb201_env.envs.resets import RESET_OPTIONS
from nb201_env.envs.single import CellEnv, Info, Observation, checked_action, checked_options
from nb201_env.envs.vector import Step
from nb201_env.errors import NB201Error
from nb201_env.simulation.ledger import Rows
from nb201_env.simulation.oracle import Evaluation
from nb201_env.space import ALL_OPS, EDGES, OPS, Cell, index_of

_EDGES, _OPS = len(EDGES), len(OPS)
NUM_ACTIONS = _EDGES * _OPS


@cache
def edited() -> npt.NDArray[np.int16]:
    """Index of the cell that each action makes of each cell, int16 (15625, 30); its own for the op that is there."""
    ops = np.repeat(ALL_OPS[:, None], NUM_ACTIONS, axis=1)
    actions = np.arange(NUM_ACTIONS)
    ops[:, actions, actions // _OPS] = actions % _OPS
    return index_of(ops).astype(np.int16)


def legal_edits(
    index: npt.NDArray[np.int64], problem: Problem, seen: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.int8]:
    """Legal actions of cells, int8 (n, 30).

    Args:
        index: of the cells, (n,).
        problem: says what is allowed.
        seen: which cells the actions lead to have been observed, (n, 30), if that forbids them.
    """
    if not problem.is_masked:
        return np.ones((index.size, NUM_ACTIONS), np.int8)
    targets = edited()[index]
    moves = targets != index[:, None]
    legal = moves & problem.allowed[targets]
    if seen is not None:
        legal &= ~seen
    legal = np.where(legal.any(axis=1, keepdims=True), legal, moves & problem.column.present[targets])
    return np.asarray(np.where(legal.any(axis=1, keepdims=True), legal, ~moves), np.int8)


_WAYS = ("value", "rise", "change")
_OPTIONS = (*RESET_OPTIONS, "start")


class EditCellEnv(CellEnv):
    """Walk through the space of NAS-Bench-201, changing one edge of a cell at a time.

    ## Description
    An episode starts at a cell. Every action sets one of its six edges to one of the five ops. The changed cell is
    trained in simulation: the table says which accuracy it reaches and how many GPU-seconds that takes, and the
    seconds are counted against the budget of a *search*, which spans episodes.

    ## Action space
    `Discrete(30)`: action 5·edge + op. Edges come in the official order (0→1), (0→2), (1→2), (0→3), (1→3), (2→3), ops
    in the order none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3. Choosing the op that is there already is
    a step without a query.

    ## Observation space
    * `onehot`: `Box(0, 1, (30,), float32)`, the op of each edge.
    * `index`: `MultiDiscrete([5] * 6)`, int8: the op code of each edge.
    * `dict`: `observation` as in `onehot`, and `action_mask`, int8 of shape (30,), 1 where an action is legal.

    With `reward="improvement"` the one-hot vector has one more entry, the incumbent's accuracy (0 before any).

    ## Rewards
    At every step what the argument `reward` names of the present cell: `accuracy`, the observed accuracy as a fraction,
    `change`, by how much it differs from that of the cell before, so that an episode's rewards add up to the difference
    between its last cell and its first, or another of `nb201_env.envs.rewards.REWARDS`.

    With `objectives`, each weight times its objective (as a share of the table's largest) is subtracted from the
    accuracy, or from what the reward makes of it; a cell beyond a limit is worth minus the shares by which it exceeds
    its limits. The incumbent is the observed cell of highest worth in this sense, the first of equals.

    ## Starting state
    A cell drawn uniformly, or that of `reset(options={"start": …})`: an index, an arch string or six ops. It is queried
    and charged like every other. `reset(seed=…)` and `reset(options={"new_search": True})` begin a new search: second
    0, no incumbent, new draws of the trials. Any other reset, except the first, continues the search.

    ## Episode end
    Truncated after `horizon` steps, and when the search has ended: with reward 0 at a step whose query does not fit
    the budget, and at the first step of every later episode. Never terminated.

    ## Arguments
    * `horizon`: steps of an episode.
    * `mask`: `none`: all 30 actions are legal. Otherwise the op that is there is not, and of the rest those are that
      lead to an allowed cell: `connected`, `canonical`, `unseen`, `params<=X`, as in `NB201/BuildCell-v0`. Where no
      action is legal, all that change the cell are. A mask advises: an agent that ignores it is not stopped.
    * `table`: name or path of a table. `dataset`, `recipe` (None: the only one), `epoch` (None: the last), `split`
      (valid or train), `trial` (per-search, per-query, mean or a number): what is searched, see
      [the column](../oracle-and-rules.md).
    * `missing`: `refuse` a table that lacks a value of some cell, or `mask`: such cells are not on offer. They are
      illegal where the mask is heeded, and going to one is an error.
    * `budget` (None: no limit), `charge`, `overrun`, `max_queries`: see [the rules](../oracle-and-rules.md).
    * `observation`, `reward`: as above.
    * `objectives`: what counts beside the reward: a dict from error, params, macs, latency and train_seconds to a
      weight, or to a limit such as `"<=500000"`. Latency is in seconds a batch of 256 images.
    * `on_exhausted`: `truncate` as above, or `raise` a BudgetExhaustedError instead of beginning another episode.
    * `render_mode`: `ansi` (text), `rgb_array` (an image; needs matplotlib) or None.

    `reset` takes the options `start`, which is one cell for all lanes, `new_search`, `budget`, `dataset`, `recipe`,
    `epoch` and `trial_seed`; all but `start` begin a new search. `budget`, `dataset`, `recipe` and `epoch` stay set;
    `trial_seed`, from which the trials are drawn, is for that search alone, and the same for all lanes.

    ## Info
    After every step and every reset, what `NB201/BuildCell-v0` says at the end of an episode, about the present cell. A
    step without a query costs 0 seconds and is a `repeat`. A query that was not observed leaves the present cell at
    accuracy 0.

    ## Version history
    * v0: first version.

    `gymnasium.make_vec` makes `EditCellVectorEnv`, whose own arguments are `autoreset_mode` and `budget_scope`.
    """

    ways_to_pay: ClassVar[tuple[str, ...]] = _WAYS
    reset_options: ClassVar[tuple[str, ...]] = _OPTIONS
    num_actions: ClassVar[int] = NUM_ACTIONS
    num_slots: ClassVar[int] = _OPS

    def __init__(
        self,
        horizon: int = 24,
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
        self.horizon = checks.whole("horizon", horizon, 1)
        super().__init__(
            table, dataset, recipe, epoch, split, trial, missing, budget, charge, overrun, max_queries, observation,
            reward, mask, objectives, on_exhausted, render_mode,
        )  # fmt: skip
        self._index = 0
        self._result = self._nothing()
        self._steps = self.horizon

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin an episode, and a new search where the class docstring says so."""
        super().reset(seed=seed)
        options = checked_options(options, self.reset_options)
        start = None if options.get("start") is None else Cell.parse(options["start"]).index
        self._begin_search(seed, options)
        offered = self.problem.offered
        self._index = offered.item(self.np_random.integers(offered.size)) if start is None else start
        self._steps = 0
        self._result = self.oracle.query(self._index)
        self._show()
        return self._observe(), self._query_info(self._result)

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Set one edge to an op.

        Raises:
            NB201Error: if the action is not an integer from 0 to 29, the episode has ended, or the cell is not on
                offer.
        """
        if self._steps >= self.horizon:
            raise NB201Error("no episode is running: call reset() before step()")
        action = checked_action(action, NUM_ACTIONS)
        if self.oracle.exhausted:
            self._steps = self.horizon
            return self._observe(), 0.0, False, True, self._query_info(self._nothing())
        index, before, worth = edited().item(self._index, action), self._result, self.oracle.incumbent_worth
        if index == self._index:
            self._result = before._replace(seconds=0.0, repeat=True)
        else:
            self._result = self.oracle.query(index)
            self._index = index
            self._show()
        self._steps = self.horizon if self.oracle.exhausted else self._steps + 1
        reward = self._pay(before, worth) if self._result.observed else 0.0
        return self._observe(), reward, False, self._steps == self.horizon, self._query_info(self._result)

    def _pay(self, before: Evaluation, worth: float) -> float:
        """The reward of the present cell, after another and an incumbent's worth."""
        if self._pays == "rise":
            return self.oracle.incumbent_worth - worth
        value = self._value(self._result)
        return value - self._value(before) if self._pays == "change" else value

    def _show(self) -> None:
        self._vector[:NUM_ACTIONS] = ONEHOT[self._index]

    def _mask(self) -> npt.NDArray[np.int8]:
        index = np.array([self._index])
        seen = self.oracle.seen(edited()[index]) if self.problem.forbids_seen else None
        legal: npt.NDArray[np.int8] = legal_edits(index, self.problem, seen)[0]
        return legal

    def _codes(self) -> list[int]:
        codes: list[int] = ALL_OPS[self._index].tolist()
        return codes

    def _shown_accuracy(self) -> float | None:
        return self._result.accuracy if self._result.observed else None


class EditCellVectorEnv(CellVectorEnv):
    """Many lanes of `NB201/EditCell-v0`; arguments, spaces and info are described there, but for these.

    The reset option `start` is one cell for all lanes that are reset.

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
    reset_options: ClassVar[tuple[str, ...]] = _OPTIONS
    num_actions: ClassVar[int] = NUM_ACTIONS
    num_slots: ClassVar[int] = _OPS

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str = "SameStep",
        budget_scope: str = "lane",
        horizon: int = 24,
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
        self.horizon = checks.whole("horizon", horizon, 1)
        super().__init__(
            num_envs, autoreset_mode=autoreset_mode, budget_scope=budget_scope, table=table, dataset=dataset,
            recipe=recipe, epoch=epoch, split=split, trial=trial, missing=missing, budget=budget, charge=charge,
            overrun=overrun, max_queries=max_queries, observation=observation, reward=reward, mask=mask,
            objectives=objectives, on_exhausted=on_exhausted, render_mode=render_mode,
        )  # fmt: skip
        num = self.num_envs
        self._index = np.zeros(num, np.int64)
        self._steps = np.full(num, self.horizon)
        self._value = np.zeros(num)  # the reward's column at each lane's last query
        self._found = nothing_found(num)  # what info says of that query

    def start(self, rows: Rows, seeds: list[int | None] | None, options: Mapping[str, Any]) -> list[Told]:
        """Begin an episode in some lanes; a start cell that is none is refused before anything changes."""
        if options.get("start") is not None:
            options = {**options, "start": Cell.parse(options["start"]).index}
        return super().start(rows, seeds, options)

    def begin(self, rows: Rows, options: Mapping[str, Any]) -> list[Told]:
        """Begin an episode in some lanes: each starts at a cell, which is queried."""
        start, offered = options.get("start"), self.problem.offered
        if start is None:
            count = offered.size
            drawn = [self._generator(lane).integers(count) for lane in rows.tolist()]
            cells = offered[np.array(drawn)]
        else:
            cells = np.full(rows.size, start)
        self._query(rows, cells)
        self._steps[rows] = 0
        return [self._account(rows, cells, self._found_in(rows)), *self._mask_told(rows)]

    def _query(self, rows: Rows, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Go to a cell in each of some lanes and query it; by how much each incumbent rose.

        Those whose search has ended observe nothing.
        """
        rise = np.zeros(rows.size)
        is_open = ~self._searches.exhausted[rows]
        going = rows[is_open]
        if going.size:
            found = self._searches.query(going, cells[is_open])
            if self._shows_incumbent:
                rise[is_open] = found.rise
        if going.size < rows.size:
            seen = self._searches.seen(rows, cells[:, None])[:, 0]
            for key, values in (nothing_found(rows.size) | {"repeat": seen}).items():
                self._found[key][rows] = values
            self._value[rows] = 0.0
        self._index[rows] = cells
        if going.size:
            for key, values in query_info(found).items():
                self._found[key][going] = values
            self._value[going] = self._rewards.take(found.place) * found.observed
        return rise

    def advance(self, rows: Rows, actions: npt.NDArray[np.int64]) -> Step:
        """Set one edge in some lanes."""
        was_over = self._searches.exhausted[rows]
        going, chosen = (rows[~was_over], actions[~was_over]) if was_over.any() else (rows, actions)
        cells = edited()[self._index[going], chosen].astype(np.int64)
        moves = cells != self._index[going]
        before, rise = self._value[going], np.zeros(self.num_envs)
        self._found["query_seconds"][going], self._found["repeat"][going] = 0.0, True
        rise[going[moves]] = self._query(going[moves], cells[moves])
        self._steps[going] += 1
        reward, truncated = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        truncated[rows] = was_over | (self._steps[rows] == self.horizon) | self._searches.exhausted[rows]
        if self.problem.pays == "rise":
            reward = rise
        else:
            change = self._value[going] - (before if self.problem.pays == "change" else 0.0)
            reward[going] = change * self._found["observed"][going]
        told = [self._account(going, self._index[going], self._found_in(going)), *self._mask_told(rows)]
        if going.size < rows.size:
            over = rows[was_over]
            told.append(self._account(over, np.full(over.size, -1), nothing_found(over.size)))
        return reward, np.zeros(self.num_envs, bool), truncated, told, True

    def _found_in(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        return {key: values[rows] for key, values in self._found.items()}

    def observe(self, rows: Rows) -> Any:
        """Observations of some lanes, as new arrays."""
        index = self._index[rows]
        if self.problem.observation == "index":
            return ALL_OPS[index].astype(np.int8)
        shown = ONEHOT[index]
        if self._shows_incumbent:
            incumbent = self._searches.incumbent_accuracy(rows)[:, None].astype(np.float32)
            shown = np.concatenate((shown, incumbent), axis=1)
        if self._is_dict:
            return {"action_mask": self._mask()[rows], "observation": shown}
        return shown

    def _mask(self) -> npt.NDArray[np.int8]:
        seen = self._searches.seen(self._all, edited()[self._index]) if self.problem.forbids_seen else None
        return legal_edits(self._index, self.problem, seen)
