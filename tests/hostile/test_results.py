"""Result files are read like foreign files: whatever is wrong with one is an error of a line."""

import json
import os
import shutil

import pytest
from nb201_agents.harness.bench import bench
from nb201_agents.harness.report import write_report
from nb201_agents.harness.results import read_file
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.summary import summaries

from nb201_env import NB201Error

SETUP = Setup(max_queries=6)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "r"
    bench(["random"], [SETUP], 3, folder)
    return folder


def header(**changes):
    def change(lines):
        return [json.dumps(json.loads(lines[0]) | changes), *lines[1:]]

    return change


def rules(**changes):
    def change(lines):
        about = json.loads(lines[0])
        about["env"]["kwargs"] |= changes
        return [json.dumps(about), *lines[1:]]

    return change


def row(text):
    return lambda lines: [lines[0], text, *lines[2:]]


DAMAGE = {
    "an empty object": lambda lines: ["{}"],
    "null": lambda lines: ["null"],
    "a number": lambda lines: ["3"],
    "nothing": lambda lines: [],
    "a blank line": lambda lines: [*lines, ""],
    "text": lambda lines: ["hello"],
    "a cut header": lambda lines: [lines[0][:-30], *lines[1:]],
    "no header": lambda lines: lines[1:],
    "no last row": lambda lines: lines[:-1],
    "no row at all": lambda lines: [line for line in lines if line.startswith("{")],
    "a row too many": lambda lines: [*lines, lines[-1]],
    "a cut row": lambda lines: [*lines[:-1], lines[-1][:-4]],
    "a run twice": lambda lines: [*lines, *lines[: 1 + SETUP.max_queries]],
    "runs backwards": lambda lines: [*lines[7:14], *lines[:7]],
    "cell 99999": row("[99999, 200, 0, 0.5, 10.0]"),
    "cell -1": row("[-1, 200, 0, 0.5, 10.0]"),
    "cell 1.5": row("[1.5, 200, 0, 0.5, 10.0]"),
    "a cell of text": row('["3", 200, 0, 0.5, 10.0]'),
    "a cell that is true": row("[true, 200, 0, 0.5, 10.0]"),
    "cell 10^400": row(f"[{10**400}, 200, 0, 0.5, 10.0]"),
    "a search of test images": rules(split="test"),
    "epoch 0": row("[3, 0, 0, 0.5, 10.0]"),
    "trial -2": row("[3, 200, -2, 0.5, 10.0]"),
    "a reward of NaN": row("[3, 200, 0, NaN, 10.0]"),
    "a reward of 2": row("[3, 200, 0, 2.0, 10.0]"),
    "a reward of null": row("[3, 200, 0, null, 10.0]"),
    "negative seconds": row("[3, 200, 0, 0.5, -10.0]"),
    "infinite seconds": row("[3, 200, 0, 0.5, Infinity]"),
    "seconds of 1e999": row("[3, 200, 0, 0.5, 1e999]"),
    "a short row": row("[3, 200, 0, 0.5]"),
    "a nested row": row("[[3], 200, 0, 0.5, 10.0]"),
    "a deep row": row("[" * 100_000 + "]" * 100_000),
    "a seed of text": header(seed="0"),
    "an agent of another name": header(agent="rea"),
    "other fields": header(row=["cell"]),
    "env of null": header(env=None),
    "env of nothing": header(env={}),
    "env without an id": lambda lines: header(env={"kwargs": json.loads(lines[0])["env"]["kwargs"]})(lines),
    "a rule that there is not": rules(colour="red"),
    "a start of 3": header(start=3),
    "a recipe of 3": header(recipe=3),
    "tuned on 3": header(tuned_on=[3]),
    "queries of text": header(queries="6"),
    "a data set of another name": rules(dataset="cifar100"),
    "a table of 3": rules(table=3),
    "a seed of -1": header(seed=-1),
    "a budget of -1": rules(budget=-1),
    "a charge that there is not": rules(charge="x"),
    "a trial that there is not": rules(trial="x"),
    "fewer queries allowed": rules(max_queries=3),
    "seconds of 1e300": row("[3, 200, 0, 0.5, 1e300]"),
    "a budget of text": rules(budget="much"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_an_error_of_a_line(results, tmp_path, name):
    folder = tmp_path / "r"
    shutil.copytree(results, folder)
    file = folder / "cifar10" / "random.jsonl"
    file.write_text("".join(line + "\n" for line in DAMAGE[name](file.read_text().splitlines())))
    for call in (
        lambda: read_file(file),
        lambda: summaries(folder),
        lambda: write_report(folder, tmp_path / "page.html"),
        lambda: bench(["random"], [SETUP], 3, folder),
    ):
        with pytest.raises(NB201Error) as error:
            call()
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 1000
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "12ep"}, "has no recipe '12ep'"),
        ({"epoch": 12}, "has epochs 200, not 12"),
        ({"fingerprint": "0" * 64}, "is not the one that the results come from"),
    ],
)
def test_a_header_that_the_table_contradicts(results, tmp_path, changes, message):
    shutil.copytree(results, tmp_path / "r")
    file = tmp_path / "r" / "cifar10" / "random.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("".join(line + "\n" for line in header(**changes)(lines)))
    with pytest.raises(NB201Error, match=message):
        summaries(tmp_path / "r")


def test_a_trial_that_the_table_does_not_have(results, tmp_path):
    shutil.copytree(results, tmp_path / "r")
    file = tmp_path / "r" / "cifar10" / "random.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("".join(line + "\n" for line in row("[3, 200, 9, 1.0, 10.0]")(lines)))
    with pytest.raises(NB201Error, match="saw trial 9, which the table does not have"):
        summaries(tmp_path / "r")


def test_not_utf_8(results, tmp_path):
    shutil.copytree(results, tmp_path / "r")
    (tmp_path / "r" / "cifar10" / "random.jsonl").write_bytes(b"\xff\xfe{}\n")
    with pytest.raises(NB201Error, match="it is no JSON"):
        summaries(tmp_path / "r")


def test_a_pipe_among_the_results(results, tmp_path):
    shutil.copytree(results, tmp_path / "r")
    os.mkfifo(tmp_path / "r" / "cifar10" / "x.jsonl")
    for call in (lambda: summaries(tmp_path / "r"), lambda: bench(["random"], [SETUP], 3, tmp_path / "r")):
        with pytest.raises(NB201Error, match=r"is no (regular|result) file"):
            call()


def test_searches_that_cost_nothing_are_drawn(results, tmp_path):
    pytest.importorskip("matplotlib")
    shutil.copytree(results, tmp_path / "r")
    for file in (tmp_path / "r" / "cifar10").glob("*.jsonl"):
        rows = [
            line if line[0] == "{" else line.rpartition(",")[0] + ", 0.0]" for line in file.read_text().splitlines()
        ]
        file.write_text("".join(row + "\n" for row in rows))
    assert write_report(tmp_path / "r", tmp_path / "page.html")
