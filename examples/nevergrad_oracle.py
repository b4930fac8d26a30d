"""Nevergrad's one-plus-one evolution asks an oracle of real accuracies 150 times."""

import nevergrad

from nb201_env import Oracle

oracle = Oracle.open("published", "cifar10", max_queries=150, seed=0)
cell = nevergrad.p.TransitionChoice(range(5), repetitions=6)
cell.random_state.seed(0)
optimizer = nevergrad.optimizers.DiscreteOnePlusOne(cell, budget=150)
while not oracle.exhausted:
    candidate = optimizer.ask()
    optimizer.tell(candidate, 1.0 - oracle.query(list(candidate.value)).accuracy)

print(f"{oracle.n_distinct} cells; recommended {optimizer.recommend().value}, ", end="")
print(f"best as observed: {100 * oracle.incumbent_accuracy:.2f} %")
