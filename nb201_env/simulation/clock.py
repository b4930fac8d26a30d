"""Simulated time: how many GPU-seconds a search has used, and when its budget ends.

The clock adds up prices that come from a table. It never reads the host's time, so a result does not depend on the
machine that computed it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.errors import NB201Error

CHARGES = ("fresh", "resume", "cached")
OVERRUNS = ("stop-before", "stop-after")


class SimulatedClock:
    """The GPU-seconds of one search with one worker.

    Args:
        budget: seconds that the search may use; None for no limit.
        charge: what a query costs. `fresh`: its whole training and one evaluation pass, every time (the protocol of
            NAS-Bench-201 and NATS-Bench). `resume`: training only from the furthest epoch that was paid for this cell,
            and the pass. `cached`: as fresh, but the same cell at the same epoch is free when asked again.
        overrun: what becomes of the query that does not fit. `stop-before`: the search ends, and nothing is charged or
            revealed (NAS-Bench-201's scripts). `stop-after`: it is the last one and may cross the budget
            (NATS-Bench's).
        max_queries: the search ends after so many queries. `cached` needs it, because free queries never use up a
            budget.

    Attributes:
        seconds_used: charged so far.
        queries: number of charged queries, free ones included.
        exhausted: whether the search has ended.
        is_taken: whether an oracle counts by it.

    Raises:
        NB201Error: if an argument is not as described.
    """

    def __init__(
        self,
        budget: float | None = None,
        charge: str = "fresh",
        overrun: str = "stop-before",
        max_queries: int | None = None,
    ):
        no_limit = ", or None for no limit"
        checks.one_of("charge", charge, CHARGES)
        checks.one_of("overrun", overrun, OVERRUNS)
        if max_queries is not None:
            max_queries = checks.whole("max_queries", max_queries, 1, fix=no_limit)
        if charge == "cached" and max_queries is None:
            raise NB201Error(
                "charge='cached' makes repeated queries free, so a search might never end: set max_queries"
            )
        if budget is not None:
            budget = checks.number("budget", budget, above=0.0, what="number of seconds", fix=no_limit)
        self.budget = budget
        self.charge = charge
        self.overrun = overrun
        self.max_queries = max_queries
        self.is_taken = False
        self.restart()

    def restart(self) -> None:
        """Begin a new search at second 0."""
        self.seconds_used = 0.0
        self.queries = 0
        self.exhausted = False
        # cell -> furthest epoch trained and the training seconds paid for it (resume); cells and epochs paid (cached)
        self._trained: dict[int, tuple[int, float]] = {}
        self._paid: set[tuple[int, int]] = set()

    @property
    def seconds_left(self) -> float:
        """Until the budget ends; inf without one, and never negative."""
        return math.inf if self.budget is None else max(0.0, self.budget - self.seconds_used)

    def price(self, cell: int, epoch: int, train_seconds: float, eval_seconds: float) -> float:
        """What a query would cost now.

        Args:
            cell: index.
            epoch: epoch at which it is evaluated.
            train_seconds: of training through that epoch.
            eval_seconds: of one evaluation pass.
        """
        if self.charge == "cached" and (cell, epoch) in self._paid:
            return 0.0
        if self.charge == "resume" and cell in self._trained:
            return max(0.0, train_seconds - self._trained[cell][1]) + eval_seconds
        return train_seconds + eval_seconds

    def pay_fresh(self, prices: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Charge queries in order, each at its full price, until one ends the search; `charge` must be fresh.

        Returns:
            The prices of the queries that were charged, the first of those asked for.

        Raises:
            NB201Error: if a price is no finite number from 0.
        """
        if prices.size and not 0.0 <= prices.min() <= prices.max() < math.inf:
            raise NB201Error(f"prices must be finite and from 0, got {prices.min()} to {prices.max()}")
        if self.exhausted or not prices.size:
            return prices[:0]
        used = np.cumsum(np.concatenate(([self.seconds_used], prices)))[1:]  # adds in order, as single queries do
        fits = prices.size
        if self.budget is not None and self.overrun == "stop-before":
            fits = int(np.searchsorted(used, self.budget, side="right"))
        elif self.budget is not None:
            fits = min(fits, int(np.searchsorted(used, self.budget, side="left")) + 1)
        if self.max_queries is not None:
            fits = min(fits, self.max_queries - self.queries)
        self.queries += fits
        if fits:
            self.seconds_used = float(used[fits - 1])
        crossed = self.budget is not None and self.overrun == "stop-after" and self.seconds_used >= self.budget
        self.exhausted = fits < prices.size or crossed or self.queries == self.max_queries
        return prices[:fits]

    def pay(self, cell: int, epoch: int, train_seconds: float, eval_seconds: float) -> float | None:
        """Charge a query; arguments as in `price`.

        Returns:
            The seconds charged, or None if the search had ended or ends because the query does not fit.

        Raises:
            NB201Error: if the seconds are not finite numbers from 0.
        """
        if not (0.0 <= train_seconds < math.inf and 0.0 <= eval_seconds < math.inf):
            raise NB201Error(f"seconds must be finite and from 0, got {train_seconds!r} and {eval_seconds!r}")
        if self.exhausted:
            return None
        price = self.price(cell, epoch, train_seconds, eval_seconds)
        if self.budget is not None and self.overrun == "stop-before" and self.seconds_used + price > self.budget:
            self.exhausted = True
            return None
        self.seconds_used += price
        self.queries += 1
        if self.charge == "cached":
            self._paid.add((cell, epoch))
        elif self.charge == "resume":
            self._trained[cell] = max(self._trained.get(cell, (0, 0.0)), (epoch, train_seconds))
        crossed = self.budget is not None and self.overrun == "stop-after" and self.seconds_used >= self.budget
        self.exhausted = crossed or self.queries == self.max_queries
        return price
