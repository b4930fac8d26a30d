"""Search-v0 written out for one search, with dicts and loops, to hold the environments against.

It shares nothing with them but the table, the cells and the hash that draws trials.
"""

import functools
import itertools
import math

import numpy as np

from nb201_env import NUM_CELLS, Cell, index_of, open_table
from nb201_env.simulation.column import drawn_trials

PAIRS = list(itertools.combinations(range(6), 2))


class ReferenceTask:
    def __init__(self, table, dataset, rungs, objectives):
        self.table, self.dataset, self.rungs = open_table(table), dataset, rungs
        self.accuracy = {rung: self.table.accuracy(dataset, epoch=rung, trial="all") for rung in rungs}
        self.mean = {rung: self.table.accuracy(dataset, epoch=rung) for rung in rungs}
        self.train = {rung: self.table.train_seconds(dataset, epoch=rung) for rung in rungs}
        self.has_eval = self.table.has_eval_seconds(dataset)
        self.evaluation = self.table.eval_seconds(dataset) if self.has_eval else np.zeros(NUM_CELLS)
        self.objectives = objectives or {}

    @classmethod
    def drawn(cls, column, objectives):
        """A task of a family, of whose values the column is the only record."""
        task = cls(column.table, column.dataset, column.rungs, objectives)
        task.accuracy = dict(zip(column.rungs, column.accuracy, strict=True))
        task.mean = {column.rungs[-1]: column.mean}
        return task

    @functools.cache  # noqa: B019
    def regret_scale(self):
        """The best worth, random search's regret after 20 queries, and the mean worth."""
        worth = sorted(self.worth(cell, float(mean)) for cell, mean in enumerate(self.mean[self.rungs[-1]]))
        count = len(worth)
        reached = sum(value * (((i + 1) / count) ** 20 - (i / count) ** 20) for i, value in enumerate(worth))
        return worth[-1], worth[-1] - reached, sum(worth) / count

    def description(self):
        about = self.table.attrs(self.dataset)
        full = float((self.train[self.rungs[-1]] + self.evaluation).mean())
        return [1 / about["num_classes"], about["image_size"] / 256, math.log(1 + full) / math.log(1e7),
                self.rungs[0] / self.rungs[-1]]  # fmt: skip

    def cost(self, name, cell, accuracy):
        if name == "error":
            return 1.0 - accuracy
        return float(self._costs(name)[cell])

    @functools.cache  # noqa: B019 (the tests' few tasks)
    def largest(self, name):
        return 1.0 if name == "error" else float(max(self._costs(name)))

    @functools.cache  # noqa: B019
    def _costs(self, name):
        if name == "train_seconds":
            return self.train[self.rungs[-1]]
        return getattr(self.table, name)(self.dataset)

    def worth(self, cell, accuracy):
        worth, excess = accuracy, 0.0
        for name, wanted in self.objectives.items():
            cost = self.cost(name, cell, accuracy)
            largest = self.largest(name)
            if isinstance(wanted, str):
                excess += max(0.0, cost / float(wanted.removeprefix("<=")) - 1.0)
            else:
                worth -= wanted * cost / largest
        return -excess if excess > 0 else worth


class ReferenceSearch:
    """One search at a time; arguments are those of the environment."""

    def __init__(
        self, tasks, budget=None, charge="resume", max_queries=None, action="sequential", history=8,
        reward="improvement", task_sampling="uniform", perturb=0.0, objectives=None, trial="per-search",
        trainings=20.0, standardise=False, describe=False,
    ):  # fmt: skip
        self.tasks = [
            ReferenceTask(*task, objectives) if isinstance(task, tuple) else ReferenceTask.drawn(task, objectives)
            for task in tasks
        ]
        self.most_rungs = max(len(task.rungs) for task in self.tasks)
        self.trainings, self.standardised, self.described = trainings, standardise, describe
        self.given_budget, self.charge, self.max_queries = budget, charge, max_queries
        self.sequential, self.history_length, self.reward = action == "sequential", history, reward
        self.sampling, self.perturb, self.trial = task_sampling, perturb, trial
        self.round = 0

    def reset(self, seed):
        self.seed = seed
        if self.sampling == "round-robin":
            self.number = self.round % len(self.tasks)
        else:
            self.number = int(np.random.default_rng([seed, 1]).integers(len(self.tasks)))
        self.round += 1
        self.task = self.tasks[self.number]
        task, last = self.task, self.task.rungs[-1]
        self.lacks = self.most_rungs - len(task.rungs)  # rungs of the spaces below the task's first
        mean = float((task.train[last] + task.evaluation).mean())
        self.budget = self.trainings * mean if self.given_budget is None else self.given_budget
        if self.reward.startswith("regret"):
            self.best, self.unit, mean_worth = task.regret_scale()
            self.before_any = (mean_worth - self.best) / self.unit
        self.ops, self.cell, self.used, self.queries = [], None, 0.0, 0
        self.furthest = {}  # cell -> highest rung bought, from 1
        self.bought = set()  # (cell, rung)
        self.history = []
        self.incumbent = None  # (rung, worth, cell, accuracy)
        draws = np.random.default_rng([seed, 0]).standard_normal(30 + 25 * len(PAIRS)).tolist()
        self.single = {(edge, op): draws[5 * edge + op] for edge in range(6) for op in range(5)}
        self.joint = {
            (pair, a, b): draws[30 + 25 * position + 5 * a + b]
            for position, pair in enumerate(PAIRS)
            for a in range(5)
            for b in range(5)
        }
        return self.observe()

    def field(self, cell):
        ops = Cell(cell).ops
        total = sum(self.single[edge, ops[edge]] for edge in range(6))
        total += sum(0.5 * self.joint[(a, b), ops[a], ops[b]] for a, b in PAIRS)
        return self.perturb * total / math.sqrt(6 + 0.25 * len(PAIRS))

    def seen_value(self, cell, rung):
        """Accuracy of a cell at a rung from 1 and which trial it is."""
        epoch = self.task.rungs[rung - 1]
        if self.trial == "mean":
            trial, value = -1, float(self.task.mean[epoch][cell])
        else:
            row = self.task.accuracy[epoch][cell]
            present = [k for k in range(len(row)) if not np.isnan(row[k])]
            if isinstance(self.trial, int):
                trial = self.trial
            else:
                trial = present[int(drawn_trials(self.seed, np.array([cell]), np.array([len(present)]))[0])]
            value = float(row[trial])
        return (min(1.0, max(0.0, value + self.field(cell))) if self.perturb else value), trial

    def limit(self):
        if self.max_queries is not None:
            return self.max_queries
        prices = []
        for position, rung in enumerate(self.task.rungs):
            before = self.task.train[self.task.rungs[position - 1]] if position and self.charge == "resume" else 0.0
            prices.append(float((self.task.train[rung] - before + self.task.evaluation).min()))
        different = NUM_CELLS * len(self.task.rungs)
        return different if min(prices) * different <= self.budget else int(self.budget / min(prices)) + 1

    def step(self, action):
        """Observation, reward, terminated, what was bought (a dict) or None."""
        rungs = self.most_rungs
        if not self.sequential:
            self.ops = [int(op) for op in action[:6]]
            self.cell = int(index_of(self.ops))
            return self.buy(max(1, int(action[6]) + 1 - self.lacks))
        if self.cell is None:
            self.ops.append(int(action) if action < 5 else 0)
            if len(self.ops) < 6:
                return self.observe(), 0.0, False, None
            self.cell = int(index_of(self.ops))
            return self.buy(1)
        if self.furthest.get(self.cell, 0) + self.lacks < action <= rungs:
            return self.buy(int(action) - self.lacks)
        self.ops, self.cell = [], None
        return self.observe(), 0.0, False, None

    def buy(self, rung):
        task, cell, epoch = self.task, self.cell, self.task.rungs[rung - 1]
        train = float(task.train[epoch][cell])
        before = self.furthest.get(cell, 0)
        if self.charge == "resume" and before:
            train = max(0.0, train - float(task.train[task.rungs[before - 1]][cell]))
        price = train + float(task.evaluation[cell])
        reward, worth_before = 0.0, self.counted()
        accuracy, trial = self.seen_value(cell, rung)
        found = {"index": cell, "epoch": epoch, "repeat": before > 0, "task": self.number}
        if self.used + price > self.budget:
            ended = True
            found |= {"accuracy": 0.0, "observed": False, "trial": -1, "query_seconds": 0.0}
        else:
            self.used += price
            self.queries += 1
            if self.reward in ("area", "regret-area"):
                reward = worth_before * price / self.budget
            self.furthest[cell] = max(before, rung)
            self.bought.add((cell, rung))
            self.history.insert(0, (cell, accuracy, rung))
            worth = task.worth(cell, accuracy)
            if self.incumbent is None or (rung, worth) > self.incumbent[:2]:
                self.incumbent = rung, worth, cell, accuracy
            if self.reward in ("improvement", "regret"):
                reward = self.counted() - worth_before
            ended = self.queries >= self.limit()
            found |= {"accuracy": accuracy, "observed": True, "trial": trial, "query_seconds": price}
        if ended:
            reward += self.reward_at_end()
        found |= {
            "seconds_used": self.used, "seconds_left": max(0.0, self.budget - self.used), "n_queries": self.queries,
            "n_distinct": len(self.furthest), "budget_exhausted": ended,
            "incumbent_index": self.incumbent[2] if self.incumbent else -1,
            "incumbent_accuracy": self.incumbent[3] if self.incumbent else 0.0,
            "incumbent_epoch": task.rungs[self.incumbent[0] - 1] if self.incumbent else 0,
        }  # fmt: skip
        if task.objectives:
            vector = [-task.cost(name, cell, found["accuracy"]) * found["observed"] for name in task.objectives]
            found["reward_vector"] = vector
        return self.observe(), reward, ended, found

    def counted(self):
        """What rewards count of the incumbent."""
        if not self.reward.startswith("regret"):
            return self.incumbent[1] if self.incumbent else 0.0
        if self.incumbent is None:
            return self.before_any
        cell = self.incumbent[2]
        true = self.task.worth(cell, float(self.task.mean[self.task.rungs[-1]][cell]))
        return (true - self.best) / self.unit

    def reward_at_end(self):
        if self.reward in ("area", "regret-area"):
            return self.counted() * max(0.0, self.budget - self.used) / self.budget
        if self.incumbent is None:
            return 0.0
        cell = self.incumbent[2]
        if self.reward == "true":
            value = float(self.task.mean[self.task.rungs[-1]][cell])
            value = min(1.0, max(0.0, value + self.field(cell))) if self.perturb else value
            return self.task.worth(cell, value)
        return 0.0

    def legal(self):
        """Legal actions of the sequential kind."""
        rungs = self.most_rungs
        count = max(5, rungs + 1)
        if self.cell is None:
            return [int(action < 5) for action in range(count)]
        furthest = self.furthest[self.cell] + self.lacks if self.cell in self.furthest else 0
        return [int(action == 0 or furthest < action <= rungs) for action in range(count)]

    def shown(self, accuracy, rung):
        """An accuracy as observations show it."""
        if not self.standardised:
            return accuracy
        seen = [one for _, one, at in self.history if at == rung]
        mean = sum(seen) / len(seen)
        deviation = math.sqrt(sum((one - mean) ** 2 for one in seen) / len(seen))
        return min(1.0, max(0.0, 0.5 + (accuracy - mean) / (8.0 * deviation))) if deviation > 1e-7 else 0.5

    def observe(self):
        """The parts of an observation, by name, as lists."""
        rungs, lacks = self.most_rungs, self.lacks
        one = lambda length, position: [float(i == position) for i in range(length)]  # noqa: E731
        rung_of = lambda rung: [float(i + 1 == rung + lacks) for i in range(rungs)]  # noqa: E731
        onehot = lambda cell: [v for op in Cell(cell).ops for v in one(5, op)]  # noqa: E731
        parts = {"phase": one(7, 6 if self.cell is not None else len(self.ops))}
        if self.described:
            parts["task"] = self.task.description()
        parts["budget_left"] = [max(0.0, 1.0 - self.used / self.budget)]
        if self.incumbent:
            rung, _, cell, accuracy = self.incumbent
            parts["incumbent"] = [*onehot(cell), self.shown(accuracy, rung), *rung_of(rung)]
        else:
            parts["incumbent"] = [0.0] * (31 + rungs)
        slots = [v for edge in range(6) for v in one(6, self.ops[edge] if edge < len(self.ops) else 5)]
        own = range(1 - lacks, rungs + 1 - lacks)
        seen = [(self.cell, rung) in self.bought for rung in own]
        curve = [self.shown(self.seen_value(self.cell, r)[0], r) if (self.cell, r) in self.bought else 0.0 for r in own]
        parts["cell"] = [*slots, *curve, *map(float, seen)]
        rows = [[*onehot(c), self.shown(a, r), *rung_of(r), 1.0] for c, a, r in self.history[: self.history_length]]
        parts["history"] = rows + [[0.0] * (32 + rungs)] * (self.history_length - len(rows))
        if not self.sequential:
            del parts["phase"]
        if not self.history_length:
            del parts["history"]
        return parts
