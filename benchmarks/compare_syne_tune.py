"""Our four simulated workers against those of Syne Tune's simulator: the same decisions, the same order and times?

Needs an environment of its own, made in the checkout, because Syne Tune is no dependency of this project:

    python3.11 -m venv .venv-syne-tune
    .venv-syne-tune/bin/pip install syne-tune==0.16.0 huggingface_hub -e .
    .venv-syne-tune/bin/python benchmarks/compare_syne_tune.py

Both read the same seconds and accuracies of the table `mini`. What is Syne Tune's is all that decides when something
happens: its `Tuner`, its event heap, and how its backend starts, pauses, resumes and stops trials. The cases:

* `list`: cells in a fixed order, each trained through all epochs. Our search decides by itself.
* `twins`: as `list`, with cells that all take equally long, so that everything happens four at a time.
* `promotion`: our ASHA drives both, told and asked by each in its own order. In Syne Tune, which has no ASHA of this
  kind in 0.16, a trial is paused at each rung and perhaps resumed later; we resume by `charge="resume"`.
* `stopping`: Syne Tune's own ASHA decides, and what it had each worker do next is replayed on ours.

A worker of ours begins its next query at the moment at which it ends one. In Syne Tune it begins late, for three
reasons, which are put back one after the other:

* `_stop_or_pause_trial` moves the clock on by 1 ms twice, whatever `SimulatorConfig` says, for every pause or stop;
* the tuner looks for results once every `tuner_sleep_time`, and fills workers only then. A trial that is to be stopped
  or paused meanwhile runs on, and what it reports is dropped (none at the sleeps here, which are shorter than epochs);
* real seconds that the tuner and the scheduler take are added to the simulated clock.

Without the three, order and times must be the same. With them they are not: workers fall behind, two queries that end
close together change places, and a search that learns from one before the other decides otherwise from there on. So
with them it must be that, when our workers are made to begin each query as late as Syne Tune's did, they end the same
queries at the same times in the same order; that the first two to change places were no further apart than a worker
fell behind; and, as long as real time is left out, that nothing begins later than a sleep and four times 2 ms. (With
real time there is no bound, and its lines differ from run to run; all others are the same every time.) The delays of
`SimulatorConfig`, 50 ms each unless set, are constants that we do not have; they are set to 0. Exits with 1 if any of
this does not hold.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import statistics
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from nb201_agents.harness.run import search_in_parallel
from nb201_agents.searcher import Query, Searcher, Task
from nb201_agents.searchers.asha import ASHA
from syne_tune import StoppingCriterion, Tuner
from syne_tune.backend.simulator_backend.simulator_backend import SimulatorConfig
from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
from syne_tune.backend.simulator_backend.time_keeper import SimulatedTimeKeeper
from syne_tune.backend.trial_status import Trial
from syne_tune.blackbox_repository import UserBlackboxBackend
from syne_tune.blackbox_repository.blackbox import Blackbox
from syne_tune.config_space import randint
from syne_tune.constants import ST_TUNER_TIME
from syne_tune.optimizer.baselines import ASHA as StoppingASHA
from syne_tune.optimizer.scheduler import SchedulerDecision, TrialScheduler, TrialSuggestion

from nb201_env import NUM_CELLS, Evaluation, Oracle, Rules
from nb201_env.simulation.column import Column
from nb201_env.simulation.workers import Finished, Workers

WORKERS, SEED, LAST = 4, 0, 8
RUNGS = (1, 2, 4, 8)
LISTED, ASKED, STARTED = 80, 160, 60
"""Cells of a list, queries of our ASHA, trials of Syne Tune's."""

ROUNDING = 1e-9
"""Seconds. Sums of some hundred numbers below 1,000, added in another order, differ by far less."""

STEP = 1e-3
"""Seconds that Syne Tune's clock moves on after a signal to stop, and after the end of what was stopped."""


HEADING = """Ends of queries on 4 simulated workers, Syne Tune's against ours, in simulated seconds:
  apart   largest difference between the ends of one query in both searches
  late    how late, after its worker was free, Syne Tune began a query: mean and most
  behind  most that this adds up to on one worker
  left    largest difference once our workers begin as late
                               ends     apart      late      most    behind      left  order"""


@dataclass(frozen=True)
class Event:
    """The end of a query in Syne Tune: on whose worker it followed what, and when.

    `before` is the query that the same worker ended last, None if this is its first.
    """

    query: Query
    began: float
    ended: float
    before: Query | None


@dataclass(frozen=True)
class Clock:
    """Which of Syne Tune's reasons to be late are there; `sleep` None wakes the tuner at the next event."""

    name: str
    sleep: float | None = None
    steps: bool = True
    real: bool = False

    @property
    def latest(self) -> float:
        """How much later than the end of a query its worker may begin the next one: all workers may be paused first."""
        return float("inf") if self.real else (self.sleep or 0.0) + self.steps * WORKERS * 2 * STEP


CLOCKS = (
    Clock("none of the three", steps=False),
    Clock("2 ms a pause or stop"),
    Clock("and looks every 50 ms", 0.05),
    Clock("and looks every 5 ms", 0.005),
    Clock("and looks every 1 ms", 0.001),
    Clock("every 1 ms, and real time", 0.001, real=True),
)


class Curves(Blackbox):
    """What a search sees of a column, as Syne Tune wants it: seconds from nothing through each rung, and accuracies.

    Each rung has a pass over the split, and a trial that goes on has made those of the rungs before.
    """

    def __init__(self, column: Column):
        super().__init__({"cell": randint(0, NUM_CELLS - 1)}, {"epoch": randint(1, LAST)}, ["elapsed", "accuracy"])
        self._rungs = column.rungs
        passes = np.arange(1, len(column.rungs) + 1)[:, None] * column.evaluation
        accuracy = column.accuracy[:, np.arange(NUM_CELLS), column.places(SEED)]
        self._curves = np.stack([column.train + passes, accuracy.astype(np.float64)], axis=-1)

    @property
    def fidelity_values(self) -> Sequence[int]:
        """The rungs."""
        return self._rungs

    def _objective_function(self, configuration: dict[str, Any], fidelity: Any = None, seed: Any = None) -> Any:
        return self._curves[:, configuration["cell"]]


class TimeKeeper(SimulatedTimeKeeper):
    """Syne Tune's clock, less what the experiment leaves out."""

    def __init__(self, clock: Clock):
        super().__init__()
        self._clock = clock

    def advance_to(self, to_time: float) -> None:
        """Only called after a signal to stop, and with the time of that plus `STEP`."""
        if self._clock.steps:
            super().advance_to(to_time)

    def real_time_since_last_recent_exit(self) -> float:
        """Real seconds that the tuner and the scheduler took, which the backend adds to the clock."""
        return super().real_time_since_last_recent_exit() if self._clock.real else 0.0

    def wake_at(self, time: float) -> None:
        """Move on to an event."""
        super().advance_to(time)


class Backend(UserBlackboxBackend):
    """Syne Tune's simulator without delays, which notes when trials begin and the order of results in its heap."""

    def __init__(self, column: Column, clock: Clock):
        still = SimulatorConfig(0.0, 0.0, 0.0, 0.0, 0.0)
        super().__init__(Curves(column), "elapsed", simulator_config=still, tuner_sleep_time=clock.sleep or 0.0)
        self._time_keeper = TimeKeeper(clock)
        self.began: dict[int, float] = {}
        self.before: dict[int, Query | None] = {}
        self.freed: deque[Query] = deque()  # by queries whose workers have nothing to do
        self.yielded: list[tuple[int, int]] = []  # trials and epochs

    def next_event(self) -> float:
        """When the next event is due."""
        return self._simulator_state.event_heap[0][0]

    def _process_start_event(self, trial_id: int, time_event: float, config: dict[str, Any] | None = None) -> None:
        self.began[trial_id] = time_event
        self.before[trial_id] = self.freed.popleft() if self.freed else None
        super()._process_start_event(trial_id, time_event, config)

    def _process_on_trial_result_event(self, time_event: float, event: Any) -> None:
        self.yielded.append((event.trial_id, event.result["epoch"]))
        super()._process_on_trial_result_event(time_event, event)


class Recorder(SimulatorCallback):
    """Notes the results that the tuner heeds."""

    def __init__(self, clock: Clock):
        super().__init__()
        self._clock = clock
        self._events: dict[tuple[int, int], Event] = {}

    def on_tuning_start(self, tuner: Tuner) -> None:
        """Learn the backend."""
        super().on_tuning_start(tuner)
        self._backend: Backend = tuner.trial_backend

    def on_tuning_sleep(self, sleep_time: float) -> None:
        """Sleep, or wake at the next event."""
        if self._clock.sleep is None:
            self._backend.time_keeper.wake_at(self._backend.next_event())
        else:
            super().on_tuning_sleep(sleep_time)

    def on_trial_result(self, trial: Trial, status: str, result: dict[str, Any], decision: str) -> None:
        """Note a result, and what its worker does next: go on with the trial, or wait for another."""
        backend, number = self._backend, trial.trial_id
        query, ended = Query(trial.config["cell"], result["epoch"]), result[ST_TUNER_TIME]
        self._events[number, query.epoch] = Event(query, backend.began[number], ended, backend.before[number])
        if decision == SchedulerDecision.CONTINUE and query.epoch != LAST:
            backend.began[number], backend.before[number] = ended, query
        else:
            backend.freed.append(query)

    def events(self) -> list[Event]:
        """All events, in the order in which the heap yielded them; what was dropped is not among them."""
        return [self._events[key] for key in self._backend.yielded if key in self._events]


class Asking(TrialScheduler):
    """Lets one of our searchers drive Syne Tune: each answer pauses its trial, and a later epoch resumes it."""

    def __init__(self, searcher: Searcher, queries: int):
        super().__init__(random_seed=SEED)
        self._searcher, self._left = searcher, queries
        self._trials: dict[int, int] = {}  # by cell

    def suggest(self) -> TrialSuggestion | None:
        """The searcher's next query."""
        query = self._searcher.ask() if self._left else None
        if query is None:
            return None
        self._left -= 1
        if query.cell in self._trials:
            return TrialSuggestion.resume_suggestion(self._trials[query.cell])
        self._trials[query.cell] = len(self._trials)
        return TrialSuggestion.start_suggestion({"cell": query.cell})

    def on_trial_result(self, trial: Trial, result: dict[str, Any]) -> str:
        """Tell the searcher."""
        cell, epoch, accuracy = trial.config["cell"], result["epoch"], result["accuracy"]
        self._searcher.tell(Evaluation(cell, epoch, accuracy, 0.0, 0, True, epoch != RUNGS[0], accuracy))
        return SchedulerDecision.CONTINUE if epoch == LAST else SchedulerDecision.PAUSE

    def metric_names(self) -> list[str]:
        """What is optimised."""
        return ["accuracy"]

    def metric_mode(self) -> str:
        """In which direction."""
        return "max"


class InOrder:
    """Asks for a list of cells."""

    def __init__(self, cells: Sequence[int]):
        self._cells: Iterator[int] = iter(cells)

    def ask(self) -> Query | None:
        """The next cell."""
        cell = next(self._cells, None)
        return None if cell is None else Query(cell, LAST)

    def tell(self, result: Evaluation) -> None:
        """Nothing is learnt."""


class Case(NamedTuple):
    """What is decided; `searcher` makes what decides on both sides, None where Syne Tune decides alone."""

    name: str
    rungs: tuple[int, ...]
    searcher: Callable[[Column], Searcher] | None
    queries: int


def listed(column: Column) -> InOrder:
    return InOrder(np.random.default_rng(SEED).choice(NUM_CELLS, LISTED, replace=False).tolist())


def twins(column: Column) -> InOrder:
    """Cells of the price that most cells have."""
    prices = column.train[-1] + column.evaluation
    values, counts = np.unique(prices, return_counts=True)
    return InOrder(np.flatnonzero(prices == values[counts.argmax()])[:LISTED].tolist())


def asha(column: Column) -> ASHA:
    return ASHA(Task(column.dataset, column.epoch, column.rungs), np.random.default_rng(SEED), eta=2)


CASES = (
    Case("list", (LAST,), listed, LISTED),
    Case("twins", (LAST,), twins, LISTED),
    Case("promotion", RUNGS, asha, ASKED),
    Case("stopping", RUNGS, None, STARTED),
)


def stopping_asha() -> StoppingASHA:
    """Syne Tune's, which is handed its cells: its random searcher draws without a seed, whatever seed it is given."""
    cells = np.random.default_rng(SEED).choice(NUM_CELLS, 2 * STARTED, replace=False).tolist()
    space, halving = {"cell": randint(0, NUM_CELLS - 1)}, {"max_t": LAST, "grace_period": 1, "reduction_factor": 2}
    points = [{"cell": cell} for cell in cells]
    how = {"do_minimize": False, "random_seed": SEED, "points_to_evaluate": points}
    return StoppingASHA(space, "accuracy", "epoch", **how, **halving)


def syne_tune(case: Case, column: Column, clock: Clock) -> list[Event]:
    """Search with Syne Tune."""
    recorder = Recorder(clock)
    scheduler = Asking(case.searcher(column), case.queries) if case.searcher else stopping_asha()
    with contextlib.redirect_stdout(io.StringIO()):
        Tuner(
            Backend(column, clock),
            scheduler,
            StoppingCriterion(max_num_trials_started=case.queries),
            n_workers=WORKERS,
            sleep_time=0,
            callbacks=[recorder],
            save_tuner=False,
            wait_trial_completion_when_stopping=True,
        ).run()
    return recorder.events()


def oracle(column: Column, queries: int | None = None) -> Oracle:
    return Oracle(column, Rules(charge="resume", max_queries=queries), SEED)


def lateness(events: Sequence[Event]) -> dict[Query, float]:
    """By query: how much later than the end of the query before its worker began it."""
    ends = {event.query: event.ended for event in events}
    return {event.query: event.began - ends[event.before] if event.before else event.began for event in events}


def summed(events: Sequence[Event], late: dict[Query, float]) -> dict[Query, float]:
    """By query: its lateness and that of all that its worker did before it."""
    total: dict[Query, float] = {}
    for event in sorted(events, key=lambda event: event.ended):
        total[event.query] = late[event.query] + (total[event.before] if event.before else 0.0)
    return total


def replay(column: Column, events: Sequence[Event], late: dict[Query, float] | None = None) -> list[Finished]:
    """What each of Syne Tune's workers did, in its order, on ours; at once, or as late as there."""
    pool, results = Workers(oracle(column), WORKERS), []
    follows = {event.before: event.query for event in events if event.before}
    for event in sorted((event for event in events if not event.before), key=lambda event: event.began):
        pool.now = event.began if late else 0.0
        pool.submit(*event.query)
    while (finished := pool.wait()) is not None:
        results.append(finished)
        if after := follows.get(asked(finished)):
            pool.now += late[after] if late else 0.0
            pool.submit(*after)
    return results


def asked(finished: Finished) -> Query:
    return Query(finished.result.index, finished.result.epoch)


def ends_of(results: Sequence[Finished]) -> dict[Query, float]:
    return {asked(one): one.started + one.result.seconds for one in results}


class Comparison(NamedTuple):
    """How far Syne Tune's events are from ours, in seconds.

    Attributes:
        events: how many there are.
        alike: whether our search made the same queries.
        moved: how many places of the order hold another query there.
        first: the first of them, None if there is none.
        gap: how far apart, in our search, the queries ended that have that place; NaN if one was not made.
        apart: largest difference between the ends of a query that both made.
        late: how late queries began, on average.
        latest: and at most.
        behind: most that lateness adds up to on one worker.
        left: largest difference between the ends of a query once our workers begin as late.
        settled: whether they then have Syne Tune's order.
    """

    events: int
    alike: bool
    moved: int
    first: int | None
    gap: float
    apart: float
    late: float
    latest: float
    behind: float
    left: float
    settled: bool


def compare(column: Column, events: Sequence[Event], ours: Sequence[Finished]) -> Comparison:
    """Compare Syne Tune's events with our search, and with our workers when they begin as late as Syne Tune's."""
    late = lateness(events)
    delayed = replay(column, events, late)
    ends, delayed_ends = ends_of(ours), ends_of(delayed)
    moved = [place for place, (a, b) in enumerate(zip(events, ours, strict=False)) if a.query != asked(b)]
    gap = 0.0
    if moved:
        gap = abs(ends.get(events[moved[0]].query, math.nan) - ends[asked(ours[moved[0]])])
    return Comparison(
        events=len(events),
        alike=len(events) == len(ours) and {event.query for event in events} == ends.keys(),
        moved=len(moved),
        first=moved[0] if moved else None,
        gap=gap,
        apart=max(abs(event.ended - ends[event.query]) for event in events if event.query in ends),
        late=statistics.mean(late.values()),
        latest=max(late.values()),
        behind=max(summed(events, late).values()),
        left=max(abs(event.ended - delayed_ends[event.query]) for event in events),
        settled=[event.query for event in events] == [asked(one) for one in delayed],
    )


def faults(clock: Clock, found: Comparison) -> list[str]:
    """What does not hold."""
    exact = clock is CLOCKS[0]
    checks = {
        "begun as late, our workers end queries at other times": found.left <= ROUNDING,
        "begun as late, our workers end queries in another order": found.settled,
        "a query began later than the clock explains": found.latest <= clock.latest + ROUNDING,
        "a query began before its worker was free": found.late >= 0.0,
        "the first to change places were not close": not found.gap > found.behind + ROUNDING,
        "the order differs": found.moved == 0 or not exact,
        "the queries differ": found.alike or not exact,
        "the times differ": found.apart <= ROUNDING or not exact,
    }
    return [fault for fault, holds in checks.items() if not holds]


def order_of(found: Comparison) -> str:
    """The order, and where it first differs and how close that was."""
    if found.first is None:
        return "same"
    gap = "another decision" if math.isnan(found.gap) else f"{1e3 * found.gap:.1f} ms apart"
    return f"{found.moved} moved, first no. {found.first}, {gap}"


def check(case: Case, column: Column, clock: Clock) -> bool:
    """Compare under one clock and print a line; whether all holds."""
    events = syne_tune(case, column, clock)
    if case.searcher:
        ours = search_in_parallel(case.searcher(column), oracle(column, case.queries), WORKERS)
    else:
        ours = replay(column, events)
    found = compare(column, events, ours)
    seconds = f"{found.apart:10.4f}{found.late:10.4f}{found.latest:10.4f}{found.behind:10.4f}{found.left:10.0e}"
    print(f"  {clock.name:<28}{found.events:>4}{seconds}  {order_of(found)}", flush=True)
    wrong = faults(clock, found)
    for fault in wrong:
        print(f"    FAULT: {fault}", flush=True)
    return not wrong


def main() -> int:
    logging.disable(logging.CRITICAL)
    good = True
    print(HEADING)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SYNETUNE_FOLDER"] = folder
        for dataset in ("digits", "gratings"):
            for case in CASES:
                print(f"{dataset}, {case.name}")
                column = Column.open("mini", dataset, rungs=case.rungs)
                checks = [check(case, column, clock) for clock in CLOCKS]  # all of them, whatever the first says
                good &= all(checks)
    print("all as explained" if good else "NOT as explained")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
