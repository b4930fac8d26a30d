"""NAS-Bench-201 as Gymnasium environments.

Importing this package registers the environments `NB201/…` and loads neither zarr nor torch.
"""

from typing import TYPE_CHECKING, Any

from nb201_env.errors import (
    BudgetExhaustedError,
    InvalidCellError,
    MissingDataError,
    NB201Error,
    TableFormatError,
    UnreachableError,
)
from nb201_env.registration import register_environments
from nb201_env.simulation.column import Column
from nb201_env.simulation.oracle import Evaluation, Evaluations, Oracle
from nb201_env.simulation.rules import Rules
from nb201_env.space import ALL_OPS, EDGES, NEIGHBORS, NUM_CELLS, OPS, PARAMS, Cell, index_of
from nb201_env.tables.opening import open_table
from nb201_env.tables.table import Record, Table

if TYPE_CHECKING:
    __version__: str

__all__ = [
    "ALL_OPS",
    "EDGES",
    "NEIGHBORS",
    "NUM_CELLS",
    "OPS",
    "PARAMS",
    "BudgetExhaustedError",
    "Cell",
    "Column",
    "Evaluation",
    "Evaluations",
    "InvalidCellError",
    "MissingDataError",
    "NB201Error",
    "Oracle",
    "Record",
    "Rules",
    "Table",
    "TableFormatError",
    "UnreachableError",
    "__version__",
    "index_of",
    "open_table",
    "register_environments",
]

register_environments()


def __getattr__(name: str) -> Any:
    """`__version__`, read from the installed package when it is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("nb201-env")
    raise AttributeError(f"module 'nb201_env' has no attribute {name!r}")
