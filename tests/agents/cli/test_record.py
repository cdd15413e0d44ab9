"""``edgecloud record``."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from agents import load_recording, save_model
from tests.agents.cli.conftest import invoke, words
from tests.edgecloud_gym.support import STATIC

minari = pytest.importorskip("minari", reason="recordings are checked where Minari is installed")
pytest.importorskip("h5py")


@pytest.fixture(autouse=True)
def _own_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def test_an_agent_is_recorded_where_minari_looks(learnable: Path) -> None:
    told = invoke(
        *("record", "cn-greedy:epsilon=0.3", "--env", "continuous", "--dataset", learnable),
        *("--episodes", 2, "--duration", 5, "--seed", 4),
    )
    assert told.exit_code == 0, told.output
    name = "edgecloud/continuous/cn-greedy-v0"
    assert f'minari.load_dataset("{name}")' in words(told)
    recorded = minari.load_dataset(name)
    assert recorded.total_episodes == 2
    assert recorded.recover_environment().unwrapped.dataset.name == "toy"
    facts = list(recorded.storage.get_episode_metadata([0, 1]))
    assert [item["seed"] for item in facts] == [4, 5]
    assert "propensity" in recorded[0].infos


def test_a_trained_model_plays_as_it_is(learnable: Path, tmp_path: Path) -> None:
    model = tmp_path / "c2ucb.npz"
    common = ("--env", STATIC, "--dataset", learnable, "--duration", 5)
    trained = invoke("train", "c2ucb", *common, "--episodes", 1, "--output", model)
    assert trained.exit_code == 0, trained.output
    before = model.read_bytes()
    told = invoke("record", model, *common, "--episodes", 1, "--output", tmp_path / "mine")
    assert told.exit_code == 0, told.output
    recorded: Any = minari.MinariDataset(tmp_path / "mine" / "data")
    assert recorded.storage.metadata["algorithm_name"] == "c2ucb"
    propensity = recorded[0].infos["propensity"]
    assert np.array_equal(propensity, np.ones_like(propensity))  # it does not explore
    assert model.read_bytes() == before


def test_a_model_of_the_package_is_named_as_elsewhere(tmp_path: Path) -> None:
    told = invoke(
        *("record", "ppo-static", "--env", STATIC, "--duration", 5, "--episodes", 1),
        *("--output", tmp_path / "mine"),
    )
    assert told.exit_code == 0, told.output
    recorded: Any = minari.MinariDataset(tmp_path / "mine" / "data")
    assert recorded.storage.metadata["algorithm_name"] == "ppo"


def test_a_folder_may_be_relative(
    learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ("--dataset", learnable, "--episodes", 1, "--duration", 5)
    told = invoke("record", "fcfs", "--env", STATIC, *common, "--output", "mine")
    assert told.exit_code == 0, told.output
    assert minari.MinariDataset(tmp_path / "mine" / "data").total_episodes == 1


def test_the_same_command_goes_on_after_ctrl_c(
    learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (
        *("record", "c2ucb", "--env", STATIC, "--dataset", learnable, "--duration", 5),
        *("--episodes", 2, "--output", tmp_path / "mine"),
    )

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("agents.cli.record._tell", interrupt)
        told = invoke(*command)
    assert told.exit_code == 130
    assert "Finished episodes are kept; the same command goes on" in words(told)
    assert not (tmp_path / "mine").exists()
    told = invoke(*command, "--seed", 3)
    assert told.exit_code == 2
    assert "with seed=0, not 3" in words(told)
    told = invoke(*command)
    assert told.exit_code == 0, told.output
    assert "1 of 2 episodes are there already" in words(told)
    assert "episode 2: mean JCT" in words(told)
    assert load_recording(tmp_path / "mine").total_episodes == 2


def test_sb3_agents_are_named_only_if_trusted(tmp_path: Path) -> None:
    told = invoke("record", f"sb3:path={tmp_path / 'm.zip'}", "--env", STATIC)
    assert told.exit_code == 2
    assert "give --trust" in words(told)


def test_pickled_objects_are_loaded_only_if_trusted(tmp_path: Path) -> None:
    env = gym.make(STATIC, duration=5, candidate_pool_size=2)
    save_model(PPO("MultiInputPolicy", env, n_steps=2, batch_size=2), tmp_path / "ppo.zip")
    told = invoke("record", tmp_path / "ppo.zip", "--env", STATIC)
    assert told.exit_code == 2
    assert "give --trust" in words(told)
    told = invoke(
        *("record", tmp_path / "ppo.zip", "--env", STATIC, "--trust", "--duration", 5),
        *("--set", "candidate_pool_size=2", "--episodes", 1),
    )
    assert told.exit_code == 0, told.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fcfs,random", "--env", "static"], "one agent is recorded at a time"),
        (["fcfs"], "give --env, or --nodes for a cluster"),
        (["ppo-static:model='a'", "--env", "static"], "ppo:model=FILE"),
        (["fcsf", "--env", "static"], "did you mean 'fcfs'"),
        (["fcfs", "--env", "static", "--id", "mine"], "must be NAME-v0"),
        (["fcfs", "--env", "static", "--output", "."], "exists already"),
        (["mine.npz", "--env", "static"], "mine.npz: no such file"),
        (["cloud-only", "--env", "static", "--set", "cloud_concurrency=0"], "cloud_concurrency"),
    ],
)
def test_refusals(arguments: list[str], message: str) -> None:
    told = invoke("record", *arguments)
    assert told.exit_code == 2
    assert message in words(told)
