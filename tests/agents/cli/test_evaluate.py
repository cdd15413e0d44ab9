"""``edgecloud evaluate``: trained models on prompts that they have not seen."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from stable_baselines3 import A2C, PPO
from typer.testing import CliRunner, Result

from agents import make_agent
from agents.cli.app import make_app
from agents.experiments.episode import run_episode
from agents.policies import CandidatePolicy
from edgecloud_gym import ENV_IDS, load_dataset
from edgecloud_gym.sb3 import make_vec_env

STATIC = ENV_IDS[0]
SETTINGS = ("--duration", 10, "--set", "candidate_pool_size=4")


@pytest.fixture(scope="module")
def models(learnable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models, `ppo.zip` and `cn-ts.npz`."""
    folder = tmp_path_factory.mktemp("models")
    for agent, output in (
        ("ppo:n_steps=4:batch_size=64:n_epochs=1", "ppo.zip"),
        ("cn-ts:hidden=(8,)", "cn-ts.npz"),
    ):
        long = ("--steps", 256, "--episodes", 2)
        result = invoke("train", agent, learnable, "--output", folder / output, *long)
        assert result.exit_code == 0, result.output
    return folder


def invoke(command: str, what: object, dataset: Path, *arguments: object) -> Result:
    fixed = (command, what, "--env", STATIC, "--dataset", dataset, *SETTINGS)
    given = [str(a) for a in (*fixed, *arguments)]
    return CliRunner().invoke(make_app(), given, env={"COLUMNS": "80"})


def evaluate(dataset: Path, path: Path, output: Path, *arguments: object) -> Result:
    fixed = ("--seeds", 2, "--workers", 1, "--output", output)
    return invoke("evaluate", path, dataset, *fixed, *arguments)


def test_models_beside_others(models: Path, learnable: Path, tmp_path: Path) -> None:
    result = evaluate(learnable, models / "ppo.zip", tmp_path, models / "cn-ts.npz")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines()[:-1])) <= 80
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert set(summary["agent"]) == {"ppo", "cn-ts", "fcfs", "sjf-oracle"}
    requests = pd.read_csv(tmp_path / "requests.csv")
    test_rows = load_dataset(learnable).rows("test")
    assert set(requests["prompt_row"]) <= set(test_rows.tolist())
    streams = [r["arrival_time"].tolist() for _, r in requests.groupby("agent")]
    assert all(stream == streams[0] for stream in streams)
    agents = json.loads((tmp_path / "run.json").read_text())["agents"]
    assert [item["explore"] for item in agents] == [False, False, True, True]
    again = evaluate(learnable, models / "ppo.zip", tmp_path, models / "cn-ts.npz")
    assert again.output == result.output


def test_it_warns_of_prompts_that_were_learnt_from(
    models: Path, learnable: Path, tmp_path: Path
) -> None:
    arguments = ("--split", "all", "--agents", "fcfs")
    result = evaluate(learnable, models / "cn-ts.npz", tmp_path, *arguments)
    assert "has learnt from prompts that it meets here" in " ".join(result.output.split())


def test_evaluated_bandits_stay_as_they_are(models: Path, learnable: Path) -> None:
    data = load_dataset(learnable)
    env = gym.make(STATIC, dataset=data, duration=10.0, work_conserving=False)
    agent = make_agent("cn-ts", hidden=(8,))
    agent.load(models / "cn-ts.npz")
    before = {name: value.copy() for name, value in agent.state().items()}
    run_episode(env, agent, seed=0, agent_seed=0, explore=False)
    assert np.isfinite(agent.predicted_times()[1]).all()
    for name, value in agent.state().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("slots", [1, 2])
def test_trained_without_idling_it_does_not_idle_where_that_is_allowed(
    learnable: Path, tmp_path: Path, slots: int
) -> None:
    settings = {
        "dataset": load_dataset(learnable),
        "candidate_pool_size": 4,
        "duration": 20.0,
        "edge_concurrency": slots,
    }
    PPO(CandidatePolicy, make_vec_env(STATIC, 1, 0, **settings), seed=0).save(tmp_path / "m")
    agent = make_agent("sb3", path=tmp_path / "m.zip", algorithm="PPO")
    logs = []
    for work_conserving in (True, False):
        env = gym.make(STATIC, work_conserving=work_conserving, **settings)
        run_episode(env, agent, seed=3, agent_seed=0)
        logs.append(env.unwrapped.request_log())
    pd.testing.assert_frame_equal(*logs)


def test_foreign_files_are_refused(models: Path, learnable: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    (tmp_path / "text.zip").write_text("no zip")
    content = (models / "cn-ts.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    for name, message in (
        ("arrays.npz", "neither a checkpoint"),
        ("text.zip", "no trained model"),
        ("cut.npz", "no trained model"),
        ("absent.npz", "absent.npz"),
    ):
        result = evaluate(learnable, tmp_path / name, tmp_path / "out")
        assert result.exit_code == 2, result.output
        # Without blanks: a long path may be broken anywhere.
        assert "".join(message.split()) in "".join(result.output.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("ppo.zip", ["--set", "candidate_pool_size=5"], "candidates (4, 4)"),
        ("cn-ts.npz", ["--set", "embedding_dim=3"], "width 6"),
        ("ppo.zip", ["--agents", "fcsf"], "did you mean 'fcfs'"),
        ("ppo.zip", ["--split", "validation"], "split"),
        ("ppo.zip", ["--agents", "fcfs,fcfs"], "each agent may occur once"),
    ],
)
def test_what_does_not_fit_is_refused(
    models: Path, learnable: Path, tmp_path: Path, model: str, arguments: list[str], message: str
) -> None:
    result = evaluate(learnable, models / model, tmp_path, *arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


def test_models_of_sb3_itself(learnable: Path, tmp_path: Path) -> None:
    settings = {"dataset": load_dataset(learnable), "candidate_pool_size": 4}
    A2C(CandidatePolicy, make_vec_env(STATIC, 1, 0, **settings)).save(tmp_path / "a2c.zip")
    output = tmp_path / "out"
    result = evaluate(learnable, tmp_path / "a2c.zip", output)
    assert result.exit_code == 2
    assert "no model of MaskablePPO" in " ".join(result.output.split())
    result = evaluate(learnable, tmp_path / "a2c.zip", output, "--algorithm", "A2C")
    assert result.exit_code == 0, result.output
