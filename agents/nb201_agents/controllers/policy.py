"""The policy of a controller: it looks at all queries of its search, and says of every cell how promising it is.

A query that was made is a token: its cell, what the sources say of it, its rung, and its accuracy in deviations from
the mean of the search. A transformer's encoder of these and of the search itself gives weights, and the score of a cell
is the weighted sum of what the sources and its parameter count say of it, of a term of each edge's op, and of how alike
it is to each cell that was seen. The next cell is drawn by the softmax of the scores, edge by edge. Where there are
several rungs, a second choice says how long it is trained.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nb201_agents.controllers.softmax import draw, judged, without
from nb201_env import EDGES, NUM_CELLS, OPS

NUM_EDGES, NUM_OPS = len(EDGES), len(OPS)
CELL = NUM_EDGES * NUM_OPS
HALF = NUM_OPS ** (NUM_EDGES // 2)
"""Cells by half of their edges: scores are a square of first halves and second halves."""

WIDTH, HEADS, LAYERS, KERNELS = 64, 4, 2, 2
_SHOWN_DEVIATIONS = 8.0  # as `standardise` shows accuracies: 1/2 is the mean, 1 is four deviations above it
_MANY_QUERIES = 24.0


class Seen(NamedTuple):
    """What a policy sees of some searches.

    Attributes:
        left: share of the budget, (n, 1).
        history: queries, as `NB201/Search-v0` with `standardise=True` shows them, (n, length, 32 + rungs).
        visible: 1 for scores that are shown to a search, 0 for others, (n, scores).
    """

    left: Tensor
    history: Tensor
    visible: Tensor


class Bought(NamedTuple):
    """Which cells some searches have seen, and how long these were trained.

    Attributes:
        codes: of the cell of each purchase, its ops as digits to base 5, -1 where there is none, (n, length).
        rungs: of each purchase, from 1, (n, length). The last rung of a cell is listed once.
    """

    codes: Tensor
    rungs: Tensor

    def closed(self, rungs: int) -> Tensor:
        """Codes of cells that were seen at the last rung, -1 elsewhere, (n, length)."""
        return self.codes.masked_fill(self.rungs < rungs, -1)

    def highest(self, at: Tensor) -> Tensor:
        """Highest rung at which cells (n,) were seen, 0 for none, (n,)."""
        of_cell = self.rungs.masked_fill(self.codes != at[:, None], 0)
        return nn.functional.pad(of_cell, (0, 1)).amax(dim=1)  # there may be no purchase yet


class Choice(NamedTuple):
    """What a policy chose in some searches.

    Attributes:
        cells: codes, (n,).
        rungs: from 0, (n,).
        closed: codes of cells that could not be chosen, -1 for none, (n, length).
        highest: rung at which the cell was seen before, 0 for none, (n,).
        log_prob: of the choices, (n,).
        value: what the critic expects, (n,).
    """

    cells: Tensor
    rungs: Tensor
    closed: Tensor
    highest: Tensor
    log_prob: Tensor
    value: Tensor


class Embedded(NamedTuple):
    """Searches and their queries, as the encoder leaves them.

    Attributes:
        search: summaries, (n, width).
        queries: (n, length, width).
        cells: ops of the queries, one-hot, (n, length, 6, 5).
        heights: accuracies of the queries, in deviations from the mean, (n, length).
        is_there: which queries there are, bool (n, length).
    """

    search: Tensor
    queries: Tensor
    cells: Tensor
    heights: Tensor
    is_there: Tensor


class Policy(nn.Module):
    """Actor and critic.

    Args:
        scores: what is known of every cell, by code, each of mean 0 and deviation 1, (scores, 15625).
        rungs: number of rungs at which a cell can be seen.
    """

    scores: Tensor
    slots: Tensor
    halves: Tensor
    places: Tensor

    def __init__(self, scores: Tensor, rungs: int = 1):
        super().__init__()
        self.rungs, known = rungs, CELL + len(scores)
        self.query = nn.Linear(2 * known + 2 + rungs, WIDTH)
        self.search = nn.Linear(2 + len(scores), WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.of_scores, self.of_ops = nn.Linear(WIDTH, len(scores)), nn.Linear(WIDTH, CELL)
        self.of_seen, value = nn.Linear(WIDTH, KERNELS), nn.Linear(WIDTH, 1)
        self.unlike = nn.Parameter(torch.linspace(-1.0, 1.0, KERNELS)[:, None].repeat(1, NUM_EDGES))
        self.critic = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), value)
        for head in (self.of_scores, self.of_ops, self.of_seen, value):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.of_scores.bias, 0.2)  # it begins near the order of the sources
        if rungs > 1:
            self.duration = nn.Sequential(nn.Linear(WIDTH + known + 3, WIDTH), nn.ReLU(), nn.Linear(WIDTH, rungs))
        slots = torch.eye(NUM_OPS)
        halves = slots[torch.cartesian_prod(*[torch.arange(NUM_OPS)] * (NUM_EDGES // 2))].flatten(1).T
        self.register_buffer("scores", scores)
        self.register_buffer("slots", slots, persistent=False)
        self.register_buffer("halves", halves.contiguous(), persistent=False)
        self.register_buffer("places", NUM_OPS ** torch.arange(NUM_EDGES).flip(0), persistent=False)

    @property
    def device(self) -> torch.device:
        """On which the policy is."""
        return self.scores.device

    @torch.no_grad()
    def choose(self, seen: Seen, bought: Bought, generator: torch.Generator, sharpness: float = 1.0) -> Choice:
        """Draw a query for each search.

        Args:
            seen: what the searches show.
            bought: what the searches have seen. A cell that was seen at the last rung is not built again while there
                are others.
            generator: source of all randomness.
            sharpness: by which scores are multiplied.
        """
        embedded, closed = self._embedded(seen), bought.closed(self.rungs)
        closed = closed.masked_fill(((closed >= 0).sum(dim=1) >= NUM_CELLS)[:, None], -1)
        scores = without(sharpness * self._scores(embedded, seen), closed)
        cells = draw(scores.softmax(dim=1).cpu(), generator).to(self.device)
        log_prob = scores.gather(1, cells[:, None])[:, 0] - scores.logsumexp(dim=1)
        rungs, highest = torch.zeros_like(cells), bought.highest(cells)
        highest = highest.masked_fill(highest >= self.rungs, 0)
        if self.rungs > 1:
            of_rungs = self._durations(embedded, seen, scores, cells, highest)
            rungs = torch.multinomial(of_rungs.exp().cpu(), 1, generator=generator)[:, 0].to(self.device)
            log_prob = log_prob + of_rungs.gather(1, rungs[:, None])[:, 0]
        return Choice(cells, rungs, closed, highest, log_prob, self.critic(embedded.search)[:, 0])

    @torch.no_grad()
    def value(self, seen: Seen) -> Tensor:
        """What the critic expects, (n,)."""
        return self.critic(self._embedded(seen).search)[:, 0]  # type: ignore[no-any-return]

    def judge(self, seen: Seen, choice: Choice, good: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-probabilities of choices, their entropies, values, and log-probabilities of other cells, (n,) each.

        Args:
            seen: what the searches showed.
            choice: what was chosen.
            good: codes of the other cells; those that could not be chosen have a log-probability of 0, (n,).
        """
        embedded = self._embedded(seen)
        scores = without(self._scores(embedded, seen), choice.closed)
        log_prob, entropy, likelihood = judged(scores, choice.cells, good)
        if self.rungs > 1:
            of_rungs = self._durations(embedded, seen, scores, choice.cells, choice.highest)
            log_prob = log_prob + of_rungs.gather(1, choice.rungs[:, None])[:, 0]
            entropy = entropy - (of_rungs.exp() * of_rungs.clamp(min=-50.0)).sum(dim=1)
        return log_prob, entropy, self.critic(embedded.search)[:, 0], likelihood

    def _embedded(self, seen: Seen) -> Embedded:
        history = _filled(seen.history)
        cells, rung, is_there = history[..., :CELL], history[..., CELL + 1 : -1], history[..., -1] > 0
        ops = cells.reshape(*is_there.shape, NUM_EDGES, NUM_OPS)
        codes = (ops.argmax(dim=-1) * self.places).sum(dim=-1)
        height = (history[..., CELL : CELL + 1] - 0.5) * _SHOWN_DEVIATIONS
        known = torch.cat((cells, self.scores.T[codes] * seen.visible[:, None]), dim=-1)
        queries = self.query(torch.cat((known, known * height, height, height * height, rung), dim=-1))
        share = is_there.sum(dim=1, keepdim=True) / _MANY_QUERIES
        search = self.search(torch.cat((seen.left, share, seen.visible), dim=1))
        absent = nn.functional.pad(~is_there, (1, 0), value=False)
        found = self.encoder(torch.cat((search[:, None], queries), dim=1), src_key_padding_mask=absent)
        return Embedded(found[:, 0], found[:, 1:], ops, height[..., 0], is_there)

    def _scores(self, embedded: Embedded, seen: Seen) -> Tensor:
        """Of all cells by code, (n, 15625).

        Terms of edges and of likeness are products of a first half's and a second half's, so that their sums over all
        cells are one product of matrices.
        """
        known = (self.of_scores(embedded.search) * seen.visible) @ self.scores
        first, second = (half @ self.halves for half in self.of_ops(embedded.search).chunk(2, dim=1))
        one = torch.ones_like(first)[:, None]
        unlike = self.unlike.sigmoid()[..., None]
        alike = unlike + (1.0 - unlike) * embedded.cells[:, :, None]  # (n, length, kernels, edges, ops)
        weights = (self.of_seen(embedded.queries) * embedded.is_there[..., None])[..., None]
        of_first, of_second = _over_half(alike[..., :3, :]), _over_half(alike[..., 3:, :]) * weights
        left = torch.cat((of_first.flatten(1, 2), first[:, None], one), dim=1)
        right = torch.cat((of_second.flatten(1, 2), one, second[:, None]), dim=1)
        return torch.baddbmm(known.reshape(-1, HALF, HALF), left.transpose(1, 2), right).flatten(1)

    def _durations(self, embedded: Embedded, seen: Seen, scores: Tensor, cells: Tensor, highest: Tensor) -> Tensor:
        """Log-probabilities of rungs for cells that were chosen, (n, rungs)."""
        ops = self.slots[cells[:, None] // self.places % NUM_OPS]
        same = ((embedded.cells * ops[:, None]).sum(dim=(2, 3)) > NUM_EDGES - 0.5) & embedded.is_there
        height = (embedded.heights * same).sum(dim=1) / same.sum(dim=1).clamp(
            min=1
        )  # of the cell, where it was seen before
        likelihood = scores.gather(1, cells[:, None])[:, 0] - scores.logsumexp(dim=1)
        of_cell = torch.stack((likelihood, height, highest / self.rungs), dim=1)
        x = torch.cat((embedded.search, ops.flatten(1), self.scores.T[cells] * seen.visible, of_cell), dim=1)
        allowed = torch.arange(1, self.rungs + 1, device=self.device) > highest[:, None]
        found: Tensor = self.duration(x).masked_fill(~allowed, -torch.inf).log_softmax(dim=1)
        return found.clamp(min=-1e9)  # so that a probability of 0 has no part in an entropy


def _filled(history: Tensor) -> Tensor:
    """Without the last places of a history that are empty in all searches."""
    filled = (history[..., -1] > 0).any(dim=0).nonzero()
    return history[:, : int(filled[-1]) + 1 if len(filled) else 0]


def _over_half(alike: Tensor) -> Tensor:
    """Products over three edges of one op each, (…, 3, 5) to (…, 125)."""
    a, b, c = alike.unbind(dim=-2)
    return (a[..., :, None, None] * b[..., None, :, None] * c[..., None, None, :]).flatten(-3)
