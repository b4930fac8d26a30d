"""Controllers trained on tables of our own search the published one: `python benchmarks/transfer.py FOLDER OUT`.

FOLDER holds the controllers that docs/transfer.md names, and their cards. A file of another hash is refused, so that
what is evaluated is what was settled on before; the document and its hashes are committed first. The rest is
`nb201 bench` under the rules of the protocol `published`, cut at 50 queries, and its summary.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from nb201_agents.harness.bench import bench
from nb201_agents.harness.protocols import PROTOCOLS, setups_of
from nb201_agents.harness.results import read_runs
from nb201_agents.harness.summary import summaries
from nb201_agents.harness.truth import truth_of

from nb201_env import NUM_CELLS, NB201Error, Table, open_table

PROTOCOL = Path(__file__).parents[1] / "docs" / "transfer.md"
KNOW_SOURCES = ("source-order", "ridge-source", "gp-source")
BARS = ("random", "params", "local-search", *KNOW_SOURCES)
RUNS, QUERIES, SHOWN = 500, 50, (10, 20, 50)


def settled(document: str) -> dict[str, str]:
    """SHA-256 of each controller that a protocol names, by its file's name.

    Raises:
        NB201Error: if it names none.
    """
    found = dict(re.findall(r"^\| ([\w.-]+\.safetensors) \| ([0-9a-f]{64}) \|", document, re.MULTILINE))
    if not found:
        raise NB201Error(f"{PROTOCOL.name} names no controller yet: nothing may be evaluated")
    return found


def checked(folder: Path, hashes: Mapping[str, str]) -> list[Path]:
    """The files of the controllers, which are those that were settled on.

    Raises:
        NB201Error: if one is missing or another.
    """
    for name, wanted in hashes.items():
        path = folder / name
        if not path.is_file():
            raise NB201Error(f"{path} is missing")
        if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != wanted:
            raise NB201Error(f"{path} is not the controller of the protocol: its SHA-256 is {found}, not {wanted}")
    return [folder / name for name in hashes]


def cost_of_tables(table: Table) -> float:
    """Seconds of training a source table's cells; cells that are equal to another were not trained."""
    trained = 0.0
    for dataset in table.datasets:
        (recipe,) = table.recipes(dataset)
        path = f"{dataset}/{recipe}/full/trained_as"
        own = table.array(path) == np.arange(NUM_CELLS) if path in table else np.ones(NUM_CELLS, bool)
        seconds = table.train_seconds(dataset, recipe=recipe)[own]
        trained += float(np.nansum(seconds)) * len(table.trials(dataset, recipe=recipe))
    return trained


def cost_of_training(controller: Path) -> float:
    """Seconds that a controller's training took, as its card says."""
    card = json.loads(controller.with_name(f"{controller.name}.json").read_text(encoding="utf-8"))
    return float(card["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--table", default="published")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    try:
        controllers = checked(given.folder, settled(PROTOCOL.read_text(encoding="utf-8")))
    except NB201Error as error:
        sys.exit(f"error: {error}")
    agents = (*BARS, *(f"controller(file={path})" for path in controllers))
    setups, _ = setups_of(replace(PROTOCOLS["published"], max_queries=QUERIES, datasets=None), given.table)
    bench(agents, setups, given.runs, given.out, jobs=given.jobs, progress=_say)
    before = dict.fromkeys(KNOW_SOURCES, tables := cost_of_tables(open_table("mini")))
    before |= {path.stem: tables + cost_of_training(path) for path in controllers}
    show(given.out, before)


def show(results: Path, before: Mapping[str, float]) -> None:
    """Print medians until the incumbent is near the best, mean regrets, and medians with what came before a search.

    Args:
        results: folder of the runs.
        before: seconds that an agent's sources and training took, by its name.
    """
    runs = read_runs(results)
    columns = ["data set", "agent", "queries", "seconds", "and sources", *(f"regret at {one}" for one in SHOWN)]
    print("\n| " + " | ".join(columns) + " |")
    print("| --- | --- |" + " ---: |" * (len(columns) - 2))
    for row in summaries(results):
        regrets = np.array([truth_of(run).regret(run) for run in runs[row.dataset, row.agent]])[:, np.array(SHOWN) - 1]
        name = row.agent if "(" not in row.agent else Path(row.agent.rpartition("=")[2].rstrip(")")).stem
        whole = row.target_seconds + before.get(name, 0.0)
        cells = [f"{row.target_queries:g}", f"{row.target_seconds:,.0f}", f"{whole:,.0f}"]
        cells += [f"{value:.2f}" for value in regrets.mean(axis=0)]
        print(f"| {row.dataset} | {name} | {' | '.join(cells)} |")


def _say(done: int, total: int, what: str) -> None:
    print(f"\r{done} of {total} runs, {what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
