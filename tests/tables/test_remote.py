"""Tables at an address, read from a local web server that can misbehave."""

import os
import pickle
import sys
import zipfile

import gymnasium as gym
import numpy as np
import pytest
from web_server import serving

from nb201_env import NB201Error, TableFormatError, UnreachableError, open_table
from nb201_env.cli import main
from nb201_env.tables import places, remote
from nb201_env.tables.opening import DATA, EMBEDDED
from nb201_env.tables.writer import TableWriter


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("NB201_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    with zipfile.ZipFile(DATA / EMBEDDED["mini"]) as archive:
        archive.extractall(folder / "mini.zarr")
    (folder / "mini.zarr.zip").write_bytes((DATA / EMBEDDED["mini"]).read_bytes())
    with serving(folder) as found:
        yield found
    remote.remote_files.cache_clear()


def opened_again(url):
    """A table as a process opens it that has not seen it yet."""
    remote.remote_files.cache_clear()
    return open_table(url)


@pytest.mark.parametrize("name", ["mini.zarr", "mini.zarr.zip", "mini.zarr/"])
def test_a_table_elsewhere_equals_the_local_one(server, name):
    table, local = open_table(f"{server.url}/{name}"), open_table("mini")
    assert table.fingerprint == local.fingerprint
    for dataset in local.datasets:
        for epoch in (1, 8):
            np.testing.assert_array_equal(table.accuracy(dataset, epoch=epoch), local.accuracy(dataset, epoch=epoch))
    assert table.query(6111, "digits") == local.query(6111, "digits")
    assert table.verify() == []


@pytest.mark.parametrize("name", ["mini.zarr", "mini.zarr.zip"])
def test_only_what_is_asked_for_is_read_and_only_once(server, name):
    size = (DATA / EMBEDDED["mini"]).stat().st_size
    opened_again(f"{server.url}/{name}").accuracy("digits", split="test")
    read = sum(count for _, count in server.asked)
    assert read < 0.1 * size
    server.asked.clear()
    opened_again(f"{server.url}/{name}").accuracy("digits", split="test")
    # the manifest; of the archive, the directory at its end as well
    assert sum(count for _, count in server.asked) < (0.003 if name.endswith(".zarr") else 0.015) * size


def test_a_damaged_copy_is_read_again(server):
    url = f"{server.url}/mini.zarr"
    expected = opened_again(url).accuracy("digits", split="test")
    for copy in (server.folder.parent / "cache").rglob("c/*"):
        if copy.is_file():
            copy.write_bytes(b"\0" * copy.stat().st_size)
    np.testing.assert_array_equal(opened_again(url).accuracy("digits", split="test"), expected)


def test_verifying_looks_at_the_server_and_not_at_copies(server):
    url = f"{server.url}/mini.zarr"
    assert open_table(url).verify() == []
    (server.folder / "mini.zarr/digits/mini/full/valid/correct/c/0/0/0").unlink()
    assert opened_again(url).accuracy("digits").shape == (15_625,)  # of the copy
    assert any("correct/c/0/0/0 cannot be read" in problem for problem in opened_again(url).verify())


def test_without_a_folder_for_copies_it_is_read_all_the_same(server, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NB201_CACHE", str(tmp_path / "file"))
    assert open_table(f"{server.url}/mini.zarr").accuracy("digits", split="test").shape == (15625,)


@pytest.mark.parametrize("name", ["mini.zarr", "mini.zarr.zip"])
def test_a_server_that_changes_a_byte_changes_no_number(server, name):
    table = open_table(f"{server.url}/{name}")
    server.fault = lambda path, content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    with pytest.raises(TableFormatError, match=r"digits/mini/full/test/.* (is not what was written|cannot be read)"):
        table.accuracy("digits", split="test")
    server.fault = lambda path, content: content
    assert np.isfinite(table.accuracy("digits", split="test")).all()


@pytest.mark.parametrize("name", ["mini.zarr", "mini.zarr.zip"])
def test_a_server_that_stops_in_the_middle_is_one_clear_error(server, name, monkeypatch):
    monkeypatch.setitem(places.RETRIES, "max_retries", 1)
    table = open_table(f"{server.url}/{name}")
    server.fault = lambda path, content: content[: len(content) // 2]
    with pytest.raises(UnreachableError, match=r"http://127.*cannot be read"):
        table.accuracy("digits")
    server.fault = lambda path, content: content
    np.testing.assert_array_equal(table.accuracy("digits"), open_table("mini").accuracy("digits"))


def test_a_server_that_stops_once_is_asked_again(server):
    stops = iter([True])

    def fault(path, content):
        return content[:100] if "/c/" in path and next(stops, False) else content

    table = open_table(f"{server.url}/mini.zarr")
    server.fault = fault
    np.testing.assert_array_equal(table.accuracy("digits"), open_table("mini").accuracy("digits"))
    assert next(stops, "stopped") == "stopped"


def test_a_table_that_is_replaced_meanwhile_is_never_mixed_with_the_old_one(server):
    table = open_table(f"{server.url}/mini.zarr")
    old = table.accuracy("digits")
    other = server.folder / "other.zarr"
    with TableWriter(other, "other") as writer:
        writer.add_dataset("digits", num_classes=10, image_size=8)
        writer.add_training("digits", "mini", "full", epochs=8)
        counts = np.full((1, 1, 15625), 7)
        writer.add_split("digits", "mini", "full", "test", images=100, epochs=[8], correct=counts)
    (server.folder / "mini.zarr").rename(server.folder / "old.zarr")
    other.rename(server.folder / "mini.zarr")
    np.testing.assert_array_equal(table.accuracy("digits"), old)
    with pytest.raises(TableFormatError, match="changed just now"):
        table.accuracy("digits", split="test")
    assert opened_again(f"{server.url}/mini.zarr").accuracy("digits", split="test")[0] == np.float32(0.07)


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("{url}/none.zarr", "no table at .*: there is no manifest"),
        ("{url}/none.zarr.zip", "no table at .*: nothing is there"),
        ("{url}/mini.zarr/manifest-sha256.txt", "no table at"),
        ("{url}/", "a table's address is"),
        ("{url}/mini.zarr?key=1", "a table's address is"),
        ("ftp://127.0.0.1/mini.zarr", "a table's address is"),
        ("file:///mini.zarr", "a table's address is"),
        ("http://127.0.0.1:1/mini.zarr", "http://127.0.0.1:1/mini.zarr cannot be read"),
        ("http://", "a table's address is"),
        ("://", "a table's address is"),
    ],
)
def test_an_address_of_no_table_is_one_clear_error(server, address, complaint):
    with pytest.raises(NB201Error, match=complaint):
        open_table(address.format(url=server.url))


def test_what_is_no_table_is_refused(server):
    (server.folder / "no.zarr.zip").write_bytes(b"no zip" * 100)
    with pytest.raises(TableFormatError, match="no zip archive"):
        open_table(f"{server.url}/no.zarr.zip")
    (server.folder / "no.zarr").mkdir()
    (server.folder / "no.zarr/manifest-sha256.txt").write_text("no hash  zarr.json\n")
    with pytest.raises(TableFormatError, match="manifest"):
        open_table(f"{server.url}/no.zarr")


def test_a_file_larger_than_any_table_has_is_refused_before_it_is_read(server, monkeypatch):
    table = open_table(f"{server.url}/mini.zarr")
    monkeypatch.setattr(places, "MOST_BYTES", 1000)
    with pytest.raises(TableFormatError, match="more than a table's files may have"):
        table.accuracy("digits")


def test_it_travels_to_another_process_as_its_address(server):
    table = open_table(f"{server.url}/mini.zarr")
    assert pickle.loads(pickle.dumps(table)) is table
    assert server.url.encode() in pickle.dumps(table)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_process_reads_what_its_parent_had_not(server):
    table = open_table(f"{server.url}/mini.zarr")
    table.accuracy("digits", split="test")
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.write(writing, table.accuracy("gratings", split="test").tobytes())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        found = np.frombuffer(file.read(), np.float32)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(found, open_table("mini").accuracy("gratings", split="test"))


def test_environments_and_commands_take_an_address(server, capsys, monkeypatch):
    env = gym.make("NB201/BuildCell-v0", table=f"{server.url}/mini.zarr.zip", dataset="digits")
    env.reset(seed=0)
    for op in (3, 3, 3, 1, 3, 3):
        _, reward, *_ = env.step(op)
    assert reward > 0.5
    monkeypatch.setattr(sys, "argv", ["nb201", "table", "verify", f"{server.url}/mini.zarr"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert "nothing wrong" in capsys.readouterr().out
