"""pymoo's NSGA-II looks for small errors with few parameters; the front that it saw, of 1,000 cells."""

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.mutation.pm import PolynomialMutation
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize

from nb201_env import Oracle

oracle = Oracle.open("published", "cifar10", trial="mean", max_queries=1_000, objectives={"error": 1, "params": 1})


class Cells(Problem):
    """Six ops a cell."""

    def __init__(self):
        super().__init__(n_var=6, n_obj=2, xl=0, xu=4, vtype=int)

    def _evaluate(self, ops, out, *args, **kwargs):
        results = [oracle.query(row.astype(int)) for row in ops]
        cells, accuracies = ([getattr(one, name) for one in results] for name in ("index", "accuracy"))
        out["F"] = -oracle.objectives.vector(cells, accuracies)


mutation = PolynomialMutation(vtype=float, repair=RoundingRepair())
algorithm = NSGA2(50, sampling=IntegerRandomSampling(), crossover=TwoPointCrossover(), mutation=mutation)
front = minimize(Cells(), algorithm, ("n_gen", 20), seed=0).F
for error, params in front[np.argsort(front[:, 1])]:
    print(f"{params:>9,.0f} parameters: {100 * (1 - error):.2f} %")
