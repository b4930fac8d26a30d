"""Writing a table. What it holds and means is written down in `nb201_env.tables.schema`.

    with TableWriter("mine.zarr.zip", name="mine") as writer:
        writer.add_dataset("cifar10", num_classes=10, image_size=32)
        writer.add_training("cifar10", "200ep", "half", epochs=200, train_seconds=seconds, train_epochs=[200])
        writer.add_split("cifar10", "200ep", "half", "valid", images=25_000, epochs=[200], correct=counts)

A table appears under its name only when it is complete and on disk: it is written beside it and renamed at the end.
Whatever the source, values and names are checked here, once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env import checks
from nb201_env.errors import NB201Error
from nb201_env.files import flush, in_folder, locked, remove, unfinished
from nb201_env.space import NUM_CELLS
from nb201_env.tables.fingerprint import EPOCHS_PER_CHUNK, chunk_digests, digest, fingerprints
from nb201_env.tables.packing import consolidate, pack, settle, write_manifest
from nb201_env.tables.schema import (
    COLUMN_NAME,
    FORMAT,
    MAX_CLASSES,
    MAX_EPOCH,
    MAX_IMAGE_SIZE,
    MAX_IMAGES,
    MISSING_COUNT,
    NAME,
    RESERVED,
    SPLITS,
    TRAINED_ON,
    VERSION,
    attribute_problems,
    shape_problems,
    value_problems,
)


def count_dtype(images: int) -> str:
    """The dtype that holds counts of up to `images` correct images and the code for a missing one."""
    return "uint16" if images < MISSING_COUNT["uint16"] else "uint32"


def checked_path(path: str | os.PathLike[str], replace: bool = False) -> Path:
    """Where a table is to be written.

    Raises:
        NB201Error: if the path exists and is not to be replaced, does not end as a table's, or its folder is not there.
    """
    path = Path(path)
    if not path.name.endswith((".zarr", ".zarr.zip")):
        raise NB201Error(f"a table's name ends in .zarr (a folder) or .zarr.zip (an archive), got {path}")
    if path.exists() and not replace:
        raise NB201Error(f"{path} exists already; remove it or choose another name")
    return in_folder(path)


class TableWriter:
    """Creates one table; use it as a context manager, which holds the lock of the path.

    Args:
        path: a folder `….zarr` or an archive `….zarr.zip` that does not exist yet.
        name: short name of the table.
        provenance: where the values come from.
        license: what is known about their licence.
        citation: works to cite.
        replace: whether a table at the path is replaced when the new one is complete.

    Attributes:
        root: the unfinished table as a zarr.Group.

    Raises:
        NB201Error: if the path exists and is not to be replaced, ends otherwise, or is written by another process; in
            every method, for a value that no table may hold.
    """

    root: Any

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str,
        provenance: Mapping[str, Any] | None = None,
        license: str | None = None,
        citation: Sequence[str] = (),
        replace: bool = False,
    ):
        self.path, self._replace = checked_path(path, replace), replace
        self._partial = unfinished(self.path)
        about = {"provenance": provenance, "license": license, "citation": list(citation)}
        self._attributes = {"format": FORMAT, "version": VERSION, "name": name} | {k: v for k, v in about.items() if v}
        self._lock = ExitStack()

    def __enter__(self) -> TableWriter:
        import zarr

        self._lock.enter_context(locked(self.path))
        checked_path(self.path, self._replace)
        self.root = zarr.create_group(self._partial, attributes=self._attributes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            try:
                if kind is None:
                    self._finish()
            finally:
                if self._partial.exists():
                    settle()
                    remove(self._partial)

    def add_dataset(
        self,
        dataset: str,
        *,
        num_classes: int,
        image_size: int,
        image_hashes: Mapping[str, str] | None = None,
        latency: npt.ArrayLike | None = None,
        params: npt.ArrayLike | None = None,
        macs: npt.ArrayLike | None = None,
    ) -> None:
        """Begin a data set. Latency in seconds a batch of 256; arrays of shape (15625,)."""
        attributes: dict[str, Any] = {
            "num_classes": checks.whole("num_classes", num_classes, 1, MAX_CLASSES),
            "image_size": checks.whole("image_size", image_size, 1, MAX_IMAGE_SIZE),
        }
        if image_hashes is not None:
            attributes["image_hashes"] = dict(image_hashes)
        self._create_group(_checked_name("data set", dataset), attributes)
        for name, values in (("params", params), ("macs", macs)):
            if values is not None:
                self.write(f"{dataset}/{name}", _integers(f"{dataset}/{name}", values, "i8"), ("cell",))
        if latency is not None:
            self.write(f"{dataset}/latency", np.asarray(latency, "f8"), ("cell",))

    def add_column(self, dataset: str, name: str, values: npt.ArrayLike, *, unit: str = "", source: str = "") -> None:
        """Add a column of one's own, (15625,), NaN where missing: a device's latencies, energies, scores.

        Args:
            dataset: a data set added before.
            name: letters, digits and `_ . + -`, beginning with a letter.
            values: in the unit; higher or lower is better as their user says.
            unit: as `ms` or `mJ`.
            source: where the values come from.
        """
        self._parent(dataset)
        if not isinstance(name, str) or not COLUMN_NAME.fullmatch(name) or name in RESERVED:
            raise NB201Error(
                f"a column is called by letters, digits and _ . + -, the first a letter, and not "
                f"{', '.join(sorted(RESERVED))}; got {checks.shown(name)}"
            )
        path, given = f"{dataset}/{name}", np.asarray(values, "f8")
        if path in self.root:
            raise NB201Error(f"{path} was added before")
        if given.shape != (NUM_CELLS,) or np.isinf(given).any():
            raise NB201Error(f"{path} must be {NUM_CELLS} numbers, NaN where missing, got shape {given.shape}")
        about = {"unit": unit, "source": source}
        self.write(path, given, ("cell",), **{key: str(text) for key, text in about.items() if text})

    def add_training(
        self,
        dataset: str,
        recipe: str,
        trained_on: str,
        *,
        epochs: int,
        images: int | None = None,
        settings: Mapping[str, Any] | None = None,
        epoch_seconds: npt.ArrayLike | None = None,
        train_seconds: npt.ArrayLike | None = None,
        train_epochs: Sequence[int] | None = None,
        trained_as: npt.ArrayLike | None = None,
    ) -> None:
        """Begin the nets trained by a recipe on one set of images.

        Args:
            dataset: a data set added before.
            recipe: name of the schedule.
            trained_on: `half` or `full`.
            epochs: length of the schedule.
            images: number of training images.
            settings: the recipe in full.
            epoch_seconds: seconds of single epochs, broadcast to (trial or 1, epoch or 1, cell).
            train_seconds: instead, totals through each of `train_epochs`, broadcast to (trial or 1, epoch, cell).
            train_epochs: the epochs, from 1, that the totals belong to.
            trained_as: index of the cell that was trained for each row, -1 for none; where rows may be copies.
        """
        checks.one_of("trained_on", trained_on, TRAINED_ON)
        length = checks.whole("epochs", epochs, 1, MAX_EPOCH)
        attributes: dict[str, Any] = {"epochs": length} | ({"recipe": dict(settings)} if settings else {})
        self._parent(dataset).require_group(_checked_name("recipe", recipe)).update_attributes(attributes)
        path = f"{dataset}/{recipe}/{trained_on}"
        count = {} if images is None else {"images": checks.whole("images", images, 1, MAX_IMAGES)}
        self._create_group(path, count)
        if epoch_seconds is not None:
            self._write_seconds(f"{path}/epoch_seconds", epoch_seconds, length)
        if trained_as is not None:
            self.write(f"{path}/trained_as", _integers(f"{path}/trained_as", trained_as, "i8"), ("cell",))
        if train_seconds is not None:
            if train_epochs is None:
                raise NB201Error("train_seconds needs train_epochs: the epochs that the totals belong to")
            known = _checked_epochs(f"{path}/train_seconds", train_epochs, length).tolist()
            self._write_seconds(f"{path}/train_seconds", train_seconds, len(known), epochs=known)

    def add_split(
        self,
        dataset: str,
        recipe: str,
        trained_on: str,
        split: str,
        *,
        images: int,
        epochs: Sequence[int],
        trial_seeds: Sequence[int] | None = None,
        correct: npt.NDArray[np.integer[Any]] | None = None,
        accuracy: npt.ArrayLike | None = None,
        loss: npt.ArrayLike | None = None,
        eval_seconds: npt.ArrayLike | None = None,
    ) -> None:
        """Add what nets achieved on one split.

        Args:
            dataset: a data set added before.
            recipe: as in `add_training`.
            trained_on: as in `add_training`.
            split: train, valid, test or valtest.
            images: number of images evaluated.
            epochs: the evaluated epochs, from 1.
            trial_seeds: training seed of each trial, None if not recorded.
            correct: counts of correct images, (trial, epoch, cell); -1 or the fill value where missing.
            accuracy: instead, fractions that are means over trials, (epoch, cell); NaN where missing.
            loss: mean cross-entropy, (trial, epoch, cell); NaN where missing.
            eval_seconds: seconds of one pass, broadcast to (trial or 1, epoch or 1, cell).
        """
        checks.one_of("split", split, SPLITS)
        images = checks.whole("images", images, 1, MAX_IMAGES)
        training = f"{dataset}/{recipe}/{trained_on}"
        path = f"{training}/{split}"
        self._parent(training)
        known = _checked_epochs(path, epochs, int(self.root[f"{dataset}/{recipe}"].attrs["epochs"]))
        seeds = None if trial_seeds is None else [checks.seed("a trial's seed", seed) for seed in trial_seeds]
        if (correct is None) == (accuracy is None):
            raise NB201Error(f"{path}: give either correct, counts of images, or accuracy, means over trials")
        self._create_group(path, {"images": images, "trial_seeds": seeds})
        self.write(f"{path}/epoch", known, ("epoch",))
        trials = None
        if correct is not None:
            counts = self._counts(correct, images, path)
            trials = counts.shape[0] if counts.ndim == 3 else None
            self.write(f"{path}/correct", counts, ("trial", "epoch", "cell"))
            if seeds is not None and len(seeds) != trials:
                raise NB201Error(f"{path}: {len(seeds)} trial seeds of {trials} trials")
        if accuracy is not None:
            self.write(f"{path}/accuracy", np.asarray(accuracy, "f8"), ("epoch", "cell"), aggregate="mean")
        if loss is not None:
            self.write(f"{path}/loss", np.asarray(loss, "f8"), ("trial", "epoch", "cell"))
        if eval_seconds is not None:
            self._write_seconds(f"{path}/eval_seconds", eval_seconds, len(known))
        for name in ("correct", "accuracy", "loss"):
            if name in self.root[path] and self.root[f"{path}/{name}"].shape[-2] != len(known):
                rows = self.root[f"{path}/{name}"].shape[-2]
                raise NB201Error(f"{path}/{name} has {rows} epochs where {len(known)} are named")

    @staticmethod
    def _counts(correct: npt.ArrayLike, images: int, path: str) -> npt.NDArray[Any]:
        dtype = count_dtype(images)
        given = _integers(f"{path}/correct", correct, "i8")
        missing = (given < 0) | (given == MISSING_COUNT[dtype])
        counts = np.where(missing, MISSING_COUNT[dtype], given)
        if (counts[~missing] > images).any():
            raise NB201Error(f"{path}: {int(counts[~missing].max())} correct of only {images} images")
        return counts.astype(dtype)

    def _parent(self, path: str) -> Any:
        if path not in self.root:
            raise NB201Error(f"{path} must be added before what stands below it")
        return self.root[path]

    def _create_group(self, path: str, attributes: Mapping[str, Any]) -> None:
        if path in self.root:
            raise NB201Error(f"{path} was added before")
        for problem in attribute_problems(path, attributes):
            raise NB201Error(f"{path}: {problem}")
        self.root.create_group(path, attributes=dict(attributes))

    def copy_group(self, path: str, group: Any, attributes: Mapping[str, Any] | None = None) -> None:
        """Make a group like one of another table, or give one that is there these attributes."""
        for name in path.split("/"):
            _checked_name("group", name)
        self.root.require_group(path).update_attributes(dict(group.attrs if attributes is None else attributes))

    def copy_array(self, path: str, array: Any) -> None:
        """Write an array of another table."""
        self.write_array(path, array, array[...])

    def write_array(self, path: str, like: Any, values: npt.NDArray[Any]) -> None:
        """Write values as the array of another table that is like them, but for its number of trials."""
        attributes = {key: value for key, value in like.attrs.items() if key not in ("sha256", "chunks")}
        self.write(path, values, like.metadata.dimension_names, **attributes)

    def _write_seconds(self, path: str, values: npt.ArrayLike, length: int, **attributes: Any) -> None:
        seconds = np.asarray(values, "f8")
        seconds = seconds.reshape((1,) * (3 - seconds.ndim) + seconds.shape)
        if seconds.ndim == 3 and seconds.shape[1] not in (1, length):
            raise NB201Error(f"{path}: seconds of {seconds.shape[1]} epochs where there are {length}")
        self.write(path, seconds, ("time_trial", "time_epoch", "cell"), **attributes)

    def write(self, path: str, values: npt.NDArray[Any], dimensions: tuple[str, ...], **attributes: Any) -> None:
        """Write an array of the format."""
        from zarr.codecs import BloscCodec, Crc32cCodec

        parent, _, name = path.rpartition("/")
        for problem in shape_problems(path, values.shape):
            raise NB201Error(f"{path}: {problem}")
        for problem in value_problems(name, values, self.root[parent].attrs.get("images")):
            raise NB201Error(f"{path}: {problem}")
        if values.ndim != len(dimensions):
            raise NB201Error(f"{path}: expected dimensions {dimensions}, got shape {values.shape}")
        fill: Any = {"f": float("nan"), "u": MISSING_COUNT.get(values.dtype.name), "i": 0}[values.dtype.kind]
        # A chunk is a few epochs of all trials and cells, so that a column is one read; a shard is one file.
        epochs = values.shape[-2] if values.ndim > 1 else 1
        per_chunk = min(epochs, EPOCHS_PER_CHUNK)
        chunks = (*values.shape[:-2], per_chunk, values.shape[-1])[-values.ndim :]
        shards = (*values.shape[:-2], -(-epochs // per_chunk) * per_chunk, values.shape[-1]) if epochs > 1 else None
        hashes: dict[str, Any] = {"sha256": digest(values)}
        if epochs > per_chunk:
            hashes["chunks"] = chunk_digests(values)
        array = self.root.create_array(
            path,
            shape=values.shape,
            dtype=values.dtype,
            chunks=chunks,
            shards=shards,
            fill_value=fill,
            dimension_names=dimensions,
            compressors=[BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"), Crc32cCodec()],
            attributes={**attributes, **hashes},
        )
        array[...] = values

    def _finish(self) -> None:
        training, timing = fingerprints(self.root)
        self.root.update_attributes({"fingerprint": training, "timing_fingerprint": timing})
        consolidate(self._partial)
        write_manifest(self._partial)
        checked_path(self.path, self._replace)
        if self.path.suffix == ".zip":
            archive = unfinished(self.path, "packed-")
            try:
                pack(self._partial, archive)
                flush(archive)
                os.replace(archive, self.path)
            finally:
                remove(archive)
            return
        flush(self._partial)
        if self.path.exists():
            old = unfinished(self.path, "old-")
            os.replace(self.path, old)
            os.replace(self._partial, self.path)
            remove(old)
        else:
            os.replace(self._partial, self.path)


def _checked_name(what: str, name: object) -> str:
    if isinstance(name, str) and NAME.fullmatch(name):
        return name
    raise NB201Error(
        f"a {what} is called by letters, digits, spaces and . _ + -, not beginning with a dot, got {checks.shown(name)}"
    )


def _checked_epochs(path: str, epochs: Sequence[int], last: int) -> npt.NDArray[np.int32]:
    known = [checks.whole(f"an epoch of {path}", epoch, 1, last) for epoch in epochs]
    if not known or known != sorted(set(known)):
        raise NB201Error(f"{path}: epochs must be ascending, at least one, got {checks.shown(known)}")
    return np.array(known, "i4")


def _integers(path: str, values: npt.ArrayLike, dtype: str) -> npt.NDArray[Any]:
    given = np.asarray(values)
    if given.dtype.kind not in "iu":
        raise NB201Error(f"{path} must be whole numbers, got {given.dtype}")
    if given.dtype == np.uint64 and given.size and given.max() > np.iinfo("i8").max:
        raise NB201Error(f"{path}: {given.max()} is too large")
    return given.astype(dtype)
