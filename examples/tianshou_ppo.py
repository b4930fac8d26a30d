"""Tianshou's PPO learns to build cells; in an environment of its own, since it holds pandas below 3."""

import gymnasium as gym
import torch
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

import nb201_env  # noqa: F401 (registers the environments)

ENVS, CELLS = 16, 4_000
torch.manual_seed(0)
torch.set_num_threads(1)  # the nets are too small for more
built = []


def make():
    env = gym.make("NB201/BuildCell-v0")
    return gym.wrappers.TransformReward(env, lambda reward: built.append(reward) or reward if reward else reward)


envs = DummyVectorEnv([make] * ENVS)
envs.seed(list(range(ENVS)))
shape, actions = envs.observation_space[0].shape, envs.action_space[0]
actor = DiscreteActor(
    preprocess_net=Net(state_shape=shape, hidden_sizes=[64]), action_shape=actions.n, softmax_output=False
)
critic = DiscreteCritic(preprocess_net=Net(state_shape=shape, hidden_sizes=[64]))
policy = DiscreteActorPolicy(actor=actor, action_space=actions)
ppo = PPO(policy=policy, critic=critic, optim=AdamOptimizerFactory(lr=3e-3), gamma=1.0, gae_lambda=1.0)
collector = Collector(ppo, envs, VectorReplayBuffer(12 * ENVS, ENVS))
settings = {"collection_step_num_env_steps": 12 * ENVS, "update_step_num_repetitions": 8, "batch_size": 48}
length = {"max_epochs": 1, "epoch_num_steps": 6 * CELLS, "verbose": False, "show_progress": False}
ppo.run_training(OnPolicyTrainerParams(training_collector=collector, **settings, **length))
print(f"mean of the first 200 cells: {sum(built[:200]) / 2:.2f} %, of the last 200: {sum(built[-200:]) / 2:.2f} %")
