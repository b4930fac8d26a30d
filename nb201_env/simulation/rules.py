"""Under which rules a search is: what a query costs, what is worth how much, and when the search ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nb201_env import checks
from nb201_env.errors import NB201Error
from nb201_env.simulation.column import Column
from nb201_env.simulation.objectives import Objectives, checked_objectives

CHARGES = ("fresh", "resume", "cached")
OVERRUNS = ("stop-before", "stop-after")


@dataclass(frozen=True)
class Rules:
    """The rules of a search in simulated GPU-seconds. Prices come from a table; the host's time is never read.

    Attributes:
        budget: seconds that the search may use; None for no limit.
        charge: what a query costs. `fresh`: its whole training and one evaluation pass, every time (the protocol of
            NAS-Bench-201 and NATS-Bench). `resume`: training only from the furthest epoch that was paid for this cell,
            and the pass. `cached`: as fresh, but the same cell at the same epoch is free when asked again.
        overrun: what becomes of the query that does not fit. `stop-before`: the search ends, and nothing is charged or
            revealed (NAS-Bench-201's scripts). `stop-after`: it is the last one and may cross the budget
            (NATS-Bench's).
        max_queries: the search ends after so many queries. `cached` needs it, because free queries never use up a
            budget.
        objectives: what counts beside accuracy, see `nb201_env.simulation.objectives.Objectives`; None for nothing.

    Raises:
        NB201Error: if one is not as described.
    """

    budget: float | None = None
    charge: str = "fresh"
    overrun: str = "stop-before"
    max_queries: int | None = None
    objectives: Mapping[str, float | str] | None = None

    def __post_init__(self) -> None:
        no_limit = ", or None for no limit"
        checks.one_of("charge", self.charge, CHARGES)
        checks.one_of("overrun", self.overrun, OVERRUNS)
        if self.max_queries is not None:
            checked = checks.whole("max_queries", self.max_queries, 1, fix=no_limit)
            object.__setattr__(self, "max_queries", checked)
        elif self.charge == "cached":
            raise NB201Error(
                "charge='cached' makes repeated queries free, so a search might never end: set max_queries"
            )
        if self.budget is not None:
            seconds = checks.number("budget", self.budget, above=0.0, what="number of seconds", fix=no_limit)
            object.__setattr__(self, "budget", seconds)
        if self.objectives is not None:
            object.__setattr__(self, "objectives", checked_objectives(self.objectives) or None)

    def price(self, train: Any, evaluation: Any, paid_before: Any, seen: Any) -> Any:
        """What queries cost, of numbers and of arrays alike.

        Args:
            train: seconds of training through the epoch that is asked for.
            evaluation: seconds of one pass.
            paid_before: seconds of training that were paid for the cell before.
            seen: whether the cell was paid for at this very epoch.
        """
        if self.charge == "fresh":
            return train + evaluation
        if self.charge == "cached":
            return (train + evaluation) * (1 - seen)
        more = train - paid_before
        return (more + abs(more)) / 2 + evaluation  # exactly max(0, more)

    @property
    def seconds(self) -> float:
        """The budget as a number, inf without one."""
        return math.inf if self.budget is None else self.budget

    def check(self, column: Column) -> None:
        """Raise NB201Error for rules by which a search of a column would buy nothing, or might never end.

        So it does for objectives that the column's table does not know.
        """
        if self.objectives:
            Objectives(self.objectives, column)
        if self.budget is not None and self.overrun == "stop-before" and self.budget < column.cheapest:
            raise NB201Error(
                f"a budget of {self.budget:g} s buys no query: the cheapest cell of {column.dataset} costs "
                f"{column.cheapest:.1f} s at epoch {column.rungs[0]}"
            )
        if (
            self.charge == "resume"
            and not column.evaluation.any()
            and self.budget is not None
            and self.max_queries is None
        ):
            raise NB201Error(
                "charge='resume' makes repeated queries free on a table without evaluation seconds, so a search might "
                "never end: set max_queries, or charge='fresh'"
            )
