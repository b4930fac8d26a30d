"""A table as one self-contained HTML page: what is in it is collected and packed here, the rest is beside this file.

A page holds quantities: accuracies, costs and columns of one's own, each of all cells. What a table lacks is left out,
so that the page has no control for it. Names from a table are data: they go into a JSON element that cannot end early,
and the page shows them as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.errors import MissingDataError, NB201Error
from nb201_env.explore.pack import Packed, pack, pack_shares
from nb201_env.files import as_file, in_folder, write_text
from nb201_env.space import ALL_OPS, EDGES, OPS
from nb201_env.tables.curves import Curves
from nb201_env.tables.schema import MISSING_COUNT
from nb201_env.tables.table import Table

SCRIPTS = ("data.js", "space.js", "state.js", "select.js", "run.js", "dom.js", "plot.js", "panel.js", "controls.js",
           "main.js")  # fmt: skip
"""Files of the page's one script, in their order."""

MOST_COLUMNS = 320
"""Of accuracies in a page, each some 42 to 83 kB; beyond, epochs are left out evenly, never the last."""

_PLACES = 5 ** np.arange(5, -1, -1)

Quantity = dict[str, Any]
"""Something known of all cells.

`id` names it in links, `label` and `unit` say what it is, `scale` turns values into that unit, `digits` is how many
decimals are shown (null: five significant digits), `better` is `high` or `low`. `columns` are packed arrays, one for
each of `epochs` where there are epochs; or `rate` is one, to be multiplied by the epoch.
"""


def write_page(table: Table, out: str | os.PathLike[str]) -> int:
    """Write the explorer of a table.

    Args:
        table: what is explored.
        out: the HTML file to write.

    Returns:
        Its size in bytes.

    Raises:
        NB201Error: if it cannot be written there, or the table holds nothing.
    """
    if Path(out).is_dir():
        raise NB201Error(f"cannot write {os.fspath(out)!r}: it is a folder; name a file such as explore.html")
    as_file(in_folder(out))
    write_text(out, page(table))
    return os.path.getsize(out)


def page(table: Table) -> str:
    """The explorer of a table as HTML.

    Raises:
        NB201Error: if the table holds no data set.
    """
    # < is escaped so that no name in a table can end the element; > and & have no meaning inside it.
    contents = json.dumps(collect(table), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    script = "\n".join(_part(name) for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    parts = {"style": _part("page.css"), "data": contents, "script": script, "digest": digest}
    # One pass: what is filled in is never searched for further places to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _part("page.html"))


def _part(name: str) -> str:
    return (files("nb201_env.explore") / name).read_text(encoding="utf-8")


def collect(table: Table) -> dict[str, Any]:
    """All that a page of a table holds, as JSON has it.

    Raises:
        NB201Error: if the table holds no data set.
    """
    if not table.datasets:
        raise NB201Error(f"table {table.name!r} has no data set to explore; import or generate one first")
    recipes = [(dataset, recipe) for dataset in table.datasets for recipe in table.recipes(dataset)]
    num_curves = sum(len(_splits(table, dataset, recipe)) for dataset, recipe in recipes)
    most_epochs = max(2, MOST_COLUMNS // max(1, num_curves))
    return {
        "table": table.name,
        "fingerprint": table.fingerprint,
        "ops": OPS,
        "edges": EDGES,
        "ranks": pack(ALL_OPS @ _PLACES),
        "datasets": [_dataset(table, dataset, most_epochs) for dataset in table.datasets],
    }


def _dataset(table: Table, dataset: str, most_epochs: int) -> dict[str, Any]:
    recipes = [_recipe(table, dataset, recipe, most_epochs) for recipe in table.recipes(dataset)]
    quantities = [
        _quantity("params", "parameters", table.params(dataset), digits=0),
        _quantity("macs", "MACs", table.macs(dataset), digits=0),
        *_latency(table, dataset),
        *(_own_column(table, dataset, name) for name in table.own_columns(dataset)),
    ]
    return {
        "name": dataset,
        "recipes": [recipe for recipe in recipes if recipe["quantities"]],
        "quantities": [quantity for quantity in quantities if quantity],
    }


def _latency(table: Table, dataset: str) -> list[Quantity | None]:
    try:
        return [_quantity("latency", "latency", table.latency(dataset), unit="ms", scale=1000)]
    except MissingDataError:
        return []


def _own_column(table: Table, dataset: str, name: str) -> Quantity | None:
    unit = str(table.attrs(f"{dataset}/{name}").get("unit", ""))
    return _quantity(f"own:{name}", name, table.own_column(dataset, name), unit=unit)


def _quantity(
    key: str, label: str, values: npt.NDArray[Any], unit: str = "", scale: float = 1, digits: int | None = None
) -> Quantity | None:
    """A quantity that has no epochs and is to be small; None if no cell has it."""
    if not np.isfinite(values).any():
        return None
    about = {"id": key, "label": label, "unit": unit, "scale": scale, "digits": digits, "better": "low"}
    return {**about, "columns": [pack(values)]}


def _recipe(table: Table, dataset: str, recipe: str, most_epochs: int) -> dict[str, Any]:
    """Accuracies and training seconds of a recipe, at epochs that all of its splits are thinned to together."""
    splits = _splits(table, dataset, recipe)
    columns = {key: table.column(dataset, recipe=recipe, split=key[1], trained_on=key[0]) for key in splits}
    every = sorted({epoch for curves in columns.values() for epoch in curves.epochs})
    kept = _thinned(every, most_epochs)
    usual = table.usual_nets
    found = [_accuracy(curves, nets, split, usual(dataset, split), kept) for (nets, split), curves in columns.items()]
    trained_on = dict.fromkeys(nets for nets, _ in splits)
    found += [_seconds(table, dataset, recipe, nets, usual(dataset, "valid"), kept) for nets in trained_on]
    thinned_from = len(every) if len(kept) < len(every) else None
    return {"name": recipe, "thinned_from": thinned_from, "quantities": [quantity for quantity in found if quantity]}


def _splits(table: Table, dataset: str, recipe: str) -> list[tuple[str, str]]:
    """What a recipe's nets were trained on and evaluated on, the split that searches may see first."""
    found = [
        (trained_on, split)
        for trained_on in table.groups(f"{dataset}/{recipe}")
        for split in table.splits(dataset, recipe=recipe, trained_on=trained_on)
    ]
    return sorted(found, key=lambda pair: (pair[0] != "half", ("valid", "test", "valtest", "train").index(pair[1])))


def _thinned(epochs: list[int], most: int) -> list[int]:
    """At most so many epochs, evenly, the first and the last among them."""
    if len(epochs) <= most:
        return epochs
    return [epochs[place] for place in np.linspace(0, len(epochs) - 1, most).round().astype(int).tolist()]


def _accuracy(curves: Curves, trained_on: str, split: str, usual: str, kept: list[int]) -> Quantity | None:
    """Mean accuracy over trials on a split; None if the table has only its losses."""
    epochs = [epoch for epoch in kept if epoch in curves.epochs]
    try:
        columns = [_mean_accuracy(curves, epoch) for epoch in epochs]
    except MissingDataError:
        return None
    about = {"unit": "%", "scale": 100, "digits": 2, "better": "high", "split": split}
    return {**_names(split, f"{split} accuracy", trained_on, usual), **about, "epochs": epochs, "columns": columns}


def _mean_accuracy(curves: Curves, epoch: int) -> Packed:
    """Correct images of all trials over all images of all trials, or the stored mean where there are no counts."""
    counts = curves.stored("correct", epoch)
    if counts is None:
        return pack(curves.values("accuracy", epoch, "mean"))
    present = counts != MISSING_COUNT[counts.dtype.name]
    return pack_shares(np.where(present, counts, 0).sum(axis=0, dtype=np.int64), curves.images * present.sum(axis=0))


def _seconds(table: Table, dataset: str, recipe: str, nets: str, usual: str, kept: list[int]) -> Quantity | None:
    """Seconds of training through an epoch; one array of seconds an epoch where all epochs take equally long."""
    known = {}
    for epoch in kept:
        try:
            known[epoch] = table.train_seconds(dataset, recipe=recipe, epoch=epoch, trained_on=nets)
        except MissingDataError:
            continue
    if not any(np.isfinite(seconds).any() for seconds in known.values()):
        return None
    rates = [seconds / epoch for epoch, seconds in known.items()]
    steady = len(rates) > 1 and all(np.allclose(rate, rates[0], rtol=1e-6, atol=0, equal_nan=True) for rate in rates)
    columns = {"rate": pack(rates[0])} if steady else {"columns": [pack(seconds) for seconds in known.values()]}
    about = {"unit": "s", "scale": 1, "digits": 1, "better": "low", "epochs": list(known)}
    return {**_names("seconds", "training seconds", nets, usual), **about, **columns}


def _names(key: str, label: str, trained_on: str, usual: str) -> dict[str, str]:
    """Id and label of what belongs to nets; they say what these were trained on where that is not the usual."""
    if trained_on == usual:
        return {"id": key, "label": label}
    return {"id": f"{key}:{trained_on}", "label": f"{label}, trained on {trained_on}"}
