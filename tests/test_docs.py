"""The documentation is what the code says, its code and commands run, and its links lead somewhere.

Blocks of a page run in order, in one folder: Python as it stands, and commands that begin with `nb201`. A comment
before a block says otherwise: `<!-- not run: REASON -->`, and then the options of its commands are looked up, or
`<!-- file: NAME -->`, and then the block is what that file holds.
"""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import typer.main

from nb201_env.tables.opening import DATA, EMBEDDED

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

from make_pages import PAGES  # noqa: E402

TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED = [*TEXTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "leaderboard/README.md"]


class Block(typing.NamedTuple):
    language: str
    text: str
    reason: str | None  # why it is not run
    file: str | None  # that it is the content of


MARK = r"(?:^<!-- (?:not run: ([^\n]+)|file: (\S+)) -->\n)?"
BLOCK = re.compile(MARK + r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUN = ("python", "console")


def blocks(page):
    return [Block(language, text, reason or None, file or None)
            for reason, file, language, text in BLOCK.findall(page.read_text())]  # fmt: skip


def commands(text):
    """What stands behind the prompts of a console block, with lines that go on joined."""
    return re.findall(r"^\$ (.+)$", text.replace("\\\n", " "), re.MULTILINE)


def name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_up_to_date(name):
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), "run `python docs/make_pages.py`"


@pytest.mark.parametrize("page", [one for one in TEXTS if any(b.language in RUN and not b.reason for b in blocks(one))],
                         ids=name)  # fmt: skip
def test_the_blocks_of_a_page_run_as_written(page, tmp_path):
    (tmp_path / "published.zarr.zip").write_bytes((DATA / EMBEDDED["published"]).read_bytes())
    for block in blocks(page):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        elif block.language in RUN and block.reason is None:
            run(block, tmp_path)


def run(block, folder):
    if block.language == "python":
        if "xarray" in block.text and importlib.util.find_spec("xarray") is None:
            return
        tasks = [["-c", block.text]]
    else:
        tasks = []
        for command in commands(block.text):
            program, *arguments = shlex.split(command, comments=True)
            assert program in ("nb201", ".venv/bin/nb201"), f"mark it as not run, and say why: {command}"
            tasks.append(["-m", "nb201_env", *arguments])
    for task in tasks:
        result = subprocess.run([sys.executable, *task], capture_output=True, text=True, cwd=folder)
        assert result.returncode == 0, f"{task}\n{result.stderr}"
        if block.language == "python":  # a comment that begins with a digit says what is printed
            said = re.findall(r"^print\(.*\)  # (\d.*)$", block.text, re.MULTILINE)
            assert set(said) <= set(result.stdout.splitlines()), result.stdout


def unrun_commands():
    for page in TEXTS:
        for block in blocks(page):
            if block.reason and block.language == "console":
                for command in commands(block.text):
                    program, *arguments = shlex.split(command, comments=True)
                    if program in ("nb201", ".venv/bin/nb201"):
                        yield pytest.param(arguments, id=f"{name(page)}: {command[:40]}")


@pytest.fixture(scope="module")
def command_line():
    from nb201_env import cli

    cli.add_other_commands()
    return typer.main.get_command(cli.app)


@pytest.mark.parametrize("arguments", list(unrun_commands()))
def test_commands_that_are_not_run_have_their_options(arguments, command_line):
    command, rest = command_line, list(arguments)
    while hasattr(command, "commands"):
        assert rest[0] in command.commands
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {one.partition("=")[0] for one in rest if one.startswith("--")} <= known


def test_what_is_not_run_is_marked_by_a_comment_that_is_understood():
    for page in TEXTS:
        text = page.read_text()
        marks = re.findall(r"^<!-- (?:not run|file).*$", text, re.MULTILINE)
        assert len(marks) == sum(block.reason is not None or block.file is not None for block in blocks(page)), page


def without_blocks(page):
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_page_is_in_the_table_of_contents():
    pages = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in (ROOT / "docs").rglob("*.md")}
    listed = {"index"}
    for index in ("", "api/"):
        for entries in re.findall(r"```{toctree}\n(.*?)```", (ROOT / f"docs/{index}index.md").read_text(), re.DOTALL):
            listed |= {index + line for line in entries.splitlines() if line and not line.startswith(":")}
    assert pages == listed


def test_everything_public_is_in_the_reference():
    import nb201_env

    text = "".join(page.read_text() for page in (ROOT / "docs/api").glob("*.md"))
    for one in nb201_env.__all__:
        assert one == "__version__" or re.search(rf":: (nb201_env\.)?{one}\b", text), f"{one} has no place in docs/api/"
    modules = {path.stem for path in (ROOT / "nb201_env/analysis").glob("[a-z]*.py")}
    assert modules == set(re.findall(r":: nb201_env\.analysis\.(\w+)", text))


def test_the_tour_runs_as_written(capsys):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    cells = json.loads((ROOT / "docs/tour.ipynb").read_text())["cells"]
    codes = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in codes), "strip the outputs"
    installs = [cell for cell in codes if "install" in cell["metadata"].get("tags", ())]
    assert installs == codes[:1]
    names = {}
    for cell in codes[1:]:
        exec("".join(cell["source"]), names)
    import matplotlib.pyplot as plt

    assert len(plt.get_fignums()) >= 2
    plt.close("all")
    random, params = re.findall(r"([\d.]+) points", capsys.readouterr().out)
    assert float(params) < float(random)


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
