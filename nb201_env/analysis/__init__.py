"""What a table says of the space as a whole: the data of the paper's figures and of others, as arrays.

Accuracies are means over trials in percent, of shape (15625,), NaN where a cell is absent. What a table does not hold
is a `MissingDataError`, which says so in one sentence.
"""

from nb201_env.analysis.landscape import Landscape, landscape, local_maxima, steps_to, walk_autocorrelation
from nb201_env.analysis.noise import Noise, noise
from nb201_env.analysis.ranks import correlation_matrix, ranks, spearman
from nb201_env.analysis.training import LearningCurves, Stability, learning_curves, stability
from nb201_env.analysis.values import Effects, costs, effects, pareto_front, percent, split_of, values_of_all

__all__ = [
    "Effects",
    "Landscape",
    "LearningCurves",
    "Noise",
    "Stability",
    "correlation_matrix",
    "costs",
    "effects",
    "landscape",
    "learning_curves",
    "local_maxima",
    "noise",
    "pareto_front",
    "percent",
    "ranks",
    "spearman",
    "split_of",
    "stability",
    "steps_to",
    "values_of_all",
    "walk_autocorrelation",
]
