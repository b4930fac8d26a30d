"""Tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl, NeurIPS 2011), by Optuna."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nb201_agents.searcher import Query, Task, require
from nb201_env import EDGES, OPS, Evaluation, checks, index_of

_TRIES = 100  # to be given a cell on offer, before a random one is taken


class TPE:
    """Optuna's TPESampler over six categorical choices, as it comes; cells may be asked for again.

    Args:
        task: what is searched; cells are seen at its last epoch.
        rng: source of the sampler's seed.
        initial: number of random cells before the first model; 10 is Optuna's default.
    """

    def __init__(self, task: Task, rng: np.random.Generator, initial: int = 10):
        require("tpe", "optuna")
        checks.whole("initial", initial, 1)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._rng, self._cells, self._present = rng, task.cells, task.present
        self._choices: dict[str, Any] = {
            f"{source}-{target}": optuna.distributions.CategoricalDistribution(range(len(OPS)))
            for source, target in EDGES
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an argument is experimental
            sampler = optuna.samplers.TPESampler(n_startup_trials=initial, seed=int(rng.integers(2**32)))
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._trial: Any = None

    def ask(self) -> Query:
        """The sampler's next cell."""
        for _ in range(_TRIES):
            self._trial = self._study.ask(self._choices)
            cell = int(index_of(list(self._trial.params.values())))
            if self._present[cell]:
                return Query(cell)
            self._study.tell(self._trial, 0.0)  # a cell that is not on offer is worth nothing
        self._trial = None
        return Query(self._cells.item(self._rng.integers(self._cells.size)))

    def tell(self, result: Evaluation) -> None:
        """Tell the sampler what was observed."""
        if self._trial is not None:
            self._study.tell(self._trial, result.accuracy)
