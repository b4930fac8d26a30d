"""A cell of the NAS-Bench-201 search space, by its index, its arch string or its ops.

A cell is a directed acyclic graph of four nodes (0 is the input, 3 the output). Each of its six edges, in the order of
`EDGES`, carries one of the five operations of `OPS`, so there are 5^6 = 15,625 cells.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nb201_env.errors import InvalidCellError
from nb201_env.space.arrays import ALL_OPS, EDGES, NEIGHBORS, NUM_CELLS, OPS, all_macs, all_params, index_of

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One cell, identified by its official index.

    Attributes:
        index: 0 to 15624.

    Raises:
        InvalidCellError: if the index is not an integer in that range.
    """

    index: int

    def __post_init__(self) -> None:
        try:
            index = operator.index(self.index)
        except TypeError:
            index = -1
        if isinstance(self.index, bool | np.bool_) or not 0 <= index < NUM_CELLS:
            raise InvalidCellError(f"a cell index must be an integer from 0 to {NUM_CELLS - 1}, got {self.index!r}")
        object.__setattr__(self, "index", index)

    @classmethod
    def parse(cls, value: Cell | int | str | Sequence[int | str] | npt.NDArray[Any]) -> Cell:
        """The cell that a value names.

        Args:
            value: an index, an arch string such as `|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|`, six ops (codes or
                names) in edge order, or a Cell.

        Raises:
            InvalidCellError: for anything else; the message says what was wrong and where.
        """
        if isinstance(value, Cell):
            return value
        if isinstance(value, str):
            return cls._of_ops(_parse_arch(value))
        if isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim):
            return cls._of_ops([_op_code(op, edge) for edge, op in enumerate(_six(value))])
        return cls(value.item() if isinstance(value, np.ndarray) else value)

    @classmethod
    def _of_ops(cls, ops: Sequence[int]) -> Cell:
        return cls(int(index_of(ops)))

    @property
    def ops(self) -> tuple[int, ...]:
        """Six op codes in edge order."""
        return tuple(ALL_OPS[self.index].tolist())

    @property
    def arch(self) -> str:
        """The arch string of NAS-Bench-201."""
        terms = [f"{OPS[op]}~{source}|" for op, (source, _) in zip(self.ops, EDGES, strict=True)]
        return f"|{terms[0]}+|{terms[1]}{terms[2]}+|{terms[3]}{terms[4]}{terms[5]}"

    def matrix(self) -> npt.NDArray[np.int8]:
        """Op codes as an adjacency matrix, int8 of shape (4, 4): [target, source], 0 also where there is no edge."""
        matrix = np.zeros((4, 4), np.int8)
        for op, (source, target) in zip(self.ops, EDGES, strict=True):
            matrix[target, source] = op
        return matrix

    def neighbors(self) -> list[Cell]:
        """The 24 cells that differ in one edge, edge by edge, ops ascending."""
        return [Cell(index) for index in NEIGHBORS[self.index].tolist()]

    def canonical(self, rule: str = "exact") -> str:
        """A string that is the same for two cells exactly when they are isomorphic under the rule.

        Args:
            rule: one of `nb201_env.space.isomorphism.RULES`: syntactic, skip, nats, exact.
        """
        from nb201_env.space.isomorphism import canonical_form

        return canonical_form(self.ops, rule)

    def params(self, num_classes: int = 10) -> int:
        """Trainable parameters of the published network; the formula stands at `all_params`."""
        return int(all_params(num_classes)[self.index])

    def macs(self, num_classes: int = 10, image_size: int = 32) -> int:
        """Multiply-accumulates for one image of the published network; the formula stands at `all_macs`."""
        return int(all_macs(num_classes, image_size)[self.index])

    def networkx(self) -> networkx.DiGraph:
        """The cell as a graph of four nodes whose edges carry `op` (code) and `name`. Needs networkx."""
        import networkx

        graph = networkx.DiGraph(index=self.index)
        for op, (source, target) in zip(self.ops, EDGES, strict=True):
            graph.add_edge(source, target, op=op, name=OPS[op])
        return graph

    def __str__(self) -> str:
        return self.arch


def _six(ops: Any) -> Sequence[Any]:
    if len(ops) != len(EDGES):
        raise InvalidCellError(f"a cell has {len(EDGES)} ops, one an edge, got {len(ops)}: {ops!r}")
    return list(ops)


def _op_code(op: object, edge: int) -> int:
    if isinstance(op, str):
        if op in OPS:
            return OPS.index(op)
    elif not isinstance(op, bool | np.bool_):
        try:
            code = operator.index(op)  # type: ignore[arg-type]
        except TypeError:
            code = -1
        if 0 <= code < len(OPS):
            return code
    raise InvalidCellError(f"edge {edge} {EDGES[edge]}: {op!r} is not an op; use 0 to 4 or one of {', '.join(OPS)}")


def _parse_arch(arch: str) -> list[int]:
    """Op codes of an arch string, read edge by edge so that an error can point at the first wrong character."""

    def fail(position: int, expected: str) -> InvalidCellError:
        found = repr(arch[position : position + 16]) if position < len(arch) else "the end"
        return InvalidCellError(f"arch string {arch!r}: expected {expected} at character {position}, found {found}")

    ops = []
    position = 0
    for edge, (source, target) in enumerate(EDGES):
        opening = ("|" if edge == 0 else "+|") if source == 0 else ""
        if not arch.startswith(opening, position):
            raise fail(position, f"{opening!r} (the edges into node {target})")
        position += len(opening)
        name = arch[position:].partition("~")[0]
        if name not in OPS:
            raise fail(position, f"an op ({', '.join(OPS)}) for edge {edge} ({source}->{target})")
        position += len(name)
        closing = f"~{source}|"
        if not arch.startswith(closing, position):
            raise fail(position, repr(closing))
        position += len(closing)
        ops.append(OPS.index(name))
    if position != len(arch):
        raise fail(position, "the end")
    return ops
