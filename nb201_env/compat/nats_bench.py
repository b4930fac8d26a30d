"""The topology API of nats_bench 1.8 over any table, so that a script changes one import.

    from nb201_env.compat.nats_bench import create
    api = create("nats.zarr", "tss", fast_mode=True, verbose=False)

Names, arguments and results are those of nats_bench (Dong et al., TPAMI 2021). What differs, unless `quirks=True`:

* `simulate_train_eval` refuses what it would answer from a curve of validation and test images mixed (200 epochs, any
  but the last, CIFAR-100 and ImageNet16-120);
* an architecture that does not exist is an error, not index -1, and numpy integers are indices;
* parameters and FLOPs are those of the cell; some stored ones are another cell's;
* `show(-1)` works, `hp` may be an int everywhere, and nothing is printed unless `verbose`.

A cell that the table does not have is one clear error. Random trials come from Python's global generator, as there.
"""

from __future__ import annotations

import operator
import os
import random
from collections import Counter
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.compat.meta import NASBenchMetaAPI
from nb201_env.compat.records import ArchResults, Runs, mean
from nb201_env.compat.text import COMMENT, TRAINED_ON, describe, str2lists, str2matrix
from nb201_env.errors import InvalidCellError, MissingDataError, NB201Error
from nb201_env.space import NUM_CELLS, OPS
from nb201_env.tables.official import RECIPES, SOURCES
from nb201_env.tables.opening import open_table
from nb201_env.tables.table import Table

_REMEMBERED = 64

_TOPOLOGY = ("tss", "topology")

# get_more_info: prefix of its keys and official split, by official name
_PARTS = {
    "cifar10-valid": (("valid", "x-valid"), ("test", "ori-test")),
    "cifar10": (("test", "ori-test"),),
    "cifar100": (("valid", "x-valid"), ("test", "x-test"), ("valtest", "ori-test")),
    "ImageNet16-120": (("valid", "x-valid"), ("test", "x-test"), ("valtest", "ori-test")),
}


def create(
    file_path_or_dict: str | os.PathLike[str] | Table,
    search_space: str,
    fast_mode: bool = True,
    verbose: bool = False,
    quirks: bool = False,
) -> NATStopology:
    """The API object of a table.

    Args:
        file_path_or_dict: a table, or its name or path.
        search_space: `tss` or `topology`.
        fast_mode: accepted for compatibility; reading is always lazy.
        verbose: print each call of `get_more_info`.
        quirks: behave as nats_bench also where it is wrong, see the module's docstring.

    Raises:
        NB201Error: for another search space, or a table without one of the recipes 12ep and 200ep.
    """
    if search_space not in _TOPOLOGY:
        raise NB201Error(
            f"search_space must be one of {', '.join(_TOPOLOGY)}, got {search_space!r}: tables hold no other"
        )
    return NATStopology(open_table(file_path_or_dict), fast_mode, verbose, quirks)


def version() -> str:
    """Version of nats_bench that this module mirrors."""
    return "v1.8"


def search_space_info(main_tag: str, aux_tag: str | None) -> dict[str, Any]:
    """Operations and number of nodes of the search space."""
    if (main_tag, aux_tag) not in {("nats-bench", "tss"), ("nats-bench", "topology"), ("nas-bench-201", None)}:
        raise ValueError(f"no such search space here: {main_tag!r}, {aux_tag!r}")
    return {"op_names": list(OPS), "num_nodes": 4}


class NATStopology(NASBenchMetaAPI):
    """Mirrors nats_bench's class of this name; see the module's docstring for what differs."""

    full_train_epochs = 200
    full_epochs_in_paper = 200
    search_space_name = "topology"
    is_topology = True
    is_size = False

    def __init__(self, table: Table, fast_mode: bool, verbose: bool, quirks: bool):
        self.table, self.fast_mode, self.verbose, self.quirks = table, fast_mode, verbose, quirks
        self.archive_dir = self.filename = str(table.path)
        self._runs: dict[str, dict[str, Runs]] = {}
        for hp, recipe in RECIPES.items():
            self._runs[hp] = {
                name: Runs(table, name, hp)
                for name, source in SOURCES.items()
                if any(
                    f"{source.dataset}/{recipe}/{source.trained_on}/{split}" in table
                    for split in ("train", *source.splits.values())
                )
            }
        self._runs = {hp: runs for hp, runs in self._runs.items() if runs}
        if not self._runs:
            raise NB201Error(f"table {table.name!r} has neither of the recipes {' and '.join(RECIPES.values())}")
        self._parts = lru_cache(_REMEMBERED)(self._parts_of)
        self.reset_time()

    @cached_property
    def evaluated_indexes(self) -> set[int]:
        """Cells with any run."""
        return set(np.flatnonzero(sum(r.num_trials() for runs in self._runs.values() for r in runs.values())).tolist())

    @property
    def avaliable_hps(self) -> list[str]:
        """Schedules that the table has; the name is misspelt as in nats_bench."""
        return list(self._runs)

    @property
    def used_time(self) -> float:
        """Simulated seconds charged since the last reset."""
        return self._used_time

    def reset_time(self) -> None:
        """Set the simulated seconds to 0."""
        self._used_time = 0.0

    def reset_archive_dir(self, archive_dir: str) -> None:
        """For compatibility; nothing is read from it."""
        self.archive_dir = archive_dir

    def reset_fast_mode(self, fast_mode: bool) -> None:
        """For compatibility; reading is always lazy."""
        self.fast_mode = fast_mode

    def reload(self, archive_root: str | None = None, index: int | None = None) -> None:
        """For compatibility: everything that the table has is there already."""

    def clear_params(self, index: int, hp: str | None = None) -> None:
        """For compatibility: tables hold no weights."""

    def __repr__(self) -> str:
        return (
            f"NATStopology({len(self.evaluated_indexes)}/{NUM_CELLS} architectures, fast_mode={self.fast_mode}, "
            f"file={self.filename})"
        )

    def _of(self, dataset: str, hp: str | int) -> Runs:
        by_name = self._by_name(hp)
        if dataset not in by_name:
            raise MissingDataError(f"invalid dataset-name : {dataset!r} vs. {list(by_name)}")
        return by_name[dataset]

    def _by_name(self, hp: str | int) -> dict[str, Runs]:
        try:
            return self._runs[str(hp)]
        except KeyError:
            raise MissingDataError(f"hp must be one of {', '.join(self._runs)}, got {hp!r}") from None

    def _trials(self, runs: Runs, index: int) -> tuple[int, ...]:
        if index < 0:
            raise InvalidCellError(f"invalid index of {index}")
        trials = runs.trials(index)
        if not trials:
            raise MissingDataError(
                f"table {self.table.name!r} has no run of cell {index} on {runs.official}, {runs.epochs} epochs"
            )
        return trials

    # --- queries --------------------------------------------------------------------------------------------------

    def get_more_info(
        self, index: Any, dataset: str, iepoch: int | None = None, hp: str | int = "12", is_random: bool | int = True
    ) -> dict[str, Any]:
        """Losses, accuracies in percent and seconds of a cell on every split: `train-`, `valid-`, `test-`, `valtest-`.

        Args:
            index: index, arch string, or object with `tostr()`.
            dataset: cifar10-valid, cifar10, cifar100 or ImageNet16-120.
            iepoch: epoch from 0, the last by default.
            hp: 12 or 200.
            is_random: True for a random seed, False for the mean over seeds, or a seed.
        """
        runs, index = self._of(dataset, hp), self.query_index_by_arch(index)
        if self.verbose:
            print(f"get_more_info({index}, {dataset!r}, iepoch={iepoch}, hp={hp!r}, is_random={is_random})")
        trials = self._trials(runs, index)
        trial = None if len(trials) > 1 else trials[0]
        if is_random is True:
            trial = random.choice(trials)
        elif is_random is not False:
            seeds = [runs.seeds[number] for number in trials]
            if is_random not in seeds:
                raise ValueError(f"can not find random seed ({is_random}) from {seeds}")
            trial = trials[seeds.index(is_random)]
        epoch, parts = self._parts(runs, iepoch, trial)
        info: dict[str, Any] = {}
        for prefix, (loss, accuracy, seconds) in parts:
            if accuracy is not None and np.isnan(accuracy.item(index)):  # the cell's own run lacks the split
                continue
            total = None if seconds is None else seconds.item(index)
            info[f"{prefix}-loss"] = None if loss is None else loss.item(index)
            info[f"{prefix}-accuracy"] = None if accuracy is None else accuracy.item(index)
            info[f"{prefix}-per-time"] = None if total is None else total / epoch
            info[f"{prefix}-all-time"] = total
            if prefix == "train" and dataset in TRAINED_ON:
                info["comment"] = COMMENT.format(TRAINED_ON[dataset], TRAINED_ON[dataset], hp)
        return info

    def _parts_of(self, runs: Runs, iepoch: int | None, trial: int | None) -> tuple[int, list[tuple[str, Any]]]:
        """The epoch from 1, and for each split that the table has at it, its prefix and its columns."""
        epoch = runs.epochs if iepoch is None else operator.index(iepoch) + 1
        if not 1 <= epoch <= runs.epochs:
            raise ValueError(f"invalid iepoch={iepoch}: expected 0 to {runs.epochs - 1}")
        wanted = (("train", "train"), *_PARTS[runs.official])
        found = [(prefix, runs.columns(name, epoch, trial)) for prefix, name in wanted]
        return epoch, [(prefix, columns) for prefix, columns in found if columns is not None]

    def simulate_train_eval(
        self, arch: Any, dataset: str, iepoch: int | None = None, hp: str | int = "12", account_time: bool = True
    ) -> tuple[float, float | None, float, float]:
        """Train a cell in simulation.

        Returns:
            Validation accuracy in percent of a random seed, latency, seconds of training through the epoch and of one
            evaluation pass, and all seconds used so far.

        Raises:
            ValueError: for another data set than cifar10, cifar100 and ImageNet16-120.
            MissingDataError: where only a curve of validation and test images mixed could answer (not with `quirks`).
        """
        names = ("cifar10", "cifar100", "ImageNet16-120")
        if dataset not in names:
            raise ValueError(f"Invalid dataset name : {dataset} vs {names}")
        index = self.query_index_by_arch(arch)
        official = "cifar10-valid" if dataset == "cifar10" else dataset
        info = self.get_more_info(index, official, iepoch, hp, True)
        if "valid-accuracy" in info:
            accuracy, last = info["valid-accuracy"], info
        elif self.quirks:
            accuracy, last = info["valtest-accuracy"], self.get_more_info(index, dataset, None, hp, True)
        else:
            raise MissingDataError(
                f"no validation accuracy of {dataset} at iepoch={iepoch} with hp={hp}; nats_bench answers with "
                "validation and test images mixed, which quirks=True allows"
            )
        if (training := info.get("train-all-time")) is None or np.isnan(training):
            raise MissingDataError(f"table {self.table.name!r} does not say how long training takes on {official}")
        seconds = training + (last["valid-per-time"] or 0.0)
        if account_time:
            self._used_time += seconds
        return accuracy, self._latency(self._latency_runs(dataset, hp), index), seconds, self._used_time

    def _latency_runs(self, dataset: str, hp: str | int) -> Runs:
        by_name = self._by_name(hp)
        return by_name.get(dataset) or by_name["cifar10-valid"]

    @staticmethod
    def _latency(runs: Runs, index: int) -> float | None:
        latency = runs.latency(index)
        return latency if latency > 0 else None

    def query_meta_info_by_index(self, arch_index: int, hp: str | int = "12") -> ArchResults:
        """All runs of a cell by one schedule."""
        results = ArchResults(self._by_name(hp), self.query_index_by_arch(arch_index))
        if not results.all_results:
            raise MissingDataError(f"table {self.table.name!r} has no run of cell {arch_index} with hp={hp}")
        return results

    def query_by_index(self, arch_index: int, dataname: str | None = None, hp: str | int = "12") -> Any:
        """All runs of a cell by one schedule, or those on one set of training images by seed."""
        results = self.query_meta_info_by_index(arch_index, hp)
        if dataname is None:
            return results
        if dataname not in results.get_dataset_names():
            raise ValueError(f"invalid dataset-name : {dataname} vs. {results.get_dataset_names()}")
        return results.query(dataname)

    def get_cost_info(self, index: Any, dataset: str, hp: str | int = "12") -> dict[str, float | None]:
        """FLOPs and parameters in millions, latency, and mean and total seconds, averaged over seeds."""
        runs, index = self._of(dataset, hp), self.query_index_by_arch(index)
        trials = self._trials(runs, index)
        flops, params = runs.costs(index)
        costs: dict[str, float | None] = {"flops": flops, "params": params, "latency": self._latency(runs, index)}
        times = [runs.times(index, trial) for trial in trials]
        return costs | {key: _mean_over(times, key) for key in times[0]}

    def get_latency(self, index: Any, dataset: str, hp: str | int = "12") -> float | None:
        """Seconds to evaluate one batch of 256 images."""
        runs, index = self._of(dataset, hp), self.query_index_by_arch(index)
        self._trials(runs, index)
        return self._latency(runs, index)

    def get_net_param(self, index: int, dataset: str, seed: int | None, hp: str | int = "12") -> Any:
        """None for each seed: tables hold no weights."""
        return self.query_meta_info_by_index(index, hp).get_net_param(dataset, seed)

    def find_best(
        self,
        dataset: str,
        metric_on_set: str,
        flop_max: float | None = None,
        param_max: float | None = None,
        hp: str | int = "12",
        enforce_all: bool | None = None,
    ) -> tuple[int, float | None]:
        """The cell of highest accuracy, averaged over seeds, and that accuracy in percent; the first of equals.

        Args:
            dataset: official name.
            metric_on_set: train, valid or test, or an official name such as x-valid.
            flop_max: in millions.
            param_max: in millions.
            hp: 12 or 200.
            enforce_all: accepted for compatibility; all cells of the table are always searched.
        """
        if dataset == "cifar10" and metric_on_set == "valid":
            dataset = "cifar10-valid"
        aliases = {
            "valid": "x-valid",
            "test": "ori-test" if dataset.startswith("cifar10-") or dataset == "cifar10" else "x-test",
        }
        runs = self._of(dataset, hp)
        name = aliases.get(metric_on_set, metric_on_set)
        split = "train" if name == "train" else runs.source.splits.get(name)
        if split is None:
            raise MissingDataError(
                f"{dataset} was not evaluated on {metric_on_set!r}; it was on train, {', '.join(runs.splits)}"
            )
        accuracy = self._mean_accuracy(runs, split)
        for limit, costs in ((flop_max, self.table.macs), (param_max, self.table.params)):
            if limit is not None:
                accuracy = np.where(costs(runs.source.dataset) / 1e6 > limit, np.nan, accuracy)
        if np.isnan(accuracy).all():
            return -1, None
        best = int(np.nanargmax(accuracy))
        return best, float(accuracy[best])

    @staticmethod
    def _mean_accuracy(runs: Runs, split: str) -> npt.NDArray[np.float64]:
        """Mean accuracy of every cell in percent, float64 as nats_bench computes."""
        dataset: str = runs.source.dataset
        nets: Any = {"recipe": runs.recipe, "trained_on": runs.source.trained_on}
        every = runs.table.accuracy(dataset, split=split, trial="all", **nets)
        images = runs.table.num_images(dataset, split=split, **nets)
        counts = np.rint(every.astype(np.float64) * images)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.nansum(100.0 * counts / images, axis=1) / (~np.isnan(counts)).sum(axis=1))

    def statistics(self, dataset: str, hp: str | int) -> dict[int, int]:
        """How many cells have how many seeds."""
        if dataset not in SOURCES:
            raise ValueError(f"{dataset} not in {list(SOURCES)}")
        by_name = self._by_name(hp)
        evaluated = sorted(self.evaluated_indexes)
        numbers = by_name[dataset].num_trials()[evaluated] if dataset in by_name else np.zeros(len(evaluated), int)
        return dict(Counter(numbers.tolist()))

    # --- printing -------------------------------------------------------------------------------------------------

    def query_by_arch(self, arch: Any, hp: str | int) -> str:
        """The text of `query_info_str_by_arch`."""
        return self.query_info_str_by_arch(arch, hp)

    def query_info_str_by_arch(self, arch: Any, hp: str | int = "12") -> str:
        """All that is known of a cell by one schedule, as text."""
        index = self.query_index_by_arch(arch)
        return "\n".join(describe(self.query_meta_info_by_index(index, hp), f"arch-index={index}"))

    def show(self, index: int = -1) -> None:
        """Print what is known of a cell, or of all cells that the table has."""
        if index < 0:
            print(self)
        for cell in sorted(self.evaluated_indexes) if index < 0 else [index]:
            print(f"{cell:06d} : {self.arch(cell)}")
            for hp, by_name in self._runs.items():
                if any(runs.trials(cell) for runs in by_name.values()):
                    print(f"{'>' * 40} {int(hp):03d} epochs {'>' * 40}")
                    print("\n".join(describe(self.query_meta_info_by_index(cell, hp), None)))

    str2lists = staticmethod(str2lists)
    str2matrix = staticmethod(str2matrix)


def _mean_over(found: list[dict[str, Any]], key: str) -> Any:
    if len(found) == 1 or found[0][key] is None:
        return found[0][key]
    return mean([metric[key] for metric in found])
