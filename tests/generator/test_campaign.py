import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nb201_env import ALL_OPS, NUM_CELLS, Cell, NB201Error, Oracle, TableFormatError, open_table
from nb201_env.space import all_params
from nb201_env.space.isomorphism import representatives
from nb201_env.tables.join import join_tables

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from nb201_generator.assemble import merge  # noqa: E402
from nb201_generator.blocks import blocks_of, reed_solomon_blocks  # noqa: E402
from nb201_generator.campaign import ATTEMPTS, generate  # noqa: E402
from nb201_generator.estimate import describe  # noqa: E402
from nb201_generator.images import load_images  # noqa: E402
from nb201_generator.plan import TRIAL_SEEDS, Plan  # noqa: E402
from nb201_generator.recipe import RECIPES, Recipe  # noqa: E402
from nb201_generator.train import augment, train  # noqa: E402

KILLS = 5  # CI repeats few of them; `python tests/generator/test_campaign.py 20` as many as asked


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small data set of three colours, learnt in an epoch."""
    path = tmp_path_factory.mktemp("images") / "colours.npz"
    write_tiny(path)
    return str(path)


def write_tiny(path, seed=0):
    rng = np.random.default_rng(seed)
    arrays = {}
    for split, count in (("train", 64), ("valid", 40), ("test", 40)):
        labels = rng.integers(3, size=count)
        images = rng.integers(0, 120, (count, 3, 8, 8))
        images[np.arange(count), labels] += 120
        arrays |= {f"{split}_images": images.astype(np.uint8), f"{split}_labels": labels}
    np.savez(path, **arrays)


def plan_of(tiny, **changes):
    return Plan(tiny, **{"epochs": 2, "start": 100, "stop": 160, "trials": 2, **changes})


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "whole.zarr"
    assert generate(plan_of(tiny), out) == []
    return out


def test_a_table_is_extended_by_trials(tiny, whole, tmp_path):
    for first in (1, 2):
        assert generate(plan_of(tiny, trials=1, first_trial=first), tmp_path / f"{first}.zarr") == []
    join_tables([tmp_path / "1.zarr", tmp_path / "2.zarr"], tmp_path / "both.zarr", "colours")
    assert open_table(tmp_path / "both.zarr").fingerprint == open_table(whole).fingerprint


def test_what_is_in_the_table(whole):
    table = open_table(whole)
    assert table.verify() == []
    assert table.epochs("colours", recipe="2ep-mini", split="valid") == (1, 2)
    assert table.epochs("colours", recipe="2ep-mini", split="test") == (2,)
    assert table.root["colours/2ep-mini/full/valid"].attrs["trial_seeds"] == list(TRIAL_SEEDS[:2])
    accuracy = table.accuracy("colours", split="test", trial="all")
    assert (~np.isnan(accuracy[:, 0])).nonzero()[0].tolist() == list(range(100, 160))
    assert (accuracy[100:160, 0] != accuracy[100:160, 1]).any()
    assert np.nanmax(accuracy) > 0.9
    assert (table.train_seconds("colours", epoch=2)[100:160] > 0).all()
    assert (table.params("colours") == all_params(3, 8, 1)).all()
    assert not (whole.parent / "whole.zarr.parts").exists()
    assert table.attributes["provenance"]["device"].startswith("CPU")
    assert table.attributes["provenance"]["torch"] == torch.__version__
    assert 0 < table.attributes["provenance"]["seconds_spread"] < 20


def test_a_cell_does_not_depend_on_its_block(whole, tiny, tmp_path):
    generate(plan_of(tiny, start=130, stop=133, trials=1), tmp_path / "few.zarr")
    few, many = open_table(tmp_path / "few.zarr"), open_table(whole)
    for split, epoch, tolerance in (("train", 1, 1e-3), ("valid", 1, 1e-3), ("test", 2, 1e-2)):
        mine, other = (t.loss("colours", split=split, epoch=epoch, trial=0)[130:133] for t in (few, many))
        assert np.allclose(mine, other, rtol=tolerance)


def test_processes_and_shards_make_the_same_table(whole, tiny, tmp_path):
    generate(plan_of(tiny), tmp_path / "two.zarr", jobs=2)
    assert open_table(tmp_path / "two.zarr").fingerprint == open_table(whole).fingerprint
    outs = [tmp_path / f"s{index}.zarr" for index in range(2)]
    assert generate(plan_of(tiny), outs[0], shard=(0, 2)) == []
    with pytest.raises(TableFormatError, match="3 of 6 blocks are missing"):
        merge(outs[:1], tmp_path / "merged.zarr")
    generate(plan_of(tiny), outs[1], shard=(1, 2))
    part = outs[1].with_name("s1.zarr.parts") / "777-00001.npz"
    whole_part = part.read_bytes()
    part.write_bytes(b"")
    with pytest.raises(TableFormatError, match="is damaged"):
        merge(outs, tmp_path / "merged.zarr.zip")
    part.write_bytes(whole_part)
    merge(outs, tmp_path / "merged.zarr.zip")
    assert open_table(tmp_path / "merged.zarr.zip").fingerprint == open_table(whole).fingerprint


def kill_and_resume(tiny, out, kills, rng):
    """Run the campaign in a process that is killed at random moments, then let it end; how often it was killed."""
    script = (
        "from nb201_generator.campaign import generate\nfrom nb201_generator.plan import Plan\n"
        f"generate(Plan({tiny!r}, epochs=2, start=100, stop=160, trials=2), {str(out)!r})\n"
    )
    killed = 0
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", script])
        time.sleep(rng.uniform(0.5, 6))
        if process.poll() is None:
            killed += 1
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if out.exists():
            return killed
    subprocess.run([sys.executable, "-c", script], check=True)
    return killed


def test_kills_at_random_moments_change_nothing(whole, tiny, tmp_path):
    assert kill_and_resume(tiny, tmp_path / "killed.zarr", KILLS, random.Random(0)) > 0
    assert open_table(tmp_path / "killed.zarr").fingerprint == open_table(whole).fingerprint


def test_a_block_that_fails_is_reported_and_tried_again(tiny, tmp_path, monkeypatch):
    import nb201_generator.campaign as campaign

    plan, out = plan_of(tiny, trials=1), tmp_path / "t.zarr"
    real, tries = campaign.train, Counter()

    def breaks(cells, *rest):
        tries[cells[0].index] += 1
        if cells[0].index == 125 and tries[125] <= ATTEMPTS:
            raise ValueError("no luck")
        return real(cells, *rest)

    monkeypatch.setattr(campaign, "train", breaks)
    (failure,) = generate(plan, out)
    assert failure == "block 777-00001.npz: ValueError: no luck"
    assert not out.exists()
    assert tries == {100: 1, 125: ATTEMPTS, 150: 1}
    log = (tmp_path / "t.zarr.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in log] == [
        "block 777-00001.npz failed: ValueError: no luck; it is tried again",
        "block 777-00001.npz failed: ValueError: no luck; given up",
    ]
    assert generate(plan, out) == []
    assert out.exists()


@pytest.mark.parametrize("kilobytes", [32, 96])
def test_a_full_disk_loses_nothing(tiny, tmp_path, kilobytes):
    """On a file system too small for the parts, or for the table beside them; then on the same one made larger."""
    command = (
        f"{sys.executable} -m nb201_env generate --dataset {tiny} --epochs 2 --cells 100:150 --out /mnt/t.zarr.zip"
    )
    script = (
        f"mount -t tmpfs -o size={kilobytes}k none /mnt && ! {command} && find /mnt -name '.*npz*';"
        f"mount -o remount,size=100m /mnt && {command}"
    )
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
                          capture_output=True, text=True)  # fmt: skip
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "/.777" not in done.stdout  # no fragments
    whole = tmp_path / "whole.zarr.zip"
    generate(plan_of(tiny, stop=150, trials=1), whole)
    assert done.stdout.rstrip().endswith(f"/mnt/t.zarr.zip: fingerprint {open_table(whole).fingerprint}")


@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"precision": "tf32"}, {"channels_last": True}])
def test_other_arithmetic_and_layout_train_the_same_nets(tiny, options):
    from nb201_env import Cell

    images, recipe = load_images(tiny), Recipe("x", 2, 16, channels=8, cells_per_stage=1)
    cells = [Cell(6111), Cell(1651), Cell(2)]
    plain, other = train(cells, images, recipe, 1), train(cells, images, recipe, 1, **options)
    tolerance = 0.1 if options.get("precision") == "bfloat16" else 1e-4
    for split in ("train", "valid"):
        assert np.allclose(plain[split].loss, other[split].loss, atol=tolerance)
    if "bfloat16" in options.values():
        assert (plain["train"].loss != other["train"].loss).any()


def test_equal_cells_are_trained_once(tiny, tmp_path):
    plan = plan_of(tiny, start=0, stop=60, trials=1, epochs=1, dedupe=True)
    trained = plan.trained()
    assert len(trained) < 60
    generate(plan, tmp_path / "d.zarr")
    table = open_table(tmp_path / "d.zarr")
    accuracy = table.accuracy("colours")[:60]
    lowest = representatives("exact")[:60]
    assert (table.array("colours/1ep-mini/full/trained_as")[:60] == lowest).all()
    assert (table.array("colours/1ep-mini/full/trained_as")[60:] == -1).all()
    for index, cell in enumerate(lowest.tolist()):
        if cell < 60:
            assert accuracy[index] == accuracy[cell]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "mnist"}, "unknown data set 'mnist'; use one of digits, gratings, shapes, backdrops, cifar10"),
        ({"recipe": "long"}, "recipe must be one of 200ep, 12ep, mini, got 'long'"),
        ({"start": 5, "stop": 5}, "cells must be a range a:b within 0:15625, got 5:5"),
        ({"trials": 4}, "trials, from trial 1, must be a whole number from 1 to 3, got 4"),
        ({"trials": 2, "first_trial": 3}, "trials, from trial 3, must be a whole number from 1 to 1, got 2"),
        ({"first_trial": 0}, "first_trial must be a whole number from 1 to 3, got 0"),
        ({"epochs": 0}, "epochs must be a whole number from 1"),
        ({"precision": "half"}, "precision must be one of float32, tf32, bfloat16, got 'half'"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
    ],
)
def test_bad_plans(tiny, tmp_path, changes, message):
    with pytest.raises(NB201Error, match=message):
        generate(Plan(**{"dataset": tiny, **changes}), tmp_path / "x.zarr")


def test_another_plan_and_an_existing_table_are_refused(tiny, whole, tmp_path):
    with pytest.raises(NB201Error, match="exists already"):
        generate(plan_of(tiny), whole)
    generate(plan_of(tiny), tmp_path / "t.zarr", shard=(5, 6))
    with pytest.raises(NB201Error, match=r"holds parts of another plan \(trials differ\)"):
        generate(plan_of(tiny, trials=1), tmp_path / "t.zarr")
    with pytest.raises(NB201Error, match="a table's name ends in"):
        generate(plan_of(tiny), tmp_path / "t.npz")
    with pytest.raises(NB201Error, match="jobs must be a whole number at least 1"):
        generate(plan_of(tiny), tmp_path / "u.zarr", jobs=0)
    for text, said in (("{", "is no plan"), ('{"colour": 3}', "no plan of this version")):
        (tmp_path / "t.zarr.parts" / "plan.json").write_text(text)
        with pytest.raises(NB201Error, match=said):
            merge([tmp_path / "t.zarr"], tmp_path / "y.zarr")
    with pytest.raises(NB201Error, match="no campaign was begun there"):
        merge([tmp_path / "nothing.zarr"], tmp_path / "y.zarr")


def test_parts_of_other_images_are_not_mixed(tiny, tmp_path):
    path, few = tmp_path / "c.npz", {"trials": 1, "start": 100, "stop": 103, "epochs": 1}
    path.write_bytes(Path(tiny).read_bytes())
    assert generate(plan_of(str(path), **few), tmp_path / "t.zarr", shard=(0, 2)) == []
    write_tiny(path, seed=1)
    with pytest.raises(NB201Error, match="were trained on other images"):
        generate(plan_of(str(path), **few), tmp_path / "t.zarr", shard=(1, 2))
    with pytest.raises(TableFormatError, match="was trained on other images than"):
        merge([tmp_path / "t.zarr"], tmp_path / "u.zarr")


def test_another_table_in_the_place_leaves_the_parts(tiny, whole, tmp_path):
    out, few = tmp_path / "t.zarr", {"trials": 1, "start": 100, "stop": 103, "epochs": 1}
    assert generate(plan_of(tiny, **few), out, shard=(0, 2)) == []
    shutil.copytree(whole, out)
    with pytest.raises(NB201Error, match="exists already"):
        generate(plan_of(tiny, **few), out)
    assert (tmp_path / "t.zarr.parts" / "plan.json").exists()


def test_a_call_that_ended_between_table_and_parts_is_finished(tiny, tmp_path):
    out, plan = tmp_path / "t.zarr", plan_of(tiny, trials=1, start=100, stop=103, epochs=1)
    assert generate(plan, out, shard=(0, 2)) == []
    merge([out], out)
    assert generate(plan, out) == []
    assert [path.name for path in tmp_path.iterdir()] == ["t.zarr"]


def test_parts_of_a_device_that_is_not_here_are_merged(tiny, tmp_path):
    plan = plan_of(tiny, trials=1, start=100, stop=103, epochs=1)
    generate(plan, tmp_path / "t.zarr", shard=(0, 2))
    stored = tmp_path / "t.zarr.parts" / "plan.json"
    stored.write_text(stored.read_text().replace('"cpu"', '"cuda:7"'))
    merge([tmp_path / "t.zarr"], tmp_path / "u.zarr")
    assert open_table(tmp_path / "u.zarr").verify() == []
    with pytest.raises(NB201Error, match="CUDA device; use cpu"):
        generate(replace(plan, device="cuda:7"), tmp_path / "v.zarr")


def test_a_part_of_other_shapes_is_damaged(tiny, tmp_path):
    generate(plan_of(tiny, trials=1, start=100, stop=103, epochs=1), tmp_path / "t.zarr", shard=(0, 2))
    (part,) = (tmp_path / "t.zarr.parts").glob("*.npz")
    arrays = dict(np.load(part))
    for name, value in (("valid/correct", np.float64(12.7)), ("train_step", np.float64(1.0))):
        np.savez(part, **{**arrays, name: value})
        with pytest.raises(TableFormatError, match="is damaged"):
            merge([tmp_path / "t.zarr"], tmp_path / "u.zarr")


def test_numbers_of_numpy_make_the_same_plan(tiny, tmp_path):
    few = {"trials": np.int64(1), "start": np.int64(100), "stop": np.int64(103), "dedupe": np.bool_(False)}
    assert generate(plan_of(tiny, **few, epochs=1), tmp_path / "t.zarr", shard=(0, 2)) == []
    assert generate(plan_of(tiny, trials=1, start=100, stop=103, epochs=1), tmp_path / "t.zarr") == []


def test_a_forecast_says_what_it_is_by_and_an_empty_shard_that_it_is(tiny):
    assert "has no block" in describe(plan_of(tiny, start=0, stop=5), 1, (8, 9))
    assert "by four epochs of the first block" in describe(plan_of(tiny, start=0, stop=5), 64, (0, 1))


def test_no_name_is_no_table(tiny):
    with pytest.raises(NB201Error, match="a table's name ends in"):
        generate(plan_of(tiny), "")


def test_an_oracle_over_a_part_of_the_space_is_refused(whole):
    with pytest.raises(NB201Error, match="15565 of 15625 cells have no value"):
        Oracle.open(whole, "colours", max_queries=5)


# --- blocks, images, recipes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_reed_solomon_blocks(dimension):
    blocks = reed_solomon_blocks(dimension)
    assert sorted(index for block in blocks for index in block) == list(range(NUM_CELLS))
    for block in blocks:
        assert len(block) == 5**dimension
        for edge in range(6):
            assert set(Counter(ALL_OPS[block, edge].tolist()).values()) == {5 ** (dimension - 1)}


def test_blocks_of_a_part():
    assert blocks_of(range(30)) == [list(range(25)), list(range(25, 30))]
    assert blocks_of(range(NUM_CELLS)) == reed_solomon_blocks()


def test_drawn_images_are_what_they_say_and_always_the_same():
    drawn = {"digits": (10, 451), "gratings": (24, 5_000), "shapes": (8, 1_000), "backdrops": (10, 707)}
    for name, (num_classes, test_images) in drawn.items():
        images = load_images(name)
        assert (images.num_classes, images.size) == (num_classes, 8)
        assert images.splits["test"].images.shape == (test_images, 3, 8, 8)
        assert load_images(name).hashes() == images.hashes()
        for split in images.splits.values():
            assert set(split.labels.tolist()) == set(range(num_classes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_labels": None}, "has no array 'test_labels'"),
        (
            {"valid_images": np.zeros((40, 3, 9, 9), np.uint8)},
            r"must be \(n, 3, size, size\) with size a multiple of 4",
        ),
    ],
)
def test_npz_that_is_not_what_it_should_be(tiny, tmp_path, change, message):
    with np.load(tiny) as file:
        arrays = {name: file[name] for name in file.files} | change
    np.savez(tmp_path / "bad.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(NB201Error, match=message):
        load_images(str(tmp_path / "bad.npz"))


def test_the_official_recipes():
    long = RECIPES["200ep"]
    assert (long.batch_size, long.momentum, long.weight_decay) == (256, 0.9, 5e-4)
    assert long.learning_rate_at(0) == 0.1
    assert long.learning_rate_at(199) == pytest.approx(6.2e-6, rel=0.01)
    assert RECIPES["12ep"].learning_rate_at(11) == pytest.approx(1.7e-3, rel=0.01)


def test_crops_of_an_eighth_of_the_image():
    """NAS-Bench-201 pads CIFAR's images by 4 and ImageNet16-120's by 2; `mini` is not cropped."""
    assert [RECIPES["200ep"].padding(size) for size in (32, 16)] == [4, 2]
    assert RECIPES["mini"].padding(8) == 0
    assert RECIPES["12ep"].settings(16)["crop_padding"] == 2


NO_BLUE = np.array([1.0, 1.0, 0.0])[:, None, None]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((64, 3, 8, 12))}, "must be"),
        ({"train_images": np.full((64, 3, 8, 8), np.nan)}, "not finite"),
        ({"valid_images": np.full((40, 3, 8, 8), np.inf)}, "not finite"),
        ({"valid_images": np.zeros((40, 3, 12, 12))}, "of one size"),
        ({"test_labels": np.full(40, 3)}, "test_labels go up to 3"),
        ({"train_labels": np.full(64, 10**6)}, "train_labels go up to 1000000"),
        ({"train_labels": np.zeros(64)}, "whole numbers"),
        ({"train_labels": np.full(64, -1)}, "whole numbers"),
        ({"train_labels": np.full(64, 2**64 - 100, np.uint64)}, "whole numbers"),
        (
            {"train_images": np.arange(64 * 192.0).reshape(64, 3, 8, 8) * [[[[1.0]], [[1.0]], [[0.0]]]]},
            "the blue channel",
        ),
        ({"test_images": np.zeros((0, 3, 8, 8)), "test_labels": np.zeros(0, int)}, "must be"),
        ({"train_images": np.array(["a"] * 64)}, "must be"),
    ],
)
def test_images_that_are_not_what_they_should_be(tiny, tmp_path, changes, message):
    with np.load(tiny) as file:
        np.savez(tmp_path / "odd.npz", **{**file, **changes})
    with pytest.raises(NB201Error, match=message):
        load_images(str(tmp_path / "odd.npz"))


def test_a_name_that_no_data_set_may_have_is_refused_before_anything_is_trained(tiny, tmp_path):
    (tmp_path / "my set (1).npz").write_bytes(Path(tiny).read_bytes())
    with pytest.raises(NB201Error, match="call the file by letters"):
        load_images(str(tmp_path / "my set (1).npz"))


def test_ops_that_reach_no_output_end_as_in_a_net_alone(tiny):
    dead, live = Cell.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"), Cell.parse([3] * 6)
    kept = []
    for cells in ([dead], [dead, live]):
        train(cells, load_images(tiny), replace(RECIPES["mini"], epochs=2, weight_decay=0.1), 777,
              keep=lambda network: kept.append(network.state_dicts()[0]))  # fmt: skip
    assert set(kept[0]) == set(kept[1])
    for name, one in kept[0].items():
        torch.testing.assert_close(one, kept[1][name], rtol=1e-3, atol=1e-4)


def test_augmentation():
    recipe = Recipe("x", 1, crop_padding=2)
    images = torch.arange(4 * 3 * 8 * 8, dtype=torch.float32).view(4, 3, 8, 8) + 1
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(300):
        made = augment(images, recipe, generator)
        assert made.shape == images.shape
        for image, original in zip(made, images, strict=True):
            padded = torch.nn.functional.pad(original, (2, 2, 2, 2))
            crops = {
                (flip, y, x)
                for flip, base in ((0, padded), (1, padded.flip(2)))
                for y in range(5)
                for x in range(5)
                if torch.equal(base[:, y : y + 8, x : x + 8], image)
            }
            assert crops
            seen |= crops
    assert len(seen) == 50


def test_training_learns(tiny):
    from nb201_env import Cell

    curves = train([Cell(6111), Cell(1651)], load_images(tiny), Recipe("x", 6, 16, channels=8, cells_per_stage=1), 1)
    accuracy = curves["valid"].correct / 40
    assert accuracy[-1, 0] > 0.9
    assert curves["train"].loss[-1, 0] < curves["train"].loss[0, 0]
    assert curves["valid"].correct.shape == curves["valid"].loss.shape == (6, 2)


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp())
    write_tiny(folder / "colours.npz")
    source = str(folder / "colours.npz")
    generate(Plan(source, epochs=2, start=100, stop=160, trials=2), folder / "whole.zarr")
    total, number, dice = 0, 0, random.Random(1)
    while total < int(sys.argv[1]):
        number += 1
        total += kill_and_resume(source, folder / f"k{number}.zarr", 4, dice)
        assert open_table(folder / f"k{number}.zarr").fingerprint == open_table(folder / "whole.zarr").fingerprint
        print(f"{total} kills, {number} campaigns, all tables the same", flush=True)
