"""RLlib's new API stack: ids in its workers, and the masked module."""

import pytest

pytest.importorskip("ray", reason="RLlib is checked in an environment of its own")

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from edgecloud_gym.rllib import CandidateModule, SequentialEnv
from tests.ecosystem.cells import BRIEF, EXTRA, IDS, UNMODIFIED, cells_of, fill, names

pytestmark = pytest.mark.filterwarnings("ignore")
CELLS, cell = cells_of("RLlib")
SMALL = {"observe": "id", "candidate_pool_size": 6, **BRIEF}
TRAINING = {"train_batch_size": 64, "minibatch_size": 32, "num_epochs": 1}


@pytest.fixture(scope="module", autouse=True)
def _cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def train(config):
    """Builds an algorithm, trains it for an iteration and returns its results."""
    algorithm = config.training(**TRAINING).build_algo()
    try:
        return algorithm.train()
    finally:
        algorithm.stop()


def flattened(env_id: str, lanes: int):
    """Returns a configuration with RLlib's own module, which takes no dictionaries."""
    config = PPOConfig().environment(f"edgecloud_gym:{env_id}", env_config=SMALL)
    return config.env_runners(
        num_env_runners=0,
        num_envs_per_env_runner=lanes,
        env_to_module_connector=lambda *_, **__: FlattenObservations(),
    )


@cell("single", UNMODIFIED)
def learn(env_id: str) -> None:
    train(flattened(env_id, lanes=1))


@cell("vector", UNMODIFIED)
def learn_side_by_side(env_id: str) -> None:
    train(flattened(env_id, lanes=2))


class Illegal(RLlibCallback):
    """Adds up illegal assignments."""

    def on_episode_step(self, *, episode, metrics_logger, **_):
        count = episode.get_infos(-1)["invalid_assignments"]
        metrics_logger.log_value("illegal", count, reduce="lifetime_sum")


def masked(env_id: str, workers: int):
    """Returns a configuration with the masked module."""
    config = PPOConfig().environment(SequentialEnv, env_config={"id": env_id, **BRIEF})
    return (
        config.env_runners(num_env_runners=workers, num_envs_per_env_runner=2)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=CandidateModule))
        .callbacks(Illegal)
    )


@cell("masked", EXTRA)
def learn_legally(env_id: str) -> None:
    results = train(masked(env_id, workers=0))
    assert results["env_runners"]["num_env_steps_sampled_lifetime"] >= 64
    assert results["env_runners"]["illegal"] == 0


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("cell", CELLS, ids=names(CELLS))
def test_rllib(cell, env_id):
    fill(cell, env_id)


def test_a_worker_process_knows_the_ids():
    results = train(masked("EdgeCloud-Static-v0", workers=1))
    assert results["env_runners"]["illegal"] == 0


def test_an_environment_without_an_id_is_refused():
    with pytest.raises(ValueError, match=r"env_config=.*: must have the id of an environment"):
        SequentialEnv({"load": 1.0})
