"""The result objects of nats_bench, with its reading methods, over a table.

`ResultsCount` is one training run, `ArchResults` all runs of one cell by one recipe. They hold no data of their own:
every answer is read from the table's columns. Seconds of an epoch that the table only has as totals are None.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from nb201_env.errors import NB201Error
from nb201_env.space import NUM_CELLS, Cell
from nb201_env.tables.official import RECIPES, SOURCES
from nb201_env.tables.schema import MISSING_COUNT
from nb201_env.tables.table import Table

_REMEMBERED = 64

Metric = dict[str, Any]


def mean(values: Sequence[float]) -> float:
    """As nats_bench adds: in order, then divided."""
    return sum(values) / len(values)


class Runs:
    """All cells' runs on one set of training images by one recipe: what an official name and an hp stand for.

    Args:
        table: to read.
        official: cifar10-valid, cifar10, cifar100 or ImageNet16-120.
        hp: 12 or 200.

    Attributes:
        epochs: length of the schedule.
        seeds: training seeds of the trials, in the table's order; their numbers where it does not know the seeds.
        splits: official names of the evaluated splits that the table has, train not among them.
    """

    def __init__(self, table: Table, official: str, hp: str):
        self.table = table
        self.official = official
        self.source = SOURCES[official]
        self.recipe = RECIPES[hp]
        dataset, trained_on = self.source.dataset, self.source.trained_on
        self.path = f"{dataset}/{self.recipe}/{trained_on}"
        self._nets = {"recipe": self.recipe, "trained_on": trained_on}
        present = table.splits(dataset, **self._nets)
        self.epochs = table.last_epoch(dataset, recipe=self.recipe)
        self.splits = [name for name, split in self.source.splits.items() if split in present]
        self.has_train = "train" in present
        any_split = "train" if self.has_train else self.source.splits[self.splits[0]]
        curves = table.column(dataset, split=any_split, **self._nets)
        counts = curves.stored("correct", curves.epochs[-1])
        if counts is None:
            raise NB201Error(
                f"{curves.path} of table {table.name!r} holds only means over trials: nats_bench answers by trial"
            )
        self._knows_seeds = curves.trial_seeds is not None
        self.seeds = list(range(curves.num_trials)) if curves.trial_seeds is None else list(curves.trial_seeds)
        self._present = present = counts != MISSING_COUNT[counts.dtype.name]
        # Few sets of trials occur; each cell has the number of its own.
        sets, number = np.unique(present.T, axis=0, return_inverse=True)
        self._trial_sets = [tuple(np.flatnonzero(has).tolist()) for has in sets]
        self._set_of = number.ravel()
        self.metric = lru_cache(_REMEMBERED)(self._metric_of)
        self.columns = lru_cache(_REMEMBERED)(self._columns_of)
        self._seconds = lru_cache(_REMEMBERED)(self._read_seconds)

    def trials(self, index: int) -> tuple[int, ...]:
        """Numbers of the trials that a cell has."""
        return self._trial_sets[self._set_of.item(index)]

    def num_trials(self) -> Any:
        """How many trials each cell has, (15625,)."""
        return np.array([len(trials) for trials in self._trial_sets])[self._set_of]

    def _metric_of(self, name: str, epoch: int) -> Callable[[int, int], Metric] | None:
        """A function from cell and trial to what nats_bench says of an official split after an epoch (from 1).

        None if the table does not have that split at that epoch.
        """
        values = self._values(name, epoch)
        if values is None:
            return None
        now = self._seconds(self._seconds_path(name), epoch)[0]
        named = dict(zip(("loss", "accuracy", "cur_time", "all_time"), (*values[:2], now, values[2]), strict=True))

        def metric(index: int, trial: int) -> Metric:
            found = {key: None if v is None else v.item(trial if len(v) > 1 else 0, index) for key, v in named.items()}
            return {"iepoch": epoch - 1} | found

        return metric

    def _columns_of(self, name: str, epoch: int, trial: int | None) -> tuple[Any, Any, Any] | None:
        """Loss, accuracy in percent and seconds through an epoch of every cell, (15625,) or None each.

        Args:
            name: official split.
            epoch: from 1.
            trial: number, or None for the mean over the trials that a cell has, added in order as nats_bench does.
        """
        values = self._values(name, epoch)
        if values is None:
            return None
        return tuple(None if v is None else self._over_trials(v, trial) for v in values)  # type: ignore[return-value]

    def _over_trials(self, values: Any, trial: int | None) -> Any:
        if trial is not None:
            return values[trial if len(values) > 1 else 0]
        total = np.zeros(NUM_CELLS)
        for number, present in enumerate(self._present):
            total = total + np.where(present, values[number if len(values) > 1 else 0], 0.0)
        with np.errstate(invalid="ignore"):
            return total / self.num_trials()

    def _values(self, name: str, epoch: int) -> tuple[Any, Any, Any] | None:
        """Loss, accuracy in percent and seconds through an epoch, each (trials or 1, 15625) or None."""
        split = "train" if name == "train" else self.source.splits.get(name)
        if split is None:
            return None
        has_split = f"{self.path}/{split}" in self.table
        curves = self.table.column(self.source.dataset, split=split, **self._nets) if has_split else None
        if curves is not None and epoch not in curves.epochs:
            curves = None
        if curves is None and name != "train":  # seconds of training are there even if its accuracy is not
            return None
        loss = accuracy = None
        if curves is not None:
            correct, loss = curves.stored("correct", epoch), self._by_trial(split, curves.stored("loss", epoch))
            if correct is not None:
                there = correct != MISSING_COUNT[correct.dtype.name]
                accuracy = self._by_trial(split, np.where(there, 100.0 * correct / curves.images, np.nan))
        return loss, accuracy, self._seconds(self._seconds_path(name), epoch)[1]

    def _by_trial(self, split: str, values: Any) -> Any:
        """Values (trials, …) of a split in the order of `self.seeds`, NaN where it has not such a trial."""
        if values is None:
            return None
        known = self.table.column(self.source.dataset, split=split, **self._nets).trial_seeds
        own, wanted = list(range(len(values))), list(range(len(self.seeds)))
        if known is not None and self._knows_seeds:
            own, wanted = list(known), self.seeds
        if own == wanted:
            return values
        nothing = np.full(values.shape[1:], np.nan)
        return np.stack([values[own.index(one)] if one in own else nothing for one in wanted])

    def _seconds_path(self, name: str) -> str:
        return (
            f"{self.path}/epoch_seconds" if name == "train" else f"{self.path}/{self.source.splits[name]}/eval_seconds"
        )

    def _read_seconds(self, path: str, epoch: int) -> tuple[Any, Any]:
        """Seconds of one epoch and of all through it, each (trials or 1, 15625), None if the table does not say."""
        if path in self.table:
            seconds = self.table.array(path)
            if path.endswith("/eval_seconds") and len(seconds) > 1:
                seconds = self._by_trial(path.split("/")[-2], seconds)
            if seconds.shape[1] == 1:
                return seconds[:, 0], _repeated_sum(seconds[:, 0], epoch)
            return seconds[:, epoch - 1], np.cumsum(seconds[:, :epoch], axis=1)[:, -1]
        totals = f"{self.path}/train_seconds"
        if path.endswith("epoch_seconds") and totals in self.table:
            known = list(self.table.attrs(totals)["epochs"])
            if epoch in known:
                return None, self.table.array(totals)[:, known.index(epoch)]
        return None, None

    def times(self, index: int, trial: int) -> dict[str, float | None]:
        """Mean and total seconds of training and of each evaluated split over the whole schedule."""
        times: dict[str, float | None] = {}
        for name in ("train", *self.splits):
            _, total = self._seconds(self._seconds_path(name), self.epochs)
            whole = None if total is None else total.item(trial if len(total) > 1 else 0, index)
            times[f"T-{name}@epoch"] = None if whole is None else whole / self.epochs
            times[f"T-{name}@total"] = whole
        return times

    def latency(self, index: int) -> float:
        """Seconds a batch of 256, -1 where the table has none."""
        return float(self._latency.item(index))

    @cached_property
    def _latency(self) -> Any:
        path = f"{self.source.dataset}/latency"
        return self.table.array(path) if path in self.table else np.full(NUM_CELLS, -1.0)

    def costs(self, index: int) -> tuple[float, float]:
        """FLOPs and parameters, in millions."""
        dataset = self.source.dataset
        return self.table.macs(dataset).item(index) / 1e6, self.table.params(dataset).item(index) / 1e6


def _repeated_sum(values: Any, times: int) -> Any:
    """Values + values + …, with the rounding of nats_bench, which adds one epoch after the other."""
    total = np.zeros_like(values)
    for _ in range(times):
        total = total + values
    return total


class ResultsCount:
    """One training run.

    Attributes:
        name: official name of the training images.
        seed: training seed.
        epochs: length of the schedule.
        params: trainable parameters in millions.
        flop: multiply-accumulates in millions.
        eval_names: official names of the evaluated splits.
        arch_config: what network it is.
    """

    def __init__(self, runs: Runs, index: int, trial: int):
        self._runs, self._index, self._trial = runs, index, trial
        self.name = runs.official
        self.seed = runs.seeds[trial]
        self.epochs = runs.epochs
        self.flop, self.params = runs.costs(index)
        self.eval_names = list(runs.splits)
        classes = runs.source.num_classes
        self.arch_config = {"channel": 16, "num_cells": 5, "arch_str": Cell(index).arch, "class_num": classes}

    def __repr__(self) -> str:
        return (
            f"ResultsCount({self.name}, arch={self.arch_config['arch_str']}, FLOP={self.flop:.2f}M, "
            f"Param={self.params:.3f}MB, seed={self.seed}, {len(self.eval_names)} eval-sets: "
            f"[{', '.join(self.eval_names)}])"
        )

    def get_train(self, iepoch: int | None = None) -> Metric:
        """Running training loss and accuracy of an epoch, from 0; the last by default."""
        return self._get("train", iepoch)

    def get_eval(self, name: str, iepoch: int | None = None) -> Metric:
        """Loss and accuracy on a split after an epoch; `valid` stands for `x-valid`."""
        return self._get("x-valid" if name == "valid" else name, iepoch)

    def _get(self, name: str, iepoch: int | None) -> Metric:
        epoch = self.epochs if iepoch is None else iepoch + 1
        if not 1 <= epoch <= self.epochs:
            raise ValueError(f"invalid iepoch={iepoch}: expected 0 to {self.epochs - 1}")
        metric = self._runs.metric(name, epoch)
        if metric is None:
            raise KeyError(f"{name}@{epoch - 1}")
        found = metric(self._index, self._trial)
        if found["accuracy"] is not None and np.isnan(found["accuracy"]):  # of another run, or another cell's
            raise KeyError(f"{name}@{epoch - 1}")
        return found

    def get_times(self) -> dict[str, float | None]:
        """Mean and total seconds of training and of evaluation."""
        return self._runs.times(self._index, self._trial)

    def get_latency(self) -> float:
        """Seconds a batch of 256, -1.0 if there is none."""
        return self._runs.latency(self._index)

    def get_total_epoch(self) -> int:
        """Length of the schedule."""
        return self.epochs

    def get_eval_set(self) -> list[str]:
        """Official names of the evaluated splits."""
        return self.eval_names

    def get_config(self, str2structure: Callable[[str], Any] | None) -> dict[str, Any]:
        """What network it is, its cell as a string or as str2structure makes it."""
        config = self.arch_config
        cell = (
            {"arch_str": config["arch_str"]}
            if str2structure is None
            else {"genotype": str2structure(str(config["arch_str"]))}
        )
        return {
            "name": "infer.tiny",
            "C": config["channel"],
            "N": config["num_cells"],
            **cell,
            "num_classes": config["class_num"],
        }

    def get_net_param(self, clone: bool = False) -> None:
        """None: tables hold no weights."""


class ArchResults:
    """All runs of one cell by one recipe.

    Args:
        by_name: the runs of all cells by official name.
        index: of the cell.
    """

    def __init__(self, by_name: dict[str, Runs], index: int):
        self.arch_index = index
        self.arch_str = Cell(index).arch
        self._runs = {name: runs for name, runs in by_name.items() if runs.trials(index)}
        self.dataset_seed = {n: [r.seeds[t] for t in r.trials(index)] for n, r in self._runs.items()}
        self.all_results = {
            (name, runs.seeds[trial]): ResultsCount(runs, index, trial)
            for name, runs in self._runs.items()
            for trial in runs.trials(index)
        }

    def get_compute_costs(self, dataset: str) -> dict[str, float | None]:
        """FLOPs and parameters in millions, latency and seconds, as means over seeds."""
        results = self._results(dataset)
        latencies = [latency for result in results if (latency := result.get_latency()) > 0]
        info: dict[str, float | None] = {
            "flops": mean([result.flop for result in results]),
            "params": mean([result.params for result in results]),
            "latency": mean(latencies) if latencies else None,
        }
        times = [result.get_times() for result in results]
        return info | {key: _mean_or_none([time[key] for time in times]) for key in times[0]}

    def get_metrics(
        self, dataset: str, setname: str, iepoch: int | None = None, is_random: bool | int = False
    ) -> Metric:
        """Loss, accuracy and seconds on a split: of a random seed (True), the mean (False) or one seed."""
        results, seeds = self._results(dataset), self.dataset_seed[dataset]

        def metric(result: ResultsCount) -> Metric:
            return result.get_train(iepoch) if setname == "train" else result.get_eval(setname, iepoch)

        if is_random is True:
            return metric(results[random.randint(0, len(results) - 1)])
        if is_random is False:
            found = [metric(result) for result in results]
            return {key: _mean_or_none([one[key] for one in found]) for key in found[0]}
        if is_random not in seeds:
            raise ValueError(f"can not find random seed ({is_random}) from {seeds}")
        return metric(results[seeds.index(is_random)])

    def metric_or_none(self, dataset: str, setname: str) -> Metric | None:
        """Mean metrics of the last epoch, None where the table does not have that split's accuracy."""
        try:
            found = self.get_metrics(dataset, setname)
        except KeyError:
            return None
        return None if found["accuracy"] is None else found

    def _results(self, dataset: str) -> list[ResultsCount]:
        return [self.all_results[dataset, seed] for seed in self.dataset_seed[dataset]]

    def get_dataset_names(self) -> list[str]:
        """Official names of the sets of training images that the cell has runs on."""
        return list(self.dataset_seed)

    def get_dataset_seeds(self, dataset: str) -> list[int]:
        """Seeds of the runs on one of them."""
        return list(self.dataset_seed[dataset])

    def get_net_param(self, dataset: str, seed: int | None = None) -> Any:
        """None for each seed: tables hold no weights."""
        if seed is None:
            return dict.fromkeys(self.dataset_seed[dataset])
        if (dataset, seed) not in self.all_results:
            raise ValueError(f"key={(dataset, seed)} not in {list(self.all_results)}")
        return None

    def get_latency(self, dataset: str) -> float:
        """Mean latency over seeds; ValueError if there is none."""
        latencies = [result.get_latency() for result in self._results(dataset)]
        if min(latencies) <= 0:
            raise ValueError(f"invalid latency of {dataset} : {min(latencies)}")
        return mean(latencies)

    def get_total_epoch(self, dataset: str | None = None) -> int:
        """Length of the schedule."""
        return next(iter(self._runs.values() if dataset is None else [self._runs[dataset]])).epochs

    def query(self, dataset: str, seed: int | None = None) -> Any:
        """The run of a seed, or all of them by seed."""
        if seed is None:
            return {seed: self.all_results[dataset, seed] for seed in self.dataset_seed[dataset]}
        return self.all_results[dataset, seed]

    def arch_idx_str(self) -> str:
        """The index in six digits."""
        return f"{self.arch_index:06d}"


def _mean_or_none(values: Sequence[Any]) -> float | None:
    return None if values[0] is None else mean(values)
