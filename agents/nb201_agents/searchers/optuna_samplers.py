"""Samplers of Optuna over six categorical choices: TPE (Bergstra et al., 2011) and NSGA-II (Deb et al., 2002)."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from nb201_agents.searcher import Draws, Query, Task, require
from nb201_env import ALL_OPS, EDGES, OPS, Evaluation, checks, index_of

_TRIES = 100  # to be given a cell on offer, before a random one is taken


class OptunaSampler:
    """Asks an Optuna study for cells and tells it what they are worth.

    Args:
        task: what is searched; cells are seen at its last epoch.
        rng: source of the sampler's seed.
        make: makes the sampler from Optuna and a seed.
        directions: of what it is told, `minimize` or `maximize`.
    """

    name: ClassVar[str]

    def __init__(self, task: Task, rng: np.random.Generator, make: Any, directions: list[Any]):
        require(self.name, "optuna")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._draws, self._present = Draws(task, rng), task.present
        self._choices: dict[str, Any] = {
            f"{source}-{target}": optuna.distributions.CategoricalDistribution(range(len(OPS)))
            for source, target in EDGES
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an argument is experimental
            sampler = make(optuna, int(rng.integers(2**32)))
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._failed = optuna.trial.TrialState.FAIL
        self._trial: Any = None

    def ask(self) -> Query:
        """The sampler's next cell."""
        for _ in range(_TRIES):
            if (start := self._draws.started()) is not None:
                self._enqueue(start)
            self._trial = self._study.ask(self._choices)
            cell = int(index_of(list(self._trial.params.values())))
            if self._present[cell]:
                return Query(cell)
            self._study.tell(self._trial, state=self._failed)
        cell = self._draws.cell()
        self._enqueue(cell)
        self._trial = self._study.ask(self._choices)
        return Query(cell)

    def _enqueue(self, cell: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.enqueue_trial(dict(zip(self._choices, ALL_OPS[cell].tolist(), strict=True)))

    def tell(self, result: Evaluation) -> None:
        """Tell the sampler what was observed."""
        self._study.tell(self._trial, self.values(result))

    def values(self, result: Evaluation) -> list[float]:
        """What the study is told of a query."""
        return [result.worth]


class TPE(OptunaSampler):
    """Tree-structured Parzen estimator, as Optuna has it; cells may be asked for again.

    Args:
        task: what is searched; cells are seen at its last epoch.
        rng: source of the sampler's seed.
        initial: number of random cells before the first model; 10 is Optuna's default.
    """

    name = "tpe"

    def __init__(self, task: Task, rng: np.random.Generator, initial: int = 10):
        checks.whole("initial", initial, 1)
        super().__init__(
            task,
            rng,
            lambda optuna, seed: optuna.samplers.TPESampler(n_startup_trials=initial, seed=seed),
            ["maximize"],
        )


class NSGA2(OptunaSampler):
    """Elitist non-dominated sorting genetic algorithm: the error and each of the task's objectives are minimised.

    Without objectives it is a genetic algorithm on accuracy alone.

    Args:
        task: what is searched; cells are seen at its last epoch.
        rng: source of the sampler's seed.
        population: size; Optuna's default is 50, which a search of 100 queries would hardly get beyond.
    """

    name = "nsga2"

    def __init__(self, task: Task, rng: np.random.Generator, population: int = 20):
        checks.whole("population", population, 2)
        self._objectives = task.objectives
        names = () if task.objectives is None else task.objectives.names
        self._costs = [position for position, name in enumerate(names) if name != "error"]
        super().__init__(
            task,
            rng,
            lambda optuna, seed: optuna.samplers.NSGAIISampler(population_size=population, seed=seed),
            ["minimize"] * (1 + len(self._costs)),
        )

    def values(self, result: Evaluation) -> list[float]:
        """The error and the costs."""
        error = 1.0 - result.accuracy
        if self._objectives is None:
            return [error]
        vector = self._objectives.vector(result.index, result.accuracy)
        return [error, *(-vector[self._costs]).tolist()]
