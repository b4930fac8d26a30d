"""Stable-Baselines3: what it needs beyond a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from nb201_env.envs.vector import LanesEnv
from nb201_env.errors import NB201Error


class StopOnBudget(BaseCallback):
    """Ends `learn()` as soon as any environment says that its search has ended.

    Stable-Baselines3 would otherwise go on until `total_timesteps` on episodes that are truncated at their first step.
    """

    def _on_step(self) -> bool:
        return not any(info.get("budget_exhausted", False) for info in self.locals["infos"])


class LogIncumbent(BaseCallback):
    """Logs where the search stands: its incumbent's accuracy and its seconds, means over the lanes that say something.

    They go to the model's logger as `search/incumbent_accuracy` and `search/seconds_used`, so to TensorBoard or a CSV.

    Attributes:
        curve: a tuple for each step after which something was said: steps so far, seconds, accuracy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.curve: list[tuple[int, float, float]] = []

    def _on_step(self) -> bool:
        told = [info for info in self.locals["infos"] if "incumbent_accuracy" in info]
        if told:
            keys = ("seconds_used", "incumbent_accuracy")
            seconds, accuracy = (float(np.mean([info[key] for info in told])) for key in keys)
            self.curve.append((self.num_timesteps, seconds, accuracy))
            self.logger.record("search/seconds_used", seconds)
            self.logger.record("search/incumbent_accuracy", accuracy)
        return True


class LanesVecEnv(VecEnv):
    """A vector environment as Stable-Baselines3's VecEnv, many times faster than its DummyVecEnv.

    model = MaskablePPO("MlpPolicy", LanesVecEnv(gym.make_vec("NB201/BuildCell-v0", num_envs=64, mask="unseen")))

    Infos are those of the single environment, but for `action_mask`, and that of a lane that ends has `episode` with
    its return `r` and length `l` too, as Stable-Baselines3's Monitor adds it. Lanes that have nothing to say share one
    empty dict. `get_attr` gives, lane by lane, where each search stands: `incumbent_index`, `incumbent_accuracy`,
    `seconds_used`, `seconds_left`, `n_queries`, `n_distinct` and `budget_exhausted`.

    Raises:
        NB201Error: if the environment is another one, or its autoreset mode is not `SameStep`.
    """

    def __init__(self, env: Any):
        lanes = env.unwrapped
        if env is not lanes or not isinstance(lanes, LanesEnv):
            raise NB201Error(
                "LanesVecEnv takes what gymnasium.make_vec makes of an NB201 environment, without wrappers, "
                f"got {env!r}"
            )
        if lanes.autoreset_mode != AutoresetMode.SAME_STEP:
            raise NB201Error(
                "Stable-Baselines3 resets in the same step: make the environment with autoreset_mode='SameStep', not "
                f"{lanes.autoreset_mode.value!r}"
            )
        self.env = lanes
        self._length, self._return = np.zeros(lanes.num_envs, np.int64), np.zeros(lanes.num_envs)
        super().__init__(lanes.num_envs, lanes.single_observation_space, lanes.single_action_space)

    def reset(self) -> Any:
        """Begin an episode in every lane, with the seeds and options of `seed` and `set_options`."""
        options = self._options[0]
        if any(other != options for other in self._options):
            raise NB201Error("the lanes share one environment: give set_options one dict for all of them")
        seeds = self._seeds if any(seed is not None for seed in self._seeds) else None
        observation, infos = self.env.reset(seed=seeds, options=options)
        self._reset_seeds()
        self._reset_options()
        self._length[:], self._return[:] = 0, 0.0
        keys = [key for key in infos if key[0] != "_"]
        self.reset_infos = [{key: infos[key][lane] for key in keys} for lane in range(self.num_envs)]
        return observation

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Store the actions of the next `step_wait`."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Step every lane: observations, rewards (float32), dones and a list of info dicts."""
        observation, reward, terminated, truncated, infos = self.env.step(self._actions)
        done = terminated | truncated
        self._length += 1
        self._return += reward
        nothing: dict[str, Any] = {}
        found = [nothing] * self.num_envs
        told = infos.get("_index")  # lanes that say something; in those that end, it is about the episode that begins
        if told is not None:
            for lane, row in _rows(infos, np.flatnonzero(told)):
                if done[lane]:
                    self.reset_infos[lane] = row
                else:
                    found[lane] = row
        if done.any():
            self._add_final(found, np.flatnonzero(done), truncated, infos)
            self._length[done], self._return[done] = 0, 0.0
        return observation, reward.astype(np.float32), done, found

    def _add_final(self, found: list[dict[str, Any]], lanes: Any, truncated: Any, infos: Any) -> None:
        ended = dict(_rows(infos["final_info"], lanes))
        episodes = zip(self._return[lanes].tolist(), self._length[lanes].tolist(), strict=True)
        for lane, cut, (r, length) in zip(lanes.tolist(), truncated[lanes].tolist(), episodes, strict=True):
            row = ended[lane]
            row["TimeLimit.truncated"] = cut
            row["terminal_observation"] = _row(infos["final_obs"], lane)
            row["episode"] = {"r": r, "l": length}
            found[lane] = row

    def close(self) -> None:
        """Nothing is held open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Where each lane's search stands, by a key of its info; or an attribute of the vector environment."""
        lanes = self._lanes(indices)
        accounts = self.env.accounts()
        if attr_name in accounts:
            return list(accounts[attr_name][lanes].tolist())
        return [getattr(self.env, attr_name)] * len(lanes)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: lanes have no attributes of their own."""
        raise NB201Error(
            f"the lanes share one environment: make it with the argument {attr_name!r}, or use reset options"
        )

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method that answers for all lanes, such as `action_masks`, and pick lanes of its answer."""
        answers = getattr(self.env, method_name)(*args, **kwargs)
        return [answers[lane] for lane in self._lanes(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Never: lanes are not single environments."""
        return [False] * len(self._lanes(indices))

    def _lanes(self, indices: int | Iterable[int] | None) -> Sequence[int]:
        return list(self._get_indices(indices))


def _rows(infos: Any, lanes: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """What batched info says of some lanes, each as a dict of plain values."""
    keys = [key for key in infos if key[0] != "_" and key not in ("action_mask", "final_obs", "final_info")]
    columns = [infos[key][lanes].tolist() for key in keys]
    for lane, row in zip(lanes.tolist(), zip(*columns, strict=True), strict=True):
        yield lane, dict(zip(keys, row, strict=True))


def _row(observation: Any, lane: int) -> Any:
    if isinstance(observation, dict):
        return {key: values[lane] for key, values in observation.items()}
    return observation[lane]
