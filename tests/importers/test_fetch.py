"""Downloading official files, from a local server that stands for theirs."""

import hashlib
import sys
import tarfile
from dataclasses import replace

import pytest
from official_records import make_record, write_folder
from web_server import serving

from nb201_env import NB201Error, TableFormatError, UnreachableError, open_table
from nb201_env.cli import main
from nb201_env.importers import fetch as module
from nb201_env.importers.fetch import OFFICIAL, fetch


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of an archive of four records, which stands for NATS-Bench's."""
    monkeypatch.setenv("NB201_CACHE", str(tmp_path / "cache"))
    records, served = tmp_path / "NATS-tss-v1_0-3ffb9-simple", tmp_path / "served"
    write_folder(records, {index: make_record(index) for index in (0, 284, 6111, 15624)})
    served.mkdir()
    archive = served / "some.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(records, records.name)
    content = archive.read_bytes()
    known = replace(OFFICIAL["nats-tss"], size=len(content), hash=f"sha256:{hashlib.sha256(content).hexdigest()}")
    monkeypatch.setitem(OFFICIAL, "nats-tss", known)
    with serving(served) as found:
        found.mirror, found.records, found.size = f"{found.url}/some.tar", records, len(content)
        yield found


def test_what_is_known_is_named_as_its_authors_name_it():
    for official in OFFICIAL.values():
        kind, _, digits = official.hash.partition(":")
        assert len(digits) == {"md5": 32, "sha256": 64}[kind]
        if kind == "md5":  # the end of a file's MD5 is in its name
            assert digits.endswith(official.file.partition(".")[0].rpartition("-")[2])


def downloaded(server, mirror=None):
    """The file that `nats-tss` stands for here, from a server."""
    folder = server.records.parent / "cache" / "downloads"
    return module.download(OFFICIAL["nats-tss"], folder, mirror or server.mirror, lambda *progress: None)


def test_a_download_that_stops_goes_on_where_it_stopped(server, tmp_path):
    thirds = iter([server.size // 3, server.size // 3])
    server.fault = lambda path, content: content[: next(thirds, len(content))]
    assert downloaded(server).read_bytes() == (server.folder / "some.tar").read_bytes()
    assert len(server.asked) == 3
    assert sum(count for _, count in server.asked) <= server.size + 2 * module.PIECE


def test_one_that_stops_for_good_keeps_what_it_has(server, tmp_path):
    half = server.size // 2 // module.PIECE * module.PIECE
    server.fault = lambda path, content: content[: half - (server.size - len(content))]
    with pytest.raises(UnreachableError, match=rf"stopped after {half:,} of {server.size:,} bytes.*goes on from there"):
        fetch("nats-tss", tmp_path / "fetched.zarr", server.mirror)
    assert not (tmp_path / "fetched.zarr").exists()
    server.asked.clear()
    server.fault = lambda path, content: content
    downloaded(server)
    assert [count for _, count in server.asked] == [server.size - half]


def test_another_file_is_refused_and_not_kept(server, tmp_path):
    server.fault = lambda path, content: content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(TableFormatError, match=r"is not NATS-tss-v1_0-3ffb9-simple.tar"):
        downloaded(server)
    server.fault = lambda path, content: content
    assert downloaded(server).stat().st_size == server.size
    asked = len(server.asked)
    downloaded(server)
    assert len(server.asked) == asked, "it was there"


def test_a_page_in_its_place_is_refused_before_it_is_read(server, tmp_path):
    (server.folder / "page.html").write_text("too many have viewed or downloaded this file")
    with pytest.raises(UnreachableError, match=r"offers 44 bytes, not the .*by hand from https://github.com/D-X-Y"):
        fetch("nats-tss", tmp_path / "fetched.zarr", f"{server.url}/page.html")


@pytest.mark.parametrize(
    ("name", "mirror", "complaint"),
    [
        ("nats-sss", None, "nothing is called 'nats-sss'; what can be fetched: nats-tss, nas-bench-201"),
        ("nats-tss", "file:///etc/passwd", "begins with https:// or http://"),
        ("nats-tss", "{url}/none.tar", "answers HTTP 404"),
        ("nats-tss", "http://127.0.0.1:1/some.tar", "stopped after 0 of .* bytes .ConnectionError"),
    ],
)
def test_what_cannot_be_fetched_is_one_clear_error(server, tmp_path, name, mirror, complaint):
    with pytest.raises(NB201Error, match=complaint):
        fetch(name, tmp_path / "fetched.zarr", mirror and mirror.format(url=server.url))


def test_without_pooch_the_fix_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    for cache in ("", str(tmp_path)):
        monkeypatch.setenv("NB201_CACHE", cache)
        with pytest.raises(NB201Error, match=r"needs pooch: pip install 'nb201-env\[remote\]'"):
            fetch("nats-tss", tmp_path / "fetched.zarr")


def test_no_file_leaves_the_folder(server, tmp_path):
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as tar:
        for name in ("../000001.pickle.pbz2", "/tmp/000002.pickle.pbz2", "a/b/000003.pickle.pbz2"):
            tar.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("a/000004.pickle.pbz2")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(TableFormatError, match="holds no records"):
        module.unpacked(evil)


def test_the_command_makes_a_table_of_the_records(server, tmp_path, monkeypatch, capsys):
    out = tmp_path / "fetched.zarr"
    monkeypatch.setattr(sys, "argv", ["nb201", "fetch", "nats-tss", "--out", str(out), "--mirror", server.mirror])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert "4 of 15625 cells" in capsys.readouterr().out
    record = make_record(284)["200"]["all_results"]["cifar100", 888]
    found = open_table(out).accuracy("cifar100", split="train", recipe="200ep", trial=1)[284]
    assert found == pytest.approx(record["train_acc1es"][199] / 100, abs=1e-6)
