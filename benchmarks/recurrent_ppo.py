"""sb3-contrib's RecurrentPPO as a controller: the baseline that anybody gets from a library, for `leave_one_out.py`.

It is trained on the same tasks, by the same reward, for as many queries as the controller. It sees the latest query,
and remembers the others by itself; nothing keeps it from asking for a cell twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from held_out import LAW, Course, trial_deviation
from nb201_agents.controllers.ppo import Recipe
from sb3_contrib import RecurrentPPO

from nb201_env import Column
from nb201_env.envs.rewards import regret_scale
from nb201_env.integrations.devices import one_thread
from nb201_env.integrations.sb3 import LanesVecEnv
from nb201_env.simulation.family import TRAINING_TASKS, TRIAL_TASKS

LANES, TASKS = 256, 1_000


def searches(table: str, sources: Sequence[str], lanes: int, queries: int, **more: Any) -> Any:
    """Lanes that show the latest query."""
    tasks = [{"table": table, "dataset": name, "rungs": [8]} for name in sources]
    return gym.make_vec("NB201/Search-v0", num_envs=lanes, tasks=tasks, action="joint", history=1, standardise=True,
                        reward="regret", trainings=1000.0, max_queries=queries, **more)  # fmt: skip


@one_thread()
def train(recipe: Recipe, path: Path) -> None:
    """Train on tasks of a recipe, for as many queries as a controller of it."""
    (table,) = {table for table, _ in recipe.sources}
    family = {"start": TRAINING_TASKS[0], "stop": TRAINING_TASKS[TASKS], **dict(recipe.law)}
    env = LanesVecEnv(searches(table, [name for _, name in recipe.sources], LANES, recipe.queries, family=family))
    model = RecurrentPPO("MlpLstmPolicy", env, seed=recipe.seed, device="cpu", n_steps=recipe.queries, batch_size=1024,
                         n_epochs=3, gamma=0.9, learning_rate=1e-3, ent_coef=0.005,
                         policy_kwargs={"lstm_hidden_size": 64})  # fmt: skip
    model.learn(recipe.batches * recipe.updates * recipe.steps * recipe.lanes)
    model.save(path)


@one_thread()
def follow_lanes(path: Path, table: str, columns: Sequence[Column], runs: int, queries: int) -> list[Course]:
    """Searches over a held-out data set, or tasks that the family makes of it alone, drawn for each lane."""
    model, dataset = RecurrentPPO.load(path), columns[0].dataset
    drawn = {"start": TRIAL_TASKS[0], "stop": TRIAL_TASKS[len(columns)], **_settings()} if len(columns) > 1 else None
    env = searches(table, [dataset], runs, queries, family=drawn, autoreset_mode="Disabled")
    observation, _ = env.reset(seed=0)
    state, start, cells, seconds = None, np.ones(runs, bool), [], []
    for _ in range(queries):
        action, state = model.predict(observation, state, start)
        observation, _, start, _, infos = env.step(action)
        cells.append(infos["incumbent_index"])
        seconds.append(infos["seconds_used"])
    over = zip(infos["task"], np.transpose(cells), np.transpose(seconds), strict=True)
    return [_course(columns[task], *course) for task, *course in over]


def _course(column: Column, incumbents: Any, seconds: Any) -> Course:
    scale = regret_scale(column, None)
    short = scale.best - column.mean[incumbents].astype(np.float64)
    return Course(short / scale.unit, seconds / column.full, short <= trial_deviation(column))


def _settings() -> dict[str, Any]:
    return {"params": LAW.params, "field": LAW.field, "cell": LAW.cell}
