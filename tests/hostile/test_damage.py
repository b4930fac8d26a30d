"""Flipped bytes and cut files: `verify` finds each, and reading gives the right value or an error."""

import os
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nb201_env import NB201Error, TableFormatError, open_table
from nb201_env.tables.opening import DATA, EMBEDDED
from nb201_env.tables.schema import MANIFEST
from nb201_env.tables.table import Table

FLIPS, CUTS = (int(number) for number in os.environ.get("NB201_DAMAGE", "20,6").split(","))
"""Of each table; `make test-hostile` does more."""


@pytest.fixture(scope="module")
def tables(tmp_path_factory, synthetic_path):
    """Tables as archives and as folders."""
    folder = tmp_path_factory.mktemp("tables")
    found = {}
    for name in EMBEDDED:
        found[f"{name} archive"] = DATA / EMBEDDED[name]
        with zipfile.ZipFile(DATA / EMBEDDED[name]) as archive:
            archive.extractall(folder / f"{name}.zarr")
        found[f"{name} folder"] = folder / f"{name}.zarr"
    found["synthetic folder"] = synthetic_path
    return found


def readings(table):
    """Every kind of number that a table gives."""
    for dataset in table.datasets:
        yield table.params(dataset)
        if f"{dataset}/latency" in table:
            yield table.latency(dataset)
        for recipe in table.recipes(dataset):
            yield table.train_seconds(dataset, recipe=recipe)
            for split in table.splits(dataset, recipe=recipe):
                for epoch in table.epochs(dataset, recipe=recipe, split=split)[:2]:
                    yield table.accuracy(dataset, split=split, recipe=recipe, epoch=epoch)


def test_damage_is_found_and_never_a_number(tables, tmp_path):
    rng = random.Random(0)
    truths = {name: list(readings(Table(path))) for name, path in tables.items()}
    names = list(tables)
    for number in range((FLIPS + CUTS) * len(names)):
        name = names[number % len(names)]
        whole = tables[name]
        copy = tmp_path / f"{number}{''.join(whole.suffixes)}"
        (shutil.copytree if whole.is_dir() else shutil.copy)(whole, copy)
        files = sorted(path for path in copy.rglob("*") if path.is_file()) if copy.is_dir() else [copy]
        file = rng.choices(files, [1 + path.stat().st_size ** 0.5 for path in files])[0]
        content = bytearray(file.read_bytes())
        position = rng.randrange(len(content))
        is_cut = number // len(names) >= FLIPS
        if is_cut:
            del content[position:]
        else:
            content[position] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
        what = f"{name}, {file.name} {'cut' if is_cut else 'flipped'} at {position}"
        _check(copy, truths[name], what)
        (shutil.rmtree if copy.is_dir() else Path.unlink)(copy)


def _check(copy, truth, what):
    try:
        table = Table(copy)
        problems = table.verify()
    except TableFormatError:
        return  # it does not open, which says the same
    assert problems, what
    assert not any("\n" in problem for problem in problems), what
    try:
        for mine, expected in zip(readings(table), truth, strict=True):
            assert np.array_equal(mine, expected, equal_nan=True), what
    except NB201Error:
        pass


def test_a_swapped_zip_entry(tables, tmp_path):
    """Names in an archive's directory that were exchanged, and an entry that stands twice."""
    swapped, double = tmp_path / "swapped.zarr.zip", tmp_path / "double.zarr.zip"
    first, second = "cifar10/200ep/half/valid/correct/c/0/0/0", "cifar100/200ep/full/valid/correct/c/0/0/0"
    with zipfile.ZipFile(tables["published archive"]) as source:
        content = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(swapped, "w") as target:
        for name, value in content.items():
            target.writestr(name, content[{first: second, second: first}.get(name, name)] if value else value)
    shutil.copy(tables["published archive"], double)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(double, "a") as target:
        target.writestr(first, content[second])
    for path in (swapped, double):
        table = Table(path)
        assert table.verify()
        with pytest.raises(TableFormatError, match="damaged"):
            table.accuracy("cifar10")


@pytest.mark.parametrize("name", ["params", "latency", "correct"])
def test_a_flipped_letter_in_the_directory_of_an_archive(tables, tmp_path, name):
    whole = bytearray(tables["mini archive"].read_bytes())
    position = whole.rindex(f"/{name}/c/0".encode())  # of the directory, which stands at the end
    whole[position + 1] ^= 1
    path = tmp_path / "flipped.zarr.zip"
    path.write_bytes(whole)
    table = Table(path)
    assert table.verify()
    with pytest.raises(TableFormatError, match="damaged"):
        list(readings(table))


def test_the_manifest_is_as_sha256sum_reads_it(tables):
    lines = (tables["synthetic folder"] / MANIFEST).read_text().splitlines()
    assert all(len(line.split("  ")) == 2 and len(line.split("  ")[0]) == 64 for line in lines)
    listed = {line.split("  ")[1] for line in lines}
    there = {path.relative_to(tables["synthetic folder"]).as_posix()
             for path in tables["synthetic folder"].rglob("*") if path.is_file()}  # fmt: skip
    assert there - listed == {MANIFEST}


def test_a_table_of_version_1_opens(published, tmp_path):
    """Written before there were manifests."""
    import json

    path = tmp_path / "old.zarr"
    with zipfile.ZipFile(published.path) as archive:
        archive.extractall(path)
    (path / MANIFEST).unlink()
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"]["version"] = 1
    (path / "zarr.json").write_text(json.dumps(metadata))
    old = open_table(path)
    assert old.verify() == []
    assert np.array_equal(old.accuracy("cifar100"), published.accuracy("cifar100"))
    metadata["attributes"]["version"] = 2
    (path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(TableFormatError, match=r"manifest-sha256\.txt is missing"):
        open_table(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, n: a.update(version="2"), "its format version is '2'"),
        (lambda a, n: a.update(name=7), "name is no string"),
        (lambda a, n: a.pop("fingerprint"), "fingerprint is missing"),
        (lambda a, n: a.update(provenance=[1]), "provenance is no object"),
        (lambda a, n: n["cifar10"]["attributes"].update(num_classes="ten"), "num_classes is no integer"),
        (lambda a, n: n["cifar10"]["attributes"].update(num_classes=0), "num_classes is 0, not 1 to"),
        (lambda a, n: n["cifar10/200ep"]["attributes"].update(epochs=2**40), "epochs is 1099511627776"),
        (lambda a, n: n["cifar10/200ep/half/valid"]["attributes"].update(images=-1), "images is -1"),
        (lambda a, n: n["cifar10/latency"].update(shape=[7]), "is expected"),
        (lambda a, n: n["cifar10/latency"].update(shape="big"), "its shape is 'big'"),
        (lambda a, n: n.update({"..": n["cifar10"]}), "is no name within a table"),
        (lambda a, n: n.update({"../../x": n["cifar10"]}), "is no name within a table"),
        (lambda a, n: n.update(cifar10=[1]), "its metadata is no object"),
        (lambda a, n: n.update(cifar10={"node_type": "heap"}), "neither a group nor an array"),
    ],
)
def test_metadata_that_no_table_has_does_not_open(published, tmp_path, change, message):
    import json

    path = tmp_path / "odd.zarr"
    with zipfile.ZipFile(published.path) as archive:
        archive.extractall(path)
    (path / MANIFEST).unlink()
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"]["version"] = 1
    change(metadata["attributes"], metadata["consolidated_metadata"]["metadata"])
    (path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(TableFormatError, match="is damaged") as error:
        Table(path)
    assert message in str(error.value)


def test_a_forked_child_reads_an_archive_that_was_opened_before(published):
    import multiprocessing

    published.accuracy("cifar10")
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        sums = pool.map(_sum_of, [name for name in published.datasets for _ in range(4)])
    assert sums == [float(published.accuracy(name, trial=0).sum()) for name in published.datasets for _ in range(4)]


def _sum_of(dataset):
    table = open_table("published")
    return float(table.accuracy(dataset, trial=0).sum())


def test_a_replaced_table_is_read_anew(synthetic_path, published, tmp_path):
    path = tmp_path / "t.zarr.zip"
    shutil.copy(published.path, path)
    stamp = path.stat().st_mtime_ns
    assert open_table(path).datasets[0] == "cifar10"
    path.unlink()
    shutil.copy(DATA / EMBEDDED["mini"], path)
    os.utime(path, ns=(stamp, stamp))
    assert "digits" in open_table(path).datasets


def test_a_node_that_is_gone_is_damage_without_consolidated_metadata_too(tables, tmp_path):
    import json

    path = tmp_path / "plain.zarr"
    shutil.copytree(tables["mini folder"], path)
    metadata = json.loads((path / "zarr.json").read_text())
    del metadata["consolidated_metadata"]
    (path / "zarr.json").write_text(json.dumps(metadata))
    assert np.array_equal(Table(path).params("digits"), open_table("mini").params("digits"))
    (path / "digits" / "params" / "zarr.json").unlink()
    with pytest.raises(TableFormatError, match=r"digits/params/zarr\.json is missing"):
        Table(path)


def test_what_another_tool_added_is_no_value_of_the_table(tables, tmp_path):
    import zarr

    path = tmp_path / "added.zarr"
    shutil.copytree(tables["published folder"], path)
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    for name in ("params", "200ep/half/epoch_seconds", "200ep/half/valid/loss", "200ep/half/valid/eval_seconds"):
        shape = {"params": (15_625,)}.get(name, (1, 1, 15_625))
        group.create_array(f"cifar10/{name}", shape=shape, dtype="i8" if name == "params" else "f8")[...] = 1
    table, truth = Table(path), open_table("published")
    assert np.array_equal(table.params("cifar10"), truth.params("cifar10"))
    assert np.array_equal(table.train_seconds("cifar10"), truth.train_seconds("cifar10"))
    assert not table.has_eval_seconds("cifar10")
    with pytest.raises(NB201Error, match="has no loss"):
        table.loss("cifar10")
    assert table.array("cifar10/params").sum() == 15_625
    assert len(table.verify()) == 4
    (path / "cifar10" / "params" / "zarr.json").write_text('{"node_type": "array", "shape": 5}')
    with pytest.raises(TableFormatError, match="added by another tool, and wrongly"):
        Table(path).array("cifar10/params")


def test_verify_names_links_and_pipes(tables, tmp_path):
    path = tmp_path / "odd.zarr"
    shutil.copytree(tables["mini folder"], path)
    (path / "evil").symlink_to("/etc")
    (path / "digits" / "self").symlink_to(path)
    chunk = path / "digits" / "latency" / "c" / "0"
    chunk.unlink()
    os.mkfifo(chunk)
    odd = ("digits/latency/c/0", "digits/self", "evil")
    assert Table(path).verify() == [f"{name} is no regular file" for name in odd]
    with pytest.raises(TableFormatError, match="its file c/0 is no regular file"):
        Table(path).latency("digits")
