"""Writing a table. What it holds and means is written down in `nb201_env.schema`.

    with TableWriter("mine.zarr.zip", name="mine") as writer:
        writer.add_dataset("cifar10", num_classes=10, image_size=32)
        writer.add_training("cifar10", "200ep", "half", epochs=200, train_seconds=seconds, train_epochs=[200])
        writer.add_split("cifar10", "200ep", "half", "valid", images=25_000, epochs=[200], correct=counts)

A table appears under its name only when it is complete: it is written beside it and renamed at the end.
"""

from __future__ import annotations

import os
import shutil
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from nb201_env.cell import NUM_CELLS
from nb201_env.errors import NB201Error
from nb201_env.fingerprint import digest, fingerprints
from nb201_env.schema import FORMAT, MISSING_COUNT, SPLITS, TRAINED_ON, VERSION

EPOCHS_PER_CHUNK = 10

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever the same table is written


def count_dtype(images: int) -> str:
    """The dtype that holds counts of up to `images` correct images and the code for a missing one."""
    return "uint16" if images < MISSING_COUNT["uint16"] else "uint32"


def checked_path(path: str | os.PathLike[str], replace: bool = False) -> Path:
    """Where a table is to be written.

    Raises:
        NB201Error: if the path exists and is not to be replaced, or does not end as a table's.
    """
    path = Path(path)
    if not path.name.endswith((".zarr", ".zarr.zip")):
        raise NB201Error(f"a table's name ends in .zarr (a folder) or .zarr.zip (an archive), got {path}")
    if path.exists() and not replace:
        raise NB201Error(f"{path} exists already; remove it or choose another name")
    return path


class TableWriter:
    """Creates one table; use it as a context manager.

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
        NB201Error: if the path exists and is not to be replaced, or ends otherwise.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str,
        provenance: Mapping[str, Any] | None = None,
        license: str | None = None,
        citation: Sequence[str] = (),
        replace: bool = False,
    ):
        import zarr

        self.path = checked_path(path, replace)
        self._partial = self.path.with_name(self.path.name + ".partial")
        shutil.rmtree(self._partial, ignore_errors=True)
        about = {"provenance": provenance, "license": license, "citation": list(citation)}
        self.root = zarr.create_group(
            self._partial,
            attributes={"format": FORMAT, "version": VERSION, "name": name} | {k: v for k, v in about.items() if v},
        )

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
        attributes: dict[str, Any] = {"num_classes": num_classes, "image_size": image_size}
        if image_hashes is not None:
            attributes["image_hashes"] = dict(image_hashes)
        self.root.create_group(dataset, attributes=attributes)
        for name, values, dtype in (("latency", latency, "f8"), ("params", params, "i8"), ("macs", macs, "i8")):
            if values is not None:
                self._write(f"{dataset}/{name}", np.asarray(values, dtype), ("cell",))

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
        if trained_on not in TRAINED_ON:
            raise NB201Error(f"trained_on must be one of {', '.join(TRAINED_ON)}, got {trained_on!r}")
        attributes: dict[str, Any] = {"epochs": epochs} | ({"recipe": dict(settings)} if settings else {})
        self.root.require_group(f"{dataset}/{recipe}").update_attributes(attributes)
        path = f"{dataset}/{recipe}/{trained_on}"
        self.root.create_group(path, attributes={} if images is None else {"images": images})
        if epoch_seconds is not None:
            self._write_seconds(f"{path}/epoch_seconds", epoch_seconds)
        if trained_as is not None:
            self._write(f"{path}/trained_as", np.asarray(trained_as, "i8"), ("cell",))
        if train_seconds is not None:
            if train_epochs is None:
                raise NB201Error("train_seconds needs train_epochs: the epochs that the totals belong to")
            self._write_seconds(f"{path}/train_seconds", train_seconds, epochs=[int(e) for e in train_epochs])

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
        if split not in SPLITS:
            raise NB201Error(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        path = f"{dataset}/{recipe}/{trained_on}/{split}"
        attributes = {"images": images, "trial_seeds": None if trial_seeds is None else [int(s) for s in trial_seeds]}
        self.root.create_group(path, attributes=attributes)
        self._write(f"{path}/epoch", np.asarray(epochs, "i4"), ("epoch",))
        if correct is not None:
            self._write(f"{path}/correct", self._counts(correct, images, path), ("trial", "epoch", "cell"))
        if accuracy is not None:
            self._write(f"{path}/accuracy", np.asarray(accuracy, "f8"), ("epoch", "cell"), aggregate="mean")
        if loss is not None:
            self._write(f"{path}/loss", np.asarray(loss, "f8"), ("trial", "epoch", "cell"))
        if eval_seconds is not None:
            self._write_seconds(f"{path}/eval_seconds", eval_seconds)

    @staticmethod
    def _counts(correct: npt.NDArray[np.integer[Any]], images: int, path: str) -> npt.NDArray[Any]:
        dtype = count_dtype(images)
        missing = (correct < 0) | (correct == MISSING_COUNT[dtype])
        if (correct[~missing] > images).any():
            raise NB201Error(f"{path}: {int(correct[~missing].max())} correct of only {images} images")
        return np.where(missing, MISSING_COUNT[dtype], correct).astype(dtype)

    def copy_group(self, path: str, group: Any, attributes: Mapping[str, Any] | None = None) -> None:
        """Make a group like one of another table, or give one that is there these attributes."""
        self.root.require_group(path).update_attributes(dict(group.attrs if attributes is None else attributes))

    def copy_array(self, path: str, array: Any) -> None:
        """Write an array of another table."""
        attributes = {key: value for key, value in array.attrs.items() if key != "sha256"}
        self._write(path, array[...], array.metadata.dimension_names, **attributes)

    def _write_seconds(self, path: str, values: npt.ArrayLike, **attributes: Any) -> None:
        seconds = np.asarray(values, "f8")
        seconds = seconds.reshape((1,) * (3 - seconds.ndim) + seconds.shape)
        self._write(path, seconds, ("time_trial", "time_epoch", "cell"), **attributes)

    def _write(self, path: str, values: npt.NDArray[Any], dimensions: tuple[str, ...], **attributes: Any) -> None:
        from zarr.codecs import BloscCodec, Crc32cCodec

        if dimensions[-1] == "cell" and values.shape[-1] != NUM_CELLS:
            raise NB201Error(f"{path}: the last dimension must be the {NUM_CELLS} cells, got shape {values.shape}")
        if values.ndim != len(dimensions):
            raise NB201Error(f"{path}: expected dimensions {dimensions}, got shape {values.shape}")
        fill: Any = {"f": float("nan"), "u": MISSING_COUNT.get(values.dtype.name), "i": 0}[values.dtype.kind]
        # A chunk is a few epochs of all trials and cells, so that a column is one read; a shard is one file.
        epochs = values.shape[-2] if values.ndim > 1 else 1
        per_chunk = min(epochs, EPOCHS_PER_CHUNK)
        chunks = (*values.shape[:-2], per_chunk, values.shape[-1])[-values.ndim :]
        shards = (*values.shape[:-2], -(-epochs // per_chunk) * per_chunk, values.shape[-1]) if epochs > 1 else None
        array = self.root.create_array(
            path,
            shape=values.shape,
            dtype=values.dtype,
            chunks=chunks,
            shards=shards,
            fill_value=fill,
            dimension_names=dimensions,
            compressors=[BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"), Crc32cCodec()],
            attributes={**attributes, "sha256": digest(values)},
        )
        array[...] = values

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        try:
            self._finish()
        except OSError:  # such as a full disk
            shutil.rmtree(self._partial, ignore_errors=True)
            raise

    def _finish(self) -> None:
        training, timing = fingerprints(self.root)
        self.root.update_attributes({"fingerprint": training, "timing_fingerprint": timing})
        _consolidate(self._partial)
        if self.path.suffix == ".zip":
            _pack(self._partial, self.path)
        else:
            shutil.rmtree(self.path, ignore_errors=True)
            os.replace(self._partial, self.path)


def _consolidate(folder: Path) -> None:
    """Copy all metadata into the root's, so that one read opens a table."""
    import zarr

    with warnings.catch_warnings():
        # Version 3 of the Zarr specification does not mention consolidated metadata yet; readers may ignore it.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(str(folder))


def _pack(folder: Path, archive: Path) -> None:
    """Move a folder into a zip that stores its files uncompressed, as zarr.storage.ZipStore reads them."""
    unfinished = archive.with_name(archive.name + ".packing")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as target:
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                target.writestr(zipfile.ZipInfo(file.relative_to(folder).as_posix(), _ZIP_DATE), file.read_bytes())
        os.replace(unfinished, archive)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    shutil.rmtree(folder)
