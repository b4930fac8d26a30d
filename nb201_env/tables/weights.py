"""Trained weights in a table: shards of safetensors, each of the nets that were trained together.

A shard is an array of bytes, `weights-{seed}-{number}` beside the splits, whose attributes name its cells and the seed
of their trial. Within it a tensor is called `{cell}/{name}`, name as in `nb201_generator.network.Network`, which is as
in the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nb201_env.checks import is_whole, shown
from nb201_env.errors import MissingDataError, NB201Error, TableFormatError

if TYPE_CHECKING:
    from nb201_env.tables.arrays import StoredArrays
    from nb201_env.tables.writer import TableWriter

PREFIX = "weights-"
Weights = dict[str, npt.NDArray[Any]]


def _safetensors() -> Any:
    try:
        from safetensors import numpy
    except ImportError:
        raise NB201Error("weights are read and written by safetensors: pip install safetensors") from None
    return numpy


def pack_weights(nets: Mapping[int, Mapping[str, npt.NDArray[Any]]]) -> bytes:
    """The weights of some cells as the content of a shard."""
    tensors = {f"{cell}/{name}": np.ascontiguousarray(one) for cell, net in nets.items() for name, one in net.items()}
    content: bytes = _safetensors().save(tensors)
    return content


def add_weights(writer: TableWriter, path: str, seed: int, number: int, cells: list[int], content: bytes) -> None:
    """Add a shard to a table.

    Args:
        writer: of the table.
        path: of the nets that were trained by a recipe, `{dataset}/{recipe}/{trained_on}`, added before.
        seed: of their trial.
        number: of the shard among those of the seed.
        cells: whose weights are in it.
        content: of the shard.
    """
    values = np.frombuffer(content, np.uint8)
    writer.write(f"{path}/{PREFIX}{seed}-{number:05d}", values, ("byte",), cells=cells, seed=seed)


def read_weights(table: StoredArrays, path: str, cell: int, trial: int) -> Weights:
    """The weights of a cell, by name.

    Args:
        table: that has them.
        path: of the nets, `{dataset}/{recipe}/{trained_on}`.
        cell: index, of the cell itself or of the equal one that was trained.
        trial: number of a repeat training.

    Returns:
        Arrays by name, as in a state dict.

    Raises:
        MissingDataError: if the table has none.
        TableFormatError: if they are damaged.
    """
    seeds = next((table.attrs(f"{path}/{split}").get("trial_seeds") for split in table.groups(path)), None) or ()
    if not is_whole(trial) or not 0 <= trial < len(seeds):
        raise MissingDataError(f"{table.at(path)} has trials 0 to {len(seeds) - 1}, not {shown(trial)}")
    shards = dict(_shards(table, path))
    if not shards:
        raise MissingDataError(f"{table.at(path)} holds no weights; `nb201 generate --weights` keeps them")
    for name, (of, cells) in shards.items():
        if of == seeds[trial] and cell in cells:
            try:
                tensors: Weights = _safetensors().load(table.array(name).tobytes())
            except NB201Error:
                raise
            except Exception as error:  # whatever safetensors makes of a shard that another tool wrote
                raise TableFormatError(f"{table.at(name)} is no safetensors ({error})") from None
            start = f"{cell}/"
            return {key.removeprefix(start): one for key, one in tensors.items() if key.startswith(start)}
    raise MissingDataError(f"{table.at(path)} holds no weights of cell {cell}, trial {trial}")


def _shards(table: StoredArrays, path: str) -> Iterator[tuple[str, tuple[Any, list[int]]]]:
    """Paths of the shards, each with its seed and cells."""
    for name in table.arrays(path):
        if not name.startswith(PREFIX):
            continue
        about = table.attrs(where := f"{path}/{name}")
        seed, cells = about.get("seed"), about.get("cells")
        if not is_whole(seed) or not isinstance(cells, list) or not all(map(is_whole, cells)):
            raise TableFormatError(
                f"{table.at(where)} is damaged: its cells are {shown(cells)}, its seed {shown(seed)}"
            )
        yield where, (seed, cells)
