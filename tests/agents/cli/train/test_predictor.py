"""``edgecloud train predictor``, and how agents that learn are told to or not to."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from agents.prediction import load_predictor
from edgecloud_gym import load_dataset
from tests.agents.cli.conftest import invoke, words


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A dataset whose times are told by its embeddings; some prompts were measured again."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(150, 6)).astype(np.float32)
    times = np.exp(embeddings[:, 0] + 0.3 * rng.normal(size=150))
    again = [[1.1 * time, time / 1.1] if i < 9 else [] for i, time in enumerate(times)]
    rows = [
        {
            "request_text": f"prompt {i}",
            "inference_time": time,
            "input_token_count": 5 + i % 7,
            "output_token_count": 3 + int(20 * time),
            "repeated_inference_times": more,
        }
        for i, (time, more) in enumerate(zip(times.tolist(), again, strict=True))
    ]
    path = tmp_path / "many.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    np.savez(tmp_path / "many.npz", embeddings=embeddings)
    return path


def train(output: Path, *arguments: object, agent: str = "predictor") -> Result:
    return invoke("train", agent, "--output", output, *arguments)


def test_it_is_judged_drawn_and_saved(many: Path, tmp_path: Path) -> None:
    output = tmp_path / "p.npz"
    result = train(output, "--dataset", many)
    assert result.exit_code == 0, result.output
    data = load_dataset(many)
    shown = words(result)
    for text in ("R2 of log time", "at best 0.9", "9 prompts measured again", "CRPS", "Saved to"):
        assert text in shown
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    predictor = load_predictor(output)
    assert predictor.rows == len(data.rows("train"))
    assert predictor.training["settings"]["dataset"]["rows"] == 150
    assert train(tmp_path / "again.npz", "--dataset", many).exit_code == 0
    assert np.array_equal(
        load_predictor(tmp_path / "again.npz").predict_dataset(data).log_time_mean,
        predictor.predict_dataset(data).log_time_mean,
    )


def test_an_agent_plays_with_it(many: Path, tmp_path: Path) -> None:
    train(tmp_path / "p.npz", "--dataset", many)
    play = (
        "compare",
        "--dataset",
        many,
        "--duration",
        20,
        "--seeds",
        1,
        "--env",
        "static",
        "--workers",
        1,
    )
    agents = ("--agents", f"fcfs,warm-linear:predictor={tmp_path / 'p.npz'}")
    result = invoke(*play, *agents, "--output", tmp_path / "o")
    assert result.exit_code == 0, result.output
    assert "Learning as they play (learn=True): warm-linear" in words(result)
    frozen = invoke(*play, *agents, "--no-learn", "--output", tmp_path / "f")
    assert "Learning as they play" not in words(frozen)
    clash = invoke(*play, *agents, "--no-learn", "--output", tmp_path / "o")
    assert clash.exit_code == 2
    assert "explore" in clash.output
    zero = invoke(*play, "--agents", "c2ucb,fcfs", "--no-learn", "--output", tmp_path / "z")
    assert "'c2ucb' starts from zero and may not learn" in words(zero)


def test_prompts_that_come_once(many: Path, tmp_path: Path) -> None:
    once = (
        "compare",
        "--dataset",
        many,
        "--env",
        "static",
        "--agents",
        "fcfs",
        "--seeds",
        1,
        "--workers",
        1,
    )
    once = (*once, "--set", "prompt_order=once", "--output", tmp_path / "o")
    result = invoke(*once, "--duration", 10)
    assert result.exit_code == 0, result.output
    assert "No prompt comes twice in an episode" in words(result)
    refused = invoke(*once, "--duration", 2000)
    assert refused.exit_code == 2
    assert "which has 150 prompts" in words(refused)


@pytest.mark.parametrize(
    ("agent", "arguments", "message"),
    [
        ("predictor:rigde=1", (), "no setting 'rigde'; it has embedding_scale"),
        ("predictor:ridge=0", (), "ridge=0: must be a finite number >= 1e-12"),
        ("predictor", ("--dataset", "nothing"), "'nothing' is not known"),
    ],
)
def test_what_is_refused(
    agent: str, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = train(tmp_path / "p.npz", *arguments, agent=agent)
    assert result.exit_code == 2
    assert message in words(result)
    assert not (tmp_path / "p.npz").exists()


@pytest.mark.parametrize("option", [("--load", 0.9), ("--env", "static"), ("--steps", 5)])
def test_options_without_effect_are_refused(
    option: tuple[str, Any], many: Path, tmp_path: Path
) -> None:
    result = train(tmp_path / "p.npz", "--dataset", many, *option)
    assert result.exit_code == 2
    assert f"{option[0]} has no effect on a predictor" in words(result)
    assert not (tmp_path / "p.npz").exists()


def test_files_of_others_are_neither_replaced_nor_played(many: Path, tmp_path: Path) -> None:
    output, other = tmp_path / "p.npz", tmp_path / "other.npz"
    assert train(output, "--dataset", many).exit_code == 0
    learnt = output.read_bytes()
    other.write_text("mine")
    options = ["--env", "static", "--dataset", many, "--duration", 5]
    for refused, message in (
        (train(other, "--dataset", many), "other.npz: is there already, and holds no predictor"),
        (train(output, *options, "--evaluate-every", 1, agent="cn-greedy"), "it holds 'predictor'"),
        (train(output, *options, agent="ppo"), "it holds 'predictor'"),
        (train(output, *options, agent="index"), "ends in .json"),
    ):
        assert refused.exit_code == 2, refused.output
        assert message in words(refused)
    assert output.read_bytes() == learnt
    assert other.read_text() == "mine"
    assert train(output, "--dataset", many).exit_code == 0  # a predictor may be fitted anew
    agents = f"fcfs,warm-linear:predictor={tmp_path / 'absent.npz'}"
    result = invoke("compare", "--agents", agents, *options, "--output", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert "absent.npz: No such file" in words(result)
    assert not (tmp_path / "out").exists()
