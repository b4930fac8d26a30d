"""Minari keeps episodes as a data set for offline learning: record, store, load again."""

import os
import tempfile

os.environ.setdefault("MINARI_DATASETS_PATH", tempfile.mkdtemp())

import gymnasium as gym
import minari
from minari.data_collector import EpisodeBuffer

import nb201_env  # noqa: F401 (registers the environments)

env = gym.make("NB201/BuildCell-v0", dataset="cifar10")
episodes = []
for number in range(100):
    observation, _ = env.reset(seed=0 if number == 0 else None)
    episode, over = EpisodeBuffer(number, observations=[observation], actions=[]), False
    env.action_space.seed(number)
    while not over:
        action = env.action_space.sample()
        observation, reward, over, cut, _ = env.step(action)
        episode.observations.append(observation)
        episode.actions.append(action)
        episode.rewards.append(reward)
        episode.terminations.append(over)
        episode.truncations.append(cut)
    episodes.append(episode)

minari.create_dataset_from_buffers("nb201/random-v0", episodes, env=env, algorithm_name="random", eval_env=env.spec)
loaded = minari.load_dataset("nb201/random-v0")
returns = [episode.rewards.sum() for episode in loaded.iterate_episodes()]
print(f"{loaded.total_episodes} episodes, {loaded.total_steps} steps, mean return {100 * sum(returns) / 100:.2f} %")
print(loaded.recover_environment().spec.id)
