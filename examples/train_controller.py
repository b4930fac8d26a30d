"""Train a small controller on tasks made of one table, then let it search a table that it never saw."""

import tempfile
from pathlib import Path

from nb201_agents.controllers.ppo import Recipe
from nb201_agents.controllers.pretrain import pretrain
from nb201_agents.harness.bench import bench
from nb201_agents.harness.setup import Setup
from nb201_agents.harness.summary import summaries

folder = Path(tempfile.mkdtemp())
file = folder / "small.safetensors"

# 23,000 queries, some twenty seconds on one core. `nb201 pretrain` does the same, and far more of it.
recipe = Recipe((("mini", "gratings"),), batches=3, updates=10, tasks=64, lanes=64, learning_rate=3e-3)
pretrain(recipe, file, progress=lambda done, total, what: print(f"\r{done} of {total} updates, {what}", end=""))
print()

bench([f"controller(file={file})"], [Setup("mini", "digits", max_queries=20)], 20, folder / "results")
for row in summaries(folder / "results"):
    print(f"{row.agent.partition('(')[0]:12s} {row.queries:.0f} queries: {row.final:.2f} %, regret {row.regret:.2f}")
