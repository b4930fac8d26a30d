"""Columns of one's own: device latencies, energies and scores, imported by name and searched with."""

import csv

import gymnasium as gym
import numpy as np
import pytest
from nb201_agents.harness.bench import bench
from nb201_agents.harness.results import read_runs
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.validate import validate

from nb201_env import ALL_OPS, NUM_CELLS, Cell, Column, NB201Error, Oracle, Rules, open_table
from nb201_env.cli import main
from nb201_env.errors import MissingDataError, TableFormatError
from nb201_env.importers.columns import import_columns
from nb201_env.simulation.objectives import Objectives

LATENCY = np.round(0.5 + (ALL_OPS == 3).sum(axis=1) + 0.1 * ALL_OPS.sum(axis=1), 3)
ENERGY = np.round(3.0 * LATENCY**1.5, 3)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Written by hand: latencies of all cells, energies of all but two, and scores that may be negative."""
    path = tmp_path_factory.mktemp("columns") / "devices.csv"
    with path.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["arch", "cifar10/edgegpu_latency [ms]", "cifar10/edgegpu_energy [mJ]", "cifar10/score"])
        for cell in range(NUM_CELLS):
            energy = -1 if cell == 7 else "" if cell == 8 else ENERGY[cell]
            rows.writerow([Cell(cell).arch, LATENCY[cell], energy, cell - 5000])
    return path


@pytest.fixture(scope="module")
def table(file):
    out = file.with_name("extended.zarr.zip")
    imported = import_columns(file, out, extend="published", origin="measured by hand")
    assert imported.not_measured == {"cifar10/edgegpu_energy [mJ]": 1}
    assert imported.missing == {"cifar10/edgegpu_energy [mJ]": 2}
    return open_table(out)


def test_a_table_is_extended_and_keeps_what_it_has(table, published):
    assert table.verify() == []
    assert table.name == "published"
    assert table.fingerprint == published.fingerprint
    assert table.timing_fingerprint != published.timing_fingerprint
    assert table.recipes("cifar10") == ("200ep",)
    assert np.array_equal(table.accuracy("cifar100", trial="all"), published.accuracy("cifar100", trial="all"), True)
    assert table.own_columns("cifar10") == ("edgegpu_energy", "edgegpu_latency", "score")
    assert table.own_columns("cifar100") == published.own_columns("cifar10") == ()
    np.testing.assert_array_equal(table.own_column("cifar10", "edgegpu_latency"), LATENCY)
    about = table.attrs("cifar10/edgegpu_latency")
    assert (about["unit"], about["source"]) == ("ms", "measured by hand")
    energy = table.own_column("cifar10", "edgegpu_energy")
    assert np.flatnonzero(np.isnan(energy)).tolist() == [7, 8]
    assert table.own_column("cifar10", "score").min() == -5000  # a column with other values below 0 keeps them all
    with pytest.raises(MissingDataError, match=r"no column 'power' of its own; it has edgegpu_energy, edgegpu_latency"):
        table.own_column("cifar10", "power")


def test_objectives_limits_and_masks_call_them_by_name(table):
    column = Column.open(table, "cifar10", trial="mean")
    objectives = Objectives({"error": 1.0, "edgegpu_latency": 0.5}, column)
    cells = np.arange(NUM_CELLS)
    np.testing.assert_allclose(objectives.vector(cells, column.mean)[:, 1], -LATENCY)
    score = objectives.score(column.mean, cells, column.mean)
    np.testing.assert_allclose(score, column.mean - (1.0 - column.mean) - 0.5 * LATENCY / LATENCY.max(), atol=1e-6)
    env = gym.make("NB201/BuildCell-v0", table=str(table.path), mask="edgegpu_latency<=2.5", max_queries=60)
    for seed in range(30):
        _, info = env.reset(seed=seed)
        over = False
        while not over:
            action = env.np_random.choice(np.flatnonzero(info["action_mask"]))
            _, _, over, _, info = env.step(action)
        assert LATENCY[info["index"]] <= 2.5


def test_a_search_that_sees_every_cell_finds_the_exact_front(table):
    column = Column.open(table, "cifar10", trial="mean")
    rules = Rules(max_queries=NUM_CELLS, objectives={"edgegpu_latency": "<=4"})
    oracle = Oracle(column, rules)
    oracle.new_search(0)
    results = [oracle.query(cell) for cell in range(NUM_CELLS)]
    vectors = oracle.objectives.vector([one.index for one in results], [one.accuracy for one in results])
    points = {(one.accuracy, -vector[0]) for one, vector in zip(results, vectors, strict=True)}
    order = sorted(points, key=lambda point: (point[1], -point[0]))
    front, best = set(), -1.0
    for accuracy, latency in order:
        if accuracy > best:
            front.add((accuracy, latency))
            best = accuracy
    exact, best = set(), -1.0
    for cell in np.lexsort((-column.mean, LATENCY)).tolist():
        if float(column.mean[cell]) > best:
            best = float(column.mean[cell])
            exact.add((best, LATENCY[cell]))
    assert front == exact
    assert len(front) > 10
    allowed = np.where(LATENCY <= 4, column.mean, -1)
    assert oracle.incumbent_index == int(allowed.argmax())


def test_what_is_missing_or_below_nothing_is_no_objective(table):
    column = Column.open(table, "cifar10")
    with pytest.raises(MissingDataError, match="2 cells of cifar10 have no edgegpu_energy: leave that objective out"):
        Objectives({"edgegpu_energy": 0.1}, column)
    with pytest.raises(NB201Error, match=r"to be made small, from 0, but score is from -5000 to 10624"):
        Objectives({"score": 0.1}, column)
    with pytest.raises(NB201Error, match=r"unknown objectives 'power'; known are error.*edgegpu_latency, score"):
        Oracle(column, Rules(max_queries=3, objectives={"power": 1})).new_search(0)
    with pytest.raises(NB201Error, match=r"leaves no cell: those of cifar10 have 0\.5 edgegpu_latency and more"):
        gym.make("NB201/BuildCell-v0", table=str(table.path), mask="edgegpu_latency<=0.1")


def test_columns_alone_latencies_and_tables_of_ones_own(tmp_path):
    np.savez(tmp_path / "a.npz", **{"cifar10/latency": LATENCY, "ImageNet16-120/jacov": LATENCY - 100})
    import_columns(tmp_path / "a.npz", tmp_path / "a.zarr")
    found = open_table(tmp_path / "a.zarr")
    assert found.verify() == []
    np.testing.assert_array_equal(found.latency("cifar10"), LATENCY)
    assert found.own_columns("ImageNet16-120") == ("jacov",)
    np.savez(tmp_path / "b.npz", **{"digits/energy [mJ]": ENERGY[:10], "index": np.arange(10)})
    import_columns(tmp_path / "b.npz", tmp_path / "b.zarr", extend="mini")
    found, mini = open_table(tmp_path / "b.zarr"), open_table("mini")
    assert np.array_equal(found.params("digits"), mini.params("digits"))
    assert np.count_nonzero(~np.isnan(found.own_column("digits", "energy"))) == 10


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("cifar10/params", LATENCY, "and not accuracy, correct, epoch"),
        ("cifar10/loss", LATENCY, "and not accuracy, correct, epoch"),
        ("mnist/energy", LATENCY, "unknown data set 'mnist'"),
        ("cifar10/200ep/energy", LATENCY, "or DATASET/NAME"),
        ("cifar10/energy", np.stack((LATENCY, LATENCY), axis=1), "must have one number a cell"),
        ("cifar10/energy", np.where(LATENCY > 3, np.inf, LATENCY), "must be 15625 numbers, NaN where missing"),
    ],
)
def test_bad_columns(name, values, message, tmp_path):
    np.savez(tmp_path / "a.npz", **{name: values})
    with pytest.raises((TableFormatError, NB201Error), match=message):
        import_columns(tmp_path / "a.npz", tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


def test_the_command(file, tmp_path, monkeypatch, capfd):
    out = tmp_path / "t.zarr"
    words = ["nb201", "import", "columns", str(file), "--out", str(out), "--extend", "published", "--origin", "by hand"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 0
    assert "1 values of -1 stand for what was not measured" in capfd.readouterr().err
    assert open_table(out).attrs("cifar10/score")["source"] == "by hand"
    monkeypatch.setattr("sys.argv", ["nb201", "table", "info", str(out)])
    with pytest.raises(SystemExit):
        main()
    assert "cifar10 / edgegpu_energy [mJ]: 15,623 cells, by hand\n" in capfd.readouterr().out


def test_a_search_can_begin_with_the_best_by_a_column(table, tmp_path):
    agents = ("random(start=edgegpu_latency,starts=3)", "local-search(start=-edgegpu_energy)")
    setup = Setup(str(table.path), "cifar10", max_queries=12)
    bench(agents, [setup], 2, tmp_path / "r")
    runs = read_runs(tmp_path / "r")
    first = runs["cifar10", agents[0]][0].cell[:3].tolist()
    assert first == np.argsort(-LATENCY, kind="stable")[:3].tolist()
    energy = table.own_column("cifar10", "edgegpu_energy")
    for run in runs["cifar10", agents[1]]:
        assert run.cell[:10].tolist() == np.argsort(energy, kind="stable")[:10].tolist()
        assert run.header["start"]["order"] == "-edgegpu_energy"
    assert validate(tmp_path / "r") == []
    bench(agents, [setup], 3, tmp_path / "r")  # the folder grows
    with pytest.raises(NB201Error, match="start=power"):
        bench(["random(start=power)"], [setup], 1, tmp_path / "s")


def test_what_a_table_of_own_columns_can_and_cannot_do(file, tmp_path):
    from nb201_env.figures.page import write_figures
    from nb201_env.tables.export import write_csv

    import_columns(file, tmp_path / "own.zarr")
    own = open_table(tmp_path / "own.zarr")
    write_csv(own, tmp_path / "own.csv")
    import_columns(tmp_path / "own.csv", tmp_path / "again.zarr")
    again = open_table(tmp_path / "again.zarr")
    for name in own.own_columns("cifar10"):
        np.testing.assert_array_equal(again.own_column("cifar10", name), own.own_column("cifar10", name))
        assert again.attrs(f"cifar10/{name}").get("unit") == own.attrs(f"cifar10/{name}").get("unit")
    pytest.importorskip("matplotlib")
    assert len(write_figures(own, tmp_path / "figures")) == 9
