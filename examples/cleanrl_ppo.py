"""PPO in one file, after CleanRL's ppo.py: `python examples/cleanrl_ppo.py --dataset cifar100 --seed 2`.

Differences to CleanRL: the lanes are a native vector environment that resets in the same step, episodes are six steps
long and not discounted, and a search ends by its budget of cells, not of steps.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions.categorical import Categorical

import nb201_env  # noqa: F401 (registers the environments)


@dataclass
class Args:
    """Settings; each is an option of the command line."""

    dataset: str = "cifar10"
    seed: int = 0
    num_cells: int = 4_800
    num_envs: int = 16
    num_steps: int = 12
    learning_rate: float = 2e-3
    gamma: float = 1.0
    gae_lambda: float = 1.0
    num_minibatches: int = 4
    update_epochs: int = 8
    clip_coef: float = 0.2
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5


def layer_init(layer: nn.Linear, std: float = np.sqrt(2)) -> nn.Linear:
    nn.init.orthogonal_(layer.weight, std)
    nn.init.constant_(layer.bias, 0.0)
    return layer


class Agent(nn.Module):
    """Separate two-layer nets for the value and the logits."""

    def __init__(self, inputs: int, actions: int):
        super().__init__()
        self.critic = self.net(inputs, 1, 1.0)
        self.actor = self.net(inputs, actions, 0.01)

    @staticmethod
    def net(inputs: int, outputs: int, std: float) -> nn.Sequential:
        first, second = layer_init(nn.Linear(inputs, 64)), layer_init(nn.Linear(64, 64))
        return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), layer_init(nn.Linear(64, outputs), std))

    def get_action_and_value(self, x, action=None):
        probs = Categorical(logits=self.actor(x))
        action = probs.sample() if action is None else action
        return action, probs.log_prob(action), probs.entropy(), self.critic(x).flatten()


def train(args: Args) -> list[float]:
    """Learn, and return the accuracies of all cells in the order in which they were built."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)  # the nets are too small for more
    envs = gym.make_vec("NB201/BuildCell-v0", num_envs=args.num_envs, dataset=args.dataset)
    agent = Agent(envs.single_observation_space.shape[0], int(envs.single_action_space.n))
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)

    shape = (args.num_steps, args.num_envs)
    obs = torch.zeros(shape + envs.single_observation_space.shape)
    actions, logprobs, rewards, dones, values = (torch.zeros(shape) for _ in range(5))
    batch_size = args.num_steps * args.num_envs
    accuracies: list[float] = []
    next_obs, next_done = torch.tensor(envs.reset(seed=args.seed)[0]), torch.zeros(args.num_envs)
    while len(accuracies) < args.num_cells:
        for step in range(args.num_steps):
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                actions[step], logprobs[step], _, values[step] = agent.get_action_and_value(next_obs)
            observation, reward, terminated, truncated, infos = envs.step(actions[step].long().numpy())
            rewards[step] = torch.tensor(reward)
            next_obs, next_done = torch.tensor(observation), torch.tensor(terminated | truncated).float()
            if "final_info" in infos:
                final = infos["final_info"]
                accuracies += final["accuracy"][final["observed"]].tolist()

        with torch.no_grad():
            next_value = agent.critic(next_obs).flatten()
            advantages, last = torch.zeros(shape), torch.zeros(args.num_envs)
            for t in reversed(range(args.num_steps)):
                end = t == args.num_steps - 1
                alive = 1.0 - (next_done if end else dones[t + 1])
                delta = rewards[t] + args.gamma * (next_value if end else values[t + 1]) * alive - values[t]
                advantages[t] = last = delta + args.gamma * args.gae_lambda * alive * last
            returns = advantages + values

        flat = [part.flatten(0, 1) for part in (obs, actions, logprobs, advantages, returns)]
        for _ in range(args.update_epochs):
            for index in torch.randperm(batch_size).chunk(args.num_minibatches):
                b_obs, b_actions, b_logprobs, b_advantages, b_returns = (part[index] for part in flat)
                _, newlogprob, entropy, newvalue = agent.get_action_and_value(b_obs, b_actions)
                ratio = (newlogprob - b_logprobs).exp()
                b_advantages = (b_advantages - b_advantages.mean()) / (b_advantages.std() + 1e-8)
                clipped = torch.clamp(ratio, 1 - args.clip_coef, 1 + args.clip_coef)
                pg_loss = torch.max(-b_advantages * ratio, -b_advantages * clipped).mean()
                v_loss = 0.5 * ((newvalue - b_returns) ** 2).mean()
                loss = pg_loss - args.ent_coef * entropy.mean() + args.vf_coef * v_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()
    return accuracies


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for field in fields(Args):
        parser.add_argument("--" + field.name.replace("_", "-"), type=type(field.default), default=field.default)
    accuracies = train(Args(**vars(parser.parse_args())))
    first, last = np.mean(accuracies[:200]), np.mean(accuracies[-200:])
    print(f"{len(accuracies)} cells; mean of the first 200: {100 * first:.2f} %, of the last 200: {100 * last:.2f} %")
