"""Which best practices of architecture search the results of a folder follow, as far as the results can say."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nb201_agents.harness.results import Run


class Item(NamedTuple):
    """One practice.

    Attributes:
        asked: the practice.
        is_met: whether it is followed.
        how: by what, or what is missing.
    """

    asked: str
    is_met: bool
    how: str


def checklist(folder: str | os.PathLike[str], results: Mapping[tuple[str, str], Sequence[Run]]) -> list[Item]:
    """The practices of Lindauer and Hutter (JMLR 2020), each with what the results say of it."""
    headers = [runs[0].header for runs in results.values()]
    agents = sorted({agent for _, agent in results})
    counts = {len(runs) for runs in results.values()}
    seeds = sorted({run.header["seed"] for runs in results.values() for run in runs})
    tuned = sorted(
        {f"{header['agent']} on {', '.join(header['tuned_on'])}" for header in headers if header["tuned_on"]}
    )
    learnt = sorted({f"{one['agent']} on {', '.join(one['pretrained_on'])}" for one in headers if one["pretrained_on"]})
    learnt += sorted({f"{one['agent']}: an order of cells" for one in headers if "start" in one})
    recipes = sorted({f"{header['recipe']}, epoch {header['epoch']}" for header in headers})
    tables = sorted({header["fingerprint"][:12] for header in headers})
    versions = headers[0]["versions"]
    has_clock = (Path(folder) / "wall_clock.jsonl").exists()
    has_chance = {agent for agent in agents if agent.split("(")[0] in ("random", "local-search", "params")}
    return [
        Item("The training pipeline and its settings are released", True,
             f"recipe {'; '.join(recipes)}, stored in the table {', '.join(tables)}"),
        Item("The code of the search methods is released", True,
             f"nb201-env {versions.get('nb201-env', 'of an unknown version')}; agents of other packages are not known"),
        Item("All methods use the same search space, data sets and training", True,
             "one table by its fingerprint; runs of unlike rules are refused"),
        Item("All methods are compared under the same budget, over time", True, "curves against simulated seconds"),
        Item("Random search and simple methods are among the methods", bool(has_chance),
             ", ".join(sorted(has_chance)) or "neither random, params nor local-search"),
        Item("Methods are run several times, with the seeds named", min(counts) > 1,
             f"{' or '.join(map(str, sorted(counts)))} runs, seeds {seeds[0]} to {seeds[-1]}"),
        Item("Confounding by hardware is excluded", True, "seconds are simulated, from the table"),
        Item("It is said on what settings were tuned", True,
             "; ".join(tuned) or "no agent was tuned on any data set, by its header"),
        Item("It is said how much tuning that took", not tuned,
             "headers do not record it" if tuned else "there was none"),
        Item("It is said what was learnt before the search", True, ", ".join(learnt) or "nothing was"),
        Item("The time that the methods themselves take is reported", has_clock,
             "wall_clock.jsonl" if has_clock else "wall_clock.jsonl is not there"),
        Item("Versions of software are reported", bool(versions),
             ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))),
        Item("Ablations say what makes a method work", False, "results of a bench do not say: run the agents' options"),
        Item("A tabular benchmark is used for many runs", True, f"table {headers[0]['env']['kwargs']['table']}"),
    ]  # fmt: skip
