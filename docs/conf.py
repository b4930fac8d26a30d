"""Settings of the documentation site: `make docs` builds it, warnings being errors, without the network and without PyTorch."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from typing import Any

from docutils import nodes
from sphinx.util.nodes import make_refnode

project = "nb201_env"
author = "The nb201_env authors"
copyright = author
version = release = version_of("nb201-env")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4  # links to headings, as GitHub has them
html_theme = "furo"
html_title = f"nb201_env {version}"
html_show_sphinx = False
html_copy_source = False

# Docstrings are in Google's style and put code in single backticks.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # they stand in the signature
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_mock_imports = [
    "optuna",
    "safetensors",
    "sb3_contrib",
    "scipy",
    "sklearn",
    "skimage",
    "stable_baselines3",
    "torch",
]

# A reference to something of ours that is not there is an error. These are other projects', whose lists of names would have to be
# fetched, and names of types that stand for arrays.
nitpick_ignore_regex = [
    ("py:.*", r"(collections|gym|gymnasium|networkx|nn|np|npt|numpy|os|pathlib|torch|typing|xarray|zarr)(\..*)?"),
    ("py:class", "Path|Floats|Bools|Ints|Rows|Arrays"),
]


def resolve_by_last_name(app: Any, env: Any, node: Any, contents: Any) -> Any:
    """Find what a signature names by the module that defines it, `nb201_env.space.cell.Cell`, where it is documented."""
    if node.get("refdomain") != "py":
        return None
    last = re.split(r"[.\s]", node.get("reftarget", ""))[-1]
    found = [(name, entry) for name, entry in env.domains["py"].objects.items() if name.rpartition(".")[2] == last]
    if len(found) != 1:
        return None
    name, entry = found[0]
    return make_refnode(
        app.builder, node["refdoc"], entry.docname, entry.node_id, contents or nodes.literal(text=last), name
    )


ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[[\w.~]+(\[[\w.~]+\])?\]\]")


def shortened(signature: str | None) -> str | None:
    """A signature whose arrays are `ndarray`, since docstrings say what they hold, and which can be read as Python."""
    return signature and ARRAY.sub("~numpy.ndarray", signature).replace("<factory>", "...")


def shorten(
    app: Any, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Shorten what autodoc is about to write."""
    return shortened(signature), shortened(returns)


def setup(app: Any) -> None:
    """What Sphinx calls."""
    app.connect("missing-reference", resolve_by_last_name)
    app.connect("autodoc-process-signature", shorten)
