"""Exported policies choose as the models do, with raw observations and a mask as inputs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.vec_env import VecNormalize

from agents import save_model
from agents.export import files, formats
from agents.export.files import SUFFIXES, export_model
from agents.export.policy import ExportedPolicy
from agents.policies import CandidatePolicy, MaskableCandidatePolicy
from agents.schedulers.sb3_agent import SB3Agent
from edgecloud_gym import wrappers
from edgecloud_gym.sb3 import make_vec_env
from tests.agents.cli.conftest import invoke, words
from tests.edgecloud_gym.support import STATIC, toy_dataset

SETTINGS: dict[str, Any] = {
    "dataset": toy_dataset(),
    "duration": 5.0,
    "candidate_pool_size": 5,
    "embedding_dim": 3,
}
BRIEF = {"n_steps": 32, "batch_size": 64, "n_epochs": 1}
MODELS: dict[str, tuple[Any, Any, str | None, bool, dict[str, Any]]] = {
    "ppo": (PPO, CandidatePolicy, "sequential", False, BRIEF),
    "maskable": (MaskablePPO, MaskableCandidatePolicy, "sequential", True, BRIEF),
    "own-actions": (MaskablePPO, "MultiInputPolicy", None, False, BRIEF),
    "dqn": (DQN, "MultiInputPolicy", "sequential", False, {"learning_starts": 8}),
}


def need(form: str) -> None:
    if form == "onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(name, reason="ONNX is checked where it is installed")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def train(name: str) -> Path:
        if name not in made:
            algorithm, policy, wrapper, normalized, options = MODELS[name]
            env: Any = make_vec_env(STATIC, 2, seed=0, wrapper=wrapper, **SETTINGS)
            env = VecNormalize(env, clip_obs=1.5) if normalized else env
            buffer = {"buffer_size": 100} if algorithm is DQN else {}
            model = algorithm(policy, env, seed=0, **options, **buffer).learn(64)
            made[name] = folder / f"{name}.zip"
            save_model(model, made[name])
        return made[name]

    return train


def runner(path: Path, form: str) -> Any:
    run = formats.read(path, form)
    return lambda inputs: run(inputs)[0]


@pytest.mark.parametrize("form", SUFFIXES)
@pytest.mark.parametrize("name", MODELS)
def test_it_plays_as_the_model_does(name: str, form: str, trained: Any, tmp_path: Path) -> None:
    """Over 200 observations of episodes, as the environment shows them."""
    need(form)
    agent = SB3Agent(trained(name))
    path = tmp_path / f"policy{SUFFIXES[form]}"
    facts = export_model(agent, path, form)
    run = runner(path, form)
    env: gym.Env[Any, Any] = gym.make(STATIC, **SETTINGS)
    if facts["actions"] == "sequential":
        env = wrappers.SequentialAssignment(env)
    seen = 0
    while seen < 200:
        observation, info = env.reset(seed=seen)
        done = False
        while not done:
            lane = {key: part[np.newaxis] for key, part in observation.items()}
            mask = info["action_mask"].astype(bool)[np.newaxis]
            given = mask if agent.is_masked else np.ones_like(mask)
            logits = run({**lane, "action_mask": given})
            expected = agent.predict(lane, given.reshape(1, -1))
            action = logits.argmax(axis=-1)[0]
            assert np.array_equal(action, expected[0])
            masked = run({**lane, "action_mask": mask})
            assert (masked[~mask] <= -1e8).all()
            observation, _, terminated, truncated, info = env.step(masked.argmax(axis=-1)[0])
            assert info["invalid_assignments"] == 0 or facts["actions"] != "sequential"
            done = terminated or truncated
            seen += 1


def test_it_says_what_it_takes(trained: Any, tmp_path: Path) -> None:
    facts = export_model(SB3Agent(trained("ppo")), tmp_path / "policy.pt", "torchscript")
    kept = {"edgecloud": ""}
    with pytest.warns(DeprecationWarning, match=r"jit\.load"):
        torch.jit.load(str(tmp_path / "policy.pt"), _extra_files=kept)
    assert json.loads(kept["edgecloud"]) == facts
    assert facts["inputs"]["candidates"] == [5, 4]
    assert facts["inputs"]["action_mask"] == [11]
    assert (facts["work_conserving"], facts["allow_stop"]) == (True, False)


def test_stages_come_before_the_policy(trained: Any) -> None:
    class Doubled(torch.nn.Module):
        def forward(self, parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return parts | {"system": 2.0 * parts["system"]}

    agent = SB3Agent(trained("ppo"))
    plain, staged = (ExportedPolicy(agent.model.policy, s) for s in ((), (Doubled(),)))
    drawn = files._observations(agent.model.observation_space, 3)  # type: ignore[arg-type]
    parts = [torch.from_numpy(part) for part in drawn.values()]
    mask = torch.ones(3, 11, dtype=torch.bool)
    place = plain.keys.index("system")
    doubled = [2.0 * part if n == place else part for n, part in enumerate(parts)]
    with torch.no_grad():
        assert torch.equal(staged(*parts, mask), plain(*doubled, mask))


def test_nothing_is_written_that_chooses_otherwise(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = SB3Agent(trained("ppo"))
    right = agent.predict
    monkeypatch.setattr(agent, "predict", lambda seen, masks: right(seen, masks) + 1)
    with pytest.raises(RuntimeError, match=r"on 200 of 200 observations; nothing was written"):
        export_model(agent, tmp_path / "policy.pt", "torchscript")
    assert list(tmp_path.iterdir()) == []


def test_the_command(trained: Any, tmp_path: Path) -> None:
    untrusted = invoke("export", trained("ppo"), "--output", tmp_path / "p.pt")
    assert untrusted.exit_code == 2
    assert "give --trust" in words(untrusted)
    assert not (tmp_path / "p.pt").exists()
    told = invoke(
        "export",
        trained("ppo"),
        "--trust",
        "--format",
        "torchscript",
        "--output",
        tmp_path / "p.pt",
    )
    assert told.exit_code == 0, told.output
    assert "candidates (5, 4)" in words(told)
    assert (tmp_path / "p.pt").exists()


def test_refusals(tmp_path: Path, learnable: Path) -> None:
    assert "must be one of onnx, torchscript" in words(invoke("export", "x.zip", "--format", "h5"))
    assert "missing.zip" in words(invoke("export", tmp_path / "missing.zip"))
    bandit = tmp_path / "c2ucb.npz"
    common = ("--env", STATIC, "--dataset", learnable, "--duration", 5)
    invoke("train", "c2ucb", *common, "--episodes", 1, "--output", bandit)
    assert "holds 'c2ucb', which goes on learning" in words(invoke("export", bandit))
    told = words(invoke("export", "ppo-statik"))
    assert "ppo-static, ppo-time-series) (did you mean 'ppo-static'?)" in told
    assert "ppo: no such file" in words(invoke("export", "ppo"))
    told = words(invoke("export", "ppo-static", "--vec-normalize", bandit))
    assert "--vec-normalize: " in told
    env = make_vec_env(STATIC, 1, wrapper="priority", **SETTINGS)
    save_model(SAC("MultiInputPolicy", env, buffer_size=10), tmp_path / "sac.zip")
    with pytest.raises(TypeError, match=r"agent='sac.zip': must be an SB3Agent"):
        export_model("sac.zip", tmp_path / "sac.pt")  # type: ignore[arg-type]
    content = (tmp_path / "sac.zip").read_bytes()
    told = invoke("export", tmp_path / "sac.zip", "--trust", "--output", tmp_path / "sac.zip")
    assert "sac.zip: is the model itself" in words(told)
    assert (tmp_path / "sac.zip").read_bytes() == content
    told = invoke("export", tmp_path / "sac.zip", "--trust", "--format", "torchscript")
    assert told.exit_code == 2
    assert "must be of PPO, A2C, TRPO, MaskablePPO or DQN" in words(told)


def test_the_example_serves_with_onnxruntime_alone(
    repository: Path, trained: Any, tmp_path: Path
) -> None:
    need("onnx")
    path = tmp_path / "policy.onnx"
    agent = SB3Agent(trained("ppo"))
    export_model(agent, path, "onnx")
    script = repository / "examples" / "serve_onnx.py"
    code = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['stable_baselines3'] = None; "
        f"sys.argv = ['serve_onnx.py', {str(path)!r}, '--duration', '5']; "
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repository
    )
    assert "illegal assignments: 0" in told.stdout
