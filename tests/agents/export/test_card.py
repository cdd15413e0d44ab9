"""Model cards have what the hub reads, and say how a model was evaluated."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from stable_baselines3 import PPO

from agents import save_model
from agents.export.card import model_card, write_model_card
from agents.policies import CandidatePolicy
from agents.schedulers.policy_file import MODELS
from edgecloud_gym.sb3 import make_vec_env
from tests.agents.cli.conftest import invoke, words
from tests.edgecloud_gym.support import STATIC, toy_dataset


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of Stable-Baselines3, hardly trained."""
    path = tmp_path_factory.mktemp("models") / "ppo.zip"
    env = make_vec_env(
        STATIC, 2, wrapper="sequential", dataset=toy_dataset(), duration=5.0, candidate_pool_size=4
    )
    save_model(PPO(CandidatePolicy, env, n_steps=32, batch_size=64, n_epochs=1).learn(64), path)
    return path


def stated(text: str) -> tuple[dict[str, Any], str]:
    """Returns what the front matter of a card says, and the rest."""
    _, head, rest = text.split("---\n", 2)
    return yaml.safe_load(head), rest


def test_of_a_model_of_stable_baselines3(saved: Path) -> None:
    path = write_model_card(saved, STATIC, [-3.0, -5.0], "Evaluated at load 0.9.")
    head, text = stated(path.read_text(encoding="utf-8"))
    assert head["library_name"] == "stable-baselines3"
    assert {STATIC, "reinforcement-learning"} <= set(head["tags"])
    (index,) = head["model-index"]
    assert index["name"] == "PPO"
    assert index["results"][0]["dataset"]["type"] == STATIC
    assert index["results"][0]["metrics"][0]["value"] == "-4.00 +/- 1.00"
    assert "edgecloud evaluate ppo.zip --trust --env static" in text
    assert text.endswith("Evaluated at load 0.9.\n")


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.npz")), ids=lambda path: path.stem)
def test_of_the_models_that_come_along(path: Path) -> None:
    head, text = stated(model_card(path, STATIC, [-1.0]))
    assert head["library_name"] == "edgecloud-gym"
    assert head["model-index"][0]["name"] == "PPO"
    assert f"edgecloud evaluate {path.name} --env static" in text
    assert "pickled" not in text
    assert '"edgecloud",\n' in text  # the command that trained it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env_id": None}, "env_id=None: must be the id"),
        ({"env_id": " "}, "env_id=' ': must be the id"),
        ({"env_id": "Bogus-v0"}, "env_id='Bogus-v0': .* none of this name is registered"),
        ({"env_id": STATIC.lower()}, f"did you mean '{STATIC}'"),
        ({"rewards": []}, r"rewards=\[\]: must hold the return"),
        ({"rewards": ["a"]}, "rewards='a': must be"),
        ({"rewards": [float("nan")]}, "rewards=nan"),
        ({"path": 3}, "path=3: must be a path"),
    ],
)
def test_what_is_wrong_is_named(arguments: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"path": MODELS / "ppo-static.npz", "env_id": STATIC, "rewards": [1.0]}
    with pytest.raises((TypeError, ValueError), match=message):
        model_card(**{**given, **arguments})


def test_a_folder_for_the_hub(tmp_path: Path) -> None:
    """The environment is the one that the model was trained in."""
    told = invoke("card", "ppo-static", "--seeds", 2, "--duration", 20, "--output", tmp_path / "c")
    assert told.exit_code == 0, told.output
    folder = tmp_path / "c"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "ppo-static.npz",
        "results.json",
    ]
    assert (folder / "ppo-static.npz").read_bytes() == (MODELS / "ppo-static.npz").read_bytes()
    results = json.loads((folder / "results.json").read_text())
    assert results["n_eval_episodes"] == 2
    head, text = stated((folder / "README.md").read_text(encoding="utf-8"))
    (metric,) = head["model-index"][0]["results"][0]["metrics"]
    assert metric["value"] == f"{results['mean_reward']:.2f} +/- {results['std_reward']:.2f}"
    assert STATIC in head["tags"]
    assert "duration=20" in text
    assert "| fcfs |" in text


def test_the_command_refuses(saved: Path, tmp_path: Path) -> None:
    assert "give --trust" in words(invoke("card", saved, "--env", STATIC))
    assert "no such file" in words(invoke("card", tmp_path / "none.npz"))
