"""RLlib's PPO learns to build cells for CIFAR-10 in 64 lanes; in an environment of its own, since it pins Gymnasium.

The id begins with the module, which RLlib's workers import, and lanes must reset in the next step: under `SameStep`
RLlib counts wrong episodes without an error.
"""

import logging

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

LANES, CELLS, SHOWN = 64, 2_560, 200
ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False, num_cpus=1)
steps = LANES * 14  # an episode takes six steps, and one more that resets
config = (
    PPOConfig()
    .environment("nb201_env:NB201/BuildCell-v0", env_config={"autoreset_mode": "NextStep"})
    .env_runners(
        num_env_runners=0,
        num_envs_per_env_runner=LANES,
        gym_env_vectorize_mode="vector_entry_point",
        rollout_fragment_length=14,
    )
    .training(gamma=1.0, lambda_=1.0, lr=3e-3, train_batch_size=steps, minibatch_size=steps // 4, num_epochs=8)
    .training(entropy_coeff=0.01, use_kl_loss=False)
    .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64]))
    .reporting(metrics_num_episodes_for_smoothing=SHOWN)
    .debugging(seed=0, log_level="ERROR")
)
algorithm = config.build_algo()
found = [algorithm.train()["env_runners"] for _ in range(CELLS // (2 * LANES))]
shown = [100 * one["episode_return_mean"] for one in (found[1], found[-1])]
print(f"mean of the first {SHOWN} cells: {shown[0]:.2f} %, of the last {SHOWN}: {shown[1]:.2f} %")
