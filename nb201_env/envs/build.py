"""The environment in which six choices build a cell."""

from __future__ import annotations

import operator
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from nb201_env.cell import EDGES, OPS, Cell
from nb201_env.clock import SimulatedClock
from nb201_env.envs.masks import INDEX_OF_CODE, LegalOps, allowed_cells
from nb201_env.envs.rewards import REWARDS, make_reward
from nb201_env.errors import BudgetExhaustedError, NB201Error
from nb201_env.oracle import NO_TRIAL, Evaluation, Oracle
from nb201_env.table import open_table

OBSERVATIONS = ("onehot", "index", "dict")
ON_EXHAUSTED = ("truncate", "raise")
RESET_OPTIONS = ("new_search", "budget", "dataset", "recipe", "epoch", "trial_seed")

UNSET = len(OPS)
"""Stands in an observation for the op of an edge that is not chosen yet."""

_SLOTS = len(OPS) + 1
Observation = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]


class BuildCellEnv(gym.Env[Observation, int]):
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

    ## Starting state
    No edge is chosen. `reset(seed=…)` and `reset(options={"new_search": True})` begin a new search: second 0, no
    incumbent, new draws of the trials. Any other reset, except the first, continues the search.

    ## Episode end
    Terminated after six steps. Truncated, with reward 0, when the search has ended: at the sixth step if the query
    does not fit the budget, and at the first step of every later episode.

    ## Arguments
    * `table`: name or path of a table. `dataset`, `recipe`, `epoch`, `split`, `trial`: see `nb201_env.oracle.Oracle`.
    * `budget`, `charge`, `overrun`, `max_queries`: see `nb201_env.clock.SimulatedClock`.
    * `observation`, `reward`: as above.
    * `mask`: which ops are legal: those from which some completion is an allowed cell. `none`: all of them;
      `connected`: cells whose output depends on the input; `canonical`: one cell of each class of exactly equal ones;
      `unseen`: cells that the search has not observed; `params<=X`: cells of at most X parameters. Where no op is
      legal, all are. A mask advises: an agent that ignores it is not stopped. `action_masks()` returns it as bool.
    * `on_exhausted`: `truncate` as above, or `raise` a BudgetExhaustedError instead of beginning another episode.
    * `render_mode`: `ansi` or None.

    `reset` takes the options `new_search`, `budget`, `dataset`, `recipe`, `epoch` and `trial_seed`; all but the first
    imply a new search, and what they set stays set.

    ## Info
    At the end of an episode: `index`, `arch`, `accuracy`, `observed`, `trial` (-1: the mean), `dataset`, `recipe`,
    `epoch`, `query_seconds`, `seconds_used`, `seconds_left` (inf: no limit), `incumbent_index` (-1: none),
    `incumbent_accuracy`, `n_queries`, `n_distinct`, `repeat`, `budget_exhausted`. `action_mask` is there at every
    step with `observation="dict"` or a mask other than none, and nothing else before the end. An episode that ended
    before its cell was complete has index -1 and arch "".

    ## Version history
    * v0: first version.

    `gymnasium.make_vec` makes `nb201_env.envs.vector.BuildCellVectorEnv`, whose own arguments are `autoreset_mode` and
    `budget_scope`.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self,
        table: str = "published",
        dataset: str = "cifar10",
        recipe: str | None = None,
        epoch: int | None = None,
        split: str = "valid",
        trial: str | int = "per-search",
        budget: float | None = None,
        charge: str = "fresh",
        overrun: str = "stop-before",
        max_queries: int | None = None,
        observation: str = "onehot",
        reward: str = "accuracy",
        mask: str = "none",
        on_exhausted: str = "truncate",
        render_mode: str | None = None,
    ):
        _check("observation", observation, OBSERVATIONS)
        _check("reward", reward, REWARDS)
        _check("on_exhausted", on_exhausted, ON_EXHAUSTED)
        _check("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        if reward == "improvement" and observation == "index":
            raise NB201Error("reward='improvement' shows the incumbent's accuracy: use observation='onehot' or 'dict'")
        self.render_mode = render_mode
        self._observation = observation
        self._reward_name = reward
        self._mask_name = mask
        self._shows_mask = observation == "dict" or mask != "none"
        self._raises = on_exhausted == "raise"
        self._table = open_table(table)
        self._column: dict[str, Any] = {
            "dataset": dataset,
            "recipe": recipe,
            "epoch": epoch,
            "split": split,
            "trial": trial,
        }
        self._clock: dict[str, Any] = {
            "budget": budget,
            "charge": charge,
            "overrun": overrun,
            "max_queries": max_queries,
        }
        self._open_oracle()
        self._started = False
        self._edge = len(EDGES)
        self._ops = [UNSET] * len(EDGES)
        self._code = 0  # the choices so far as digits of base 5

        size = _SLOTS * len(EDGES) + (reward == "improvement")
        onehot = spaces.Box(0.0, 1.0, (size,), np.float32)
        self._vector = np.zeros(size, np.float32)
        self.action_space: Any = spaces.Discrete(len(OPS))
        self.observation_space: Any = {
            "onehot": onehot,
            "index": spaces.MultiDiscrete([_SLOTS] * len(EDGES), dtype=np.int8),
            "dict": spaces.Dict({"observation": onehot, "action_mask": spaces.MultiBinary(len(OPS))}),
        }[observation]

    def _open_oracle(self) -> None:
        self.oracle = Oracle(self._table, **self._column, clock=SimulatedClock(**self._clock))
        self._reward = make_reward(self._reward_name, self.oracle)
        self._legal = LegalOps(allowed_cells(self._mask_name, self._table, self.oracle.dataset))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode, and a new search where the class docstring says so."""
        super().reset(seed=seed)
        self._begin_search(seed, options or {})
        self._edge, self._code = 0, 0
        self._ops = [UNSET] * len(EDGES)
        self._vector[:] = 0.0
        self._vector[UNSET : _SLOTS * len(EDGES) : _SLOTS] = 1.0
        return self._observe(), self._step_info()

    def _begin_search(self, seed: int | None, options: dict[str, Any]) -> None:
        if self.configure(options) or seed is not None or not self._started:
            drawn = seed if seed is not None else int(self.np_random.integers(2**32))
            self.oracle.new_search(options.get("trial_seed", drawn))
            self._started = True
            if self._mask_name == "unseen":
                self._legal.restore()
        elif self._raises and self.oracle.exhausted:
            raise BudgetExhaustedError(
                f"the search has ended after {self.oracle.n_queries} queries and "
                f"{self.oracle.clock.seconds_used:.1f} s; "
                "reset(options={'new_search': True}) begins another"
            )

    def configure(self, options: dict[str, Any]) -> bool:
        """Take over reset options that set something, and say whether they ask for a new search."""
        if unknown := set(options) - set(RESET_OPTIONS):
            raise NB201Error(f"unknown reset options {sorted(unknown)}; known are {', '.join(RESET_OPTIONS)}")
        changes: dict[str, Any] = {key: options[key] for key in ("dataset", "recipe", "epoch") if key in options}
        if changes or "budget" in options:
            self._column |= changes
            self._clock["budget"] = options.get("budget", self._clock["budget"])
            self._open_oracle()
        return bool(changes or options.get("new_search") or {"budget", "trial_seed"} & set(options))

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Choose the op of the next edge.

        Raises:
            NB201Error: if the action is not an integer from 0 to 4, or the episode has ended.
        """
        edge = self._edge
        if edge >= len(EDGES):
            raise NB201Error("no episode is running: call reset() before step()")
        op = _op(action)
        self._ops[edge] = op
        self._vector[edge * _SLOTS + UNSET] = 0.0
        self._vector[edge * _SLOTS + op] = 1.0
        if self.oracle.exhausted:
            self._edge = len(EDGES)
            nothing = Evaluation(-1, self.oracle.epoch, 0.0, 0.0, NO_TRIAL, False, False)
            return self._observe(), 0.0, False, True, self._end_info(nothing)
        self._edge, self._code = edge + 1, self._code * len(OPS) + op
        if self._edge < len(EDGES):
            return self._observe(), 0.0, False, False, self._step_info()
        incumbent = self.oracle.incumbent_accuracy
        result = self.oracle.query(INDEX_OF_CODE.item(self._code))
        if self._mask_name == "unseen" and result.observed and not result.repeat:
            self._legal.remove(self._code)
        reward = self._reward(result.accuracy, incumbent) if result.observed else 0.0
        return self._observe(), reward, result.observed, not result.observed, self._end_info(result)

    def _observe(self) -> Observation:
        if self._observation == "index":
            return np.array(self._ops, np.int8)
        if self._reward_name == "improvement":
            self._vector[-1] = self.oracle.incumbent_accuracy
        if self._observation == "onehot":
            return self._vector.copy()
        return {"observation": self._vector.copy(), "action_mask": self._mask()}

    def _mask(self) -> npt.NDArray[np.int8]:
        return self._legal.after(self._edge, self._code)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Legal ops, bool (5,), in the way that sb3-contrib asks for them."""
        return self._mask().astype(bool)

    def _step_info(self) -> dict[str, Any]:
        return {"action_mask": self._mask()} if self._shows_mask else {}

    def _end_info(self, result: Evaluation) -> dict[str, Any]:
        oracle = self.oracle
        return self._step_info() | {
            "index": result.index,
            "arch": Cell(result.index).arch if result.index >= 0 else "",
            "accuracy": result.accuracy,
            "observed": result.observed,
            "trial": result.trial,
            "dataset": oracle.dataset,
            "recipe": oracle.recipe,
            "epoch": result.epoch,
            "query_seconds": result.seconds,
            "seconds_used": oracle.clock.seconds_used,
            "seconds_left": oracle.clock.seconds_left,
            "incumbent_index": oracle.incumbent_index,
            "incumbent_accuracy": oracle.incumbent_accuracy,
            "n_queries": oracle.n_queries,
            "n_distinct": oracle.n_distinct,
            "repeat": result.repeat,
            "budget_exhausted": oracle.exhausted,
        }

    def render(self) -> str | None:
        """The edges chosen so far, the incumbent and the seconds used, as text."""
        if self.render_mode is None:
            return None
        names = [OPS[op] if op < UNSET else "·" for op in self._ops]
        edges = "  ".join(f"{source}→{target} {name}" for (source, target), name in zip(EDGES, names, strict=True))
        oracle = self.oracle
        incumbent = (
            f"incumbent {oracle.incumbent_index} at {100 * oracle.incumbent_accuracy:.2f} %"
            if oracle.incumbent_index >= 0
            else "no incumbent"
        )
        left = "" if self.oracle.clock.budget is None else f" of {self.oracle.clock.budget:,.0f}"
        return f"{edges}\n{incumbent}, {oracle.n_queries} queries, {oracle.clock.seconds_used:,.0f}{left} GPU-seconds\n"


def _check(what: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise NB201Error(f"{what} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def _op(action: object) -> int:
    try:
        op = operator.index(action)  # type: ignore[arg-type]
    except TypeError:
        op = -1
    if isinstance(action, bool | np.bool_) or not 0 <= op < len(OPS):
        raise NB201Error(f"an action is an integer from 0 to {len(OPS) - 1}, got {action!r}")
    return op
