"""Make the picture of a PPO agent that the README shows: `python docs/make_gif.py`.

PPO learns on 300 cells of CIFAR-10; then it builds cells greedily and by chance in turn, drawn as they grow.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
from nb201_agents.learners.stable_baselines import PPO as PRESET
from PIL import Image
from stable_baselines3 import PPO

import nb201_env  # noqa: F401 (registers the environments)

QUERIES, SHOWN, MILLISECONDS = 300, 4, 350
OUT = Path(__file__).parent / "controller.gif"


def main() -> None:
    """Train, play and write the GIF."""
    env = gym.make("NB201/BuildCell-v0", budget=2_000_000, render_mode="rgb_array")
    model = PPO("MlpPolicy", env, seed=0, device="cpu", **PRESET.settings)
    model.learn(6 * QUERIES)
    frames = []
    for _ in range(SHOWN):
        observation, _ = env.reset()
        done = False
        frames.append(env.render())
        while not done:
            observation, _, done, _, _ = env.step(int(model.predict(observation)[0]))
            frames.append(env.render())
        frames += frames[-1:] * 3
    # one palette for all frames, so that the file stays small
    first = Image.fromarray(np.concatenate(frames[6:8])).quantize(64)
    images = [Image.fromarray(frame).quantize(palette=first) for frame in frames]
    images[0].save(OUT, save_all=True, append_images=images[1:], duration=MILLISECONDS, loop=0, optimize=True)


if __name__ == "__main__":
    main()
