"""Every figure of the embedded tables is drawn, and what cannot be drawn is said on the page."""

import html

import pytest

from nb201_env import NUM_CELLS, open_table
from nb201_env.cli import main
from nb201_env.tables.writer import TableWriter

pytest.importorskip("matplotlib")

import numpy as np

from nb201_env.figures import FIGURES, write_figures

NEED_EPOCHS = {"curves", "stability"}


@pytest.mark.parametrize("name", ["published", "mini"])
def test_all_figures_that_a_table_has_the_data_for(name, tmp_path):
    table, seen = open_table(name), []
    missing = write_figures(table, tmp_path, lambda done, total, what: seen.append((done, total, what)))
    assert seen[-1] == (len(FIGURES), len(FIGURES), "index.html")
    several_trials = len(table.trials(table.datasets[0])) > 1
    assert set(missing) == (NEED_EPOCHS if name == "published" else set() if several_trials else {"noise"})
    page = (tmp_path / "index.html").read_text()
    for kind in set(FIGURES) - set(missing):
        assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
        svg = (tmp_path / f"{kind}.svg").read_text()
        assert "mathdefault" not in svg  # a tick that nobody can read
        assert f'src="{kind}.png"' in page
    for kind, why in missing.items():
        assert not (tmp_path / f"{kind}.png").exists()
        assert f"Not drawn: {html.escape(why)}." in page


def test_names_of_a_table_are_text_on_the_page(tmp_path, monkeypatch, capsys):
    with TableWriter(tmp_path / "odd.zarr", "<b>$x^2$&") as writer:
        writer.add_dataset("a_b", num_classes=10, image_size=8)
        writer.add_training("a_b", "short", "full", epochs=1)
        correct = np.random.default_rng(0).integers(1000, size=(1, 1, NUM_CELLS))
        writer.add_split("a_b", "short", "full", "valid", images=1000, epochs=[1], correct=correct)
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        arguments = ["nb201", "figures", "--table", str(tmp_path / "odd.zarr"), "--out", str(folder)]
        monkeypatch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
    shown = capsys.readouterr()
    assert "ranking: not drawn, table '<b>$x^2$&' has one data set" in shown.err
    assert "index.html" in shown.out
    page = (folders[0] / "index.html").read_text()
    assert "<b>" not in page
    assert "&lt;b&gt;$x^2$&amp;" in page
    for file in folders[0].iterdir():
        assert file.read_bytes() == (folders[1] / file.name).read_bytes(), file.name
