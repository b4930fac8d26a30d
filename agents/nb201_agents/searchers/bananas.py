"""BANANAS (White, Neiswanger and Savani, AAAI 2021): an ensemble of small networks on the path encoding of a cell."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_agents.searcher import Task, require
from nb201_agents.searchers.batches import BatchSearcher
from nb201_agents.searchers.encodings import path_encoding
from nb201_env import NEIGHBORS
from nb201_env.integrations.devices import one_thread

Floats = npt.NDArray[np.float64]

_NETWORKS, _LAYERS, _WIDTH = 5, 10, 20
_STEPS, _LEARNING_RATE = 200, 0.01
_PARENTS = 10  # best cells so far, whose neighbours are candidates


class Bananas(BatchSearcher):
    """Batch after batch of the candidates of highest draw from the ensemble's prediction.

    The settings are the authors': five networks of ten layers of width 20, trained anew for each batch by Adam with a
    learning rate of 0.01 to the mean absolute error relative to the distance from a bound; independent Thompson
    sampling, a draw for each candidate from a normal distribution with the ensemble's mean and deviation. What differs:
    training takes 200 steps on all observations at once, where theirs takes 200 epochs of batches of 32; candidates are
    all unseen neighbours of the ten best cells instead of random mutations.

    Args:
        task: what is searched; cells are seen at its last epoch.
        rng: source of all randomness.
        initial: number of random cells before the first ensemble.
        batch: queries from one ensemble to the next.
    """

    def __init__(self, task: Task, rng: np.random.Generator, initial: int = 10, batch: int = 10):
        require("bananas", "torch")
        super().__init__(task, rng, initial, batch)
        self._encoding = path_encoding()

    def choose(self) -> list[int]:
        """The next batch, the first first."""
        cells, values = np.array(self._cells), np.array(self._values)
        parents = cells[np.argsort(-values, kind="stable")[:_PARENTS]]
        candidates = np.unique(NEIGHBORS[parents])
        candidates = candidates[self._is_open[candidates]]
        if candidates.size < self._batch:
            candidates = np.flatnonzero(self._is_open)
        predicted = ensemble(self._encoding[cells], values, self._encoding[candidates], int(self._rng.integers(2**32)))
        drawn = self._rng.normal(predicted.mean(axis=0), predicted.std(axis=0))
        best: list[int] = candidates[np.argsort(-drawn, kind="stable")[: self._batch]].tolist()
        return best


def ensemble(inputs: Floats, values: Floats, at: Floats, seed: int) -> Floats:
    """Predictions (networks, m) at some inputs (m, k) of an ensemble trained on others (n, k), all at once."""
    import torch

    with one_thread():
        generator = torch.Generator().manual_seed(seed)
        network = _network(torch, inputs.shape[1], generator)
        optimizer = torch.optim.Adam(network, lr=_LEARNING_RATE)
        x, y = (torch.as_tensor(array, dtype=torch.float32) for array in (inputs, 100.0 * values))
        bound = y.max() + 1.0  # above all accuracies, so that what is near the best counts most
        for _ in range(_STEPS):
            optimizer.zero_grad()
            ((_output(torch, network, x) + y.mean() - y).abs() / (bound - y)).mean().backward()
            optimizer.step()
        with torch.no_grad():
            predicted = _output(torch, network, torch.as_tensor(at, dtype=torch.float32)) + y.mean()
        return np.asarray(predicted.double().numpy() / 100.0)


def _network(torch: Any, inputs: int, generator: Any) -> list[Any]:
    """Weights and biases of all networks, layer by layer, uniform as in Glorot and Bengio (2010)."""
    sizes = [inputs, *[_WIDTH] * _LAYERS, 1]
    parameters = []
    for size, following in pairwise(sizes):
        bound = (6.0 / (size + following)) ** 0.5
        weight = (2 * torch.rand((_NETWORKS, size, following), generator=generator) - 1) * bound
        parameters += [weight.requires_grad_(), torch.zeros((_NETWORKS, 1, following), requires_grad=True)]
    return parameters


def _output(torch: Any, network: list[Any], x: Any) -> Any:
    """What every network says of inputs (n, k), (networks, n)."""
    x = x.expand(_NETWORKS, *x.shape)
    for layer in range(0, len(network), 2):
        x = torch.baddbmm(network[layer + 1], x, network[layer])
        if layer + 2 < len(network):
            x = torch.relu(x)
    return x.squeeze(-1)
