"""skrl's PPO learns to build cells for CIFAR-10 in 64 lanes."""

import gymnasium as gym
import torch
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import CategoricalMixin, DeterministicMixin, Model
from skrl.trainers.torch import SequentialTrainer

import nb201_env  # noqa: F401 (registers the environments)

LANES, CELLS = 64, 3_840
torch.manual_seed(0)
torch.set_num_threads(1)  # the nets are too small for more
lanes = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec("NB201/BuildCell-v0", num_envs=LANES), CELLS)
env = wrap_env(lanes, verbose=False)
spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": "cpu"}


def net(kind, outputs):
    class Net(kind, Model):
        def __init__(self):
            Model.__init__(self, **spaces)
            kind.__init__(self)
            self.layers = torch.nn.Sequential(torch.nn.Linear(36, 64), torch.nn.Tanh(), torch.nn.Linear(64, outputs))

        def compute(self, inputs, role):
            return self.layers(inputs["observations"]), {}

    return Net()


cfg = PPO_CFG(rollouts=12, learning_epochs=8, mini_batches=8, discount_factor=1.0, gae_lambda=1.0, learning_rate=3e-3)
models = {"policy": net(CategoricalMixin, 5), "value": net(DeterministicMixin, 1)}
cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0  # leave no files behind
agent = PPO(models=models, memory=RandomMemory(memory_size=12, num_envs=LANES), cfg=cfg, **spaces)
SequentialTrainer(env=env, agents=agent, cfg={"timesteps": CELLS * 6 // LANES, "headless": True}).train()
built = list(lanes.return_queue)
print(f"mean of the first 200 cells: {sum(built[:200]) / 2:.2f} %, of the last 200: {sum(built[-200:]) / 2:.2f} %")
