"""Speed of the environments in this checkout and in another: `python benchmarks/bench_checkouts.py ../other`.

Both are timed by turns, each time in a fresh process, and the best of all rounds is compared: nanoseconds a step of one
lane, and the ratio.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]
TURNS, ROUNDS = 4, 5

BUILD, EDIT, SEARCH = "NB201/BuildCell-v0", "NB201/EditCell-v0", "NB201/Search-v0"
CASES = {
    "BuildCell alone": (BUILD, 0, 6_000, {}),
    "EditCell alone": (EDIT, 0, 3_000, {}),
    "Search alone": (SEARCH, 0, 3_000, {}),
    "BuildCell, 64 lanes": (BUILD, 64, 60, {}),
    "BuildCell, 1,024 lanes": (BUILD, 1_024, 60, {}),
    "BuildCell, 16,384 lanes": (BUILD, 16_384, 30, {}),
    "BuildCell, 256 lanes, mask unseen": (BUILD, 256, 60, {"mask": "unseen"}),
    "EditCell, 64 lanes": (EDIT, 64, 60, {}),
    "EditCell, 1,024 lanes": (EDIT, 1_024, 48, {}),
    "Search, 1,024 lanes": (SEARCH, 1_024, 60, {}),
}


def time_cases() -> dict[str, float]:
    """Nanoseconds a step of each case, in the checkout that is on the path."""
    import time

    import gymnasium as gym
    import numpy as np

    import nb201_env  # noqa: F401

    found = {}
    for name, (env_id, lanes, steps, kwargs) in CASES.items():
        env = gym.make_vec(env_id, num_envs=lanes, **kwargs) if lanes else gym.make(env_id, **kwargs).unwrapped
        count = (env.single_action_space if lanes else env.action_space).n
        actions = np.random.default_rng(0).integers(count, size=(steps, lanes) if lanes else steps)
        env.reset(seed=0)
        best = float("inf")
        for _ in range(ROUNDS + 1):  # the first warms up, and is never the best
            start = time.perf_counter()
            for action in actions if lanes else actions.tolist():
                *_, terminated, truncated, _ = env.step(action)
                if not lanes and (terminated or truncated):
                    env.reset()
            best = min(best, time.perf_counter() - start)
        found[name] = 1e9 * best / (steps * max(lanes, 1))
    return found


def main(other: str) -> None:
    best: dict[Path, dict[str, float]] = {HERE: {}, Path(other).resolve(): {}}
    for _ in range(TURNS):
        for root, times in best.items():
            path = os.pathsep.join(str(root / part) for part in (".", "generator", "agents"))
            done = subprocess.run([sys.executable, __file__], env=os.environ | {"PYTHONPATH": path}, check=True,
                                  capture_output=True, text=True, cwd=root)  # fmt: skip
            for name, seconds in json.loads(done.stdout).items():
                times[name] = min(seconds, times.get(name, seconds))
    here, there = best.values()
    for name in CASES:
        print(f"{name:36s} {here[name]:9.1f} ns against {there[name]:9.1f} ns: {here[name] / there[name]:.2f}")


if __name__ == "__main__":
    main(sys.argv[1]) if len(sys.argv) > 1 else print(json.dumps(time_cases()))
