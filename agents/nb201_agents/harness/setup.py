"""What a comparison searches and under which rules, as plain data."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from nb201_env import NB201Error, Oracle, checks
from nb201_env.envs.rewards import PRIVILEGED
from nb201_env.registration import ENVIRONMENTS

ENVIRONMENT = "NB201/BuildCell-v0"


@dataclass(frozen=True)
class Setup:
    """What is searched and under which rules: arguments of `Oracle.open`, as plain data.

    `rungs` are the epochs at which a searcher may see a cell; None means the last alone, which is all that an
    environment has whose episode is one cell. `objectives` are pairs of a name and a weight or limit. `env` names the
    environment that learners drive, and `env_options` its further arguments, as pairs; the rules above are its
    arguments too. `workers` are simulated GPUs, which share the budget; see `nb201_env.simulation.workers`.
    """

    table: str = "published"
    dataset: str = "cifar10"
    recipe: str | None = None
    epoch: int | None = None
    split: str = "valid"
    trial: str | int = "per-search"
    budget: float | None = None
    charge: str = "fresh"
    overrun: str = "stop-before"
    max_queries: int | None = None
    missing: str = "refuse"
    rungs: tuple[int, ...] | None = None
    objectives: tuple[tuple[str, float | str], ...] = ()
    workers: int = 1
    env: str = ENVIRONMENT
    env_options: tuple[tuple[str, Any], ...] = ()

    def plain(self) -> dict[str, Any]:
        """The rules as JSON has them: all fields but those of the environment."""
        return self.rules() | {"rungs": None if self.rungs is None else list(self.rungs), "workers": self.workers}

    def rules(self) -> dict[str, Any]:
        """Arguments of `Oracle.open`."""
        rules = {key: value for key, value in asdict(self).items() if key not in ("workers", "env", "env_options")}
        return rules | {"objectives": dict(self.objectives) or None}

    def env_kwargs(self) -> dict[str, Any]:
        """Arguments of the environment: the rules, as far as it has them, and its options.

        Raises:
            NB201Error: if there is no such environment, it lacks a rule that is not the default, has no such option, or
                would pay by privileged knowledge.
        """
        known, options = env_parameters(self.env), dict(self.env_options)
        for key, value in self.rules().items():
            if key not in known and value != (None if key == "objectives" else getattr(Setup, key)):
                raise NB201Error(f"{self.env} has no argument {key}: leave it at {getattr(Setup, key)}")
        if unknown := sorted(set(options) - set(known) | set(options) & set(self.rules())):
            raise NB201Error(f"{unknown[0]} is no option of {self.env} that a comparison may set")
        if options.get("reward") in PRIVILEGED:
            raise NB201Error(f"reward={options['reward']!r} uses privileged knowledge: no comparison may pay it")
        return {key: value for key, value in self.rules().items() if key in known} | options

    def oracle(self) -> Oracle:
        """A fresh oracle under these rules.

        Raises:
            NB201Error: if nothing would ever end a search, or as `Oracle.open`.
        """
        if self.budget is None and self.max_queries is None:
            raise NB201Error("a search needs an end: set a budget in simulated seconds, or a number of queries")
        checks.whole("workers", self.workers, 1, 10**6)
        return Oracle.open(**self.rules())


def env_parameters(name: str) -> tuple[str, ...]:
    """Names of the arguments of a registered environment.

    Raises:
        NB201Error: if there is none of this name.
    """
    spec = gym.registry.get(name)
    if spec is None or spec.entry_point is None:
        raise NB201Error(f"no environment {checks.shown(name)}; those of this package are {', '.join(ENVIRONMENTS)}")
    make = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    return tuple(inspect.signature(make).parameters)
