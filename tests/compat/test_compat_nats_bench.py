"""The drop-in against nats_bench 1.8 itself, on the two official records."""

import contextlib
import io
import itertools
import random
import re
import warnings

import numpy as np
import pytest
from conftest import REAL_DATA
from official_records import make_record, write_folder

from nb201_env import NUM_CELLS, Cell, InvalidCellError, MissingDataError, NB201Error, open_table
from nb201_env.compat.nats_bench import create, search_space_info
from nb201_env.importers.nats import import_folder
from nb201_env.tables.writer import TableWriter

CELLS = (0, 284)
ROUNDING = 2e-7 if REAL_DATA.is_dir() else 4e-6  # of accuracies in percent; made ones are float32
NAMES = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The two official records, or, where they are not beside this checkout, made ones of the same layout."""
    if REAL_DATA.is_dir():
        return REAL_DATA / "nats-tss-records"
    folder = tmp_path_factory.mktemp("made") / "records"
    write_folder(folder, {cell: make_record(cell) for cell in CELLS})
    return folder


@pytest.fixture(scope="module")
def theirs(records):
    nats_bench = pytest.importorskip("nats_bench")
    warnings.simplefilter("ignore", DeprecationWarning)
    api = nats_bench.create(str(records), "tss", fast_mode=True, verbose=False)
    for cell in CELLS:  # it only knows what was queried before
        api.query_by_index(cell)
    return api


@pytest.fixture(scope="module")
def table(records, tmp_path_factory):
    out = tmp_path_factory.mktemp("records") / "records.zarr"
    imported = import_folder(records, out)
    assert (imported.cells, imported.complaints) == (2, [])
    return open_table(out)


@pytest.fixture(scope="module")
def ours(table):
    return create(table, "tss", fast_mode=True, verbose=False)


def same(mine, other):
    """Equal, accuracies within the rounding to whole images and sums of seconds within floating-point rounding."""
    if isinstance(other, dict):
        assert list(mine) == list(other)
        for key in other:
            same(mine[key], other[key])
    elif isinstance(other, list | tuple):
        assert len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            same(a, b)
    elif isinstance(other, float):
        assert mine == pytest.approx(other, rel=1e-12, abs=ROUNDING)
    else:
        assert mine == other


def both(ours, theirs, call):
    """The result of the same call, or that both fail."""
    results = []
    for api in (ours, theirs):
        random.seed(7)
        try:
            results.append(call(api))
        except Exception as error:  # whatever it is, the other must fail too
            results.append(type(error))
    mine, other = results
    if isinstance(other, type):
        assert isinstance(mine, type), (mine, other)
    else:
        assert not isinstance(mine, type), (mine, other)
        same(mine, other)


@pytest.mark.parametrize(("cell", "name", "hp"), [*itertools.product(CELLS, NAMES, ("12", "200"))])
def test_get_more_info_everywhere(ours, theirs, cell, name, hp):
    epochs = int(hp)
    for iepoch in (None, 0, 1, epochs // 2, epochs - 2, epochs - 1, epochs):
        for is_random in (True, False, 111, 777, 888, 999, 5):
            both(ours, theirs, lambda api: api.get_more_info(cell, name, iepoch, hp, is_random))  # noqa: B023


@pytest.mark.parametrize(("cell", "name", "hp"), [*itertools.product(CELLS, NAMES, ("12", "200"))])
def test_costs_and_configurations(ours, theirs, cell, name, hp):
    for call in (
        lambda api: _sorted(api.get_cost_info(cell, name, hp)),
        lambda api: api.get_latency(cell, name, hp),
        lambda api: api.get_net_config(cell, name),
        lambda api: api.get_net_param(cell, name, 777, hp),
        lambda api: api.get_net_param(cell, name, None, hp),
        lambda api: api.query_by_index(cell, name, hp).keys() and None,
        lambda api: api.statistics(name, hp),
    ):
        both(ours, theirs, call)


@pytest.mark.parametrize(
    ("cell", "dataset"), [*itertools.product(CELLS, ("cifar10", "cifar100", "ImageNet16-120", "mnist"))]
)
def test_simulated_training(ours, theirs, cell, dataset):
    for hp, iepoch in (("12", None), ("12", 0), ("12", 5), ("200", None), ("200", 199)):
        for api in (ours, theirs):
            api.reset_time()
        both(ours, theirs, lambda api: api.simulate_train_eval(cell, dataset, iepoch, hp))  # noqa: B023
        both(ours, theirs, lambda api: api.simulate_train_eval(cell, dataset, iepoch, hp, account_time=False))  # noqa: B023
        both(ours, theirs, lambda api: api.used_time)


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the official records are not beside this checkout")
def test_golden_seconds(ours):
    """Of cell 0: 12 t + 25,000 e and so on, from the official record."""
    expected = {"cifar10": 89.2020952247438, "cifar100": 173.81602782294863, "ImageNet16-120": 526.1169853222713}
    for dataset, seconds in expected.items():
        assert ours.simulate_train_eval(0, dataset, hp="12")[2] == pytest.approx(seconds, rel=1e-12)
    assert ours.simulate_train_eval(0, "ImageNet16-120", hp="200")[2] == pytest.approx(8763.824341072346, rel=1e-12)


def test_the_mixed_curve_needs_quirks(table, ours, theirs):
    with pytest.raises(MissingDataError, match="validation and test images mixed, which quirks=True allows"):
        ours.simulate_train_eval(0, "cifar100", 20, "200")
    quirky = create(table, "tss", quirks=True)
    both(quirky, theirs, lambda api: api.simulate_train_eval(0, "cifar100", 20, "200")[:3])
    both(quirky, theirs, lambda api: api.query_index_by_arch("|nonsense|"))
    both(quirky, theirs, lambda api: api.query_index_by_arch(np.int64(3)))


@pytest.mark.parametrize(("cell", "hp"), [*itertools.product(CELLS, ("12", "200"))])
def test_result_objects(ours, theirs, cell, hp):
    mine, other = (api.query_meta_info_by_index(cell, hp) for api in (ours, theirs))
    assert mine.arch_idx_str() == other.arch_idx_str()
    assert mine.get_total_epoch() == other.get_total_epoch() == int(hp)
    assert mine.get_dataset_names() == other.get_dataset_names()
    for name in NAMES:
        assert mine.get_dataset_seeds(name) == other.get_dataset_seeds(name)
        same(_sorted(mine.get_compute_costs(name)), _sorted(other.get_compute_costs(name)))
        same(mine.get_latency(name), other.get_latency(name))
        for setname, iepoch, is_random in itertools.product(
            ("train", "x-valid", "x-test", "ori-test"), (None, 0, 3), (True, False, 777, 5)
        ):
            both(mine, other, lambda r: r.get_metrics(name, setname, iepoch, is_random))  # noqa: B023
        for seed, run in other.query(name).items():
            my_run = mine.query(name, seed)
            same(my_run.get_train(), run.get_train())
            same(_sorted(my_run.get_times()), _sorted(run.get_times()))
            same(my_run.get_latency(), run.get_latency())
            same(my_run.get_config(None), run.get_config(None))
            same(my_run.get_config(len), run.get_config(len))
            assert sorted(my_run.get_eval_set()) == sorted(run.get_eval_set())
            assert my_run.get_total_epoch() == run.get_total_epoch()
            assert my_run.get_net_param() is run.get_net_param() is None
            for setname, iepoch in itertools.product(("valid", "x-valid", "x-test", "ori-test"), (None, 0, 7, 300)):
                both(my_run, run, lambda r: r.get_eval(setname, iepoch))  # noqa: B023


def _sorted(costs):
    """The order of evaluated splits comes from a set in the official files."""
    return dict(sorted(costs.items()))


@pytest.mark.parametrize("hp", ["12", "200"])
def test_text(ours, theirs, hp):
    for cell in CELLS:
        assert _plain(ours.query_info_str_by_arch(cell, hp)) == _plain(theirs.query_info_str_by_arch(cell, hp))
        assert _plain(ours.query_by_arch(ours.arch(cell), hp)) == _plain(theirs.query_by_arch(theirs.arch(cell), hp))


def _plain(text):
    """Data sets come in the order of the file; latency is shown in ms with two digits."""
    return sorted(re.sub(r"datasets : .*?, ", "", text).split("\n"))


def test_show(ours):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        ours.show(0)
        ours.show(-1)
    assert out.getvalue().count("200 epochs") == 3


@pytest.mark.parametrize(
    ("dataset", "on"),
    [(n, s) for n in NAMES for s in ("train", "valid", "test", "x-valid", "x-test", "ori-test")],
)
def test_find_best(ours, theirs, dataset, on):
    for hp in ("12", "200"):
        try:
            _best(theirs, dataset, on, hp, {})
        except Exception:  # it has no such split, or no such name for it
            continue
        for limits in ({}, {"flop_max": 14.0}, {"param_max": 0.05}):
            both(ours, theirs, lambda api: _best(api, dataset, on, hp, limits))  # noqa: B023


def _best(api, dataset, on, hp, limits):
    enforce = {} if hasattr(api, "table") else {"enforce_all": False}
    return api.find_best(dataset, on, hp=hp, **limits, **enforce)


def test_strings(ours, theirs):
    arch = theirs.arch(5000)
    assert ours.arch(5000) == ours[5000] == arch
    assert len(ours) == len(theirs)
    assert ours.query_index_by_arch(arch) == theirs.query_index_by_arch(arch) == 5000
    assert ours.get_unique_str(arch) == theirs.get_unique_str(arch)
    assert ours.str2lists(arch) == theirs.str2lists(arch)
    assert np.array_equal(ours.str2matrix(arch), theirs.str2matrix(arch))
    random.seed(3)
    mine = ours.random()
    random.seed(3)
    assert mine == theirs.random()
    assert search_space_info("nats-bench", "tss") == __import__("nats_bench").search_space_info("nats-bench", "tss")


def test_clear_errors(ours, table):
    assert ours.query_index_by_arch(np.int64(3)) == 3
    with pytest.raises(InvalidCellError, match="arch string 'nonsense': expected"):
        ours.query_index_by_arch("nonsense")
    with pytest.raises(MissingDataError, match="has no run of cell 1 on cifar10, 200 epochs"):
        ours.get_more_info(1, "cifar10", hp="200")
    with pytest.raises(MissingDataError, match="has no run of cell 1 with hp=12"):
        ours.query_by_index(1)
    with pytest.raises(MissingDataError, match="hp must be one of 12, 200, got 90"):
        ours.get_more_info(0, "cifar10", hp=90)
    with pytest.raises(MissingDataError, match="invalid dataset-name : 'mnist'"):
        ours.get_more_info(0, "mnist")
    with pytest.raises(NB201Error, match="search_space must be one of tss, topology, got 'sss'"):
        create(table, "sss")


def test_over_the_published_table(published):
    api = create("published", "tss")
    assert api.avaliable_hps == ["200"]
    info = api.get_more_info(6111, "cifar10-valid", hp="200", is_random=False)
    assert info["valid-accuracy"] == pytest.approx(91.6067, abs=1e-4)
    accuracy, latency, seconds, used = api.simulate_train_eval(6111, "cifar100", hp=200)
    assert used == seconds == published.train_seconds("cifar100")[6111]
    assert latency == published.latency("cifar100")[6111]
    assert np.float32(accuracy / 100) in published.accuracy("cifar100", trial="all")[6111]
    assert api.find_best("cifar10", "valid", hp="200") == (6111, pytest.approx(91.6067, abs=1e-4))
    assert api.statistics("cifar100", 200) == {3: 8169, 2: 7456}
    for text in (api.query_by_arch(6111, "200"), api.query_info_str_by_arch(Cell(6111).arch, "200")):
        assert "valid : [loss = unknown & top1 = 91.61%]" in text


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Cell 0 lacks the curve in the middle, and of two seeds one alone was tested."""
    path = tmp_path_factory.mktemp("uneven") / "uneven.zarr"
    valid = np.full((2, 2, NUM_CELLS), 2_000)
    valid[:, 0, 0] = -1
    with TableWriter(path, "uneven") as writer:
        writer.add_dataset("cifar100", num_classes=100, image_size=32)
        writer.add_training("cifar100", "200ep", "full", epochs=200)
        where = "cifar100", "200ep", "full"
        writer.add_split(*where, "valid", images=5_000, epochs=[50, 200], trial_seeds=[777, 888], correct=valid)
        seconds = np.arange(8.0, 10.0)[:, None, None] * np.ones(NUM_CELLS)
        writer.add_split(*where, "test", images=5_000, epochs=[200], trial_seeds=[888, 999], eval_seconds=seconds,
                         correct=np.full((2, 1, NUM_CELLS), 1_000))  # fmt: skip
    return create(str(path), "tss")


def test_what_a_run_lacks_is_left_out(uneven):
    assert "valid-accuracy" not in uneven.get_more_info(0, "cifar100", 49, "200", False)
    assert uneven.get_more_info(1, "cifar100", 49, "200", False)["valid-accuracy"] == 40.0
    with pytest.raises(MissingDataError, match="no validation accuracy"):
        uneven.simulate_train_eval(0, "cifar100", 49, "200")
    results = uneven.query_meta_info_by_index(0, "200")
    with pytest.raises(KeyError, match="x-valid@49"):
        results.get_metrics("cifar100", "x-valid", 49, 777)
    assert "valid : [loss = unknown & top1 = 40.00%]" in uneven.query_by_arch(0, "200")


def test_a_seed_has_its_own_accuracies(uneven):
    found = {seed: uneven.get_more_info(3, "cifar100", None, "200", seed) for seed in (777, 888)}
    assert found[888]["test-accuracy"] == 20.0
    assert found[888]["test-all-time"] == 200 * 8.0
    results = uneven.query_meta_info_by_index(3, "200")
    assert results.get_metrics("cifar100", "x-test", None, 888)["accuracy"] == 20.0
    assert uneven.get_cost_info(3, "cifar100", "200")["T-x-test@total"] is not None
    assert "test-accuracy" not in found[777]
    assert "test-accuracy" not in uneven.get_more_info(3, "cifar100", None, "200", False)


def test_unknown_seconds_are_not_free(uneven):
    with pytest.raises(MissingDataError, match="does not say how long training takes"):
        uneven.simulate_train_eval(3, "cifar100", None, "200")
    assert uneven.used_time == 0.0


def test_all_cells_are_shown_by_the_schedules_that_they_have(tmp_path, capsys):
    records = {cell: make_record(cell) for cell in (0, 1)}
    del records[1]["12"]
    write_folder(tmp_path / "records", records)
    import_folder(tmp_path / "records", tmp_path / "t.zarr")
    create(str(tmp_path / "t.zarr"), "tss").show(-1)
    shown = capsys.readouterr().out
    assert (shown.count("012 epochs"), shown.count("200 epochs")) == (1, 2)


def test_no_architecture_is_no_cell(published):
    api = create("published", "tss", quirks=True)
    for call in (api.get_more_info, api.get_cost_info, api.get_latency):
        with pytest.raises(InvalidCellError, match="invalid index of -1"):
            call("garbage", "cifar100", hp="200")
    with pytest.raises(NB201Error, match="dataset must be one of cifar10-valid"):
        api.get_net_config(5, "cifar1")
