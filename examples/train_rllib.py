"""Trains PPO with RLlib's new API stack, masked, on EdgeCloud-Continuous-v0.

python examples/train_rllib.py
"""

import argparse

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from edgecloud_gym.rllib import CandidateModule, SequentialEnv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--iterations", type=int, default=20)
parser.add_argument("--batch", type=int, default=4096, help="steps per iteration")
parser.add_argument("--workers", type=int, default=0, help="processes that play, besides this one")
parser.add_argument("--duration", type=float, default=50.0, help="length of an episode (s)")
given = parser.parse_args()


class Metrics(RLlibCallback):
    """Reports the mean JCT of episodes, and illegal assignments."""

    def on_episode_step(self, *, episode, metrics_logger, **_):
        """Counts what was illegal."""
        illegal = episode.get_infos(-1)["invalid_assignments"]
        metrics_logger.log_value("illegal", illegal, reduce="lifetime_sum")

    def on_episode_end(self, *, episode, metrics_logger, **_):
        """Takes the JCT from the episode's summary."""
        summary = episode.get_infos(-1)["summary"]
        metrics_logger.log_value("jct_mean", summary["jct_mean"], window=20)


env_config = {
    "id": "EdgeCloud-Continuous-v0",
    "split": "train",
    "load": 1.2,
    "duration": given.duration,
    "reward": {"jct": 0.01},
}
config = (
    PPOConfig()
    .environment(SequentialEnv, env_config=env_config)
    .env_runners(num_env_runners=given.workers, num_envs_per_env_runner=8)
    .rl_module(rl_module_spec=RLModuleSpec(module_class=CandidateModule))
    .training(
        train_batch_size=given.batch,
        minibatch_size=min(512, given.batch),
        num_epochs=4,
        lr=1e-3,
        entropy_coeff=0.01,
    )
    .callbacks(Metrics)
    .debugging(seed=0)
)
algorithm = config.build_algo()
for _ in range(given.iterations):
    results = algorithm.train()["env_runners"]
    print(
        f"{results['num_env_steps_sampled_lifetime']:.0f} steps: "
        f"mean JCT {results.get('jct_mean', float('nan')):.2f} s"
    )
print(f"illegal assignments: {results['illegal']:.0f}")
algorithm.stop()
