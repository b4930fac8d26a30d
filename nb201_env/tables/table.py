"""Reading a table: columns over all cells, single records, and what is there.

    table = open_table("published")
    table.accuracy("cifar10")                    # mean over trials at the last epoch, float32 (15625,)
    table.query(6111, "cifar100").accuracy

What a table does not hold raises MissingDataError with a list of what it does hold. A cell without a value is NaN.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from nb201_env.checks import is_whole, one_of, shown
from nb201_env.errors import MissingDataError, NB201Error, TableFormatError
from nb201_env.space import NUM_CELLS, Cell, all_macs, all_params
from nb201_env.tables.fingerprint import EPOCHS_PER_CHUNK, digest
from nb201_env.tables.metadata import TableFiles, node_problems, parsed, read_metadata
from nb201_env.tables.schema import MISSING_COUNT, NAME, SPLITS, TRAINED_ON

if TYPE_CHECKING:
    import xarray

Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]
Trial = int | Literal["mean", "all"]

EMBEDDED = {"published": "published.zarr.zip", "mini": "mini.zarr.zip"}
"""Tables that come with the package."""

DATA = Path(__file__).parent / "data"

_CACHED_COLUMNS = 256


class Split(NamedTuple):
    """Where one split's values stand and how to read them.

    Attributes:
        path: of its group.
        images: number of images evaluated.
        epochs: evaluated epochs, ascending, from 1.
        num_trials: number of repeat trainings, 0 if only means over them are known.
        trial_seeds: training seed of each trial, None if not recorded.
    """

    path: str
    images: int
    epochs: tuple[int, ...]
    num_trials: int
    trial_seeds: tuple[int, ...] | None


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


@lru_cache(maxsize=32)
def _open(path: Path, stamp: tuple[int, ...]) -> Table:
    return Table(path)


def open_table(where: str | os.PathLike[str] | Table) -> Table:
    """Open a table for reading. Nothing but metadata is read yet.

    Args:
        where: the name of an embedded table, the path of a `.zarr` folder or a `.zarr.zip` archive, or an open table.

    Raises:
        NB201Error: if nothing is there.
        TableFormatError: if it is no table, is damaged, or is of a newer format.
    """
    if isinstance(where, Table):
        return where
    if not isinstance(where, str | os.PathLike):
        raise NB201Error(f"a table is named by a name ({', '.join(EMBEDDED)}) or a path, got {shown(where)}")
    name = os.fspath(where)
    path = DATA / EMBEDDED[name] if name in EMBEDDED else Path(name).absolute()
    metadata = path / "zarr.json" if os.path.isdir(path) else path
    if not os.path.exists(path):  # which, unlike the path's own method, bears a name of any length
        raise NB201Error(f"no table {shown(name)}: neither a path nor an embedded table ({', '.join(EMBEDDED)})")
    if not metadata.is_file():
        what = "the folder has no zarr.json" if path.is_dir() else "it is no regular file"
        raise TableFormatError(f"{name} is no table: {what}")
    stat = metadata.stat()
    return _open(path, (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size))


class Table:
    """A benchmark table, read lazily and never changed. Use `open_table` to make one.

    Arguments that every column takes:

    * recipe: None means the only one; where there are several, one must be named.
    * epoch: 1 to the recipe's length; None means the last.
    * trial: "mean" over the trials a cell has, "all" for a column each, or a number from 0.
    * trained_on: `half` or `full`; None means, on CIFAR-10, `half` for train and valid (25,000 images) and `full` for
      test (50,000), and elsewhere `full`.

    Metadata is compared with the table's manifest when it is opened, and values with their hashes when they are first
    read, so that damage is an error and never a number.

    Attributes:
        path: the folder or archive.
        array: from the path of an array within the table to its values as stored, read-only and remembered.
        params: from a data set to the trainable parameters of all cells, int64 (15625,).
        macs: from a data set to the multiply-accumulates an image of all cells, int64 (15625,).
        attributes: the table's own attributes, see `nb201_env.tables.schema`.
    """

    def __init__(self, path: Path):
        self.path = path
        self.attributes, self._nodes, self._names = read_metadata(path)
        self._stores: dict[int, Any] = {}
        self._sound: set[tuple[str, int]] = set()  # arrays, and which of their chunks, that have been found sound
        self.params = _remembered(self._read_params)
        self.macs = _remembered(self._read_macs)
        self.array = _remembered(self._read_array)
        self._column = _remembered(self._read_column)
        self._split = _remembered(self._find_split)
        self._foreign = lru_cache(_CACHED_COLUMNS)(self._find_foreign)
        self._files_are_regular = lru_cache(_CACHED_COLUMNS)(self._check_files)

    # A table is opened again from its path in another process and is shared, never copied, in this one.
    def __reduce__(self) -> tuple[Any, ...]:
        return open_table, (str(self.path),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Table:
        return self

    def __repr__(self) -> str:
        return f"<Table {self.name!r}: {', '.join(self.datasets)}>"

    @property
    def store(self) -> Any:
        """Where zarr reads the table from; one for each process, because a fork shares the position in an open file."""
        if os.getpid() not in self._stores:
            from zarr.core.sync import sync
            from zarr.storage import LocalStore, ZipStore

            kind = LocalStore if self.path.is_dir() else ZipStore
            self._stores = {os.getpid(): sync(kind.open(self.path, read_only=True))}
        return self._stores[os.getpid()]

    @property
    def root(self) -> Any:
        """The table as a zarr.Group, for what the methods do not cover."""
        import zarr

        return zarr.open_group(self.store, mode="r", zarr_format=3)

    def __contains__(self, path: str) -> bool:
        """Whether the table was written with a group or array at a path; what is foreign is none of its values."""
        return path in self._nodes

    def _node(self, path: str) -> dict[str, Any]:
        if not isinstance(path, str):
            raise MissingDataError(f"a path within a table is a string, got {shown(path)}")
        found = self._nodes.get(path) or self._foreign(path)
        if found is None:
            raise MissingDataError(f"table {self.name!r} has nothing at {shown(path)}")
        return found

    def _find_foreign(self, path: str) -> dict[str, Any] | None:
        """Metadata of what another tool added after the table was written, which its own metadata does not name."""
        if not all(map(NAME.fullmatch, path.split("/"))):
            return None
        name = f"{path}/zarr.json"
        there = (self.path / name).is_file() if self._names is None else name in self._names
        if not there:
            return None
        node = parsed(TableFiles(self.path).read(name), self.path)
        for problem in node_problems(path, node):
            raise TableFormatError(f"{self._at(path)} was added by another tool, and wrongly: {problem}")
        return node

    def attrs(self, path: str) -> Mapping[str, Any]:
        """Attributes of a group or array, by its path."""
        attributes: Mapping[str, Any] = self._node(path).get("attributes", {})
        return attributes

    def shape(self, path: str) -> tuple[int, ...]:
        """Shape of an array, by its path."""
        return tuple(self._node(path)["shape"])

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the values come from, empty if the table does not say."""
        provenance: Mapping[str, Any] = self.attributes.get("provenance", {})
        return provenance

    @property
    def name(self) -> str:
        """Short name of the table."""
        return str(self.attributes["name"])

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
        return self._groups("")

    def recipes(self, dataset: str) -> tuple[str, ...]:
        """Names of the recipes that nets were trained by on a data set."""
        return self._groups(self._dataset(dataset))

    def splits(self, dataset: str, *, recipe: str | None = None, trained_on: str | None = None) -> tuple[str, ...]:
        """Splits that a recipe's nets were evaluated on; of all training sets together where none is named."""
        path = self._recipe(dataset, recipe)
        sets = self._groups(path) if trained_on is None else (trained_on,)
        present = {split for name in sets for split in self._groups(f"{path}/{name}")}
        return tuple(split for split in SPLITS if split in present)

    def epochs(
        self, dataset: str, *, recipe: str | None = None, split: str = "valid", trained_on: str | None = None
    ) -> tuple[int, ...]:
        """Epochs after which the nets were evaluated on a split, ascending, from 1."""
        return self._split(dataset, recipe, split, trained_on).epochs

    def trials(
        self, dataset: str, *, recipe: str | None = None, split: str = "valid", trained_on: str | None = None
    ) -> tuple[int, ...]:
        """Numbers of the trials, none if the table holds only means over them. Not every cell need have each."""
        return tuple(range(self._split(dataset, recipe, split, trained_on).num_trials))

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
        return self._split(dataset, recipe, split, trained_on).images

    def last_epoch(self, dataset: str, *, recipe: str | None = None) -> int:
        """Length of a recipe's schedule in epochs."""
        return int(self.attrs(self._recipe(dataset, recipe))["epochs"])

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
        return self._column("accuracy", dataset, split, recipe, epoch, trial, trained_on)

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
        return self._column("loss", dataset, split, recipe, epoch, trial, trained_on)

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
            seconds = self.array(f"{path}/epoch_seconds").mean(axis=0)
            return _frozen(seconds[0] * epoch if len(seconds) == 1 else seconds[:epoch].sum(axis=0))
        if f"{path}/train_seconds" not in self:
            raise MissingDataError(f"{self._at(path)} has no training seconds")
        known = tuple(self.attrs(f"{path}/train_seconds")["epochs"])
        if epoch not in known:
            raise MissingDataError(
                f"{self._at(path)} has training seconds through epochs {_listed(known)}, not {epoch}"
            )
        return _frozen(self.array(f"{path}/train_seconds")[:, known.index(epoch)].mean(axis=0))

    def has_eval_seconds(
        self, dataset: str, *, recipe: str | None = None, split: str = "valid", trained_on: str | None = None
    ) -> bool:
        """Whether the table says how long an evaluation pass takes; where not, `Oracle` charges 0 for it."""
        return f"{self._split(dataset, recipe, split, trained_on).path}/eval_seconds" in self

    def eval_seconds(
        self, dataset: str, *, recipe: str | None = None, split: str = "valid", trained_on: str | None = None
    ) -> Floats64:
        """GPU-seconds of one pass over a split, float64 of shape (15625,); a mean over what the table distinguishes."""
        path = self._split(dataset, recipe, split, trained_on).path
        if not self.has_eval_seconds(dataset, recipe=recipe, split=split, trained_on=trained_on):
            raise MissingDataError(f"{self._at(path)} has no evaluation seconds")
        return _frozen(self.array(f"{path}/eval_seconds").mean(axis=(0, 1)))

    def latency(self, dataset: str) -> Floats64:
        """Seconds to evaluate one batch of 256 images, float64 of shape (15625,)."""
        path = f"{self._dataset(dataset)}/latency"
        if path not in self:
            raise MissingDataError(f"{self._at(dataset)} has no latencies")
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
        columns = self._query_columns(dataset, split, recipe, epoch, trial, trained_on)
        return Record(index, *(column[index] for column in columns))

    @cached_property
    def _query_columns(self) -> Any:
        @_remembered
        def columns(
            dataset: str, split: str, recipe: str | None, epoch: int | None, trial: Any, trained_on: str | None
        ) -> list[list[Any]]:
            accuracy = self.accuracy(
                dataset, split=split, recipe=recipe, epoch=epoch, trial=trial, trained_on=trained_on
            )
            if accuracy.ndim > 1:
                raise NB201Error("a record holds one accuracy: trial must be 'mean' or a number, got 'all'")
            absent = np.full(accuracy.shape, np.nan)

            def or_absent(read: Any, *arguments: Any, **nets: Any) -> Any:
                try:
                    return read(*arguments, **nets)
                except MissingDataError:
                    return absent

            nets = self._training(dataset, recipe, split, trained_on).rpartition("/")[2]
            costs = (
                or_absent(self.train_seconds, dataset, recipe=recipe, epoch=epoch, trained_on=nets),
                or_absent(self.eval_seconds, dataset, recipe=recipe, split=split, trained_on=nets),
                or_absent(self.latency, dataset),
            )
            return [c.tolist() for c in (accuracy, *costs, self.params(dataset), self.macs(dataset))]

        return columns

    def verify(self) -> list[str]:
        """Read and check everything; what is wrong, each with its place, empty if nothing is."""
        from nb201_env.tables.verify import problems_of

        return problems_of(self)

    def to_xarray(self) -> xarray.DataTree:
        """The table as an xarray.DataTree, read lazily. Needs xarray."""
        from nb201_env.tables.export import to_xarray

        return to_xarray(self)

    # --- finding things, with errors that say what there is -------------------------------------------------------

    def _groups(self, path: str) -> tuple[str, ...]:
        below = [node.rpartition("/") for node, about in self._nodes.items() if about["node_type"] == "group"]
        return tuple(sorted((name for parent, _, name in below if parent == path), key=lambda name: (len(name), name)))

    def _at(self, path: str) -> str:
        return f"table {self.name!r}, {path.replace('/', ' / ')}"

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
                raise MissingDataError(f"{self._at(dataset)}: name a recipe, there are several: {', '.join(present)}")
            recipe = present[0]
        return f"{dataset}/{self._choose('recipe', recipe, present, dataset)}"

    def _training(self, dataset: str, recipe: str | None, split: str, trained_on: str | None) -> str:
        path = self._recipe(dataset, recipe)
        if trained_on is None:
            trained_on = "half" if dataset == "cifar10" and split in ("train", "valid") else "full"
        else:
            one_of("trained_on", trained_on, TRAINED_ON)
        return f"{path}/{self._choose('training set', trained_on, self._groups(path), path)}"

    def _find_split(self, dataset: str, recipe: str | None, split: str, trained_on: str | None) -> Split:
        one_of("split", split, SPLITS)
        if trained_on is None:  # first the wider complaint: of all training sets none has the split
            self._choose("split", split, self.splits(dataset, recipe=recipe), self._recipe(dataset, recipe))
        training = self._training(dataset, recipe, split, trained_on)
        path = f"{training}/{self._choose('split', split, self._groups(training), training)}"
        about = self.attrs(path)
        seeds = about["trial_seeds"]
        return Split(
            path,
            images=int(about["images"]),
            epochs=tuple(self.array(f"{path}/epoch").tolist()),
            num_trials=self.shape(f"{path}/correct")[0] if f"{path}/correct" in self else 0,
            trial_seeds=None if seeds is None else tuple(seeds),
        )

    def _epoch(self, dataset: str, recipe: str | None, epoch: int | None) -> int:
        last = self.last_epoch(dataset, recipe=recipe)
        if epoch is None:
            return last
        if not is_whole(epoch) or not 1 <= epoch <= last:
            path = self._recipe(dataset, recipe)
            raise MissingDataError(f"{self._at(path)} has epochs 1 to {last}, not {shown(epoch)}")
        return int(epoch)

    # --- reading --------------------------------------------------------------------------------------------------

    def _read_array(self, path: str) -> npt.NDArray[Any]:
        return _frozen(self._checked(path, self._read(path, ...), 0, self.attrs(path).get("sha256")))

    def _read_epoch(self, path: str, position: int) -> npt.NDArray[Any]:
        """One epoch of an array whose last dimensions are epochs and cells; the chunk that holds it is checked."""
        attributes, epochs = self.attrs(path), self.shape(path)[-2]
        chunks = attributes.get("chunks", {"epochs": epochs, "sha256": [attributes.get("sha256")]})
        try:
            size = chunks["epochs"]
            number, row = divmod(position, size)
            hash_ = chunks["sha256"][number]
        except (TypeError, KeyError, IndexError, ZeroDivisionError):
            raise TableFormatError(f"{self._at(path)} is damaged: its attribute chunks is {shown(chunks)}") from None
        if size > EPOCHS_PER_CHUNK and "chunks" not in attributes:  # of version 1
            return self._read(path, (..., position, slice(None)))
        values = self._read(path, (..., slice(number * size, (number + 1) * size), slice(None)))
        return self._checked(path, values, number, hash_)[..., row, :]

    def _checked(self, path: str, values: npt.NDArray[Any], number: int, hash_: str | None) -> npt.NDArray[Any]:
        """Values that have the hash that was stored when they were written, if one was."""
        if hash_ is not None and (path, number) not in self._sound:
            if digest(values) != hash_:
                raise TableFormatError(f"{self._at(path)} is damaged: its values are not those that were written")
            self._sound.add((path, number))
        return values

    def _read(self, path: str, selection: Any) -> npt.NDArray[Any]:
        import zarr
        from zarr.storage import StorePath

        node = self._node(path)
        if node.get("node_type") != "array":
            raise MissingDataError(f"{self._at(path)} is no array")
        self._files_are_regular(path)
        try:
            return np.asarray(zarr.Array.from_dict(StorePath(self.store, path), node)[selection])
        except Exception as error:  # a codec, a checksum or the store: all mean that the bytes are not what was written
            why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise TableFormatError(f"{self._at(path)} cannot be read: the file is damaged ({why})") from error

    def _check_files(self, path: str) -> bool:
        """Refuse an array with a link or a pipe among its files, which might be read for ever."""
        if self._names is None:
            files = TableFiles(self.path / path)
            for name in files.names():
                if not files.is_regular(name):
                    raise TableFormatError(f"{self._at(path)} is damaged: its file {name} is no regular file")
        return True

    def _read_params(self, dataset: str) -> npt.NDArray[np.int64]:
        path = f"{self._dataset(dataset)}/params"
        return self.array(path) if path in self else _frozen(all_params(self.num_classes(dataset)))

    def _read_macs(self, dataset: str) -> npt.NDArray[np.int64]:
        path = f"{self._dataset(dataset)}/macs"
        return (
            self.array(path) if path in self else _frozen(all_macs(self.num_classes(dataset), self.image_size(dataset)))
        )

    def _read_column(
        self,
        name: str,
        dataset: str,
        split: str,
        recipe: str | None,
        epoch: int | None,
        trial: Trial,
        trained_on: str | None,
    ) -> npt.NDArray[Any]:
        where = self._split(dataset, recipe, split, trained_on)
        epoch = self._epoch(dataset, recipe, epoch)
        if epoch not in where.epochs:
            raise MissingDataError(f"{self._at(where.path)} has epochs {_listed(where.epochs)}, not {epoch}")
        if not is_whole(trial) and not (isinstance(trial, str) and trial in ("mean", "all")):
            raise NB201Error(f"trial must be 'mean', 'all' or a number, got {shown(trial)}")
        trials = self._per_trial(name, where, where.epochs.index(epoch))
        if trial == "mean":
            present = ~np.isnan(trials)
            with np.errstate(invalid="ignore"):
                values = np.where(present, trials, 0.0).sum(axis=0) / present.sum(axis=0)
        elif where.num_trials == 0:
            raise MissingDataError(f"{self._at(where.path)} holds only means over trials, not trial {trial!r}")
        elif trial == "all":
            values = trials.T
        elif not 0 <= int(trial) < where.num_trials:
            raise MissingDataError(f"{self._at(where.path)} has trials 0 to {where.num_trials - 1}, not {trial!r}")
        else:
            values = trials[int(trial)]
        return _frozen(values.astype(np.float32 if name == "accuracy" else np.float64))

    def _per_trial(self, name: str, where: Split, position: int) -> Floats64:
        """Values at one epoch, float64 of shape (trials, 15625), NaN where missing; means are one trial."""
        if name == "accuracy" and f"{where.path}/correct" in self:
            counts = self._read_epoch(f"{where.path}/correct", position)
            return np.where(counts == MISSING_COUNT[counts.dtype.name], np.nan, counts / where.images)
        path = f"{where.path}/{name}"
        if path not in self:
            raise MissingDataError(f"{self._at(where.path)} has no {name}")
        values = self._read_epoch(path, position)
        return values[None] if values.ndim == 1 else values


_Result = TypeVar("_Result")


def _remembered(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """The function with a memory of its last results, in which 1 is neither True nor 1.0."""
    cached = lru_cache(_CACHED_COLUMNS, typed=True)(function)

    def call(*arguments: Any) -> _Result:
        try:
            return cached(*arguments)
        except TypeError:
            for argument in arguments:
                if argument.__hash__ is None:
                    raise NB201Error(
                        f"a name, an epoch or a trial is a string, a whole number or None, got {shown(argument)}"
                    ) from None
            raise

    return call


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


def _listed(epochs: tuple[int, ...]) -> str:
    """1..200, or the numbers themselves where they are not all there."""
    if len(epochs) > 2 and epochs == tuple(range(epochs[0], epochs[-1] + 1)):
        return f"{epochs[0]}..{epochs[-1]}"
    return ", ".join(map(str, epochs)) or "none"
