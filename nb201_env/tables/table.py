"""Reading a table: columns over all cells, single records, and what is there.

What a table does not hold raises MissingDataError with a list of what it does hold. A cell without a value is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nb201_env.checks import is_whole, one_of, shown
from nb201_env.errors import MissingDataError, NB201Error
from nb201_env.space import NUM_CELLS, Cell, all_macs, all_params
from nb201_env.tables.arrays import StoredArrays, frozen, remembered
from nb201_env.tables.curves import Curves, Trial, listed, over_trials
from nb201_env.tables.schema import SPLITS, TRAINED_ON
from nb201_env.tables.weights import read_weights

if TYPE_CHECKING:
    import xarray

    from nb201_env.tables.remote import RemoteFiles

Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]


class Record(NamedTuple):
    """What a table says about one cell; NaN where it has no value.

    Attributes:
        index: official index.
        accuracy: fraction of correct images.
        train_seconds: GPU-seconds of training, through the epoch, the nets whose accuracy it is.
        eval_seconds: GPU-seconds of one pass over the split.
        latency: seconds a batch of 256 images.
        params: trainable parameters.
        macs: multiply-accumulates an image.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    accuracy: float
    train_seconds: float
    eval_seconds: float
    latency: float
    params: int
    macs: int


class Table(StoredArrays):
    """A benchmark table, read lazily and never changed. Use `nb201_env.open_table` to make one.

    Arguments that every column takes:

    * recipe: None means the only one; where there are several, one must be named.
    * epoch: 1 to the recipe's length; None means the last.
    * trial: "mean" over the trials a cell has, "all" for a column each, or a number from 0.
    * trained_on: `half` or `full`; None means `half` for train and valid where the table has nets of the data set that
      were trained on half of its images, as those of CIFAR-10 were, and `full` for everything else.

    What is stored beneath is read by the methods of `nb201_env.tables.arrays.StoredArrays`.

    Attributes:
        params: from a data set to the trainable parameters of all cells, int64 (15625,).
        macs: from a data set to the multiply-accumulates an image of all cells, int64 (15625,).
    """

    def __init__(self, path: Path, remote: RemoteFiles | None = None):
        super().__init__(path, remote)
        self.params = remembered(self._read_params)
        self.macs = remembered(self._read_macs)
        self._values = remembered(self._read_values)
        self._record_columns = remembered(self._read_record_columns)
        self._curves = remembered(self._find_curves)

    # A table is opened again from its path in another process and is shared, never copied, in this one.
    def __reduce__(self) -> tuple[Any, ...]:
        from nb201_env.tables.opening import open_table

        return open_table, (self.remote.url if self.remote else str(self.path),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Table:
        return self

    def __repr__(self) -> str:
        return f"<Table {self.name!r}: {', '.join(self.datasets)}>"

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the values come from, empty if the table does not say."""
        provenance: Mapping[str, Any] = self.attributes.get("provenance", {})
        return provenance

    @property
    def fingerprint(self) -> str:
        """Hash of all that training determines."""
        return str(self.attributes["fingerprint"])

    @property
    def timing_fingerprint(self) -> str:
        """Hash of seconds and latencies."""
        return str(self.attributes["timing_fingerprint"])

    @cached_property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets."""
        return self.groups("")

    def recipes(self, dataset: str) -> tuple[str, ...]:
        """Names of the recipes that nets were trained by on a data set."""
        return self.groups(self._dataset(dataset))

    def splits(self, dataset: str, *, recipe: str | None = None, trained_on: str | None = None) -> tuple[str, ...]:
        """Splits that a recipe's nets were evaluated on; of all training sets together where none is named."""
        path = self._recipe(dataset, recipe)
        sets = self.groups(path) if trained_on is None else (trained_on,)
        present = {split for name in sets for split in self.groups(f"{path}/{name}")}
        return tuple(split for split in SPLITS if split in present)

    def epochs(
        self, dataset: str, *, recipe: str | None = None, split: str = "valid", trained_on: str | None = None
    ) -> tuple[int, ...]:
        """Epochs after which the nets were evaluated on a split, ascending, from 1."""
        return self._curves(dataset, recipe, split, trained_on).epochs

    def trials(
        self, dataset: str, *, recipe: str | None = None, split: str = "valid", trained_on: str | None = None
    ) -> tuple[int, ...]:
        """Numbers of the trials, none if the table holds only means over them. Not every cell need have each."""
        return tuple(range(self._curves(dataset, recipe, split, trained_on).num_trials))

    def num_classes(self, dataset: str) -> int:
        """Number of classes of a data set."""
        return int(self.attrs(self._dataset(dataset))["num_classes"])

    def image_size(self, dataset: str) -> int:
        """Height and width of a data set's images in pixels."""
        return int(self.attrs(self._dataset(dataset))["image_size"])

    def num_images(
        self, dataset: str, *, recipe: str | None = None, split: str = "valid", trained_on: str | None = None
    ) -> int:
        """Number of images of a split."""
        return self._curves(dataset, recipe, split, trained_on).images

    def last_epoch(self, dataset: str, *, recipe: str | None = None) -> int:
        """Length of a recipe's schedule in epochs."""
        return int(self.attrs(self._recipe(dataset, recipe))["epochs"])

    def column(
        self, dataset: str, *, recipe: str | None = None, split: str = "valid", trained_on: str | None = None
    ) -> Curves:
        """What one split holds of all cells, by epoch and trial.

        Raises:
            MissingDataError: if the table does not have the split.
        """
        return self._curves(dataset, recipe, split, trained_on)

    def accuracy(
        self,
        dataset: str,
        *,
        recipe: str | None = None,
        epoch: int | None = None,
        split: str = "valid",
        trial: Trial = "mean",
        trained_on: str | None = None,
    ) -> Floats32:
        """Accuracies of all cells.

        Returns:
            Fractions in [0, 1], read-only float32 of shape (15625,), or (15625, trials) for trial="all".

        Raises:
            MissingDataError: if the table does not have them.
        """
        return self._values("accuracy", dataset, split, recipe, epoch, trial, trained_on)

    def loss(
        self,
        dataset: str,
        *,
        recipe: str | None = None,
        epoch: int | None = None,
        split: str = "valid",
        trial: Trial = "mean",
        trained_on: str | None = None,
    ) -> Floats64:
        """Mean cross-entropies of all cells, read-only float64 shaped as in `accuracy`."""
        return self._values("loss", dataset, split, recipe, epoch, trial, trained_on)

    def has_train_seconds(self, dataset: str, *, recipe: str | None = None, trained_on: str | None = None) -> bool:
        """Whether the table says how long training takes."""
        path = self._training(dataset, recipe, "valid", trained_on)
        return f"{path}/epoch_seconds" in self or f"{path}/train_seconds" in self

    def train_seconds(
        self, dataset: str, *, recipe: str | None = None, epoch: int | None = None, trained_on: str | None = None
    ) -> Floats64:
        """GPU-seconds of training every cell through an epoch, float64 of shape (15625,); a mean where trials differ.

        By default of the nets of the valid split.
        """
        path = self._training(dataset, recipe, "valid", trained_on)
        epoch = self._epoch(dataset, recipe, epoch)
        if f"{path}/epoch_seconds" in self:
            seconds = over_trials(self.array(f"{path}/epoch_seconds"))
            return frozen(seconds[0] * epoch if len(seconds) == 1 else seconds[:epoch].sum(axis=0))
        if f"{path}/train_seconds" not in self:
            raise MissingDataError(f"{self.at(path)} has no training seconds")
        known = tuple(self.attrs(f"{path}/train_seconds")["epochs"])
        if epoch not in known:
            raise MissingDataError(f"{self.at(path)} has training seconds through epochs {listed(known)}, not {epoch}")
        return frozen(over_trials(self.array(f"{path}/train_seconds")[:, known.index(epoch)]))

    def has_eval_seconds(
        self, dataset: str, *, recipe: str | None = None, split: str = "valid", trained_on: str | None = None
    ) -> bool:
        """Whether the table says how long an evaluation pass takes; where not, `Oracle` charges 0 for it."""
        return f"{self._curves(dataset, recipe, split, trained_on).path}/eval_seconds" in self

    def eval_seconds(
        self, dataset: str, *, recipe: str | None = None, split: str = "valid", trained_on: str | None = None
    ) -> Floats64:
        """GPU-seconds of one pass over a split, float64 of shape (15625,); a mean over what the table distinguishes."""
        path = self._curves(dataset, recipe, split, trained_on).path
        if not self.has_eval_seconds(dataset, recipe=recipe, split=split, trained_on=trained_on):
            raise MissingDataError(f"{self.at(path)} has no evaluation seconds")
        return frozen(over_trials(self.array(f"{path}/eval_seconds")).mean(axis=0))

    def latency(self, dataset: str) -> Floats64:
        """Seconds to evaluate one batch of 256 images, float64 of shape (15625,)."""
        path = f"{self._dataset(dataset)}/latency"
        if path not in self:
            raise MissingDataError(f"{self.at(dataset)} has no latencies")
        return self.array(path)

    def query(
        self,
        cell: Cell | int | str,
        dataset: str,
        *,
        recipe: str | None = None,
        epoch: int | None = None,
        split: str = "valid",
        trial: int | Literal["mean"] = "mean",
        trained_on: str | None = None,
    ) -> Record:
        """All that the table says about one cell, as plain numbers.

        Raises:
            MissingDataError: if the table does not hold the accuracy at all; costs that it lacks are NaN.
        """
        index = cell if type(cell) is int and 0 <= cell < NUM_CELLS else Cell.parse(cell).index
        columns = self._record_columns(dataset, split, recipe, epoch, trial, trained_on)
        return Record(index, *(column[index] for column in columns))

    def trained_as(
        self, cell: Cell | int | str, dataset: str, *, recipe: str | None = None, trained_on: str | None = None
    ) -> int:
        """Index of the cell whose training a cell's row is: itself, or an equal cell where rows are copies."""
        path, index = f"{self._training(dataset, recipe, 'test', trained_on)}/trained_as", Cell.parse(cell).index
        found = int(self.array(path)[index]) if path in self else index
        return index if found < 0 else found

    def weights(
        self,
        cell: Cell | int | str,
        dataset: str,
        *,
        recipe: str | None = None,
        trial: int = 0,
        trained_on: str | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Weights after the last epoch, where the table keeps them, as a state dict of arrays. Needs safetensors.

        It is that of `nb201_generator.network.Network` of the cell that `trained_as` names.
        """
        path = self._training(dataset, recipe, "test", trained_on)
        index = self.trained_as(cell, dataset, recipe=recipe, trained_on=trained_on)
        return read_weights(self, path, index, trial)

    def verify(self) -> list[str]:
        """Read and check everything; what is wrong, each with its place, empty if nothing is."""
        from nb201_env.tables.verify import problems_of

        return problems_of(self)

    def to_xarray(self) -> xarray.DataTree:
        """The table as an xarray.DataTree, read lazily. Needs xarray."""
        from nb201_env.tables.export import to_xarray

        return to_xarray(self)

    # --- finding things, with errors that say what there is -------------------------------------------------------

    def _choose(self, what: str, wanted: object, present: Iterable[str], where: str = "") -> str:
        present = tuple(present)
        if not isinstance(wanted, str) or wanted not in present:
            place = f" of {where.replace('/', ' / ')}" if where else ""
            raise MissingDataError(
                f"table {self.name!r} has no {what} {shown(wanted)}; its {what}s{place}: {', '.join(present) or 'none'}"
            )
        return wanted

    def _dataset(self, dataset: str) -> str:
        return self._choose("dataset", dataset, self.datasets)

    def _recipe(self, dataset: str, recipe: str | None) -> str:
        present = self.recipes(dataset)
        if recipe is None:
            if len(present) != 1:
                raise MissingDataError(f"{self.at(dataset)}: name a recipe, there are several: {', '.join(present)}")
            recipe = present[0]
        return f"{dataset}/{self._choose('recipe', recipe, present, dataset)}"

    def _training(self, dataset: str, recipe: str | None, split: str, trained_on: str | None) -> str:
        path = self._recipe(dataset, recipe)
        if trained_on is None:
            trained_on = self.usual_nets(dataset, split)
        else:
            one_of("trained_on", trained_on, TRAINED_ON)
        return f"{path}/{self._choose('training set', trained_on, self.groups(path), path)}"

    def usual_nets(self, dataset: str, split: str) -> str:
        """What the nets were trained on that are meant where nothing is said; on CIFAR-10 half but for test."""
        has_half = any("half" in self.groups(f"{dataset}/{recipe}") for recipe in self.recipes(dataset))
        return "half" if split in ("train", "valid") and has_half else "full"

    def usual_splits(self, dataset: str, *, recipe: str | None = None) -> tuple[str, ...]:
        """Splits that a recipe's usual nets were evaluated on, which can be asked for without naming the nets."""
        path = self._recipe(dataset, recipe)
        found = self.splits(dataset, recipe=recipe)
        return tuple(split for split in found if f"{path}/{self.usual_nets(dataset, split)}/{split}" in self)

    def _find_curves(self, dataset: str, recipe: str | None, split: str, trained_on: str | None) -> Curves:
        one_of("split", split, SPLITS)
        if trained_on is None:  # first the wider complaint: of all training sets none has the split
            self._choose("split", split, self.splits(dataset, recipe=recipe), self._recipe(dataset, recipe))
        training = self._training(dataset, recipe, split, trained_on)
        return Curves(self, f"{training}/{self._choose('split', split, self.groups(training), training)}")

    def _epoch(self, dataset: str, recipe: str | None, epoch: int | None) -> int:
        last = self.last_epoch(dataset, recipe=recipe)
        if epoch is None:
            return last
        if not is_whole(epoch) or not 1 <= epoch <= last:
            path = self._recipe(dataset, recipe)
            raise MissingDataError(f"{self.at(path)} has epochs 1 to {last}, not {shown(epoch)}")
        return int(epoch)

    # --- reading --------------------------------------------------------------------------------------------------

    def _read_record_columns(
        self, dataset: str, split: str, recipe: str | None, epoch: int | None, trial: Any, trained_on: str | None
    ) -> list[list[Any]]:
        """What records hold, of all cells, as lists; costs that the table lacks are NaN."""
        accuracy = self.accuracy(dataset, split=split, recipe=recipe, epoch=epoch, trial=trial, trained_on=trained_on)
        if accuracy.ndim > 1:
            raise NB201Error("a record holds one accuracy: trial must be 'mean' or a number, got 'all'")
        nets = self._training(dataset, recipe, split, trained_on).rpartition("/")[2]
        costs: list[npt.NDArray[Any]] = []
        for read, which in (
            (self.train_seconds, {"recipe": recipe, "epoch": epoch, "trained_on": nets}),
            (self.eval_seconds, {"recipe": recipe, "split": split, "trained_on": nets}),
            (self.latency, {}),
        ):
            try:
                costs.append(read(dataset, **which))
            except MissingDataError:
                costs.append(np.full(NUM_CELLS, np.nan))
        return [column.tolist() for column in (accuracy, *costs, self.params(dataset), self.macs(dataset))]

    def _read_params(self, dataset: str) -> npt.NDArray[np.int64]:
        path = f"{self._dataset(dataset)}/params"
        return self.array(path) if path in self else frozen(all_params(self.num_classes(dataset)))

    def _read_macs(self, dataset: str) -> npt.NDArray[np.int64]:
        path, size = f"{self._dataset(dataset)}/macs", self.image_size(dataset)
        return self.array(path) if path in self else frozen(all_macs(self.num_classes(dataset), size))

    def _read_values(
        self,
        name: str,
        dataset: str,
        split: str,
        recipe: str | None,
        epoch: int | None,
        trial: Trial,
        trained_on: str | None,
    ) -> npt.NDArray[Any]:
        curves = self._curves(dataset, recipe, split, trained_on)
        values = curves.values(name, self._epoch(dataset, recipe, epoch), trial)
        return frozen(values.astype(np.float32 if name == "accuracy" else np.float64))
