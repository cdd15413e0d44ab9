"""Minari: its collector as it is, and recordings of agents."""

import gymnasium as gym
import pytest

minari = pytest.importorskip("minari", reason="Minari is checked where it is installed")
pytest.importorskip("h5py")

from agents import collect
from tests.ecosystem.cells import BRIEF, EXTRA, IDS, cells_of, fill, names

CELLS, cell = cells_of("Minari")


@pytest.fixture(autouse=True)
def _own_datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


@cell("single", EXTRA)
def record(env_id: str) -> None:
    recorded = collect(env_id, "join-shortest-queue", 1, **BRIEF)
    episode = recorded[0]
    env = recorded.recover_environment()
    env.reset(seed=0)
    rewards = [env.step(action)[1] for action in episode.actions]
    assert rewards == episode.rewards.tolist()


@cell("masked", EXTRA)
def record_masks(env_id: str) -> None:
    episode = collect(env_id, "fcfs", 1, **BRIEF)[0]
    nodes = len(gym.make(env_id, **BRIEF).unwrapped.config.nodes)
    assert episode.infos["action_mask"].shape == (len(episode.actions) + 1, 32, 1 + nodes)


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("cell", CELLS, ids=names(CELLS))
def test_minari(cell, env_id):
    fill(cell, env_id)
