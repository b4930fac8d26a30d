"""The part of nats_bench's API that is about architectures alone: their strings and their numbers."""

from __future__ import annotations

import operator
import random
from functools import cached_property
from typing import Any

from nb201_env.checks import one_of
from nb201_env.space import NUM_CELLS, Cell
from nb201_env.tables.official import SOURCES


class NASBenchMetaAPI:
    """Mirrors nats_bench's base class of this name, as far as it knows nothing of results.

    Attributes:
        quirks: behave as nats_bench also where it is wrong.
    """

    quirks: bool

    @cached_property
    def meta_archs(self) -> list[str]:
        """All arch strings in official order."""
        return [Cell(index).arch for index in range(NUM_CELLS)]

    def __len__(self) -> int:
        return NUM_CELLS

    def __getitem__(self, index: int) -> str:
        return self.meta_archs[index]

    def arch(self, index: int) -> str:
        """The arch string of an index."""
        if not 0 <= index < NUM_CELLS:
            raise ValueError(f"invalid index : {index} vs. {NUM_CELLS}.")
        return self.meta_archs[index]

    def random(self) -> int:
        """A random index, from Python's global generator."""
        return random.randint(0, NUM_CELLS - 1)

    def query_index_by_arch(self, arch: Any) -> int:
        """The index of an arch string, an index, or an object with `tostr()`.

        Raises:
            InvalidCellError: for anything else, where nats_bench (and `quirks`) answers -1, save for an int out of
                range.
        """
        if type(arch) is int and 0 <= arch < NUM_CELLS:
            return arch
        if hasattr(arch, "tostr"):
            arch = str(arch.tostr())
        is_int = isinstance(arch, int) or (not self.quirks and hasattr(arch, "__index__"))
        if self.quirks and not is_int:
            return self._arch_indices.get(arch, -1) if isinstance(arch, str) else -1
        return Cell.parse(operator.index(arch) if is_int else arch).index

    @cached_property
    def _arch_indices(self) -> dict[str, int]:
        return {arch: index for index, arch in enumerate(self.meta_archs)}

    def get_unique_str(self, arch: Any) -> str:
        """The string that isomorphic architectures share by the rule `nats`."""
        return Cell(self.query_index_by_arch(arch)).canonical("nats")

    def get_net_config(self, index: int, dataset: str) -> dict[str, Any]:
        """What network a cell makes."""
        return {
            "name": "infer.tiny",
            "C": 16,
            "N": 5,
            "arch_str": self.arch(self.query_index_by_arch(index)),
            "num_classes": SOURCES[one_of("dataset", dataset, tuple(SOURCES))].num_classes,
        }
