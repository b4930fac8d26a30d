"""Reading a folder of results back, checked at the door."""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt

from nb201_agents.oneshot.trajectory import checked_epochs
from nb201_env import NUM_CELLS, NB201Error, Rules, Table, checks, open_table
from nb201_env.files import regular
from nb201_env.simulation.column import MISSING, REWARD_SPLITS, TRIALS
from nb201_env.tables.schema import MAX_EPOCH, MAX_SECONDS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROW = ("cell", "epoch", "trial", "reward", "seconds")
"""Fields of every row, one query each."""


def fields(workers: int, has_objectives: bool) -> tuple[str, ...]:
    """Fields of a row: `ROW`, and what several workers or objectives add to it.

    These are: when the query began, in simulated seconds on the wall, and which query it was, from 0, in the order in
    which they were charged; and what the cell is worth by the objectives.
    """
    return (*ROW, *(("started", "number") if workers > 1 else ()), *(("worth",) if has_objectives else ()))


def file_of(folder: Path, dataset: str, agent: str) -> Path:
    """The result file of an agent, whose name may have a path among its options."""
    return folder / dataset / f"{quote(agent, safe=_PLAIN)}.jsonl"


_PLAIN = "()=,+"


@dataclass(frozen=True)
class Run:
    """One search, its queries as arrays of one length in the order of observation.

    Attributes:
        header: as written by `nb201_agents.harness.bench`.
        cell: indices.
        epoch: at which each was evaluated.
        trial: seen, -1 for the mean.
        reward: observed accuracies, fractions.
        seconds: simulated GPU-seconds charged.
        started: simulated seconds on the wall at which each query began.
        ended: the same at which it was observed.
        number: which query it was, from 0, in the order in which they were charged.
        spent: simulated seconds that the agent used by itself before each query, beside all queries.
        worth: what each cell is worth by the objectives, its reward where there are none.
        would_take: of a search by weight sharing, the cell that it would have taken after each epoch; else empty.
    """

    header: dict[str, Any]
    cell: Ints
    epoch: Ints
    trial: Ints
    reward: Floats
    seconds: Floats
    started: Floats
    ended: Floats
    number: Ints
    spent: Floats
    worth: Floats
    would_take: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    @cached_property
    def incumbent(self) -> Ints:
        """Position of the query that observed the incumbent, after each query.

        As everywhere: of the queries at the highest epoch so far the best, the first of equals.
        """
        # by rung first: positions in the order of rung and worth, equals sharing one, are the keys
        key = np.unique(np.stack((self.epoch, self.worth)), axis=1, return_inverse=True)[1].reshape(-1)
        best = np.maximum.accumulate(key)
        is_new = np.concatenate(([True], key[1:] > best[:-1])) if key.size else np.zeros(0, bool)
        return np.maximum.accumulate(np.where(is_new, np.arange(key.size), 0))

    @cached_property
    def seconds_used(self) -> Floats:
        """Simulated GPU-seconds used so far, after each query."""
        return np.cumsum(self.seconds + self.spent)

    @cached_property
    def begun(self) -> Ints:
        """Positions of the queries in the order in which they were charged."""
        return np.argsort(self.number, kind="stable")

    @property
    def workers(self) -> int:
        """Number of simulated workers."""
        return int(self.header["env"]["kwargs"]["workers"])

    @cached_property
    def distinct(self) -> Ints:
        """Number of different cells after each query."""
        first = np.zeros(self.cell.size, np.int64)
        first[np.unique(self.cell, return_index=True)[1]] = 1
        return np.cumsum(first)


def read_runs(folder: str | os.PathLike[str]) -> dict[tuple[str, str], list[Run]]:
    """All runs of a folder by (dataset, agent).

    Raises:
        NB201Error: if there are none, or a file is not a result file.
    """
    files = sorted(file for ending in (".jsonl", ".jsonl.xz") for file in Path(folder).glob(f"*/*{ending}"))
    if not files:
        raise NB201Error(f"no results in {os.fspath(folder)!r}: `nb201 bench … --out FOLDER` writes them")
    found = {(file.parent.name, unquote(_plain_name(file).removesuffix(".jsonl"))): file for file in files}
    if len(found) < len(files):
        raise NB201Error(f"{os.fspath(folder)!r} holds results of one agent twice, plain and compressed: remove one")
    return {key: read_file(file) for key, file in found.items()}


def _plain_name(file: Path) -> str:
    """Name of a result file without the ending of its compression."""
    return file.name.removesuffix(".xz")


def _lines(file: Path) -> Iterator[str]:
    """Lines of a result file, which may be compressed.

    Raises:
        ValueError: if it is damaged, or holds more text than any results would.
    """
    size = 0
    try:
        with (
            lzma.open(regular(file), "rt", encoding="utf-8")
            if file.suffix == ".xz"
            else regular(file).open(encoding="utf-8") as lines
        ):
            while line := lines.readline(_MOST_OF_A_LINE):
                size += len(line)
                if size > _MOST_TEXT:
                    raise ValueError(f"it holds more than {_MOST_TEXT:,} characters")
                yield line
    except (lzma.LZMAError, EOFError):
        raise ValueError("it is no xz file, or damaged") from None


_MOST_TEXT = 1 << 30
_MOST_OF_A_LINE = 1 << 20


def read_file(file: Path) -> list[Run]:
    """The runs of one result file, `{dataset}/{agent}.jsonl` or `.jsonl.xz`, in the order of their seeds.

    Raises:
        NB201Error: if it is no such file, or not complete.
    """
    runs: list[tuple[dict[str, Any], list[Any]]] = []
    number = 0
    try:
        for line in _lines(file):
            number += 1
            record = json.loads(line, parse_constant=_refuse_constant)
            if isinstance(record, dict):
                runs.append((record, []))
            elif not runs:
                raise ValueError("a row before any header")
            else:
                header, rows = runs[-1]
                rows.append(_checked_row(record))
                said = header.get("queries")
                if not isinstance(said, int) or len(rows) > said:
                    raise ValueError(f"a run has more rows than the {checks.shown(said)} that its header says")
        if not runs:
            raise ValueError("it has no run")
        found = [_run(header, rows, file) for header, rows in runs]
        if any(a.header["seed"] >= b.header["seed"] for a, b in pairwise(found)):
            raise ValueError("its seeds are not ascending")
    except (ValueError, RecursionError, OverflowError) as error:
        why = "it is no JSON" if isinstance(error, json.JSONDecodeError | RecursionError | UnicodeError) else error
        raise NB201Error(f"{file} is not a complete result file, by line {number}: {why}") from None
    return found


def refuse_unlike(results: Mapping[tuple[str, str], Sequence[Run]]) -> None:
    """Raise NB201Error if runs on one data set were made under different rules, which no comparison may mix."""
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for (dataset, agent), runs in results.items():
        for run in runs:
            header = run.header
            rules = header["env"]["kwargs"] | {key: header[key] for key in _SAME}
            other, expected = first.setdefault(dataset, (agent, rules))
            unlike = [key for key in rules if rules[key] != expected.get(key)]
            if unlike:
                said = ", ".join(f"{key} {expected.get(key)!r} against {rules[key]!r}" for key in unlike)
                raise NB201Error(
                    f"the runs of {other} and {agent} on {dataset} were made under different rules ({said}): keep them "
                    "in different folders"
                )


_SAME = ("recipe", "epoch", "fingerprint", "timing_fingerprint")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


_NUMBERS = {int, float}


def _checked_row(row: Any) -> list[float]:
    if not isinstance(row, list) or not _NUMBERS.issuperset(map(type, row)):
        raise ValueError(f"a row must be {', '.join(ROW)}, got {checks.shown(row)}")
    return row


_HEADER: dict[str, type | tuple[type, ...]] = {
    "agent": str, "seed": int, "env": dict, "recipe": str, "epoch": int, "fingerprint": str, "timing_fingerprint": str,
    "tuned_on": list, "pretrained_on": list, "row": list, "versions": dict, "queries": int,
}  # fmt: skip
_RULES: dict[str, type | tuple[type, ...]] = {
    "table": str, "dataset": str, "split": str, "trial": (str, int), "charge": str, "overrun": str,
    "missing": str, "workers": int, "rungs": (list, type(None)), "objectives": (dict, type(None)),
    "budget": (float, int, type(None)), "max_queries": (int, type(None)),
}  # fmt: skip


def checked_header(header: dict[str, Any], file: Path) -> dict[str, Any]:
    """The header of a run in a result file.

    Raises:
        ValueError: if it is not one, or one of another agent or data set than the file is named after.
    """
    _check_types("the header", header, _HEADER)
    for key in ("tuned_on", "pretrained_on"):
        if not all(isinstance(name, str) for name in header[key]):
            raise ValueError(f"the header's {key} is no list of names")
    rules = header["env"].get("kwargs")
    if not isinstance(rules, dict) or not isinstance(header["env"].get("id"), str):
        raise ValueError("the header has no env with id and kwargs")
    if unknown := sorted(set(rules) - set(_RULES) - {"recipe", "epoch"}):
        raise ValueError(f"the header's env has {checks.shown(unknown[0])}, which is no rule")
    for key in ("start", "knows"):
        if not isinstance(header.get(key, {}), dict):
            raise ValueError(f"the header has {checks.shown(header[key])} for {key}")
    _check_types("the header's env", rules, _RULES)
    checks.seed("a seed", header["seed"])
    checks.whole("an epoch", header["epoch"], 1, MAX_EPOCH)
    Rules(rules["budget"], rules["charge"], rules["overrun"], rules["max_queries"], rules["objectives"])
    if rules["max_queries"] is not None and header["queries"] > rules["max_queries"]:
        raise ValueError(f"it has {header['queries']} queries where {rules['max_queries']} were allowed")
    checks.one_of("split", rules["split"], REWARD_SPLITS)
    checks.one_of("missing", rules["missing"], MISSING)
    for epoch in rules["rungs"] or ():
        checks.whole("a rung", epoch, 1, MAX_EPOCH)
    if isinstance(rules["trial"], str):
        checks.one_of("trial", rules["trial"], TRIALS)
    else:
        checks.whole("trial", rules["trial"], 0, 10**6)
    checks.whole("workers", rules["workers"], 1)
    expected = fields(rules["workers"], bool(rules["objectives"]))
    if tuple(header["row"]) != expected:
        raise ValueError(f"its rows are {checks.shown(header['row'])}, not {', '.join(expected)}")
    if file_of(file.parents[1], rules["dataset"], header["agent"]) != file.with_name(_plain_name(file)):
        raise ValueError(f"it has a run of {checks.shown(header['agent'])} on {checks.shown(rules['dataset'])}")
    return header


def _check_types(what: str, found: dict[str, Any], expected: dict[str, type | tuple[type, ...]]) -> None:
    for key, kind in expected.items():
        if key not in found or not isinstance(found[key], kind) or isinstance(found[key], bool):
            raise ValueError(f"{what} has {checks.shown(found.get(key))} for {key}")


def _run(header: dict[str, Any], rows: list[Any], file: Path) -> Run:
    checked_header(header, file)
    if len(rows) != header["queries"]:
        raise ValueError(f"the run of seed {header['seed']} has {len(rows)} rows of {header['queries']}")
    width = len(header["row"])
    if short := [row for row in rows if len(row) != width]:
        raise ValueError(f"a row must be {', '.join(header['row'])}, got {checks.shown(short[0])}")
    values = np.array(rows, np.float64).reshape(-1, width)
    least, most = np.array([_RANGES[name] for name in header["row"]]).T
    sound = ((values >= least) & (values <= most)).all(axis=1) & (values[:, :3] % 1 == 0).all(axis=1)
    if not sound.all():
        raise ValueError(f"the run of seed {header['seed']} has the row {rows[int(sound.argmin())]}")
    column: dict[str, Floats] = dict(zip(header["row"], values.T, strict=True))
    seconds = column["seconds"]
    spent = _spent(header)
    ended = column["started"] + seconds if "started" in column else np.cumsum(seconds + spent)
    if (np.diff(ended) < 0).any():
        raise ValueError(f"the queries of the run of seed {header['seed']} are not in the order in which they ended")
    cells, epochs, trials = (column[name].astype(np.int64) for name in ROW[:3])
    reward, started = column["reward"], column.get("started", ended - seconds)
    order = np.arange(len(rows)) if "number" not in column else column["number"].astype(np.int64)
    if not np.array_equal(np.sort(order), np.arange(len(rows))):
        raise ValueError(f"the queries of the run of seed {header['seed']} are not numbered from 0, each once")
    worth = column.get("worth", reward)
    would_take = _trajectory(header)
    return Run(header, cells, epochs, trials, reward, seconds, started, ended, order, spent, worth, would_take)


def _trajectory(header: dict[str, Any]) -> Ints:
    """Cells that a search by weight sharing would have taken, by the header's rows for its epochs."""
    rows = header.get("trajectory", [])
    try:
        return checked_epochs(rows)[0]
    except (TypeError, KeyError, AttributeError):
        raise ValueError(f"the header's trajectory is no list of epochs, {checks.shown(rows)}") from None


def _spent(header: dict[str, Any]) -> Floats:
    """Seconds that an agent used by itself before each query, by the header's list of numbers and seconds."""
    spent, pairs = np.zeros(header["queries"]), header.get("spent", [])
    if not isinstance(pairs, list) or len(pairs) > spent.size:
        raise ValueError(f"the header's spent is no list of as many pairs as queries, {checks.shown(pairs)}")
    for pair in pairs:
        number, seconds = _checked_row(pair) if isinstance(pair, list) and len(pair) == 2 else (-1, 0)
        if type(number) is not int or not 0 <= number < spent.size or not 0 <= seconds <= MAX_SECONDS:
            raise ValueError(f"the header says {checks.shown(pair)} where a query's number and seconds should be")
        spent[number] = seconds
    return spent


_RANGES = {
    "cell": (0, NUM_CELLS - 1), "epoch": (1, MAX_EPOCH), "trial": (-1, 10**6), "reward": (0, 1),
    "seconds": (0, MAX_SECONDS), "started": (0, 1e6 * MAX_SECONDS), "number": (0, 1e9), "worth": (-1e12, 1),
}  # fmt: skip


def table_of(run: Run, where: str | None = None) -> Table:
    """The table that a run searched, by its header, or where it is now.

    Raises:
        NB201Error: if the table there is not the one that was searched.
    """
    name = run.header["env"]["kwargs"]["table"] if where is None else where
    table = open_table(name)
    fingerprints = table.fingerprint, table.timing_fingerprint
    if fingerprints != (run.header["fingerprint"], run.header["timing_fingerprint"]):
        raise NB201Error(f"table {name!r} is not the one that the results come from: its fingerprint differs")
    return table
