"""Proximal policy optimisation of a controller (Schulman et al., 2017), on many searches at once.

Each batch of tasks is searched for a number of updates by fresh lanes, then the next tasks of the family follow. What
training does depends on its recipe alone, so that it can go on from between two batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nb201_agents.controllers.policy import NUM_EDGES, NUM_OPS, Bought, Choice, Policy, Seen
from nb201_env import ALL_OPS, NUM_CELLS, PARAMS, Column, NB201Error, checks, open_table
from nb201_env.integrations.devices import one_thread
from nb201_env.simulation.family import TRAINING_TASKS, Law, TaskFamily, normal_scores, over_trials

MAX_TASKS = 10_000
MOST_OF_ANY = 10**6
"""Largest number of a recipe; more would be asked for by a damaged file alone."""

GOOD = 16
"""How many of a task's best cells are good enough to guide a policy to."""


@dataclass(frozen=True)
class Recipe:
    """All that decides what a controller becomes.

    Attributes:
        sources: pairs of a table and a data set, of which the family of tasks is made.
        rungs: epochs at which cells can be seen; None for the last alone.
        law: what differs from the family's law, as pairs.
        batches: of tasks, one after the other.
        updates: of the policy on each batch.
        tasks: in a batch, of `TRAINING_TASKS`; those of seed s begin at number `s * batches * tasks`.
        lanes: searches at once.
        steps: queries of each lane between two updates.
        queries: most queries of a search.
        sight: how many of the latest queries the policy sees; None for all, 0 for a search that learns nothing.
        trainings: budget of a search in mean full trainings.
        seed: of everything.
        discount: of rewards, by query: what a search gains late counts less.
        trace: lambda of generalised advantage estimation.
        clip: of the ratio of probabilities.
        passes: over what was collected, for each update.
        minibatch: queries in one step of the optimiser.
        learning_rate: at the start; it falls to nothing in a line.
        entropy: weight of the choices' entropy at the start; it falls likewise.
        guide: weight, at the start, of the likelihood of a task's best cells; it falls to nothing by half of the
            training.
        hide: share of the searches that are not shown one of the sources, drawn uniformly: so a policy learns what
            sources say of tasks that are made of others.
    """

    sources: tuple[tuple[str, str], ...]
    rungs: tuple[int, ...] | None = None
    law: tuple[tuple[str, Any], ...] = (("field", 0.4), ("cell", 0.4))
    batches: int = 20
    updates: int = 20
    tasks: int = 256
    lanes: int = 256
    steps: int = 12
    queries: int = 24
    sight: int | None = None
    trainings: float = 1000.0
    seed: int = 0
    discount: float = 0.8
    trace: float = 0.95
    clip: float = 0.2
    passes: int = 1
    minibatch: int = 256
    learning_rate: float = 1e-3
    entropy: float = 0.0005
    guide: float = 0.2
    hide: float = 0.7

    def check(self) -> None:
        """Raise NB201Error for a recipe that cannot be carried out."""
        if not self.sources:
            raise NB201Error("name at least one source, TABLE:DATASET")
        checks.whole("tasks", self.tasks, 1, MAX_TASKS)
        checks.number("hide", self.hide, 0.0, most=1.0)
        for name in ("batches", "updates", "lanes", "steps", "queries", "passes", "minibatch"):
            checks.whole(name, getattr(self, name), 1, MOST_OF_ANY)
        if self.queries > self.updates * self.steps:
            raise NB201Error(
                f"a batch of tasks lasts for {self.updates} updates of {self.steps} queries, in which no search of "
                f"{self.queries} ends: queries must be at most {self.updates * self.steps}"
            )
        if self.sight is not None:
            checks.whole("sight", self.sight, 0, self.queries)
        checks.seed("seed", self.seed)
        self.of_law.check()
        checks.number("trainings", self.trainings, above=0.0)

    @property
    def shown(self) -> int:
        """How many queries the policy sees."""
        return self.queries if self.sight is None else self.sight

    @property
    def of_law(self) -> Law:
        """The family's law with what differs from it."""
        return Law(**checks.mapping("law", dict(self.law), [one.name for one in fields(Law)]))

    @property
    def told(self) -> tuple[int, int]:
        """Of how many sources, and whether of parameter counts, the policy is told: of what the law makes tasks of."""
        law = self.of_law
        return len(self.sources) * bool(law.sources), int(bool(law.params))

    def rungs_of(self, table: str, dataset: str) -> tuple[int, ...]:
        """Epochs at which cells of a source can be seen."""
        if self.rungs:
            return self.rungs
        opened = open_table(table)
        return (opened.last_epoch(dataset, recipe=opened.recipes(dataset)[0]),)

    def numbers(self, batch: int) -> range:
        """Of the tasks of a batch."""
        start = (self.seed * self.batches + batch) * self.tasks % (len(TRAINING_TASKS) - self.tasks)
        return range(start, start + self.tasks)

    def guide_after(self, done: float) -> float:
        """Weight of the guide after a share of the training."""
        return self.guide * max(0.0, 1.0 - 2.0 * done)

    def env(self, batch: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        """The lanes of a batch."""
        numbers = self.numbers(batch)
        return gym.make_vec(
            "NB201/Search-v0",
            num_envs=self.lanes,
            tasks=[
                {"table": table, "dataset": dataset, "rungs": list(self.rungs_of(table, dataset))}
                for table, dataset in self.sources
            ],
            family={"start": numbers.start, "stop": numbers.stop, **dict(self.law)},
            action="joint",
            observation="dict",
            history=self.queries,
            standardise=True,
            reward="regret",
            trainings=self.trainings,
            max_queries=self.queries,
        )


@dataclass
class Training:
    """A policy in training, between two batches.

    Attributes:
        recipe: of the training.
        policy: so far.
        optimizer: with its moments.
        generator: of all draws but those of the environments.
        batch: number of the next batch.
        curve: of each batch, the mean return of the searches that ended, and the mean entropy of a query.
        seconds: of training so far, on the clock on the wall, and those of them in the environments,
            of making them and of their steps.
    """

    recipe: Recipe
    policy: Policy
    optimizer: torch.optim.Adam
    generator: torch.Generator
    batch: int = 0
    curve: list[tuple[float, float]] = field(default_factory=list)
    seconds: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def begin(cls, recipe: Recipe, device: str = "cpu") -> Training:
        """A policy that has learnt nothing."""
        recipe.check()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            policy = Policy(known_scores(recipe), 1 if recipe.rungs is None else len(recipe.rungs))
        policy = policy.to(device)
        optimizer = torch.optim.Adam(policy.parameters(), recipe.learning_rate, eps=1e-5)
        return cls(recipe, policy, optimizer, torch.Generator().manual_seed(recipe.seed))

    @one_thread()
    def train_batch(self, progress: Callable[[int, float], None] = lambda update, value: None) -> None:
        """Train on the next batch of tasks.

        Args:
            progress: called after each update with its number and the mean return of the searches that ended in it.
        """
        recipe, began = self.recipe, time.perf_counter()
        lanes = Lanes(recipe, self.batch, self.policy.device)
        entropies, returns = [], []
        for update in range(recipe.updates):
            done = (self.batch * recipe.updates + update) / (recipe.batches * recipe.updates)
            for group in self.optimizer.param_groups:
                group["lr"] = recipe.learning_rate * (1.0 - done)
            steps = [lanes.step(self.policy, self.generator) for _ in range(recipe.steps)]
            last = self.policy.value(lanes.seen())
            entropies.append(self._learn(steps, last, done))
            ended = lanes.take_returns()
            returns += ended
            progress(update, float(np.mean(ended)) if ended else float("nan"))
        self.curve.append((float(np.mean(returns)) if returns else float("nan"), float(np.mean(entropies))))
        self.batch += 1
        took = time.perf_counter() - began
        self.seconds = (self.seconds[0] + took, self.seconds[1] + lanes.seconds)

    def _learn(self, steps: list[Step], last: Tensor, done: float) -> float:
        """One update, after a share of the training; the mean entropy of the choice of a cell."""
        recipe = self.recipe
        advantages = advantages_of(steps, last, recipe.discount, recipe.trace)
        seen = Seen(*(torch.cat(parts) for parts in zip(*(step.seen for step in steps), strict=True)))
        choice = Choice(*(torch.cat(parts) for parts in zip(*(step.choice for step in steps), strict=True)))
        targets, good = advantages + choice.value, torch.cat([step.good for step in steps])
        entropies, guide = [], recipe.guide_after(done)
        for chosen in self._minibatches(len(targets)):
            new, entropy, expected, likelihood = self.policy.judge(
                Seen(*(part[chosen] for part in seen)), Choice(*(part[chosen] for part in choice)), good[chosen]
            )
            advantage = advantages[chosen]
            advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
            ratio = (new - choice.log_prob[chosen]).exp()
            gain = torch.minimum(ratio * advantage, ratio.clamp(1 - recipe.clip, 1 + recipe.clip) * advantage).mean()
            miss = nn.functional.smooth_l1_loss(expected, targets[chosen])
            loss = 0.5 * miss - gain - recipe.entropy * (1.0 - done) * entropy.mean()
            if guide > 0.0:
                loss = loss - guide * likelihood.mean()
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.policy.parameters(), 0.5)
            self.optimizer.step()
            entropies.append(entropy.mean().item())
        return float(np.mean(entropies))

    def _minibatches(self, count: int) -> Iterator[Tensor]:
        for _ in range(self.recipe.passes):
            order = torch.randperm(count, generator=self.generator).to(self.policy.device)
            yield from torch.split(order, self.recipe.minibatch)


@dataclass(frozen=True)
class Step:
    """One query in every lane: what was seen, chosen and paid, which searches ended, and one of their best cells."""

    seen: Seen
    choice: Choice
    reward: Tensor
    ended: Tensor
    good: Tensor


def advantages_of(steps: list[Step], last: Tensor, discount: float, trace: float) -> Tensor:
    """Generalised advantage estimates (Schulman et al., 2016), (steps * lanes,)."""
    advantage, following, found = torch.zeros_like(last), last, []
    for step in reversed(steps):
        goes_on = 1.0 - step.ended.float()
        surprise = step.reward + discount * following * goes_on - step.choice.value
        advantage = surprise + discount * trace * goes_on * advantage
        following = step.choice.value
        found.append(advantage)
    return torch.cat(found[::-1])


class Lanes:
    """Searches side by side, and which cells each has seen.

    Args:
        recipe: of the searches.
        batch: of tasks.
        device: on which the policy is.

    Attributes:
        seconds: in the environment, on the clock on the wall, of making it and of its steps.
    """

    def __init__(self, recipe: Recipe, batch: int, device: torch.device):
        began = time.perf_counter()
        self._env, self._device, self._shown = recipe.env(batch), device, recipe.shown
        self._observation = self._env.reset(seed=recipe.seed * recipe.batches + batch)[0]
        self.seconds = time.perf_counter() - began
        self._good, self._rng = good_cells(recipe, batch), np.random.default_rng([recipe.seed, batch])
        shape = recipe.lanes, recipe.queries
        self._bought = Bought(torch.full(shape, -1, device=device), torch.zeros(shape, dtype=torch.long, device=device))
        self._queries = torch.zeros(recipe.lanes, dtype=torch.long, device=device)
        self._returns = np.zeros(recipe.lanes)
        self._ended_returns: list[float] = []
        self._sources = recipe.told[0]
        self._hide, self._hidden = recipe.hide, np.random.default_rng([recipe.seed, batch, 1])
        self._visible = torch.ones(recipe.lanes, sum(recipe.told), device=device)
        self._hide_in(np.ones(recipe.lanes, bool))

    def _hide_in(self, searches: npt.NDArray[np.bool_]) -> None:
        """Choose which source searches that begin are not shown, if any."""
        shown = np.ones((np.count_nonzero(searches), self._visible.shape[1]), np.float32)
        if self._sources:
            hiding = self._hidden.random(len(shown)) < self._hide
            shown[hiding, self._hidden.integers(self._sources, size=len(shown))[hiding]] = 0.0
        self._visible = self._visible.clone()  # what was seen before is kept by steps
        self._visible[torch.from_numpy(searches).to(self._device)] = torch.from_numpy(shown).to(self._device)

    def seen(self) -> Seen:
        """What the searches show now."""
        left, history = self._observation["budget_left"], self._observation["history"][:, : self._shown]
        left, history = (torch.from_numpy(one).to(self._device) for one in (left, history))
        return Seen(left, history, self._visible)

    def step(self, policy: Policy, generator: torch.Generator) -> Step:
        """Make one query in every lane."""
        seen = self.seen()
        choice = policy.choose(seen, self._bought, generator)
        actions = np.concatenate((OPS_OF[choice.cells.cpu().numpy()], choice.rungs.cpu().numpy()[:, None]), axis=1)
        began = time.perf_counter()
        self._observation, reward, ended, _, infos = self._env.step(actions)
        self.seconds += time.perf_counter() - began
        self._remember(choice, ended)
        if ended.any():
            self._hide_in(ended)
        self._returns += reward
        self._ended_returns += self._returns[ended].tolist()
        self._returns[ended] = 0.0
        rewards = torch.from_numpy(np.asarray(reward, np.float32)).to(self._device)
        good = torch.from_numpy(self._draw_good(infos)).to(self._device)
        return Step(seen, choice, rewards, torch.from_numpy(ended).to(self._device), good)

    def _draw_good(self, infos: dict[str, Any]) -> npt.NDArray[np.int64]:
        """Code of one of the best cells of each search, (lanes,)."""
        tasks = np.zeros(len(self._returns), np.int64)
        for told in (infos, infos.get("final_info", {})):  # of searches that go on, and of those that ended
            if "task" in told:
                tasks = np.where(told["_task"], told["task"], tasks)
        return self._good[tasks, self._rng.integers(self._good.shape[1], size=len(tasks))]

    def _remember(self, choice: Choice, ended: npt.NDArray[np.bool_]) -> None:
        at = torch.arange(len(ended), device=self._device), self._queries
        self._bought.codes[at], self._bought.rungs[at] = choice.cells, choice.rungs + 1
        over = torch.from_numpy(ended).to(self._device)
        self._queries = (self._queries + 1).masked_fill(over, 0)
        self._bought.codes[over] = -1

    def take_returns(self) -> list[float]:
        """Returns of the searches that ended since the last call."""
        ended, self._ended_returns = self._ended_returns, []
        return ended


def good_cells(recipe: Recipe, batch: int) -> npt.NDArray[np.int64]:
    """Codes of the best cells of each task of a batch, (tasks, GOOD); of none where the guide is over."""
    if not recipe.guide_after(batch / recipe.batches):
        return np.zeros((recipe.tasks, 1), np.int64)
    columns = [Column.open(table, dataset, rungs=recipe.rungs_of(table, dataset)) for table, dataset in recipe.sources]
    family = TaskFamily(columns, recipe.of_law)
    means = (family.column(number, "mean").mean for number in recipe.numbers(batch))
    return np.stack([CODES[np.argsort(-mean)[:GOOD]] for mean in means])


def known_scores(recipe: Recipe) -> Tensor:
    """Normal scores of cells, by code, on each source and of their parameter counts, as far as the policy is told."""
    sources, params = recipe.told
    columns = [Column.open(table, dataset) for table, dataset in recipe.sources[:sources]]
    found = [normal_scores(over_trials(one)[-1], one.present) for one in columns]
    if params:
        found.append(normal_scores(PARAMS, np.ones(NUM_CELLS, bool)))
    by_code = np.zeros((len(found), NUM_CELLS), np.float32)
    by_code[:, CODES] = np.reshape(found, by_code.shape)
    return torch.from_numpy(by_code)


def codes_of(ops: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Cells (n, 6) as numbers whose digits to base 5 are their ops."""
    return np.asarray(ops @ (NUM_OPS ** np.arange(NUM_EDGES)[::-1]), np.int64)


CODES = codes_of(ALL_OPS.astype(np.int64))
"""Of all cells, in the official order."""

CELL_OF = np.argsort(CODES)
"""Index of a cell by its code, (15625,)."""

OPS_OF = ALL_OPS[CELL_OF].astype(np.int64)
"""Ops of a cell by its code, (15625, 6)."""
