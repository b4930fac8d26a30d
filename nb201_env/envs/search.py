"""The environment in which an episode is a whole search. Its many lanes are in `nb201_env.envs.search_vector`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from nb201_env.envs.masks import LegalOps
from nb201_env.envs.problem import ONEHOT, checked_render_mode
from nb201_env.envs.render import RENDER_MODES, draw
from nb201_env.envs.resets import search_seed
from nb201_env.envs.search_problem import DECIDE, RESET_OPTIONS, SearchProblem
from nb201_env.envs.single import Info, checked_action, checked_options, scene_of
from nb201_env.errors import NB201Error
from nb201_env.simulation.fields import RandomFields
from nb201_env.simulation.oracle import Evaluation, Oracle
from nb201_env.space import EDGES, OPS, index_of

_CELL, _SLOTS, _UNSET = len(EDGES) * len(OPS), len(OPS) + 1, len(OPS)


class SearchEnv(gym.Env[Any, Any]):
    """Search the space of NAS-Bench-201 until the GPU-seconds are used up: which cells, and how long to train each.

    ## Description
    An episode is one search. A cell is built from six choices, as in `NB201/BuildCell-v0`, and trained to the first
    rung, an early epoch. Its accuracy there is seen; then more epochs of it can be bought, rung by rung, or the next
    cell is begun. Every purchase costs the simulated seconds of the training that it adds and of one evaluation pass.
    What a search recommends in the end is, of the cells it trained to the highest rung, the best observed.

    ## Action space
    * `action="sequential"`: `Discrete(max(5, rungs + 1))`. Six times the op of the next edge, in the order none,
      skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3; the first rung is bought at the sixth. Then r buys the
      cell in hand up to rung r, counted from 1, and 0 leaves it. An action that means nothing at its time, such as a
      rung that was bought before, counts as 0; `info["action_mask"]` says what means something.
    * `action="joint"`: `MultiDiscrete([5] * 6 + [rungs])`, six ops and a rung counted from 0: the cell is queried up to
      that rung, paying the difference to what was bought of it before.

    ## Observation space
    `observation="flat"` is a float32 vector from 0 to 1, and `dict` has its parts by name, and `action_mask` where
    there is one:
    * `phase` (sequential alone): one-hot (7,), which edge is next, or that more epochs can be bought.
    * `task`, with `describe=True`: (4,), the chance level, the image size as a share of 256, ln(1 + mean seconds of a
      full training) / ln(10^7), and the first rung as a share of the last.
    * `budget_left`: (1,), a fraction.
    * `incumbent`: the recommended cell, one-hot (30,), its accuracy, and one-hot which rung it was seen at.
    * `cell`: the cell in hand, one-hot with six slots an edge (36,), the sixth for "not chosen yet"; its accuracies at
      the rungs, and which of them were seen.
    * `history`: the last `history` queries, latest first, each a cell (30,), an accuracy, a rung and 1 where there is
      one.

    ## Rewards
    What the argument `reward` names: `improvement`, by how much the accuracy of the recommended cell rose, or another
    of `nb201_env.envs.rewards.SEARCH_REWARDS`.

    With `objectives`, each weight times its objective (as a share of the table's largest) is subtracted from
    accuracies; a cell beyond a limit counts as minus the shares by which it exceeds its limits. The incumbent is the
    best by that.

    ## Starting state
    No cell, the whole budget. Every reset begins a new search; its task, its trials and its random field follow from
    one number: the seed, or a draw of `np_random`.

    ## Episode end
    Terminated by the purchase that does not fit the budget, which is not observed, or that is the last of
    `max_queries`. Never truncated: at most seven steps lead to a purchase.

    ## Arguments
    * `table`, `dataset`, `recipe`, `epoch`, `split`, `trial`: see [the column](../oracle-and-rules.md); `trial` may not
      be per-query. `dataset=None` means gratings, or the first of a table that has none. `epoch` is the last rung.
    * `missing`: `refuse` a table that lacks a value of some cell at some rung, or `mask`: such cells are not on offer.
      They are illegal where the mask is heeded, and buying one is an error.
    * `rungs`: epochs at which a cell can be seen, ascending; None means 1, 3 and the last, if the table has them.
    * `budget`: seconds of a search; None means 20 times the mean cost of a full training on the task.
    * `charge`: `resume`, which pays for the epochs that a purchase adds, or `fresh`, which pays for all.
    * `max_queries`: purchases of a search. None means one more than the budget can pay for where no purchase is
      repeated: only a search that buys again what it has seen, which may cost nothing, ends by it.
    * `action`, `observation`, `history`, `reward`: as above.
    * `tasks`: dicts of `table`, `dataset`, `recipe`, `epoch` and `rungs`, one of which each search is over; what a dict
      leaves out, the arguments say. Where tasks have unlike numbers of rungs, the last of each is the last rung of the
      spaces, and what asks for a rung below a task's first buys its first. `task_sampling`: `uniform`, or
      `round-robin`, in order, from the first one on after every `reset(seed=…)`.
    * `perturb`: standard deviation of a random field that is added to a task's accuracies, new with every search:
      a sum of terms of single edges and of pairs of edges, so that similar cells move alike. One table thus gives
      many tasks.
    * `family`: makes tasks of the columns that the arguments above name, instead of searching those: a dict of `start`
      (0) and `stop`, numbers of tasks of the [family](../tasks.md), and of what differs from its law.
    * `trainings`: the budget in mean costs of a full training on the task, instead of `budget`.
    * `standardise`: show accuracies as deviations from the mean of all purchases of the search at the same rung: 1/2 is
      the mean, 1 and 0 are four deviations above and below it.
    * `describe`: show the part `task`.
    * `objectives`: what counts beside accuracy: see `NB201/BuildCell-v0`.
    * `render_mode`: `ansi` (text), `rgb_array` (an image; needs matplotlib) or None.

    `reset` takes the options `new_search` (every reset is one), `budget`, which stays set, `trial_seed`, the number
    from which the search follows, and `task`, its position in `tasks`.

    ## Info
    `action_mask` at every step, unless `action="joint"`. After a purchase, what `NB201/BuildCell-v0` says at the end of
    an episode, and `task` and `incumbent_epoch`. A `repeat` is a cell that the search has seen before, at any rung; it
    costs what `charge` says.

    ## Version history
    * v0: first version.

    `gymnasium.make_vec` makes `nb201_env.envs.search_vector.SearchVectorEnv`, whose own argument is `autoreset_mode`.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self,
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
        render_mode: str | None = None,
    ):
        self.render_mode = checked_render_mode(render_mode)
        problem = SearchProblem.from_arguments(
            table=table, dataset=dataset, recipe=recipe, epoch=epoch, split=split, trial=trial, missing=missing,
            rungs=rungs, budget=budget, charge=charge, max_queries=max_queries, action=action, observation=observation,
            history=history, reward=reward, tasks=tasks, task_sampling=task_sampling, perturb=perturb,
            family=family, trainings=trainings, standardise=standardise, describe=describe, objectives=objectives,
        )  # fmt: skip
        self.action_space: Any = problem.action_space()
        self.observation_space: Any = problem.observation_space()
        self._fields = RandomFields(1, problem.perturb) if problem.perturb else None
        self._begin_problem(problem)
        self._shown = np.zeros(problem.size, np.float32)
        self._parts = problem.parts(self._shown)
        self._running, self._round = False, 0

    def _begin_problem(self, problem: SearchProblem) -> None:
        self.problem = problem
        self._oracles: dict[int, Oracle] = {}  # of tasks that were searched
        self._legal_ops: dict[int, LegalOps] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._parts = self.problem.parts(self._shown)  # views do not survive a pickle

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """Begin a new search."""
        super().reset(seed=seed)
        options = checked_options(options, RESET_OPTIONS)
        problem = self.problem.with_budget(options["budget"]) if "budget" in options else self.problem
        chosen = problem.checked_task(options.get("task"))
        drawn = search_seed(options.get("trial_seed"), seed, self.np_random)
        if problem is not self.problem:  # all options are good
            self._begin_problem(problem)
        if seed is not None:
            self._round = 0
        self._task = self.problem.next_task(drawn, self._round, chosen)
        self._round += 1
        self._begin_search(drawn)
        return self._observe(), self._mask_info()

    def _begin_search(self, seed: int) -> None:
        task = self.problem.tasks[self._task]
        column = task.column
        self._first_rung = self.problem.num_rungs - len(column.rungs)
        if self._task not in self._oracles:
            self._oracles[self._task] = Oracle(column, task.rules)
            self._legal_ops[self._task] = LegalOps(column.present, column.present)
        self.oracle = self._oracles[self._task]
        self._true: npt.NDArray[np.floating[Any]] = column.mean
        if self._fields is not None:
            self._fields.draw(np.zeros(1, np.intp), np.array([seed], np.uint64))
            field = self._fields.everywhere(0)
            moved = replace(column, accuracy=np.clip(column.accuracy + field[:, None], 0.0, 1.0))
            self.oracle, self._true = Oracle(moved, self.oracle.rules), np.clip(column.mean + field, 0.0, 1.0)
        self.oracle.new_search(seed)
        self._curves: dict[int, dict[int, float]] = {}  # of each cell that was bought, its accuracies by rung
        self._seen_values: list[list[float]] = [[] for _ in range(self.problem.num_rungs)]  # of all purchases
        self._queries: list[tuple[int, float]] = []  # rung and accuracy of each, for pictures
        self._standing = task.scale.start if self.problem.reward.pays_by == "scaled" else 0.0
        self._running = True
        self._shown[:] = 0.0
        if self.problem.is_described:
            self._parts["task"][:] = task.description
        self._parts["budget_left"][0] = 1.0
        self._drop_cell()

    def _drop_cell(self) -> None:
        """Go back to where no edge is chosen."""
        self._ops: list[int] = []
        self._cell = -1
        self._parts["cell"][:] = 0.0
        self._parts["cell"][_UNSET : _CELL + len(EDGES) : _SLOTS] = 1.0
        self._show_phase()

    def _show_phase(self) -> None:
        if self.problem.is_sequential:
            self._parts["phase"][:] = 0.0
            self._parts["phase"][len(self._ops)] = 1.0

    def _choose(self, ops: list[int]) -> None:
        """Choose the ops of the next edges."""
        for op in ops:
            slots = self._parts["cell"][_SLOTS * len(self._ops) :][:_SLOTS]
            slots[_UNSET], slots[op] = 0.0, 1.0
            self._ops.append(op)
        self._show_phase()
        if len(self._ops) == DECIDE:
            self._cell = int(index_of(self._ops))

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        """Choose an op, or buy epochs.

        Raises:
            NB201Error: if the action is not in the action space, the episode has ended, or the cell is not on offer.
        """
        if not self._running:
            raise NB201Error("no episode is running: call reset() before step()")
        if not self.problem.is_sequential:
            ops, rungs = self.problem.checked_queries(np.asarray(action)[None])
            self._drop_cell()
            self._choose(ops[0].tolist())
            return self._buy(int(rungs[0]))
        chosen = checked_action(action, self.problem.num_actions)
        if self._cell < 0:
            self._choose([chosen if chosen < len(OPS) else 0])
            if self._cell >= 0:
                return self._buy(0)
        elif self._furthest() < chosen <= self.problem.num_rungs:
            return self._buy(chosen - 1)
        else:
            self._drop_cell()
        return self._observe(), 0.0, False, False, self._mask_info()

    def _furthest(self) -> int:
        """The highest rung, from 1, that was bought of the cell in hand; 0 without any."""
        return max(self._curves.get(self._cell, ()), default=-1) + 1

    def _buy(self, rung: int) -> tuple[Any, float, bool, bool, Info]:
        """Train the cell in hand up to a rung."""
        oracle, reward = self.oracle, self.problem.reward
        before, rung = self._standing, max(rung, self._first_rung)
        result = oracle.query(self._cell, oracle.column.rungs[rung - self._first_rung])
        self._running = not oracle.exhausted
        paid, budget = 0.0, oracle.rules.seconds
        if result.observed:
            self._curves.setdefault(self._cell, {})[rung] = result.accuracy
            self._seen_values[rung].append(result.accuracy)
            if self.render_mode is not None:
                self._queries.append((rung, result.accuracy))
            self._standing = self._paid_by()
            paid = reward.at_purchase(before, self._standing, result.seconds, budget)
            self._show_query(result, rung)
        self._show_curve()
        if oracle.exhausted and (oracle.incumbent_index >= 0 or reward.pays_by == "scaled"):
            paid += reward.at_end(self._standing, oracle.seconds_left, budget, self._true_worth())
        return self._observe(), float(paid), oracle.exhausted, False, self._mask_info() | self._query_info(result)

    def _paid_by(self) -> float:
        """What the reward counts of the incumbent."""
        if self.problem.reward.pays_by != "scaled":
            return self.oracle.incumbent_worth
        scale = self.problem.tasks[self._task].scale
        return (self._true_worth() - scale.best) / scale.unit

    def _true_worth(self) -> float:
        """What the incumbent's mean over trials is worth: privileged knowledge."""
        cell, objectives = self.oracle.incumbent_index, self.oracle.objectives
        true = float(self._true[cell])
        return true if objectives is None else float(objectives.score(true, cell, true))

    def _show_query(self, result: Evaluation, rung: int) -> None:
        """Show an observed query: the budget left, the incumbent, the history."""
        oracle, incumbent = self.oracle, self._parts["incumbent"]
        self._parts["budget_left"][0] = max(0.0, 1.0 - oracle.seconds_used / oracle.rules.seconds)
        incumbent[:] = 0.0
        incumbent[:_CELL], incumbent[_CELL] = ONEHOT[oracle.incumbent_index], oracle.incumbent_accuracy
        incumbent[_CELL + 1 + self._first_rung + oracle.incumbent_rung] = 1.0
        if self.problem.history:
            history = self._parts["history"]
            history[1:] = history[:-1].copy()
            history[0] = 0.0
            history[0, :_CELL], history[0, _CELL] = ONEHOT[result.index], result.accuracy
            history[0, _CELL + 1 + rung] = history[0, -1] = 1.0

    def _show_curve(self) -> None:
        """Show what was seen of the cell in hand."""
        start = _CELL + len(EDGES)
        for rung, accuracy in self._curves.get(self._cell, {}).items():
            self._parts["cell"][start + rung] = accuracy
            self._parts["cell"][start + self.problem.num_rungs + rung] = 1.0

    def _query_info(self, result: Evaluation) -> Info:
        oracle = self.oracle
        info: Info = {
            "index": result.index,
            "accuracy": result.accuracy,
            "observed": result.observed,
            "trial": result.trial,
            "epoch": result.epoch,
            "query_seconds": result.seconds,
            "repeat": result.repeat,
            "task": self._task,
            "seconds_used": oracle.seconds_used,
            "seconds_left": oracle.seconds_left,
            "incumbent_index": oracle.incumbent_index,
            "incumbent_accuracy": oracle.incumbent_accuracy,
            "incumbent_epoch": oracle.incumbent_epoch,
            "n_queries": oracle.n_queries,
            "n_distinct": oracle.n_distinct,
            "budget_exhausted": oracle.exhausted,
        }
        if oracle.objectives is not None:
            info["reward_vector"] = oracle.objectives.vector(result.index, result.accuracy) * result.observed
        return info

    def _mask_info(self) -> Info:
        return {"action_mask": self._legal()} if self.problem.is_sequential else {}

    def _legal(self) -> npt.NDArray[np.int8]:
        """Legal actions of the sequential kind, int8 (num_actions,)."""
        legal = np.zeros(self.problem.num_actions, np.int8)
        if self._cell < 0:
            code = 0
            for op in self._ops:
                code = code * len(OPS) + op
            legal[: len(OPS)] = self._legal_ops[self._task].after(len(self._ops), code)
        else:
            legal[0] = 1
            legal[self._furthest() + 1 : self.problem.num_rungs + 1] = 1
        return legal

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Legal actions, bool (actions,), in the way that sb3-contrib asks for them; all for `action="joint"`."""
        if self.problem.is_sequential:
            return self._legal().astype(bool)
        return np.ones(int(self.action_space.nvec.sum()), bool)

    def _observe(self) -> Any:
        shown = self._shown.copy()
        parts: dict[str, Any] = self.problem.parts(shown)
        if self.problem.is_standardised:
            seen = self._seen_values
            means, deviations = (np.array([of(one) if one else 0.0 for one in seen]) for of in (np.mean, np.std))
            self.problem.standardise(parts, means, deviations)
        if self.problem.is_flat:
            return shown
        if self.problem.is_sequential:
            parts["action_mask"] = self._legal()
        return {name: parts[name] for name in sorted(parts)}

    def render(self) -> Any:
        """The cell in hand, the incumbent and the seconds used: text (`ansi`) or an image (`rgb_array`)."""
        if self.render_mode is None:
            return None
        curve = self._curves.get(self._cell, {})
        codes = self._ops + [_UNSET] * (len(EDGES) - len(self._ops))
        last = max(curve, default=-1)
        epoch = self.oracle.column.rungs[last - self._first_rung] if curve else None
        seen = tuple((rung - self._first_rung, accuracy) for rung, accuracy in self._queries)
        return draw(scene_of(self.oracle, codes, curve.get(last), epoch=epoch, seen=seen), self.render_mode)
