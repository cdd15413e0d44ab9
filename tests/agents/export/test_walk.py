"""Networks of ``edgecloud train`` and those that come with the package, exported."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents import make_agent
from agents.experiments.episode import play_steps
from agents.export import formats
from agents.export.files import export_model, predictor_path
from agents.export.formats import SUFFIXES
from agents.prediction import predictor_for
from agents.prediction.forecasts import forecast
from agents.schedulers.policy_file import MODELS, read_policy
from edgecloud_gym import CLUSTER_ID
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.nodes import Slots, StaticBatches
from edgecloud_gym.wrappers import QueueHead
from edgecloud_gym.wrappers.forecast import Forecast
from tests.agents.cli.conftest import invoke, words
from tests.agents.export.test_export import need
from tests.edgecloud_gym.support import CONTINUOUS, STATIC, TIME_SERIES

IDS = {"static": STATIC, "time-series": TIME_SERIES, "continuous": CONTINUOUS}
CLUSTER = [StaticBatches("a"), Slots("b", slots=2), Slots("c", slots=1, time_multiplier=2.0)]


def system(name: str) -> tuple[str, dict[str, Any]]:
    if name == "cluster":
        return CLUSTER_ID, {"nodes": CLUSTER}
    return IDS[name], {}


def predicted(path: Path, form: str) -> Forecast:
    """What the exported predictor tells of the bundled dataset."""
    dataset = load_dataset("smollm2-135m")
    assert dataset.embeddings is not None
    assert dataset.prompt_tokens is not None
    told = formats.read(predictor_path(path), form)(
        {"embeddings": dataset.embeddings, "prompt_tokens": dataset.prompt_tokens.astype(float)}
    )
    time, output, spread, long = told
    return Forecast(time, output, {"spread": spread, "long": long})


@pytest.mark.parametrize("form", SUFFIXES)
@pytest.mark.parametrize("name", ["static", "time-series", "continuous", "cluster"])
def test_the_models_that_come_along_play_the_same_without_this_package(
    name: str, form: str, tmp_path: Path
) -> None:
    """The same episode to the last bit, with the exported network and the exported predictor."""
    need(form)
    agent = make_agent("ppo", model=MODELS / f"ppo-{name}.npz")
    path = tmp_path / f"ppo{SUFFIXES[form]}"
    env_id, own = system(name)
    nodes = len(own.get("nodes", "ab"))
    facts = export_model(agent, path, form, nodes if name == "cluster" else None)  # type: ignore[arg-type]
    run = formats.read(path, form)
    settings = {"duration": 100.0, "work_conserving": facts["work_conserving"], **own}
    env: Any = QueueHead(gym.make(env_id, **settings), predicted(path, form), facts["skips"])
    observation, info = env.reset(seed=3)
    choices, done = 0, False
    while not done:
        inputs = {key: part[np.newaxis] for key, part in observation.items()}
        inputs["action_mask"] = info["action_mask"].astype(bool)[np.newaxis]
        (logits,) = run(inputs)
        observation, _, terminated, truncated, info = env.step(int(logits[0].argmax()))
        assert info["invalid_assignments"] == 0
        done = terminated or truncated
        choices += 1
    assert choices > 20
    there = gym.make(env_id, **settings)
    for _ in play_steps(there, agent, seed=3, agent_seed=0):
        pass
    expected: Any = there.unwrapped
    assert env.unwrapped.summary()["jct_mean"] == expected.summary()["jct_mean"]


@pytest.mark.parametrize("form", SUFFIXES)
def test_the_predictor_predicts_the_same(form: str, tmp_path: Path) -> None:
    need(form)
    path = tmp_path / f"ppo{SUFFIXES[form]}"
    export_model(make_agent("ppo", model=MODELS / "ppo-static.npz"), path, form)  # type: ignore[arg-type]
    dataset = load_dataset("smollm2-135m")
    expected, found = forecast(predictor_for(dataset), dataset), predicted(path, form)
    assert found.time == pytest.approx(expected.time, rel=1e-9)
    assert found.output_tokens == pytest.approx(expected.output_tokens, rel=1e-9)
    assert found.table() == pytest.approx(expected.table(), abs=1e-6)


def test_the_file_says_what_stands_in_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "ppo.pt"
    agent = make_agent("ppo", model=MODELS / "ppo-cluster.npz")
    facts = export_model(agent, path, "torchscript")  # type: ignore[arg-type]
    assert facts["inputs"]["action_mask"] == [
        1 + read_policy(MODELS / "ppo-cluster.npz").walk.nodes
    ]
    for key in ("candidate", "nodes", "system"):
        assert facts["inputs"][key][-1] == len(facts["columns"][key])
    assert facts["columns"]["candidate"][-2:] == ["spread", "long"]
    assert facts["predictor"] == "ppo.predictor.pt"
    json.dumps(facts)


def test_the_command_takes_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cluster = tmp_path / "cluster.json"
    cluster.write_text(json.dumps([{"kind": "slots", "name": name} for name in "abcd"]))
    told = invoke("export", "ppo-cluster", "--format", "torchscript", "--nodes", cluster)
    assert told.exit_code == 0, told.output
    assert "action_mask (5,)" in words(told)
    assert (tmp_path / "ppo-cluster.pt").exists()
    assert (tmp_path / "ppo-cluster.predictor.pt").exists()


def test_nothing_is_written_that_predicts_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.export.walk.LONG", 3.9)
    agent = make_agent("ppo", model=MODELS / "ppo-static.npz")
    with pytest.raises(RuntimeError, match="would predict otherwise, long by up to"):
        export_model(agent, tmp_path / "ppo.pt", "torchscript")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_refusals(tmp_path: Path) -> None:
    agent = make_agent("ppo", model=MODELS / "ppo-static.npz")
    for wrong in (0, 1.5):
        with pytest.raises((TypeError, ValueError), match="nodes="):
            export_model(agent, tmp_path / "p.pt", "torchscript", wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be an SB3Agent"):
        export_model(make_agent("fcfs"), tmp_path / "p.pt")  # type: ignore[arg-type]
