"""The figures of a table, drawn by matplotlib from the arrays of `nb201_env.analysis`."""

from nb201_env.figures.page import FIGURES, write_figures

__all__ = ["FIGURES", "write_figures"]
