"""An LSTM controller trained by REINFORCE, as in ENAS (Pham, Guan, Zoph, Le and Dean, ICML 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nb201_agents.searcher import Draws, Query, Task, require
from nb201_env import ALL_OPS, EDGES, OPS, Evaluation, NB201Error, checks, index_of
from nb201_env.integrations.devices import one_thread

_HIDDEN, _LAYERS = 32, 2
_TANH, _TEMPERATURE = 2.5, 5.0
_ENTROPY = 1e-4
_TRIES = 100  # to draw a cell on offer, before a uniform one is taken


class LSTMController:
    """Chooses each edge's op given those before it; one gradient step a cell.

    Size, temperature and tanh of the logits, weight of the entropy, decay of the baseline and Adam's first momentum (0)
    are those of NAS-Bench-201's ENAS. Its learning rate of 0.001 serves 50,000 steps; a search of a few hundred cells
    learns nothing by it.

    Args:
        task: what is searched; cells are seen at its last epoch.
        rng: source of all randomness.
        learning_rate: of Adam.
        momentum: of the baseline, an exponential mean of rewards that begins at the first.
    """

    def __init__(self, task: Task, rng: np.random.Generator, learning_rate: float = 0.01, momentum: float = 0.9):
        require("lstm", "torch")
        checks.number("learning_rate", learning_rate, above=0.0, most=1e3)
        self._momentum = checks.number("momentum", momentum, 0.0)
        if self._momentum >= 1.0:
            raise NB201Error(f"momentum must be below 1, got {momentum}")
        self._draws, self._uniform, self._present = Draws(task, rng), rng.random, task.present
        self._policy = Policy(int(rng.integers(2**32)), learning_rate)
        self._baseline: float | None = None

    def ask(self) -> Query:
        """A cell drawn from the policy, of those on offer."""
        cell = self._draws.started()
        if cell is not None:
            return Query(cell)
        for _ in range(_TRIES):
            cell = int(index_of(self._policy.sample(self._uniform(len(EDGES)))))
            if self._present[cell]:
                return Query(cell)
        return Query(self._draws.cell())

    def tell(self, result: Evaluation) -> None:
        """One gradient step on -log p(cell) (reward - baseline), less the weighted entropy."""
        reward = 100.0 * result.worth
        before = reward if self._baseline is None else self._baseline
        self._baseline = self._momentum * before + (1 - self._momentum) * reward
        self._policy.learn([ALL_OPS[result.index].tolist()], [reward - self._baseline])


class Policy:
    """The network and its optimiser.

    Args:
        seed: of the initial weights, uniform from -0.1 to 0.1.
        learning_rate: of Adam.
    """

    def __init__(self, seed: int, learning_rate: float):
        import torch

        self._torch = torch
        self._embed = torch.nn.Embedding(len(OPS) + 1, _HIDDEN)  # the last is what stands before the first op
        self._lstm = torch.nn.LSTM(_HIDDEN, _HIDDEN, _LAYERS)
        self._head = torch.nn.Linear(_HIDDEN, len(OPS))
        parameters = [*self._embed.parameters(), *self._lstm.parameters(), *self._head.parameters()]
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in parameters:
                parameter.uniform_(-0.1, 0.1, generator=generator)
        self._optimizer = torch.optim.Adam(parameters, lr=learning_rate, betas=(0.0, 0.999), eps=1e-3)

    def _logits(self, ops: Any, state: Any = None) -> tuple[Any, Any]:
        """Of the op after each of a sequence, (length, 5), and the state of the LSTM."""
        out, state = self._lstm(self._embed(ops), state)
        return _TANH * self._torch.tanh(self._head(out) / _TEMPERATURE), state

    @one_thread()
    def sample(self, uniform: Any) -> list[int]:
        """Ops of the six edges, one after the other, each by a uniform number from 0 to 1."""
        ops, state = [len(OPS)], None
        with self._torch.no_grad():
            for number in uniform.tolist():
                logits, state = self._logits(self._torch.tensor(ops[-1:]), state)
                upto = logits[0].softmax(0).cumsum(0)
                ops.append(min(int((upto < number).sum()), len(OPS) - 1))
        return ops[1:]

    @one_thread()
    def learn(self, cells: list[list[int]], advantages: list[float]) -> None:
        """Make cells likelier by their advantages: a step along the mean of their gradients."""
        ops = self._torch.tensor(cells).T  # edge by cell, as the LSTM has them
        before = self._torch.cat((self._torch.full_like(ops[:1], len(OPS)), ops[:-1]))
        log_p = self._logits(before)[0].log_softmax(2)
        entropy = -(log_p.exp() * log_p).sum(dim=(0, 2))
        chosen = log_p.gather(2, ops[:, :, None])[:, :, 0].sum(dim=0)
        self._optimizer.zero_grad()
        (-chosen * self._torch.tensor(advantages) - _ENTROPY * entropy).mean().backward()
        self._optimizer.step()

    def state(self) -> dict[str, Any]:
        """All that it has learnt, for a checkpoint."""
        return {name: module.state_dict() for name, module in self._parts().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name, module in self._parts().items():
            module.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        return {"embed": self._embed, "lstm": self._lstm, "head": self._head, "optimizer": self._optimizer}
