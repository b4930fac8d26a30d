"""The policy of a controller: it looks at all queries of its search and builds the next cell edge by edge.

A query that was made is a token: its cell, its rung, and its accuracy in deviations from the mean of the search. At
each of the six choices the part of the cell that is there attends to the tokens, and a small network of both says how
likely each op is. Where there are several rungs, a seventh choice says how long the cell is trained.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nb201_env import EDGES, OPS

NUM_EDGES, NUM_OPS = len(EDGES), len(OPS)
CELL = NUM_EDGES * NUM_OPS
PARTIAL = NUM_EDGES * (NUM_OPS + 1)
"""A cell of which some edges are chosen: one-hot, with a sixth slot for "not yet"."""

HEADS, WIDTH, HIDDEN = 4, 16, 128
_SHOWN_DEVIATIONS = 8.0  # as `standardise` shows accuracies: 1/2 is the mean, 1 is four deviations above it
_IMPOSSIBLE = -1e9


class Seen(NamedTuple):
    """What a policy sees of some searches.

    Attributes:
        left: share of the budget, (n, 1).
        history: queries, as `NB201/Search-v0` with `standardise=True` shows them, (n, length, 32 + rungs).
    """

    left: Tensor
    history: Tensor


class Bought(NamedTuple):
    """Which cells some searches have seen, and how long these were trained.

    Attributes:
        codes: of the cell of each purchase, its ops as digits to base 5, -1 where there is none, (n, length).
        rungs: of each purchase, from 1, (n, length). The last rung of a cell is listed once.
    """

    codes: Tensor
    rungs: Tensor

    def is_open(self, at: Tensor, left: int, rungs: int) -> Tensor:
        """Whether a beginning goes on, by each op, to a cell that was not seen at the last rung, bool (n, 5).

        Args:
            at: codes of the beginnings, (n,).
            left: number of edges after the next one.
            rungs: number of the last rung.
        """
        cells = NUM_OPS**left
        closed = self.codes.masked_fill(self.rungs < rungs, -1).div(cells, rounding_mode="floor")
        following = at[:, None] * NUM_OPS + torch.arange(NUM_OPS, device=at.device)
        return (closed[:, :, None] == following[:, None]).sum(dim=1) < cells  # type: ignore[no-any-return]

    def highest(self, at: Tensor) -> Tensor:
        """Highest rung at which cells (n,) were seen, 0 for none, (n,)."""
        of_cell = self.rungs.masked_fill(self.codes != at[:, None], 0)
        return nn.functional.pad(of_cell, (0, 1)).amax(dim=1)  # there may be no purchase yet


class Choice(NamedTuple):
    """What a policy chose in some searches.

    Attributes:
        actions: six ops, and a rung if there are several, (n, 6 or 7).
        allowed: which choices were possible at each step, bool (n, 6 or 7, 5 or more).
        log_prob: of the actions, (n,).
        value: what the critic expects, (n,).
    """

    actions: Tensor
    allowed: Tensor
    log_prob: Tensor
    value: Tensor


class Policy(nn.Module):
    """Actor and critic.

    Args:
        rungs: number of rungs at which a cell can be seen.
    """

    slots: Tensor

    def __init__(self, rungs: int = 1):
        super().__init__()
        self.rungs, self.steps = rungs, NUM_EDGES + (rungs > 1)
        self.choices = max(NUM_OPS, rungs)
        self.key = nn.Linear(CELL + rungs, HEADS * WIDTH)
        self.content = nn.Linear(2 * CELL + 2 + rungs, HEADS * WIDTH)
        self.nothing = nn.Parameter(torch.zeros(2, HEADS, 1, WIDTH))  # a token that is always there
        self.query = nn.Sequential(nn.Linear(PARTIAL + 2, 64), nn.ReLU(), nn.Linear(64, HEADS * WIDTH))
        self.body = nn.Sequential(
            nn.Linear(HEADS * WIDTH + PARTIAL + 2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
        )
        choices = [NUM_OPS, rungs] if rungs > 1 else [NUM_OPS]
        self.actors = nn.ModuleList([nn.Linear(HIDDEN, count) for count in choices])  # of ops, and of rungs
        self.critic = nn.Linear(HIDDEN, 1)
        for head in (*self.actors, self.critic):
            nn.init.zeros_(head.weight)
        self.register_buffer("slots", torch.eye(NUM_OPS + 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """On which the policy is."""
        return self.slots.device

    @torch.no_grad()
    def choose(self, seen: Seen, bought: Bought, generator: torch.Generator) -> Choice:
        """Draw a query for each search.

        Args:
            seen: what the searches show.
            bought: what the searches have seen. A cell that was seen at the last rung is not built again while there
                are others.
            generator: source of all randomness.
        """
        tokens, extra = self._tokens(seen)
        count = len(seen.left)
        ops = torch.full((count, NUM_EDGES), NUM_OPS, device=seen.left.device)  # none chosen
        at = torch.zeros(count, dtype=torch.long, device=seen.left.device)
        actions, masks, log_prob, value = [], [], torch.zeros(count, device=seen.left.device), None
        for step in range(self.steps):
            features = self._features(tokens, extra, self.slots[ops].reshape(count, 1, PARTIAL))[:, 0]
            if value is None:
                value = self.critic(features)[:, 0]
            if step < NUM_EDGES:
                allowed = bought.is_open(at, NUM_EDGES - 1 - step, self.rungs)
            else:
                allowed = torch.arange(1, self.rungs + 1, device=at.device) > bought.highest(at)[:, None]
            allowed = self._padded(allowed | ~allowed.any(dim=1, keepdim=True))
            logits = self._padded_logits(features, step).masked_fill(~allowed, _IMPOSSIBLE).log_softmax(dim=1)
            action = torch.multinomial(logits.exp().cpu(), 1, generator=generator)[:, 0].to(at.device)
            log_prob += logits.gather(1, action[:, None])[:, 0]
            actions.append(action)
            masks.append(allowed)
            if step < NUM_EDGES:
                ops[:, step] = action
                at = at * NUM_OPS + action
        assert value is not None
        return Choice(torch.stack(actions, 1), torch.stack(masks, 1), log_prob, value)

    @torch.no_grad()
    def value(self, seen: Seen) -> Tensor:
        """What the critic expects, (n,)."""
        tokens, extra = self._tokens(seen)
        empty = self.slots[NUM_OPS].repeat(NUM_EDGES).expand(len(extra), 1, -1)
        return self.critic(self._features(tokens, extra, empty))[:, 0, 0]  # type: ignore[no-any-return]

    def judge(self, seen: Seen, actions: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of actions that were chosen, the entropies of their choices, and values, (n,) each."""
        tokens, extra = self._tokens(seen)
        features = self._features(tokens, extra, self._partials(actions))
        logits = torch.stack([self._padded_logits(features[:, step], step) for step in range(self.steps)], dim=1)
        logits = logits.masked_fill(~allowed, _IMPOSSIBLE).log_softmax(dim=2)
        chosen = logits.gather(2, actions[..., None])[..., 0].sum(dim=1)
        entropy = -(logits.exp() * logits.clamp(min=-50.0)).sum(dim=(1, 2))
        return chosen, entropy, self.critic(features[:, 0])[:, 0]

    def likelihood(self, seen: Seen, cells: Tensor) -> Tensor:
        """Log-probabilities of the ops (n, 6) of cells, each after those before it and among all five, (n,)."""
        tokens, extra = self._tokens(seen)
        features = self._features(tokens, extra, self._partials(cells)[:, :NUM_EDGES])
        logits = self.actors[0](features).log_softmax(dim=2)
        return logits.gather(2, cells[..., None])[..., 0].sum(dim=1)  # type: ignore[no-any-return]

    def _tokens(self, seen: Seen) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Keys and contents (n, heads, tokens, width) of queries, which of them are there, and two plain numbers."""
        history = seen.history
        cell, rung, is_there = history[..., :CELL], history[..., CELL + 1 : CELL + 1 + self.rungs], history[..., -1] > 0
        height = (history[..., CELL : CELL + 1] - 0.5) * _SHOWN_DEVIATIONS
        keys = self.key(torch.cat((cell, rung), dim=-1))
        contents = self.content(torch.cat((cell, cell * height, height, height * height, rung), dim=-1))
        split = [part.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2) for part in (keys, contents)]
        with_nothing = [
            torch.cat((nothing.expand(len(history), -1, -1, -1), part), dim=2)
            for nothing, part in zip(self.nothing, split, strict=True)
        ]
        known = nn.functional.pad(is_there, (1, 0), value=True)
        share = is_there.float().sum(dim=1, keepdim=True) / max(1, is_there.shape[1])
        return (with_nothing[0], with_nothing[1], known), torch.cat((seen.left, share), dim=1)

    def _features(self, tokens: tuple[Tensor, Tensor, Tensor], extra: Tensor, partial: Tensor) -> Tensor:
        """Of cells in the making (n, steps, 36), each with the queries that it attends to, (n, steps, hidden)."""
        keys, contents, known = tokens
        x = torch.cat((partial, extra[:, None].expand(-1, partial.shape[1], -1)), dim=-1)
        query = self.query(x).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
        weights = (query @ keys.transpose(2, 3)) / WIDTH**0.5
        weights = weights.masked_fill(~known[:, None, None], _IMPOSSIBLE).softmax(dim=-1)
        found = (weights @ contents).transpose(1, 2).flatten(2)
        return self.body(torch.cat((found, x), dim=-1))  # type: ignore[no-any-return]

    def _partials(self, actions: Tensor) -> Tensor:
        """The cell before each choice, (n, steps, 36)."""
        whole = self.slots[actions[:, :NUM_EDGES]]
        empty = self.slots[NUM_OPS].expand_as(whole)
        cells = [torch.cat((whole[:, :step], empty[:, step:]), dim=1).flatten(1) for step in range(self.steps)]
        return torch.stack(cells, dim=1)

    def _padded_logits(self, features: Tensor, step: int) -> Tensor:
        logits = self.actors[step // NUM_EDGES](features)
        return nn.functional.pad(logits, (0, self.choices - logits.shape[1]))

    def _padded(self, allowed: Tensor) -> Tensor:
        return nn.functional.pad(allowed, (0, self.choices - allowed.shape[1]))
