"""The environment in which a cell is changed one edge at a time."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.envs.rewards import REWARDS
from nb201_env.envs.single import ONEHOT, CellEnv, Info, Observation, checked_action
from nb201_env.errors import NB201Error
from nb201_env.simulation.oracle import Evaluation
from nb201_env.space import ALL_OPS, EDGES, NUM_CELLS, OPS, Cell, index_of

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
    index: npt.NDArray[np.int64], allowed: npt.NDArray[np.bool_], seen: npt.NDArray[np.bool_] | None, masked: bool
) -> npt.NDArray[np.int8]:
    """Legal actions of cells, int8 (n, 30).

    Args:
        index: of the cells, (n,).
        allowed: cells that satisfy the mask's rule, (15625,).
        seen: which cells the actions lead to have been observed, (n, 30), if that forbids them.
        masked: whether there is a mask at all; if not, everything is legal.
    """
    if not masked:
        return np.ones((index.size, NUM_ACTIONS), np.int8)
    targets = edited()[index]
    moves = targets != index[:, None]
    legal = moves & allowed[targets]
    if seen is not None:
        legal &= ~seen
    return np.asarray(np.where(legal.any(axis=1, keepdims=True), legal, moves), np.int8)


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
    At every step, by the argument `reward`:
    * `accuracy`: the observed accuracy of the present cell as a fraction.
    * `change`: by how much it differs from that of the cell before, so that an episode's rewards add up to the
      difference between its last cell and its first.
    * `log-error`, `improvement`, `regret`: as in `NB201/BuildCell-v0`.

    With `objectives`, each weight times its objective (as a share of the table's largest) is subtracted from the
    accuracy; a cell beyond a limit counts as minus the shares by which it exceeds its limits. The incumbent is by
    accuracy alone.

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
    * All others: as in `NB201/BuildCell-v0`.

    `reset` takes the options of `NB201/BuildCell-v0` and `start`, which is one cell for all lanes.

    ## Info
    After every step and every reset, what `NB201/BuildCell-v0` says at the end of an episode, about the present cell. A
    step without a query costs 0 seconds and is a `repeat`. A query that was not observed leaves the present cell at
    accuracy 0.

    ## Version history
    * v0: first version.

    `gymnasium.make_vec` makes `nb201_env.envs.edit_vector.EditCellVectorEnv`, whose own arguments are `autoreset_mode`
    and `budget_scope`.
    """

    rewards: ClassVar[tuple[str, ...]] = (*REWARDS, "change")
    reset_options: ClassVar[tuple[str, ...]] = (*CellEnv.reset_options, "start")
    num_actions: ClassVar[int] = NUM_ACTIONS

    def __init__(self, horizon: int = 24, **kwargs: Any):
        self.horizon = checks.whole("horizon", horizon, 1)
        super().__init__(**kwargs)
        self._index = 0
        self._value = 0.0  # what the present cell is worth, for rewards that are differences
        self._result = self._nothing()
        self._steps = self.horizon

    def _slots(self) -> tuple[int, int]:
        return _EDGES, _OPS

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin an episode, and a new search where the class docstring says so."""
        super().reset(seed=seed)
        options = checks.mapping("reset options", {} if options is None else options, self.reset_options)
        start = None if options.get("start") is None else Cell.parse(options["start"]).index
        self._begin_search(seed, options)
        self._index = int(self.np_random.integers(NUM_CELLS)) if start is None else start
        self._steps = 0
        self._result = self.oracle.query(self._index)
        self._value = self._worth(self._result)
        self._show()
        return self._observe(), self._query_info(self._result)

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Set one edge to an op.

        Raises:
            NB201Error: if the action is not an integer from 0 to 29, or the episode has ended.
        """
        if self._steps >= self.horizon:
            raise NB201Error("no episode is running: call reset() before step()")
        action = checked_action(action, NUM_ACTIONS)
        if self.oracle.clock.exhausted:
            self._steps = self.horizon
            return self._observe(), 0.0, False, True, self._query_info(self._nothing())
        self._steps += 1
        index = edited().item(self._index, action)
        incumbent = self.oracle.incumbent_accuracy
        if index == self._index:
            self._result = self._result._replace(seconds=0.0, repeat=True)
        else:
            self._index = index
            self._result = self.oracle.query(index)
            self._show()
        if self.oracle.clock.exhausted:
            self._steps = self.horizon
        reward = self._pay(self._result, incumbent) if self._result.observed else 0.0
        return self._observe(), reward, False, self._steps == self.horizon, self._query_info(self._result)

    def _pay(self, result: Evaluation, incumbent: float) -> float:
        if self._reward_name != "change":
            return super()._pay(result, incumbent)
        before, self._value = self._value, self._worth(result)
        return self._value - before

    def _worth(self, result: Evaluation) -> float:
        if self._objectives is None or not result.observed:
            return result.accuracy
        return float(self._objectives.score(result.accuracy, result.index, result.accuracy))

    def _show(self) -> None:
        self._vector[:NUM_ACTIONS] = ONEHOT[self._index]

    def _mask(self) -> npt.NDArray[np.int8]:
        index = np.array([self._index])
        seen = self.oracle.seen(edited()[index]) if self._mask_name == "unseen" else None
        legal: npt.NDArray[np.int8] = legal_edits(index, self._allowed, seen, self._mask_name != "none")[0]
        return legal

    def _codes(self) -> list[int]:
        codes: list[int] = ALL_OPS[self._index].tolist()
        return codes

    def _shown_accuracy(self) -> float | None:
        return self._result.accuracy if self._result.observed else None
