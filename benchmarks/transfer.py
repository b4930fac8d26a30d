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
BARS = ("random", "params", "local-search", "source-order", "ridge-source", "gp-source")
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


def cost_of_sources(table: Table, controllers: list[Path]) -> dict[str, float]:
    """Seconds of what came before a search: of training a source table's cells, and of training one controller.

    Cells that are equal to another were not trained.
    """
    trained = 0.0
    for dataset in table.datasets:
        (recipe,) = table.recipes(dataset)
        path = f"{dataset}/{recipe}/full/trained_as"
        own = table.array(path) == np.arange(NUM_CELLS) if path in table else np.ones(NUM_CELLS, bool)
        seconds = table.train_seconds(dataset, recipe=recipe)[own]
        trained += float(np.nansum(seconds)) * len(table.trials(dataset, recipe=recipe))
    cards = [json.loads(path.with_name(f"{path.name}.json").read_text()) for path in controllers]
    return {"tables": trained, "controller": float(np.mean([card["seconds"] for card in cards]))}


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
    runs = read_runs(given.out)
    columns = ["data set", "agent", "median queries", "median seconds", *(f"regret at {one}" for one in SHOWN)]
    print("\n| " + " | ".join(columns) + " |")
    print("| --- | --- | ---: | ---: |" + " ---: |" * len(SHOWN))
    for row in summaries(given.out):
        regrets = np.array([truth_of(run).regret(run) for run in runs[row.dataset, row.agent]])[:, np.array(SHOWN) - 1]
        means = " | ".join(f"{value:.2f}" for value in regrets.mean(axis=0))
        name = row.agent if "(" not in row.agent else Path(row.agent.rpartition("=")[2].rstrip(")")).stem
        print(f"| {row.dataset} | {name} | {row.target_queries:g} | {row.target_seconds:,.0f} | {means} |")
    for what, seconds in cost_of_sources(open_table("mini"), controllers).items():
        print(f"seconds of the {what}: {seconds:,.0f}")


def _say(done: int, total: int, what: str) -> None:
    print(f"\r{done} of {total} runs, {what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
