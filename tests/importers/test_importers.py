"""Importers, on official records made by hand after the layout of the real files."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from official_records import HALF, META, make_record, write_folder, write_pickle

from nb201_env import NUM_CELLS, Cell, MissingDataError, NB201Error, TableFormatError, open_table
from nb201_env.importers.columns import import_columns
from nb201_env.importers.nats import BLOCK, import_file, import_folder
from nb201_env.tables.official import SOURCES

CELLS = (0, 1, 124, 125, 7000, NUM_CELLS - 1)


@pytest.fixture(scope="module")
def records():
    made = {index: make_record(index) for index in CELLS}
    made[1] = make_record(1, seeds200=(777, 888))
    return made


@pytest.fixture(scope="module")
def folder(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nats") / "simple"
    write_folder(folder, records)
    return folder


@pytest.fixture(scope="module")
def table(folder):
    out = folder.parent / "nats.zarr"
    import_folder(folder, out, jobs=2)
    return open_table(out)


def test_every_value_of_every_run(table, records):
    for index, record in records.items():
        for hp, runs in record.items():
            recipe = f"{hp}ep"
            for (name, seed), run in runs["all_results"].items():
                source = SOURCES[name]
                for official, split in [("train", "train"), *source.splits.items()]:
                    where = {"recipe": recipe, "split": split, "trained_on": source.trained_on}
                    trial = (
                        table.root[f"{source.dataset}/{recipe}/{source.trained_on}/{split}"]
                        .attrs["trial_seeds"]
                        .index(seed)
                    )
                    for epoch in {1, 2, int(hp) - 1, int(hp)}:
                        stored = (
                            run["train_acc1es"][epoch - 1]
                            if split == "train"
                            else run["eval_acc1es"].get(f"{official}@{epoch - 1}")
                        )
                        if stored is None:
                            assert epoch not in table.epochs(source.dataset, **where)
                            continue
                        at = where | {"epoch": epoch, "trial": trial}
                        assert 100 * float(table.accuracy(source.dataset, **at)[index]) == pytest.approx(
                            stored, abs=1e-5
                        )
                        losses = run["train_losses"] if split == "train" else run["eval_losses"]
                        key = epoch - 1 if split == "train" else f"{official}@{epoch - 1}"
                        assert table.loss(source.dataset, **at)[index] == losses[key]
                        seconds = table.train_seconds(
                            source.dataset, recipe=recipe, epoch=epoch, trained_on=source.trained_on
                        )
                        assert seconds[index] == (1.5 + index) * epoch


def test_what_the_sparse_curves_lack(table):
    assert table.epochs("cifar100", recipe="200ep", split="valtest") == tuple(range(1, 201))
    assert (
        table.epochs("cifar100", recipe="200ep", split="valid")
        == table.epochs("cifar100", recipe="200ep", split="test")
        == (200,)
    )
    assert table.epochs("cifar100", recipe="12ep", split="valid") == tuple(range(1, 13))
    assert table.epochs("cifar10", recipe="200ep", split="test", trained_on="half") == (200,)
    with pytest.raises(MissingDataError, match="has epochs 200, not 100"):
        table.accuracy("cifar100", split="valid", recipe="200ep", epoch=100)


def test_missing_seeds_and_cells_are_missing(table):
    every = table.accuracy("cifar10", recipe="200ep", trial="all")
    assert np.isnan(every[1]).tolist() == [False, False, True]
    assert np.isnan(every[5]).all()
    assert np.isnan(table.accuracy("cifar10", recipe="200ep")).sum() == NUM_CELLS - len(CELLS)
    assert table.attributes["provenance"]["cells"] == len(CELLS)
    assert table.verify() == []


def test_one_process_and_several_and_other_file_names_make_the_same_table(table, records, tmp_path):
    write_folder(tmp_path / "unpadded", records, padded=False)
    import_folder(tmp_path / "unpadded", tmp_path / "again.zarr.zip")
    again = open_table(tmp_path / "again.zarr.zip")
    assert (again.fingerprint, again.timing_fingerprint) == (table.fingerprint, table.timing_fingerprint)


def test_the_single_file_makes_the_same_table(table, records, tmp_path):
    whole = {"meta_archs": META, "total_archs": NUM_CELLS, "arch2infos": records, "evaluated_indexes": set(records)}
    write_pickle(tmp_path / "whole.pickle.pbz2", whole)
    imported = import_file(tmp_path / "whole.pickle.pbz2", tmp_path / "whole.zarr")
    assert imported.cells == len(CELLS)
    assert open_table(tmp_path / "whole.zarr").fingerprint == table.fingerprint
    with pytest.raises(TableFormatError, match="holds only the list of cells; import the folder"):
        write_folder(tmp_path / "f", {})
        import_file(tmp_path / "f" / "meta.pickle.pbz2", tmp_path / "x.zarr")


@pytest.mark.parametrize("new_container", [True, False])
def test_pth_files_make_the_same_table(table, records, tmp_path, new_container):
    torch = pytest.importorskip("torch")
    from nb201_env.importers.nas201 import import_pth

    renamed = {i: {"full": record["200"], "less": record["12"]} for i, record in records.items()}
    whole = {"meta_archs": META, "total_archs": NUM_CELLS, "arch2infos": renamed, "evaluated_indexes": list(records)}
    whole["basestr"] = "C16-N5"
    torch.save(whole, tmp_path / "nb.pth", _use_new_zipfile_serialization=new_container)
    import_pth(tmp_path / "nb.pth", tmp_path / "nb.zarr")
    made = open_table(tmp_path / "nb.zarr")
    assert (made.fingerprint, made.timing_fingerprint) == (table.fingerprint, table.timing_fingerprint)


def test_v1_0_has_no_times_of_200_epochs_and_only_one_short_run(records, tmp_path):
    torch = pytest.importorskip("torch")
    from nb201_env.importers.nas201 import import_pth

    record = {"full": make_record(3)["200"], "less": make_record(3, names=(HALF,))["12"]}
    for run in record["full"]["all_results"].values():
        run["train_times"], run["eval_times"] = None, {}
        run["latency"] = [np.float64(0.01), np.float64(0.03)]
    torch.save({"meta_archs": META, "arch2infos": {3: record}}, tmp_path / "v1_0.pth")
    import_pth(tmp_path / "v1_0.pth", tmp_path / "v1_0.zarr")
    made = open_table(tmp_path / "v1_0.zarr")
    assert made.recipes("cifar100") == ("200ep",)
    assert made.recipes("cifar10") == ("12ep", "200ep")
    with pytest.raises(MissingDataError, match="has no training seconds"):
        made.train_seconds("cifar10", recipe="200ep")
    with pytest.raises(MissingDataError, match="has no evaluation seconds"):
        made.eval_seconds("cifar100", recipe="200ep")
    assert made.latency("cifar100")[3] == 0.02


def test_pth_that_names_a_foreign_type_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    from nb201_env.importers.nas201 import import_pth

    torch.save({"meta_archs": META, "arch2infos": subprocess.Popen}, tmp_path / "evil.pth")
    with pytest.raises(TableFormatError, match=r"evil\.pth: refused: the pickle names"):
        import_pth(tmp_path / "evil.pth", tmp_path / "evil.zarr")
    (tmp_path / "short.pth").write_bytes((tmp_path / "evil.pth").read_bytes()[:50])
    with pytest.raises(TableFormatError, match=r"short\.pth: not a complete pickle"):
        import_pth(tmp_path / "short.pth", tmp_path / "short.zarr")


def test_a_killed_import_goes_on_and_an_incomplete_table_is_completed(table, records, folder, tmp_path):
    first = tmp_path / "first"
    write_folder(first, {index: records[index] for index in (0, 125)})
    assert import_folder(first, tmp_path / "t.zarr").cells == 2
    part = tmp_path / "t.zarr.parts" / "000000.npz"
    staged = part.stat().st_mtime_ns
    second = tmp_path / "second"
    write_folder(second, {index: records[index] for index in CELLS if index not in (0, 125)})
    assert import_folder(second, tmp_path / "t.zarr").cells == len(CELLS)
    assert open_table(tmp_path / "t.zarr").fingerprint == table.fingerprint
    assert part.stat().st_mtime_ns > staged
    staged = part.stat().st_mtime_ns
    for file in second.glob("0*"):
        file.write_bytes(b"not read again")
    assert import_folder(second, tmp_path / "t.zarr").cells == len(CELLS)
    assert part.stat().st_mtime_ns == staged


def test_an_import_that_is_killed_leaves_whole_parts_or_none(records, tmp_path):
    write_folder(tmp_path / "f", {index: records[0] | {} for index in (0,)} | {200: make_record(200)})
    script = (
        "import sys, os, signal\n"
        "from nb201_env.importers import nats, official\n"
        "def die(self, path):\n"
        "    if '000125' in str(path): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return save(self, path)\n"
        "save, official.Block.save = official.Block.save, die\n"
        f"nats.import_folder({str(tmp_path / 'f')!r}, {str(tmp_path / 't.zarr')!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    assert [p.name for p in (tmp_path / "t.zarr.parts").iterdir()] == ["000000.npz"]
    assert not (tmp_path / "t.zarr").exists()
    assert import_folder(tmp_path / "f", tmp_path / "t.zarr").cells == 2
    assert BLOCK == 125


def test_wrong_costs_are_reported_and_recomputed(tmp_path):
    record = make_record(11)
    record["200"]["all_results"]["cifar10", 888]["params"] = np.float64(0.316346)
    write_folder(tmp_path / "f", {11: record})
    (complaint,) = import_folder(tmp_path / "f", tmp_path / "t.zarr").complaints
    assert complaint == "cell 11, cifar10, seed 888: stored params 0.316346 M, in truth 0.802426 M"
    assert open_table(tmp_path / "t.zarr").params("cifar10")[11] == 802_426


def _with(record, change):
    change(record)
    return record


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            _with(make_record(5), lambda r: r["12"].update(arch_str=Cell(6).arch)),
            "the record of cell 5 says index 5 and",
        ),
        (_with(make_record(5), lambda r: r["12"].update(arch_index=6)), "the record of cell 5 says index 6"),
        (_with(make_record(5), lambda r: r["12"].pop("all_results")), "not of the official layout"),
        (_with(make_record(5), lambda r: r.update({"90": r["12"]})), "not of the official layout"),
        (
            _with(
                make_record(5), lambda r: r["12"]["all_results"]["cifar10", 111]["train_acc1es"].update({3: 12.34567})
            ),
            "is no whole number of 50000 images",
        ),
        (_with(make_record(5), lambda r: r.update({"12": sys.exit})), "refused: the pickle names"),
        ("nothing", "not of the official layout"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_records_that_are_not_what_they_should_be(tmp_path, record, message):
    write_folder(tmp_path / "f", {5: record})
    with pytest.raises(TableFormatError, match=message):
        import_folder(tmp_path / "f", tmp_path / "t.zarr")
    assert not (tmp_path / "t.zarr").exists()


def test_folders_that_are_not_what_they_should_be(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableFormatError, match="has no file like 000000"):
        import_folder(tmp_path / "empty", tmp_path / "t.zarr")
    write_folder(tmp_path / "f", {5: make_record(5)})
    short = (tmp_path / "f" / "000005.pickle.pbz2").read_bytes()[:-200]
    (tmp_path / "f" / "000005.pickle.pbz2").write_bytes(short)
    with pytest.raises(TableFormatError, match=r"000005\.pickle\.pbz2: not a complete pickle|no complete bz2"):
        import_folder(tmp_path / "f", tmp_path / "t.zarr")
    write_pickle(tmp_path / "f" / "meta.pickle.pbz2", {"meta_archs": META[::-1]})
    with pytest.raises(TableFormatError, match="its list of cells is not the official one"):
        import_folder(tmp_path / "f", tmp_path / "t.zarr")


# --- columns ----------------------------------------------------------------------------------------------------------


def test_columns_of_real_values(real_data, tmp_path):
    means = import_columns(real_data / "nb201-published-cifar.npz", tmp_path / "columns.zarr")
    assert "cifar100/200ep/valid_accuracy" in means.means
    assert "cifar100/12ep/valid_accuracy" not in means.means
    table = open_table(tmp_path / "columns.zarr")
    values = np.load(real_data / "nb201-published-cifar.npz")
    assert table.verify() == []
    for dataset in ("cifar10", "cifar100"):
        for recipe in ("12ep", "200ep"):
            for split in ("valid", "test"):
                expected = values[f"{dataset}/{recipe}/{split}_accuracy"]
                expected = np.nanmean(expected, axis=1) if expected.ndim > 1 else expected
                assert np.allclose(100 * table.accuracy(dataset, split=split, recipe=recipe), expected, atol=2e-4)
            epochs = int(recipe[:-2])
            seconds = epochs * values[f"{dataset}/{recipe}/train_seconds_per_epoch"].astype(float)
            assert np.allclose(table.train_seconds(dataset, recipe=recipe), seconds)
    assert table.accuracy("cifar10", split="test", recipe="200ep").argmax() in (6111, 13714)
    assert table.accuracy("cifar100", split="test", recipe="200ep").argmax() == 9930
    with pytest.raises(MissingDataError, match="holds only means over trials, not trial 0"):
        table.accuracy("cifar100", recipe="200ep", trial=0)


def test_csv_goes_out_and_comes_back(published, tmp_path):
    from nb201_env.tables.export import write_csv

    write_csv(published, tmp_path / "published.csv")
    with (tmp_path / "published.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert (rows[6111]["index"], rows[6111]["arch"]) == ("6111", Cell(6111).arch)
    import_columns(tmp_path / "published.csv", tmp_path / "back.zarr")
    back = open_table(tmp_path / "back.zarr")
    for dataset in published.datasets:
        np.testing.assert_array_equal(back.latency(dataset), published.latency(dataset))
        mine, original = back.accuracy(dataset, trial="all"), published.accuracy(dataset, trial="all")
        assert np.array_equal(mine, original, equal_nan=True)
        assert np.allclose(back.train_seconds(dataset), published.train_seconds(dataset), rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "expected a heading with 'index' or 'arch'"),
        ("index,cifar10/12ep/speed\n1,2\n", "unknown column 'cifar10/12ep/speed'; expected DATASET"),
        ("index,mnist/12ep/valid_accuracy\n1,2\n", "unknown data set 'mnist'; known are cifar10"),
        ("index,cifar10/12ep/valid_accuracy\n99999,2\n", "line 2: a cell index must be"),
        ("index,cifar10/12ep/valid_accuracy\n3,high\n", "line 2: could not convert"),
        ("index,cifar10/12ep/valid_accuracy\n3,9_4.5\n", "line 2: '9_4.5' is no number"),
        ("index,cifar10/12ep/valid_accuracy\n1_0,94.5\n", "line 2: '1_0' is no number"),
        (f"index,arch,cifar10/energy\n5,{Cell(100).arch},3\n", "line 2: index 5 is not the cell"),
        ("index,arch,cifar10/energy\n7,garbage,4\n", "line 2: arch string 'garbage'"),
    ],
)
def test_columns_that_are_not_what_they_should_be(tmp_path, text, message):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(NB201Error, match=message):
        import_columns(tmp_path / "c.csv", tmp_path / "c.zarr")
    assert not (tmp_path / "c.zarr").exists()


def test_other_columns_files(tmp_path):
    with pytest.raises(NB201Error, match=r"columns come in an \.npz or a \.csv"):
        import_columns(tmp_path / "c.xlsx", tmp_path / "c.zarr")
    with pytest.raises(NB201Error, match="does not exist"):
        import_columns(tmp_path / "c.npz", tmp_path / "c.zarr")
    np.savez(tmp_path / "c.npz", **{"cifar10/12ep/valid_accuracy": np.zeros(7)})
    with pytest.raises(TableFormatError, match="not 15625 numbers"):
        import_columns(tmp_path / "c.npz", tmp_path / "c.zarr")
