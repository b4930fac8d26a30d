"""Take agents' first 50 runs as entries: `python leaderboard/add.py RESULTS PROTOCOL AGENT…`."""

from __future__ import annotations

import json
import lzma
import shutil
import sys
from pathlib import Path

from check import HERE, LEAST_RUNS
from nb201_agents.harness.protocols import PROTOCOLS
from nb201_agents.harness.results import file_of

from nb201_env import NB201Error, checks


def add(results: Path, protocol: str, agent: str) -> None:
    """Compress the first runs of an agent on every data set into the protocol's folder, and put a card beside them."""
    checks.one_of("protocol", protocol, tuple(PROTOCOLS))
    if not list(results.glob(f"*/{file_of(results, 'any', agent).name}")):
        raise NB201Error(f"{results} has no runs of {agent}")
    for dataset in sorted(folder.name for folder in results.iterdir() if folder.is_dir()):
        source, target = (file_of(folder, dataset, agent) for folder in (results, HERE / protocol))
        if not source.exists():
            continue
        lines, runs = [], 0
        for line in source.read_text().splitlines(keepends=True):
            runs += isinstance(json.loads(line), dict)
            if runs > LEAST_RUNS:
                break
            lines.append(line)
        target.parent.mkdir(parents=True, exist_ok=True)
        with lzma.open(f"{target}.xz", "wt", preset=9) as file:
            file.writelines(lines)
        card = HERE / protocol / f"{target.stem}.md"
        if not card.exists():
            shutil.copy(HERE / "template.md", card)


if __name__ == "__main__":
    for name in sys.argv[3:]:
        add(Path(sys.argv[1]), sys.argv[2], name)
