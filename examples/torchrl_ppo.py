"""TorchRL's PPO learns to build cells for CIFAR-10 in 64 lanes."""

import gymnasium as gym
import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import nb201_env  # noqa: F401 (registers the environments)

LANES, CELLS = 64, 3_840
torch.manual_seed(0)
torch.set_num_threads(1)  # the nets are too small for more
lanes = gym.make_vec("NB201/BuildCell-v0", num_envs=LANES, dataset="cifar10")
env = GymWrapper(lanes, categorical_action_encoding=True)
policy, value = (nn.Sequential(nn.Linear(36, 64), nn.Tanh(), nn.Linear(64, outputs)) for outputs in (5, 1))
actor = ProbabilisticActor(
    TensorDictModule(policy, ["observation"], ["logits"]),
    in_keys=["logits"],
    distribution_class=torch.distributions.Categorical,
    return_log_prob=True,
)
critic = ValueOperator(value, ["observation"])
advantage = GAE(gamma=1.0, lmbda=1.0, value_network=critic)
loss = ClipPPOLoss(actor, critic, entropy_coeff=0.01)
optimizer = torch.optim.Adam(loss.parameters(), 3e-3)
means = []
for batch in Collector(env, actor, frames_per_batch=LANES * 6, total_frames=CELLS * 6):
    means.append(batch["next", "reward"][batch["next", "done"]].mean().item())
    for _ in range(8):
        advantage(batch)
        losses = loss(batch)
        optimizer.zero_grad()
        sum(losses[name] for name in ("loss_objective", "loss_critic", "loss_entropy")).backward()
        optimizer.step()
print(f"{CELLS} cells; mean of the first 64: {100 * means[0]:.2f} %, of the last 64: {100 * means[-1]:.2f} %")
