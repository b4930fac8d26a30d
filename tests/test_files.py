"""Where files may be written."""

import os

import pytest

from nb201_env import NB201Error
from nb201_env.cli import main
from nb201_env.files import replacing, write_text
from nb201_env.parallel import run_tasks


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_stays_a_pipe(tmp_path, capsys):
    os.mkfifo(tmp_path / "p")
    with pytest.raises(NB201Error, match="is a pipe or a device, which a file would replace"):
        write_text(tmp_path / "p", "text")
    with pytest.raises(SystemExit) as ended:
        _command("table", "export", "published", "--out", str(tmp_path / "p"))
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (tmp_path / "p").is_fifo()


def _command(*arguments):
    import sys
    from unittest.mock import patch

    with patch.object(sys, "argv", ["nb201", *arguments]):
        main()


def test_a_link_and_a_folder_stay_what_they_are(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "folder").mkdir()
    for name, what in (("link", "a link"), ("folder", "a folder")):
        with pytest.raises(NB201Error, match=f"it is {what}"):
            write_text(tmp_path / name, "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "real"]
    with replacing(tmp_path / "real") as fragment:
        fragment.write_text("new")
    assert (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize("jobs", [0, -1, 1.5, True, "2"])
def test_jobs_are_a_whole_number(jobs):
    with pytest.raises(NB201Error, match="jobs must be a whole number at least 1"):
        run_tasks(len, [], jobs)
