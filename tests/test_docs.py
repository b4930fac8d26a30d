"""The documentation is what the code says, and its code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nb201_env.tables.opening import DATA, EMBEDDED

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

from make_pages import PAGES  # noqa: E402


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_up_to_date(name):
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), "run `python docs/make_pages.py`"


def blocks():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [(page.name, re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)) for page in pages]
    return [pytest.param(code, id=f"{name}-{number}") for name, codes in found for number, code in enumerate(codes)]


@pytest.mark.parametrize("code", blocks())
def test_code_in_the_docs_runs(code, tmp_path):
    if "xarray" in code:
        pytest.importorskip("xarray")
    (tmp_path / "published.zarr.zip").write_bytes((DATA / EMBEDDED["published"]).read_bytes())
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_the_libraries_page_names_the_installed_versions_and_existing_examples():
    rows = re.findall(
        r"^\| (.+?) \| (.+?) \| \[(.+?)\]\((.+?)\) \|", (ROOT / "docs/libraries.md").read_text(), re.MULTILINE
    )
    assert len(rows) == 15
    lines = (ROOT / "constraints.txt").read_text().replace("_", "-").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    pinned |= dict(re.findall(r"'(\w+)(?:\[\w+\])?==([\d.]+)'", (ROOT / "Makefile").read_text()))  # elsewhere
    for library, tested, name, target in rows:
        library = library.replace("RLlib", "ray")
        package, version = tested.split() if " " in tested else (library.split()[0], tested)
        assert pinned[package] == version
        assert (ROOT / "docs" / target).resolve() == ROOT / "examples" / name
        assert (ROOT / "examples" / name).exists()


@pytest.mark.parametrize("page", [name for name in PAGES if name.startswith("environments/")])
def test_pages_of_environments_have_every_section(page):
    found = re.findall(r"^## (.+)$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    assert found == ["Description", "Action space", "Observation space", "Rewards", "Starting state", "Episode end",
                     "Arguments", "Info", "Version history"]  # fmt: skip
