"""A family of tasks: tables that were never measured, made of some that were, for a controller to search thousands of.

Task number *n* of a family follows from *n*, the sources and the law alone:

1. Every source column gives its cells normal scores at each rung, which are free of its scale: the normal quantiles of
   their ranks. A task mixes the sources by weights from a Dirichlet distribution (concentration 1/2, so that often one
   of them prevails).
2. Added to the mixture are the normal scores of parameter counts, by a weight uniform from 0 to `Law.params`; a random
   field over edges and pairs of edges, by a weight half normal with deviation `Law.field`; and a normal number for each
   cell, the same for equal cells, by a weight half normal with deviation `Law.cell`. The mixture itself has the weight
   `Law.sources`.
3. A monotone warp brings this on a scale: from the chance level of one of the sources, drawn by the weights, to a best
   accuracy uniform in what is left above it, bent by an exponent log-uniform from 1/2 to 4. At earlier rungs the same
   scale is lower by a power of the rung's position.
4. Each of three trials adds normal noise to every cell, whose deviation is log-uniform from `Law.noise` times that of
   the accuracies.

Seconds, params and all else are those of the source whose chance level it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.errors import NB201Error
from nb201_env.simulation.column import NO_TRIAL, Column
from nb201_env.simulation.fields import RandomFields
from nb201_env.space import NUM_CELLS, PARAMS
from nb201_env.space.isomorphism import representatives

Floats = npt.NDArray[np.float64]

TRAINING_TASKS = range(0, 1_000_000)
TRIAL_TASKS = range(1_000_000, 1_001_000)
"""Numbers of tasks to train on, and of those that a trained controller is tried on during development."""

TRIALS = 3
_CONCENTRATION = 0.5
_MOST_WEIGHT = 1e6  # of more, sums and squares would lose all else, or overflow
_BEST = (0.2, 0.95)  # of what is left above chance
_BEND = (0.5, 4.0)
_GROWTH = 1.0  # highest power of a rung's position


@dataclass(frozen=True)
class Law:
    """How tasks are drawn; the defaults are the family's, other values its ablations.

    Attributes:
        sources: weight of the mixture of sources; 0 leaves them out.
        params: highest weight of parameter counts.
        field: deviation of the weight of the random field.
        cell: deviation of the weight of what is a cell's own. Of what one data set's order does not say of another's,
            edges and pairs of edges explain a fifth to a fourth; a policy that has never met the rest trusts its
            sources too much.
        noise: lowest and highest deviation of a trial, in deviations of the accuracies.
        shuffled: whether each task deals the values of its mixture out to the cells anew, so that sources say how
            tasks look but not which cells are good.
    """

    sources: float = 0.5
    params: float = 1.25
    field: float = 0.7
    cell: float = 0.8
    noise: tuple[float, float] = (0.03, 0.3)
    shuffled: bool = False

    def check(self) -> None:
        """Raise NB201Error for a law by which nothing can be drawn."""
        for name in ("sources", "params", "field", "cell"):
            checks.number(name, getattr(self, name), 0.0, most=_MOST_WEIGHT)
        checks.truth("shuffled", self.shuffled)
        if not self.sources + self.params + self.field + self.cell:
            raise NB201Error("sources, params, field and cell are all 0: a task must be made of something")
        pair = self.noise
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise NB201Error(f"noise must be two numbers, the lowest and the highest, got {checks.shown(pair)}")
        low, high = (checks.number("noise", value, 0.0, most=_MOST_WEIGHT) for value in pair)
        if not 0.0 < low <= high:
            raise NB201Error(f"noise must be two ascending numbers above 0, got {checks.shown(pair)}")


class TaskFamily:
    """Tasks made of source columns.

    Args:
        sources: columns. Where they have unlike numbers of rungs, their last rungs are mixed with each other, and so on
            downwards; a source without so early a rung gives its first. A task has the rungs of the source whose chance
            level it has.
        law: how tasks are drawn.

    Raises:
        NB201Error: if there are no sources, or the law is bad.
    """

    def __init__(self, sources: Sequence[Column], law: Law | None = None):
        self.sources, self.law = tuple(sources), Law() if law is None else law
        self.law.check()
        if not self.sources:
            raise NB201Error("a family needs sources")
        self._present = np.logical_and.reduce([source.present for source in sources])
        if np.count_nonzero(self._present) < 2:
            raise NB201Error("the sources of a family have no two cells in common")
        present = self._present
        rungs = max(len(source.rungs) for source in sources)
        scores = [[normal_scores(one, present) for one in over_trials(source)] for source in sources]
        self._scores = np.stack([one[:1] * (rungs - len(one)) + one for one in scores])
        self._params = normal_scores(PARAMS, present)

    def column(self, number: int, trial: str = "per-search") -> Column:
        """The task of a number, as a column that can be searched; its `mean` is free of noise.

        Args:
            number: of the task, from 0.
            trial: `per-search`, one of the task's three trials for each cell and search, or `mean`, free of noise.
        """
        checks.one_of("the trial of a family's tasks", trial, ("per-search", "mean"))
        rng, law = np.random.default_rng([checks.whole("a task's number", number, 0, checks.MAX_SEED), 2]), self.law
        weights = rng.dirichlet(np.full(len(self.sources), _CONCENTRATION))
        params, field = rng.uniform(0.0, law.params), abs(rng.normal(0.0, law.field))
        base = self.sources[int(rng.choice(len(self.sources), p=weights))]
        scores = self._scores[:, -len(base.rungs) :]
        value = law.sources * standardised(np.tensordot(weights, scores, axes=1), self._present)
        if law.shuffled:
            dealt = np.flatnonzero(self._present)
            value[:, dealt] = value[:, rng.permutation(dealt)]
        value += params * self._params + field * standardised(_random_field(number), self._present)
        value += abs(rng.normal(0.0, law.cell)) * rng.standard_normal(NUM_CELLS)[representatives("exact")]
        truth = self._on_a_scale(value, 1.0 / int(base.table.attrs(base.dataset)["num_classes"]), rng)
        last = truth[-1, self._present]
        noise = np.exp(rng.uniform(*np.log(law.noise))) * last.std()
        accuracy, trials = truth[..., None], np.array([NO_TRIAL])
        if trial != "mean":
            accuracy = accuracy + noise * rng.standard_normal((*truth.shape, TRIALS), np.float32)
            trials = np.arange(TRIALS)
        return replace(
            base,
            accuracy=np.clip(accuracy, 0.0, 1.0).astype(np.float32),
            mean=np.where(self._present, truth[-1], np.nan).astype(np.float32),
            trial=trial,
            numbers=trials,
            order=np.tile(np.arange(trials.size, dtype=np.int16), (NUM_CELLS, 1)),
            count=np.where(self._present, trials.size, 0).astype(np.int16),
            present=self._present,
        )

    def _on_a_scale(self, value: Floats, chance: float, rng: np.random.Generator) -> Floats:
        """Accuracies (rungs, 15625) in the order of values of any scale."""
        best = chance + (1.0 - chance) * rng.uniform(*_BEST)
        bend = np.exp(rng.uniform(*np.log(_BEND)))
        growth = (np.arange(1, len(value) + 1) / len(value)) ** rng.uniform(0.0, _GROWTH)
        known = value[:, self._present]
        low, high = known.min(axis=1, keepdims=True), known.max(axis=1, keepdims=True)
        share = np.clip((value - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
        return np.asarray(chance + (best - chance) * growth[:, None] * (1.0 - (1.0 - share) ** bend))


def normal_scores(values: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> Floats:
    """Normal quantiles of the ranks of the cells on offer, ties alike, standardised; 0 elsewhere, (15625,)."""
    _, which, counts = np.unique(values[present], return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / counts.sum()
    quantile = NormalDist().inv_cdf
    scores = np.zeros(NUM_CELLS)
    scores[present] = np.array([quantile(share) for share in middle.tolist()])[which]
    return standardised(scores, present)


def standardised(values: Floats, present: npt.NDArray[np.bool_]) -> Floats:
    """Values (…, 15625) moved and scaled so that the cells on offer have mean 0 and deviation 1."""
    known = values[..., present]
    deviation = known.std(axis=-1, keepdims=True)
    return np.asarray((values - known.mean(axis=-1, keepdims=True)) / np.where(deviation > 0, deviation, 1.0))


def over_trials(source: Column) -> Floats:
    """Mean accuracy over trials at each rung, (rungs, 15625), 0 for cells without one."""
    accuracy = source.accuracy.astype(np.float64)
    counts = np.maximum(np.count_nonzero(~np.isnan(accuracy), axis=2), 1)
    return np.asarray(np.nansum(accuracy, axis=2) / counts)


def _random_field(number: int) -> Floats:
    fields = RandomFields(1, 1.0)
    fields.draw(np.zeros(1, np.intp), np.array([number], np.uint64))
    return fields.everywhere(0)
