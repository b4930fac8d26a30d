"""NAS-Bench-201 as Gymnasium environments.

Importing this package registers the environments `NB201/…` and loads neither zarr nor torch.
"""

from importlib.metadata import version

from nb201_env.errors import (
    BudgetExhaustedError,
    InvalidCellError,
    MissingDataError,
    NB201Error,
    TableFormatError,
)
from nb201_env.registration import register_environments
from nb201_env.simulation.clock import SimulatedClock
from nb201_env.simulation.oracle import Evaluation, Evaluations, Oracle
from nb201_env.space import ALL_OPS, EDGES, NEIGHBORS, NUM_CELLS, OPS, PARAMS, Cell, index_of
from nb201_env.tables.table import Record, Table, open_table

__version__ = version("nb201-env")

__all__ = [
    "ALL_OPS",
    "EDGES",
    "NEIGHBORS",
    "NUM_CELLS",
    "OPS",
    "PARAMS",
    "BudgetExhaustedError",
    "Cell",
    "Evaluation",
    "Evaluations",
    "InvalidCellError",
    "MissingDataError",
    "NB201Error",
    "Oracle",
    "Record",
    "SimulatedClock",
    "Table",
    "TableFormatError",
    "__version__",
    "index_of",
    "open_table",
    "register_environments",
]

register_environments()
