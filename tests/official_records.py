"""Official records made by hand, in the layout of the real files, for tests and benchmarks."""

import bz2
import pickle
import random
from collections import OrderedDict

import numpy as np

from nb201_env import NUM_CELLS, Cell
from nb201_env.tables.official import SOURCES

META = [Cell(index).arch for index in range(NUM_CELLS)]
HALF = "cifar10-valid"


def make_run(name, index, seed, epochs, rng):
    """One training run in the official layout: whole curves for 12 epochs, only some for 200."""
    source = SOURCES[name]
    cell = Cell(index)
    sets = list(source.splits)
    rng.shuffle(sets)
    curve = {HALF: "x-valid", "cifar10": "ori-test"}.get(name, "ori-test")
    run = {
        "name": name,
        "train_acc1es": {},
        "train_acc5es": {} if epochs == 12 else None,
        "train_losses": {},
        "train_times": OrderedDict((e, 1.5 + index) for e in range(epochs)),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": cell.arch, "class_num": source.num_classes},
        "params": np.float64(cell.params(source.num_classes) / 1e6),
        "flop": cell.macs(source.num_classes, source.image_size) / 1e6,
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [np.float64(0.01 + index / 1e6)],
        "eval_names": sets,
        "eval_acc1es": {},
        "eval_times": {},
        "eval_losses": {},
        "net_state_dict": None,
    }
    for epoch in range(epochs):
        run["train_acc1es"][epoch] = _percent(rng, source.images["train"])
        run["train_losses"][epoch] = rng.random()
        for official in sets:
            key = f"{official}@{epoch}"
            run["eval_times"][key] = 0.25
            if epochs == 12 or epoch == epochs - 1 or official == curve:
                run["eval_acc1es"][key] = _percent(rng, source.images[source.splits[official]])
                run["eval_losses"][key] = rng.random()
    return run


def _percent(rng, images):
    """A whole number of images with the rounding of float32, as the official files have it."""
    return float(np.float32(100 * rng.randint(0, images) / images))


def make_record(index, seeds200=(777, 888, 999), names=tuple(SOURCES)):
    rng = random.Random(index)
    record = OrderedDict()
    for hp in ("12", "200"):
        seeds = {name: ((111, 777) if name == HALF else (111,)) if hp == "12" else seeds200 for name in names}
        record[hp] = {
            "arch_index": index,
            "arch_str": Cell(index).arch,
            "all_results": {
                (name, seed): make_run(name, index, seed, int(hp), rng)
                for name in names
                for seed in reversed(seeds[name])
            },
            "dataset_seed": {name: sorted(seeds[name]) for name in names},
            "clear_net_done": True,
        }
    return record


def write_pickle(path, value):
    with bz2.open(path, "wb", compresslevel=1) as file:
        pickle.dump(value, file, protocol=4)


def write_folder(folder, records, padded=True):
    folder.mkdir(exist_ok=True)
    write_pickle(folder / "meta.pickle.pbz2", {"meta_archs": META, "total_archs": NUM_CELLS, "arch2infos": None})
    for index, record in records.items():
        write_pickle(folder / f"{index:06d}.pickle.pbz2" if padded else folder / f"{index}.pickle.pbz2", record)
