"""All figures of a table, as PNG, SVG and on one page."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nb201_env.errors import MissingDataError, NB201Error
from nb201_env.figures.space import (
    accuracy_against_costs,
    correlations,
    landscapes,
    ops_on_edges,
    pareto_fronts,
    ranking_across_data_sets,
)
from nb201_env.figures.style import needs_matplotlib, styled
from nb201_env.figures.trained import curves, noise_of_trials, ranking_over_epochs
from nb201_env.files import replacing, write_text
from nb201_env.tables.table import Table


@dataclass(frozen=True)
class Kind:
    """A kind of figure: its title, a sentence that says what is seen, and what draws it."""

    title: str
    says: str
    draw: Callable[[Table], Any]


FIGURES = {
    "costs": Kind(
        "Accuracy and costs",
        "Each point is a cell; the square is ResNet's, the star the best. The paper's figures 2 and 3.",
        accuracy_against_costs,
    ),
    "pareto": Kind("Pareto fronts", "Cells that no other beats in both error and cost.", pareto_fronts),
    "ranking": Kind(
        "Ranking across data sets",
        "Where each cell stands on one data set and on another, 0 being the best.",
        ranking_across_data_sets,
    ),
    "correlations": Kind(
        "Correlations", "Of the order of cells by each data set and split. The paper's figure 4.", correlations
    ),
    "ops": Kind(
        "Ops on edges",
        "By how many points the mean accuracy of cells with an op on an edge is above that of all cells.",
        ops_on_edges,
    ),
    "landscape": Kind(
        "Landscape", "Local maxima among the 24 neighbours, distance to the best, and random walks.", landscapes
    ),
    "curves": Kind("Learning curves", "Quantiles over all cells, epoch by epoch.", curves),
    "stability": Kind(
        "Ranking over epochs",
        "How well validation accuracy after an epoch ranks cells as the end does. The paper's figure 5.",
        ranking_over_epochs,
    ),
    "noise": Kind(
        "Noise",
        "Standard deviation between trials of a cell, and between cells that compute the same, by accuracy.",
        noise_of_trials,
    ),
}
"""All kinds of figures, by the name of their files."""


def write_figures(
    table: Table,
    out: str | os.PathLike[str],
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> dict[str, str]:
    """Draw every figure that a table has the data for, `NAME.png` and `NAME.svg`, and `index.html` with all of them.

    Args:
        table: of which.
        out: folder.
        progress: called with figures done, all figures, and the one that is next.

    Returns:
        Of figures that could not be drawn, what is missing.

    Raises:
        NB201Error: if matplotlib is not installed, or `out` is a file.
    """
    needs_matplotlib("figures")
    folder, missing, sections = Path(out), dict[str, str](), list[str]()
    if folder.exists() and not folder.is_dir():
        raise NB201Error(f"cannot write figures into {os.fspath(out)!r}: it is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, kind) in enumerate(FIGURES.items()):
        progress(number, len(FIGURES), name)
        try:
            with styled():
                _write(kind.draw(table), folder, name)
            body = f'<a href="{name}.svg"><img src="{name}.png" alt="{html.escape(kind.says)}" loading="lazy"></a>'
        except MissingDataError as error:
            missing[name] = str(error)
            for ending in ("png", "svg"):
                (folder / f"{name}.{ending}").unlink(missing_ok=True)
            body = f"<p class='missing'>Not drawn: {html.escape(str(error))}.</p>"
        sections.append(f"<section><h2>{kind.title}</h2><p>{html.escape(kind.says)}</p>{body}</section>")
    progress(len(FIGURES), len(FIGURES), "index.html")
    title = f"{table.name}: {', '.join(table.datasets)}"
    about = (
        f"Fingerprint {table.fingerprint}. Accuracies are means over trials, on the test split where the table has one."
    )
    page = _PAGE.format(title=html.escape(title), about=html.escape(about), body="\n".join(sections))
    write_text(folder / "index.html", page)
    return missing


def _write(figure: Any, folder: Path, name: str) -> None:
    for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        with replacing(folder / f"{name}.{ending}") as fragment:
            figure.savefig(fragment, format=ending, metadata=metadata)


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #222; }}
img {{ max-width: 100%; height: auto; background: white; }} h2 {{ margin: 2em 0 0; }} .missing {{ color: #777; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #161616; color: #ddd; }} a {{ color: #8cf; }} }}
</style></head><body>
<h1>{title}</h1><p>{about}</p>
{body}
</body></html>
"""
