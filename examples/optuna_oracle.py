"""Optuna asks an oracle of real accuracies, until 200,000 simulated GPU-seconds are used up."""

import optuna

from nb201_env import OPS, Oracle

optuna.logging.set_verbosity(optuna.logging.WARNING)
oracle = Oracle.open("published", "cifar100", budget=200_000, seed=0)
study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
edges = {f"edge {edge}": optuna.distributions.CategoricalDistribution(OPS) for edge in range(6)}
while not oracle.exhausted:
    trial = study.ask(edges)
    result = oracle.query([OPS.index(trial.params[edge]) for edge in edges])
    if result.observed:
        study.tell(trial, result.accuracy)

print(f"{oracle.n_queries} queries, {oracle.n_distinct} cells; best as observed: {100 * study.best_value:.2f} %")
print(study.best_params)
