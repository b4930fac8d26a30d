import base64
import json
import re

import numpy as np
import pytest
from test_cli import nb201

from nb201_env import NUM_CELLS, NB201Error, open_table
from nb201_env.explore.pack import pack, pack_shares
from nb201_env.explore.page import SCRIPTS, collect, page, write_page
from nb201_env.space import ALL_OPS
from nb201_env.tables.writer import TableWriter

EVIL = "</script><script>alert(1)</script>{{script}}"


@pytest.fixture(scope="module")
def mini():
    return open_table("mini")


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """A table of a few cells, without seconds or latencies, whose name and unit attack the page."""
    path = tmp_path_factory.mktemp("tables") / "partial.zarr"
    with TableWriter(path, EVIL) as writer:
        writer.add_dataset("toy set", num_classes=10, image_size=8)
        writer.add_column("toy set", "score", np.where(np.arange(NUM_CELLS) < 9, 1e300, np.nan), unit=EVIL)
        writer.add_column("toy set", "never", np.full(NUM_CELLS, np.nan))
        writer.add_training("toy set", "r+1", "full", epochs=3, images=50)
        correct = np.full((2, 1, NUM_CELLS), -1)
        correct[0, 0, :100] = np.arange(100) % 30
        correct[1, 0, :50] = 7
        writer.add_split("toy set", "r+1", "full", "valid", images=30, epochs=[3], trial_seeds=(1, 2), correct=correct)
    return open_table(path)


def unpacked(packed):
    """The values of a packed array, by what `nb201_env.explore.pack.Packed` says."""
    values = np.frombuffer(base64.b64decode(packed["data"]), f"<{packed['type']}").astype(np.float64)
    if "palette" in packed:
        values = np.array(packed["palette"], np.float64)[values.astype(int)]
    over = packed.get("over", 1)
    with np.errstate(invalid="ignore"):
        return values / (unpacked(over) if isinstance(over, dict) else over)


def quantities_of(contents):
    """All of a page's quantities with their data set and recipe, None for what no recipe determines."""
    for dataset in contents["datasets"]:
        for quantity in dataset["quantities"]:
            yield dataset["name"], None, quantity
        for recipe in dataset["recipes"]:
            for quantity in recipe["quantities"]:
                yield dataset["name"], recipe["name"], quantity


@pytest.mark.parametrize(
    "values",
    [
        np.arange(300),
        np.arange(5) * 70_000,
        np.arange(300) * 70_000,
        np.array([-3, 4]),
        np.array([0.5, np.nan, np.inf]),
        np.linspace(0, 1, 300),
        np.linspace(0, 1e300, 300),
    ],
)
def test_packed_numbers_come_back(values):
    packed = json.loads(json.dumps(pack(values), allow_nan=False))
    expected = np.where(np.isfinite(values), values, np.nan)
    assert np.allclose(unpacked(packed), expected, rtol=1e-6, atol=0, equal_nan=True)
    if values.dtype.kind == "i":
        assert np.array_equal(unpacked(packed), values)


def test_shares_are_exact_and_missing_without_a_whole():
    counts, wholes = np.array([1, 0, 70_000]), np.array([3, 0, 75_000])
    assert np.array_equal(unpacked(pack_shares(counts, wholes)), [1 / 3, np.nan, 70 / 75], equal_nan=True)


@pytest.mark.parametrize("name", ["published", "mini"])
def test_a_page_holds_what_the_table_holds(name):
    table = open_table(name)
    contents = json.loads(json.dumps(collect(table), allow_nan=False))
    assert np.array_equal(unpacked(contents["ranks"]), ALL_OPS @ (5 ** np.arange(5, -1, -1)))
    seen = set()
    for dataset, recipe, quantity in quantities_of(contents):
        seen.add((dataset, quantity["id"]))
        if quantity["id"] in ("params", "macs", "latency"):
            expected = getattr(table, quantity["id"])(dataset)
            assert np.allclose(unpacked(quantity["columns"][0]), expected, rtol=1e-6)
        elif quantity["id"] == "seconds":
            for place, epoch in enumerate(quantity["epochs"]):
                rate = quantity.get("rate")
                found = unpacked(rate) * epoch if rate else unpacked(quantity["columns"][place])
                assert np.allclose(found, table.train_seconds(dataset, recipe=recipe, epoch=epoch), rtol=1e-6)
        else:
            split = quantity["split"]
            assert tuple(quantity["epochs"]) == table.epochs(dataset, recipe=recipe, split=split)
            for epoch, column in zip(quantity["epochs"], quantity["columns"], strict=True):
                expected = table.column(dataset, recipe=recipe, split=split).values("accuracy", epoch, "mean")
                assert np.abs(unpacked(column) - expected).max() < 1e-12
    assert {(dataset, "valid") for dataset in table.datasets} <= seen
    assert {(dataset, "seconds") for dataset in table.datasets} <= seen


@pytest.mark.parametrize("name", ["published", "mini"])
def test_a_page_is_small_and_needs_no_network(tmp_path, name):
    size = write_page(open_table(name), tmp_path / "page.html")
    assert size == (tmp_path / "page.html").stat().st_size < 5e6
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "default-src 'none'" in text
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)


def test_no_script_makes_html_of_data():
    from importlib.resources import files

    for name in SCRIPTS:
        assert not re.search(
            r"innerHTML|insertAdjacentHTML|document\.write|eval\(", (files("nb201_env.explore") / name).read_text()
        )


def test_hostile_names_stay_data(partial):
    text = page(partial)
    assert text.count("</script>") == 2  # of the data and of the page's own script
    contents = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])
    assert contents["table"] == EVIL
    assert contents["datasets"][0]["quantities"][2]["unit"] == EVIL


def test_a_partial_table_has_only_what_it_has(partial):
    found = {quantity["id"]: quantity for _, _, quantity in quantities_of(collect(partial))}
    assert list(found) == ["params", "macs", "own:score", "valid"]
    expected = partial.column("toy set").values("accuracy", 3, "mean")
    assert np.allclose(unpacked(found["valid"]["columns"][0]), expected, rtol=1e-12, atol=0, equal_nan=True)
    assert np.isnan(unpacked(found["valid"]["columns"][0])[100:]).all()
    assert np.nanmax(unpacked(found["own:score"]["columns"][0])) == 1e300


def test_nets_of_other_images_are_named(tmp_path):
    with TableWriter(tmp_path / "halves.zarr", "halves") as writer:
        writer.add_dataset("toy", num_classes=2, image_size=8)
        for trained_on, splits in (("half", ("valid", "test")), ("full", ("test",))):
            writer.add_training("toy", "r", trained_on, epochs=1, images=9)
            for split in splits:
                correct = np.ones((1, 1, NUM_CELLS), np.int64)
                writer.add_split("toy", "r", trained_on, split, images=9, epochs=[1], trial_seeds=(1,), correct=correct)
    (recipe,) = collect(open_table(tmp_path / "halves.zarr"))["datasets"][0]["recipes"]
    labels = {quantity["id"]: quantity["label"] for quantity in recipe["quantities"]}
    assert labels == {"valid": "valid accuracy", "test:half": "test accuracy, trained on half", "test": "test accuracy"}


def test_many_epochs_are_thinned_evenly(mini, monkeypatch):
    monkeypatch.setattr("nb201_env.explore.page.MOST_COLUMNS", 3 * 12)  # three splits of four sets
    (recipe,) = collect(mini)["datasets"][0]["recipes"]
    assert recipe["thinned_from"] == 8
    assert next(one for one in recipe["quantities"] if one["id"] == "valid")["epochs"] == [1, 5, 8]


def test_a_place_where_nothing_can_be_written_is_one_line(tmp_path, published):
    with pytest.raises(NB201Error, match=r"it is a folder; name a file such as explore\.html"):
        write_page(published, tmp_path)
    result = nb201("explore", "--out", tmp_path / "none" / "page.html")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "does not exist; make it first" in line


def test_command(tmp_path):
    result = nb201("explore", "--table", "published", "--out", tmp_path / "page.html")
    assert result.returncode == 0, result.stderr
    assert "open it in a browser" in result.stdout
