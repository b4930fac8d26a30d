"""The environment in which six choices build a cell."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nb201_env.envs.masks import INDEX_OF_CODE, LegalOps
from nb201_env.envs.rewards import REWARDS
from nb201_env.envs.single import CellEnv, Info, Observation, checked_action
from nb201_env.errors import NB201Error
from nb201_env.space import EDGES, OPS

UNSET = len(OPS)
"""Stands in an observation for the op of an edge that is not chosen yet."""

_EDGES, _OPS, _SLOTS = len(EDGES), len(OPS), len(OPS) + 1


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
    0 until the sixth step, which pays, by the argument `reward`:
    * `accuracy`: the observed accuracy as a fraction.
    * `log-error`: -log(1 - accuracy).
    * `improvement`: by how much the incumbent of the search rose.
    * `regret`: accuracy less the best mean accuracy of all cells, at most about 0. It uses privileged knowledge.

    With `objectives`, each weight times its objective (as a share of the table's largest) is subtracted from the
    reward; a cell beyond a limit is paid minus the shares by which it exceeds its limits. The incumbent is by accuracy
    alone.

    ## Starting state
    No edge is chosen. `reset(seed=…)` and `reset(options={"new_search": True})` begin a new search: second 0, no
    incumbent, new draws of the trials. Any other reset, except the first, continues the search.

    ## Episode end
    Terminated after six steps. Truncated, with reward 0, when the search has ended: at the sixth step if the query
    does not fit the budget, and at the first step of every later episode.

    ## Arguments
    * `table`: name or path of a table. `dataset`, `recipe`, `epoch`, `split`, `trial`: see
      [the oracle](../oracle-and-clock.md).
    * `budget`, `charge`, `overrun`, `max_queries`: see [the clock](../oracle-and-clock.md).
    * `observation`, `reward`: as above.
    * `mask`: which ops are legal: those from which some completion is an allowed cell. `none`: all of them;
      `connected`: cells whose output depends on the input; `canonical`: one cell of each class of exactly equal ones;
      `unseen`: cells that the search has not observed; `params<=X`: cells of at most X parameters. Where no op is
      legal, all are. A mask advises: an agent that ignores it is not stopped. `action_masks()` returns it as bool.
    * `objectives`: what counts beside the reward: a dict from error, params, macs, latency and train_seconds to a
      weight, or to a limit such as `"<=500000"`; with the rewards accuracy and log-error. Latency is in seconds a batch
      of 256 images.
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

    `gymnasium.make_vec` makes `nb201_env.envs.build_vector.BuildCellVectorEnv`, whose own arguments are
    `autoreset_mode` and `budget_scope`.
    """

    rewards: ClassVar[tuple[str, ...]] = REWARDS
    num_actions: ClassVar[int] = _OPS

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._edge = _EDGES
        self._ops = [UNSET] * _EDGES
        self._code = 0  # the choices so far as digits of base 5
        self._accuracy: float | None = None
        self._start = self._vector.copy()
        self._start[UNSET : _SLOTS * _EDGES : _SLOTS] = 1.0

    def _slots(self) -> tuple[int, int]:
        return _EDGES, _SLOTS

    def _open_oracle(self, column: dict[str, Any], clock: dict[str, Any]) -> None:
        super()._open_oracle(column, clock)
        self._legal = LegalOps(self._allowed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin an episode, and a new search where the class docstring says so."""
        super().reset(seed=seed)
        if self._begin_search(seed, {} if options is None else options) and self._mask_name == "unseen":
            self._legal.restore()
        self._edge = self._code = 0
        self._accuracy = None
        self._ops = [UNSET] * _EDGES
        self._vector[:] = self._start
        return self._observe(), self._step_info()

    def step(self, action: int) -> tuple[Observation, float, bool, bool, Info]:
        """Choose the op of the next edge.

        Raises:
            NB201Error: if the action is not an integer from 0 to 4, or the episode has ended.
        """
        edge = self._edge
        if edge >= _EDGES:
            raise NB201Error("no episode is running: call reset() before step()")
        op = checked_action(action, _OPS)
        self._ops[edge] = op
        self._vector[edge * _SLOTS + UNSET] = 0.0
        self._vector[edge * _SLOTS + op] = 1.0
        if self.oracle.clock.exhausted:
            self._edge = _EDGES
            return self._observe(), 0.0, False, True, self._query_info(self._nothing())
        self._edge, self._code = edge + 1, self._code * _OPS + op
        if self._edge < _EDGES:
            return self._observe(), 0.0, False, False, self._step_info()
        incumbent = self.oracle.incumbent_accuracy
        result = self.oracle.query(INDEX_OF_CODE.item(self._code))
        if not result.observed:
            return self._observe(), 0.0, False, True, self._query_info(result)
        self._accuracy = result.accuracy
        if self._mask_name == "unseen" and not result.repeat:
            self._legal.remove(self._code)
        return self._observe(), self._pay(result, incumbent), True, False, self._query_info(result)

    def _mask(self) -> npt.NDArray[np.int8]:
        return self._legal.after(self._edge, self._code)

    def _codes(self) -> list[int]:
        return self._ops

    def _shown_accuracy(self) -> float | None:
        return self._accuracy
