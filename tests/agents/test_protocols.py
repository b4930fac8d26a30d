"""Named protocols, on the embedded tables and on the real values of 12 epochs where they are there."""

import json
import subprocess
import sys

import numpy as np
import pytest
from nb201_agents.harness.bench import bench
from nb201_agents.harness.protocols import PROTOCOLS, setups_of, verdicts
from nb201_agents.harness.results import read_runs
from nb201_agents.harness.validate import validate

from nb201_env import Column, NB201Error, open_table
from nb201_env.importers.columns import import_columns


def nb201_bench(out, *arguments):
    command = [sys.executable, "-m", "nb201_env", "bench", "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_protocols_that_the_embedded_tables_can_carry_out():
    for name in ("published", "workers-4"):
        setups, skipped = setups_of(PROTOCOLS[name])
        assert [setup.dataset for setup in setups] == ["cifar10", "cifar100", "ImageNet16-120"]
        assert not skipped
        assert {setup.trial for setup in setups} == {"per-search"}
    setups, _ = setups_of(PROTOCOLS["mini"])
    assert sorted(setup.dataset for setup in setups) == ["backdrops", "digits", "gratings", "shapes"]
    for setup in setups:
        assert setup.budget == 20 * Column.open("mini", setup.dataset).full
        assert (setup.rungs, setup.charge) == ((1, 3, 8), "resume")


def test_what_a_table_does_not_have_is_said(capsys):
    with pytest.raises(NB201Error, match=r"has none of the protocol's data: cifar10 is left out: .*no recipe '12ep'"):
        setups_of(PROTOCOLS["nas-bench-201"])
    with pytest.raises(NB201Error, match="no dataset 'ImageNet16-120'"):
        setups_of(PROTOCOLS["published"], "mini")


def test_a_protocols_rules_are_not_to_be_changed(tmp_path):
    for option in (("--budget", "5"), ("--workers", "2")):
        result = nb201_bench(tmp_path, "--protocol", "published", *option)
        assert "leave them out, or the protocol" in result.stderr
        assert result.returncode == 2
    assert "protocol must be one of published, workers-4" in nb201_bench(tmp_path, "--protocol", "best").stderr


def test_the_mini_protocol_from_the_command_line(tmp_path):
    result = nb201_bench(tmp_path, "--protocol", "mini", "--agents", "asha", "--runs", "2", "--json")
    rows = json.loads(result.stdout)
    assert {(row["dataset"], row["agent"]) for row in rows} >= {("digits", "asha"), ("gratings", "asha")}
    assert all(row["elsewhere"] == {} for row in rows)
    assert validate(tmp_path) == []


def test_the_papers_protocol_on_real_values(real_data, tmp_path):
    import_columns(real_data / "nb201-published-cifar.npz", tmp_path / "real.zarr")
    table = open_table(tmp_path / "real.zarr")
    (setup,), skipped = setups_of(PROTOCOLS["nas-bench-201"], str(table.path))
    assert not skipped
    assert (setup.dataset, setup.recipe, setup.budget, setup.trial) == ("cifar10", "12ep", 12_000.0, "mean")
    bench(["rea"], [setup], 30, tmp_path / "r")
    found = {(one.agent, one.dataset): one for one in verdicts(tmp_path / "r", "200ep")}
    assert {dataset for _, dataset in found} == {"cifar10", "cifar100"}
    run = read_runs(tmp_path / "r")["cifar10", "rea"][0]
    assert 60 < run.cell.size < 160
    assert run.seconds_used[-1] <= 12_000
    chosen = [one.cell[one.incumbent[-1]] for one in read_runs(tmp_path / "r")["cifar10", "rea"]]
    test = 100 * table.accuracy("cifar100", recipe="200ep", split="test").astype(float)[chosen]
    assert found["rea", "cifar100"].mean == pytest.approx(test.mean())
    assert found["rea", "cifar100"].deviation == pytest.approx(np.std(test))
    assert found["rea", "cifar10"].mean > found["random", "cifar10"].mean > 93
