"""Controllers as files: weights as safetensors, and what they are in an entry of its metadata. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nb201_agents.controllers.policy import Policy
from nb201_agents.controllers.ppo import Recipe, Training
from nb201_env import NUM_CELLS, NB201Error, open_table
from nb201_env.files import regular, replacing

FORMAT = "nb201-controller-2"
_ENTRY = "nb201"
_MOST_BYTES = 64 << 20
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Controller:
    """A trained policy.

    Attributes:
        policy: to search with.
        recipe: by which it was trained.
        fingerprints: of the tables that its sources are in, by name.
    """

    policy: Policy
    recipe: Recipe
    fingerprints: Mapping[str, str]


def write_controller(training: Training, path: Path) -> None:
    """Write what a training has come to."""
    _write(path, _prefixed("policy", training.policy.state_dict()), _about(training))


def write_checkpoint(training: Training, path: Path) -> None:
    """Write all that a training needs to go on."""
    tensors = _prefixed("policy", training.policy.state_dict()) | {"generator": training.generator.get_state()}
    for name, parameter in training.policy.named_parameters():
        state = training.optimizer.state.get(parameter, {})
        tensors |= {f"{moment}.{name}": state[moment] for moment in _MOMENTS if moment in state}
    steps = [int(state["step"]) for state in training.optimizer.state.values()]
    more = {
        "batch": training.batch,
        "curve": training.curve,
        "seconds": training.seconds,
        "steps": max(steps, default=0),
    }
    _write(path, tensors, _about(training) | more)


def read_controller(path: Path) -> Controller:
    """Read a controller.

    Raises:
        NB201Error: if the file is none, or damaged.
    """
    tensors, about = _read(path)
    try:
        recipe = _recipe(about["recipe"])
        rungs = 1 if recipe.rungs is None else len(recipe.rungs)
        scores = tensors["policy.scores"]
        if scores.shape != (sum(recipe.told), NUM_CELLS):  # else a recipe could ask for any amount of memory
            raise ValueError("scores")
        policy = Policy(scores, rungs)
        policy.load_state_dict(_without("policy", tensors))
        fingerprints = {str(table): str(one) for table, one in about["fingerprints"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, NB201Error):
        raise NB201Error(f"{path} is no controller of this version; train it again by `nb201 pretrain`") from None
    return Controller(policy.eval(), recipe, fingerprints)


def is_of(controller: Controller, recipe: Recipe) -> bool:
    """Whether a controller is what a recipe comes to with the tables as they are."""
    same = json.dumps(asdict(controller.recipe)) == json.dumps(asdict(recipe))
    return same and dict(controller.fingerprints) == _fingerprints(recipe)


def read_checkpoint(path: Path, recipe: Recipe, device: str) -> Training:
    """The training that a checkpoint is of.

    Raises:
        NB201Error: if the file is none or damaged, or of another recipe, or of other tables.
    """
    tensors, about = _read(path)
    training = Training.begin(recipe, device)
    if about.get("recipe") != json.loads(json.dumps(asdict(recipe))):
        raise NB201Error(f"{path} belongs to another recipe; remove it, or name another --out")
    if about.get("fingerprints") != _fingerprints(recipe):
        raise NB201Error(f"{path} belongs to other tables; remove it, or name another --out")
    try:
        training.policy.load_state_dict(_without("policy", tensors))
        training.generator.set_state(tensors["generator"])
        for name, parameter in training.policy.named_parameters():
            moments = {moment: tensors[f"{moment}.{name}"].to(device) for moment in _MOMENTS}
            if any(one.shape != parameter.shape for one in moments.values()):
                raise ValueError(name)
            step = torch.tensor(float(about["steps"]))
            training.optimizer.state[parameter] = {"step": step, **moments}
        training.batch, training.seconds = int(about["batch"]), (float(about["seconds"][0]), float(about["seconds"][1]))
        training.curve = [(float(value), float(entropy)) for value, entropy in about["curve"]]
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError):
        raise NB201Error(f"{path} is damaged; remove it and begin again") from None
    return training


def _about(training: Training) -> dict[str, Any]:
    recipe = training.recipe
    return {"format": FORMAT, "recipe": asdict(recipe), "fingerprints": _fingerprints(recipe)}


def _fingerprints(recipe: Recipe) -> dict[str, str]:
    return {table: open_table(table).fingerprint for table in sorted({table for table, _ in recipe.sources})}


def _recipe(found: Mapping[str, Any]) -> Recipe:
    if set(found) != {one.name for one in fields(Recipe)}:
        raise ValueError("it is no recipe of this version")
    rungs = found["rungs"]
    pairs = {name: tuple((key, value) for key, value in found[name]) for name in ("sources", "law")}
    names = [*(key for key, _ in pairs["law"]), *(one for pair in pairs["sources"] for one in pair)]
    if not all(isinstance(one, str) for one in names):
        raise ValueError("its sources or its law have no names")
    recipe = Recipe(**{**found, **pairs, "rungs": None if rungs is None else tuple(map(int, rungs))})
    recipe.check()
    return recipe


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _without(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): one for name, one in tensors.items() if name.startswith(f"{prefix}.")}


def _write(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as fragment:
        save_file(contiguous, fragment, {_ENTRY: json.dumps(about)})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a file of ours, checked as far as both kinds are alike."""
    from safetensors import SafetensorError, safe_open

    if regular(path).stat().st_size > _MOST_BYTES:
        raise NB201Error(f"{path} is larger than any controller")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[_ENTRY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        if about["format"] != FORMAT:
            raise ValueError(about["format"])
        if not all(bool(one.isfinite().all()) for one in tensors.values()):
            raise ValueError("not finite")
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        raise NB201Error(f"{path} is no controller of this version; train it again by `nb201 pretrain`") from None
    return tensors, about
