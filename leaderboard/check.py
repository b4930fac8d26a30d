"""Is every entry of the leaderboard what the tables and the protocols say? `make leaderboard`."""

from __future__ import annotations

import sys
from pathlib import Path

from nb201_agents.harness.protocols import PROTOCOLS, setups_of
from nb201_agents.harness.results import Run, file_of, read_runs
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.validate import validate

HERE = Path(__file__).parent
MOST_BYTES = 2_000_000
"""Of one entry: the files of an agent on all data sets of a protocol."""

LEAST_RUNS = 50


def problems_of(folder: Path) -> list[str]:
    """What is wrong with the entries of one protocol."""
    if folder.name not in PROTOCOLS:
        return [f"{folder.name} is no protocol; those are {', '.join(PROTOCOLS)}"]
    if large := [file.name for file in folder.glob("*/*") if file.stat().st_size > MOST_BYTES]:
        return [f"{folder.name}: {large[0]} takes more than {MOST_BYTES:,} bytes"]
    setups, _ = setups_of(PROTOCOLS[folder.name])
    results = read_runs(folder)
    problems = validate(folder)
    for agent in sorted({agent for _, agent in results}):
        files = [file_of(folder, setup.dataset, agent) for setup in setups]
        files = [file.with_name(f"{file.name}.xz") for file in files]
        problems += [f"{file.relative_to(folder)} is missing" for file in files if not file.exists()]
        size = sum(file.stat().st_size for file in files if file.exists())
        if size > MOST_BYTES:
            problems.append(f"{agent} takes {size:,} bytes, more than {MOST_BYTES:,}")
        if not (card := folder / f"{files[0].name.removesuffix('.jsonl.xz')}.md").exists():
            problems.append(f"{card.name} is missing: copy and fill template.md")
        for setup in setups:
            problems += [
                f"{setup.dataset}/{agent}: {one}" for one in unlike(results.get((setup.dataset, agent), []), setup)
            ]
    return [f"{folder.name}: {problem}" for problem in problems]


def unlike(runs: list[Run], setup: Setup) -> list[str]:
    """Where runs are not those of a protocol."""
    if [run.header["seed"] for run in runs[:LEAST_RUNS]] != list(range(LEAST_RUNS)):
        return [f"it has {len(runs)} runs; an entry has at least {LEAST_RUNS}, with seeds from 0"]
    if any(run.header["env"]["kwargs"] != setup.plain() for run in runs):
        return ["its rules are not those of the protocol"]
    return []


def main() -> None:
    """Print what is wrong, and exit with 1 if anything is."""
    folders = sorted(folder for folder in HERE.iterdir() if folder.is_dir() and folder.name[0] not in "_.")
    problems = [one for folder in folders for one in problems_of(folder)]
    print("\n".join(problems) or "every entry is valid")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
