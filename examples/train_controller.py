"""Train a small controller on tasks made of one table, then let it search a table that it never saw."""

import tempfile
from pathlib import Path

from nb201_agents.controllers.ppo import Recipe
from nb201_agents.controllers.pretrain import pretrain
from nb201_agents.harness.bench import bench
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.summary import summaries

file = Path("small-controller.safetensors")
file.unlink(missing_ok=True)

# 23,000 queries, some half a minute on one core. `nb201 pretrain` does the same, and far more of it.
recipe = Recipe((("mini", "gratings"),), batches=3, updates=10, tasks=64, lanes=64, learning_rate=3e-3)
pretrain(recipe, file, progress=lambda done, total, what: print(f"\r{done} of {total} updates, {what}", end=""))
print(f"\nwritten: {file}\n\nmini's digits, 30 searches of 20 queries each; the best cell has 94.9 % right")

results = Path(tempfile.mkdtemp())
bench([f"controller(file={file})"], [Setup("mini", "digits", max_queries=20)], 30, results)
for row in summaries(results):
    name = row.agent.partition("(")[0]
    print(f"{name:12s} finds cells of {row.mean:.2f} % on average, {row.regret:.2f} points from the best")
