"""The chain of docs/train.md on few prompts of one's own: predictor, index, network, evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from agents.cli.shared.belonging import foreign_notes
from agents.experiments.design.spec import AgentSpec
from edgecloud_gym import load_dataset
from tests.agents.cli.conftest import invoke, words

FEW = 149  # of which the test side has some thirty


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose times are told by its embeddings."""
    rng = np.random.default_rng(1)
    embeddings = rng.normal(size=(FEW, 6)).astype(np.float32)
    times = np.exp(embeddings[:, 0] + 0.3 * rng.normal(size=FEW)).tolist()
    rows = [
        {"request_text": f"p {i}", "inference_time": t, "input_token_count": 5 + i % 7}
        for i, t in enumerate(times)
    ]
    path = tmp_path_factory.mktemp("mine") / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    np.savez(path.with_suffix(".npz"), embeddings=embeddings)
    return path


def do(*arguments: object) -> Result:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result


def test_the_whole_chain(mine: Path, tmp_path: Path) -> None:
    here = ("--env", "static", "--dataset", mine, "--duration", 20)
    predictor, index, ppo = (tmp_path / name for name in ("p.npz", "index.json", "ppo.npz"))
    do("train", "predictor", "--dataset", mine, "--output", predictor)
    brief = f"index:generations=1:population=8:predictor={predictor}"
    tuned = do("train", brief, *here, "--episodes", 1, "--load", 0.95, "--output", index)
    small = f"ppo:lanes=2:peers=2:n_steps=4:batch_size=8:width=8:predictor={predictor}"
    looks = ("--evaluate-every", 8, "--evaluation-seeds", 1, "--beside", "fcfs", "--load", 0.95)
    learnt = do("train", small, *here, "--steps", 8, *looks, "--output", ppo)
    agents = f"fcfs,predicted-sjf:predictor={predictor},index:tuned={index},sjf-oracle"
    played = ("--workers", 1, "--seeds", 1, "--load", 0.95, "--output", tmp_path / "out")
    result = do("evaluate", ppo, *here, "--agents", agents, *played)
    for said in (tuned, learnt, result):
        assert "whose times may be others" not in words(said)  # all is of these prompts
    for agent in ("ppo", "index:tuned", "predicted-sjf:predictor", "sjf-oracle"):
        assert agent in "".join(result.output.split())


def test_what_belongs_to_other_prompts_is_not_used_without_a_word(mine: Path) -> None:
    data = load_dataset(mine)
    named = AgentSpec("predicted-sjf", {"predictor": "smollm2-135m"}, label="named")
    specs = [AgentSpec(name) for name in ("fcfs", "predicted-sjf", "c2ucb", "index", "ppo")]
    notes = foreign_notes([*specs, named], data)
    said = [note.partition(" of dataset 'smollm2-135m', not of 'mine'")[0] for note in notes]
    assert said == ["index: its numbers are", "ppo: its model is", "named: its predictor is"]
    assert foreign_notes([*specs, named], load_dataset("smollm2-135m")) == []
