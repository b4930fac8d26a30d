"""The environment in which an episode is a whole search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from nb201_env import checks
from nb201_env.envs.render import RENDER_MODES, Scene, draw
from nb201_env.envs.search_lanes import DECIDE, SearchLanes, SearchTask
from nb201_env.envs.single import Info, checked_action, search_seed
from nb201_env.errors import NB201Error
from nb201_env.space import EDGES, OPS

ACTIONS = ("sequential", "joint")
CHARGES = ("resume", "fresh")
OBSERVATIONS = ("flat", "dict")
REWARDS = ("improvement", "area", "true")
TASK_SAMPLING = ("uniform", "round-robin")
RESET_OPTIONS = ("new_search", "budget", "trial_seed", "task")

_TASK_KEYS = ("table", "dataset", "recipe", "epoch", "rungs")
_ONE = np.zeros(1, np.intp)

MAX_HISTORY = 1000
"""Most queries that an observation can show."""


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
    * `budget_left`: (1,), a fraction.
    * `incumbent`: the recommended cell, one-hot (30,), its accuracy, and one-hot which rung it was seen at.
    * `cell`: the cell in hand, one-hot with six slots an edge (36,), the sixth for "not chosen yet"; its accuracies at
      the rungs, and which of them were seen.
    * `history`: the last `history` queries, latest first, each a cell (30,), an accuracy, a rung and 1 where there is
      one.

    ## Rewards
    * `improvement`: by how much the accuracy of the recommended cell as observed rose; less than 0 where a cell at a
      higher rung replaces a better one at a lower. A search's rewards add up to what it saw of its last incumbent.
    * `area`: the incumbent's accuracy times the share of the budget that passes with it, paid as it passes. A search's
      rewards add up to the mean over its time.
    * `true`: at the end, the recommended cell's mean accuracy over trials at the last epoch. It uses privileged
      knowledge, for training on source tables.

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
    * `table`, `dataset`, `recipe`, `epoch`, `split`, `trial`: see [the oracle](../oracle-and-clock.md); `trial` may not
      be per-query. `dataset=None` means gratings, or the first of a table that has none. `epoch` is the last rung.
    * `rungs`: epochs at which a cell can be seen, ascending; None means 1, 3 and the last, if the table has them.
    * `budget`: seconds of a search; None means 20 times the mean cost of a full training on the task.
    * `charge`: `resume`, which pays for the epochs that a purchase adds, or `fresh`, which pays for all.
    * `max_queries`: purchases of a search. None means one more than the budget can pay for where no purchase is
      repeated: only a search that buys again what it has seen, which may cost nothing, ends by it.
    * `action`, `observation`, `history`, `reward`: as above.
    * `tasks`: dicts of `table`, `dataset`, `recipe`, `epoch` and `rungs`, one of which each search is over; what a dict
      leaves out, the arguments say. All must have the same number of rungs. `task_sampling`: `uniform`, or
      `round-robin`, in order, from the first one on after every `reset(seed=…)`.
    * `perturb`: standard deviation of a random field that is added to a task's accuracies, new with every search:
      a sum of terms of single edges and of pairs of edges, so that similar cells move alike. One table thus gives
      many tasks.
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
        objectives: Mapping[str, float | str] | None = None,
        render_mode: str | None = None,
    ):
        checks.one_of("action", action, ACTIONS)
        checks.one_of("charge", charge, CHARGES)
        checks.one_of("observation", observation, OBSERVATIONS)
        checks.one_of("reward", reward, REWARDS)
        checks.one_of("task_sampling", task_sampling, TASK_SAMPLING)
        checks.one_of("render_mode", render_mode, (None, *RENDER_MODES))
        history = checks.whole("history", history, 0, MAX_HISTORY)
        perturb = checks.number("perturb", perturb, 0.0)
        self.render_mode = render_mode
        self.sequential = action == "sequential"
        self._observation, self._sampling = observation, task_sampling
        defaults = {"table": table, "dataset": dataset, "recipe": recipe, "epoch": epoch, "rungs": rungs}
        given = [{}] if tasks is None else tasks
        if not isinstance(given, list | tuple) or not given:
            raise NB201Error(f"tasks must be a list of dicts of {', '.join(_TASK_KEYS)}, got {checks.shown(tasks)}")
        columns = [defaults | checks.mapping("tasks", task, _TASK_KEYS) for task in given]
        made = [
            SearchTask(**column, split=split, trial=trial, budget=budget, charge=charge,
                       max_queries=max_queries, objectives=objectives)
            for column in columns
        ]  # fmt: skip
        if len({len(task.rungs) for task in made}) > 1:
            rungs_of = ", ".join(f"{task.oracle.dataset}: {list(task.rungs)}" for task in made)
            raise NB201Error(f"all tasks must have the same number of rungs, got {rungs_of}")
        self.searches = SearchLanes(made, 1, reward, charge, history, perturb)
        self._running = False
        self._round = 0
        self._make_spaces(history)

    def _make_spaces(self, history: int) -> None:
        rungs, cell = self.searches.rungs, len(EDGES) * len(OPS)
        self.num_actions = max(len(OPS), rungs + 1)
        shapes = {
            "phase": (DECIDE + 1,),
            "budget_left": (1,),
            "incumbent": (cell + 1 + rungs,),
            "cell": (cell + len(EDGES) + 2 * rungs,),
            "history": (history, cell + 2 + rungs),
        }
        if not self.sequential:
            del shapes["phase"]
        if not history:
            del shapes["history"]
        self.parts = tuple(shapes)
        self.action_space: Any = (
            spaces.Discrete(self.num_actions)
            if self.sequential
            else spaces.MultiDiscrete([len(OPS)] * len(EDGES) + [rungs])
        )
        boxes: dict[str, spaces.Space[Any]] = {
            name: spaces.Box(0.0, 1.0, shape, np.float32) for name, shape in shapes.items()
        }
        size = sum(int(np.prod(shape)) for shape in shapes.values())
        if self.sequential:
            boxes["action_mask"] = spaces.MultiBinary(self.num_actions)
        self.observation_space: Any = (
            spaces.Box(0.0, 1.0, (size,), np.float32) if self._observation == "flat" else spaces.Dict(boxes)
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """Begin a new search."""
        super().reset(seed=seed)
        options = {} if options is None else options
        self.configure(options)
        if seed is not None:
            self._round = 0
        drawn = search_seed(options.get("trial_seed"), seed, self.np_random)
        task = self.next_task(drawn, self._round, options.get("task"))
        self._round += 1
        self.searches.begin(_ONE, np.array([drawn], np.uint64), np.array([task]))
        self._running = True
        return self._observe(), self._mask_info()

    def configure(self, options: Mapping[str, Any]) -> None:
        """Take over reset options that set something."""
        checks.mapping("reset options", options, RESET_OPTIONS)
        if "budget" in options:
            self.searches.set_budget(options["budget"])

    def next_task(self, seed: int, searches_before: int, chosen: int | None) -> int:
        """Position of the task that a search is over."""
        count = len(self.searches.tasks)
        if chosen is not None:
            return checks.whole("the option task", chosen, 0, count - 1)
        if self._sampling == "round-robin":
            return searches_before % count
        return int(np.random.default_rng([seed, 1]).integers(count))

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        """Choose an op, or buy epochs.

        Raises:
            NB201Error: if the action is not in the action space, or the episode has ended.
        """
        if not self._running:
            raise NB201Error("no episode is running: call reset() before step()")
        if self.sequential:
            found = self.searches.choose(_ONE, np.array([checked_action(action, self.num_actions)]))
        else:
            found = self.searches.query(_ONE, *checked_queries(np.asarray(action)[None], self.searches.rungs))
        ended = bool(self.searches.ended[0])
        self._running = not ended
        return self._observe(), found["reward"].item(), ended, False, self._mask_info() | self._query_info(found)

    def _query_info(self, found: Mapping[str, npt.NDArray[Any]]) -> Info:
        if not found["queried"][0]:
            return {}
        info: Info = {}
        for key, values in found.items():
            if key not in ("reward", "queried"):
                info[key] = values[0] if values.ndim > 1 else values[0].item()
        return info

    def _mask_info(self) -> Info:
        return {"action_mask": self.searches.legal()[0]} if self.sequential else {}

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Legal actions, bool (actions,), in the way that sb3-contrib asks for them; all for `action="joint"`."""
        if self.sequential:
            return np.asarray(self.searches.legal()[0], bool)
        return np.ones(int(self.action_space.nvec.sum()), bool)

    def batch_of_observations(self) -> Any:
        """Observations of all lanes, flat (lanes, size) or a dict of arrays."""
        parts = self.searches.observe()
        if self._observation == "flat":
            return np.concatenate([parts[name].reshape(self.searches.lanes, -1) for name in self.parts], axis=1)
        batch: dict[str, Any] = {name: parts[name] for name in self.parts}
        if self.sequential:
            batch["action_mask"] = self.searches.legal()
        return {name: batch[name] for name in sorted(batch)}

    def _observe(self) -> Any:
        batch = self.batch_of_observations()
        return {name: part[0] for name, part in batch.items()} if isinstance(batch, dict) else batch[0]

    def render(self) -> Any:
        """The cell in hand, the incumbent and the seconds used: text (`ansi`) or an image (`rgb_array`)."""
        if self.render_mode is None:
            return None
        searches = self.searches
        curve, seen = searches.curve()
        latest = float(curve[0, seen[0]][-1]) if seen.any() else None
        scene = Scene(
            tuple(searches.ops[0].tolist()),
            incumbent_index=int(searches.incumbent[0]),
            incumbent_accuracy=float(searches.incumbent_accuracy[0]),
            n_queries=int(searches.n_queries[0]),
            seconds_used=float(searches.seconds_used[0]),
            budget=float(searches.budget[0]),
            accuracy=latest,
        )
        return draw(scene, self.render_mode)


def checked_queries(actions: npt.NDArray[Any], rungs: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Joint actions (n, 7) as op codes (n, 6) and rungs from 1 (n,).

    Raises:
        NB201Error: if they are anything else.
    """
    limits = np.array([len(OPS)] * len(EDGES) + [rungs])
    whole = actions.dtype.kind in "iu" and actions.ndim == 2 and actions.shape[1] == limits.size
    if not whole or (actions < 0).any() or (actions >= limits).any():
        raise NB201Error(f"an action is six ops from 0 to {len(OPS) - 1} and a rung from 0 to {rungs - 1}, "
                         f"got {actions.tolist()!r}")  # fmt: skip
    actions = actions.astype(np.int64)
    return actions[:, : len(EDGES)], actions[:, len(EDGES)] + 1
