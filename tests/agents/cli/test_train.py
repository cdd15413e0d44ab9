"""``edgecloud train``: what it writes, how it goes on, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from stable_baselines3 import PPO
from typer.testing import Result

from agents.experiments import learners
from agents.experiments.learners import PPO_LANES
from agents.experiments.model_file import read_model_file
from tests.agents.cli.conftest import invoke, words

QUICK_PPO = "ppo:n_steps=4:batch_size=64:n_epochs=1"
ROLLOUT = 4 * PPO_LANES


def train(agent: str, learnable: Path, output: Path, *arguments: object) -> Result:
    settings = ("--dataset", learnable, "--duration", 10, "--set", "candidate_pool_size=4")
    env = () if "--env" in arguments else ("--env", "EdgeCloud-Static-v0")
    if "--duration" in arguments:
        settings = (*settings[:2], *settings[4:])
    return invoke("train", agent, *env, "--output", output, *settings, *arguments)


def parameters(path: Path) -> np.ndarray:
    tensors = PPO.load(path, device="cpu").policy.state_dict().values()
    return np.concatenate([tensor.numpy().ravel() for tensor in tensors])


@pytest.mark.parametrize("agent", ["c2ucb", "cn-ts:hidden=(8,)"])
def test_bandit_is_repeatable_and_resumes_to_the_same_bits(
    agent: str, learnable: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole.npz", tmp_path / "parts.npz"
    result = train(agent, learnable, whole, "--episodes", 3)
    assert result.exit_code == 0, result.output
    assert "learnt from 3 episodes" in result.output
    for episodes in (1, 3):
        assert train(agent, learnable, parts, "--episodes", episodes).exit_code == 0
    assert whole.read_bytes() == parts.read_bytes()
    other = tmp_path / "other.npz"
    train(agent, learnable, other, "--episodes", 3, "--seed", 1)
    assert other.read_bytes() != whole.read_bytes()
    assert "already" in train(agent, learnable, whole, "--episodes", 3).output
    training = read_model_file(whole).training
    assert training is not None
    assert training["settings"]["split"] == "train"
    assert training["settings"]["load"] == 1.2
    assert training["settings"]["work_conserving"] is False


def test_interrupted_bandit_keeps_whole_episodes(
    learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "model.npz"
    interrupt_after(2, monkeypatch)
    result = train("c2ucb", learnable, output, "--episodes", 3)
    assert result.exit_code == 130
    assert "2 of 3 episodes is kept" in result.output
    monkeypatch.undo()
    resumed = train("c2ucb", learnable, output, "--episodes", 3)
    assert "c2ucb has learnt from 3 episodes in all, 1 of them now," in words(resumed)
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_interrupted_at_once_it_keeps_nothing(
    learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(0, monkeypatch)
    result = train("c2ucb", learnable, tmp_path / "model.npz")
    assert result.exit_code == 130
    assert "nothing is kept" in result.output
    assert not list(tmp_path.iterdir())


def interrupt_after(episodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    play, played = learners.run_episode, []

    def interrupted(*arguments: object) -> float:
        if len(played) == episodes:
            raise KeyboardInterrupt
        played.append(1)
        return play(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(learners, "run_episode", interrupted)


def test_ppo_is_repeatable_and_goes_on(learnable: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    for path in (first, second):
        result = train(QUICK_PPO, learnable, path, "--steps", 2 * ROLLOUT)
        assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(parameters(first), parameters(second))
    before = parameters(first)
    result = train(QUICK_PPO, learnable, first, "--steps", 3 * ROLLOUT)
    assert f"learnt from {3 * ROLLOUT} steps in all, {ROLLOUT} of them now," in words(result)
    assert not np.array_equal(before, parameters(first))
    training = read_model_file(first).training
    assert training is not None
    assert training["done"] == 3 * ROLLOUT
    assert training["algorithm"] == "PPO"
    assert training["settings"]["work_conserving"] is True


@pytest.mark.parametrize(
    ("agent", "arguments", "message"),
    [
        ("fcfs", [], "cannot train 'fcfs': must be one of ppo"),
        ("c2ucb:alhpa=1", [], "alhpa"),
        ("c2ucb:alpha=-1", [], "alpha=-1"),
        ("ppo:n_setps=1", [], "ppo has no setting 'n_setps' (did you mean 'n_steps'?)"),
        ("ppo:n_steps=0", [], "n_steps=0: must be an integer >= 1"),
        ("ppo:n_epochs=1.5", [], "n_epochs=1.5: must be an integer >= 1"),
        ("ppo:batch_size=1", [], "batch_size=1: must be an integer >= 2"),
        ("ppo:batch_size=nan", [], "batch_size='nan': must be an integer"),
        ("ppo:learning_rate=abc", [], "learning_rate='abc': must be a finite number > 0"),
        ("ppo:clip_range=no", [], "clip_range=False: must be a finite number > 0"),
        ("ppo:gamma=7", [], "gamma=7: must be a finite number from 0 to 1"),
        ("ppo:ent_coef=x", [], "ent_coef='x': must be a finite number >= 0"),
        ("ppo:use_sde=7", [], "use_sde=7: must be True or False"),
        ("ppo:policy_kwargs=3", [], "policy_kwargs=3: must be a mapping"),
        ("ppo:seed=3", [], "ppo has no setting 'seed'"),
        ("ppo:policy=3", [], "ppo has no setting 'policy'"),
        ("c2ucb", ["--env", "CartPole-v1"], "EdgeCloud-Static-v0"),
        ("c2ucb", ["--set", "durration=3"], "did you mean 'duration'"),
        ("c2ucb", ["--load", 1, "--arrival-rate", 2], "at most one"),
        ("ppo", ["--set", "priority=[1.0]"], "priority"),
        ("c2ucb:alpha=1:alpha=2", [], "alpha: is given twice"),
        ("c2ucb", ["--load", 1, "--set", "load=2"], "--load 1.0 and --set load=2"),
        ("cbucb", [], "did you mean 'c2ucb'"),
    ],
)
def test_bad_input(
    learnable: Path, tmp_path: Path, agent: str, arguments: list[object], message: str
) -> None:
    result = train(agent, learnable, tmp_path / "model", *arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


def test_another_model_is_not_overwritten(learnable: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.npz"
    train("c2ucb", learnable, output, "--episodes", 1)
    before = output.read_bytes()
    result = train("c2ucb", learnable, output, "--episodes", 1, "--seed", 5)
    assert result.exit_code == 2
    assert "trained with seed 0, not 5" in " ".join(result.output.split())
    result = train("c2ucb", learnable, output, "--episodes", 1, "--load", 0.5)
    assert "trained with load 1.2, not 0.5" in " ".join(result.output.split())
    assert output.read_bytes() == before
    foreign = tmp_path / "notes.txt"
    foreign.write_text("mine")
    assert train("c2ucb", learnable, foreign).exit_code == 2
    assert foreign.read_text() == "mine"


def test_a_dataset_without_embeddings_is_refused(learnable: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.jsonl"
    bare.write_bytes(learnable.read_bytes())
    for agent in ("ppo", "clinucb"):
        result = train(agent, bare, tmp_path / "model")
        assert result.exit_code == 2
        assert "edgecloud embed" in " ".join(result.output.split())


def test_an_output_that_cannot_be_written_is_told_before_anything_is_learnt(
    learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(0, monkeypatch)  # would be exit code 130
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file" / "m.npz", tmp_path):
        result = train("c2ucb", learnable, output)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output


@pytest.mark.parametrize("agent", ["c2ucb", QUICK_PPO])
def test_episodes_without_requests_teach_nothing(
    agent: str, learnable: Path, tmp_path: Path
) -> None:
    short = ("--episodes", 2) if agent == "c2ucb" else ("--steps", 1)
    result = train(agent, learnable, tmp_path / "m", "--arrival-rate", 1e-6, *short)
    assert result.exit_code == 0, result.output
    empty = 2 if agent == "c2ucb" else ROLLOUT  # an empty episode is a single step
    assert f"in {empty} episodes no request arrived" in words(result)


def test_ppo_says_that_it_learns_whole_rollouts(learnable: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.zip"
    for steps, learnt in ((ROLLOUT + 1, 2 * ROLLOUT), (3 * ROLLOUT, 3 * ROLLOUT)):
        result = train(QUICK_PPO, learnable, output, "--steps", steps)
        assert result.exit_code == 0, result.output
        assert f"learnt from {learnt} steps" in words(result)
        told = f"ppo learns {ROLLOUT} steps at a time: from {learnt}, not {steps}"
        assert (told in words(result)) == (learnt != steps)
        training = read_model_file(output).training
        assert training is not None
        assert training["done"] == learnt


@pytest.mark.parametrize(
    ("agent", "name", "right"),
    [("ppo", "m.npz", ".zip"), ("c2ucb", "m.zip", ".npz"), ("cn-ts", "m.ZIP", ".npz")],
)
def test_a_file_that_looks_like_another_agents_is_refused(
    agent: str, name: str, right: str, learnable: Path, tmp_path: Path
) -> None:
    result = train(agent, learnable, tmp_path / name)
    assert result.exit_code == 2
    assert f"a file of {agent} ends in {right}" in words(result)
    assert not list(tmp_path.iterdir())


def test_one_episode_is_not_in_the_plural(learnable: Path, tmp_path: Path) -> None:
    short = ("--episodes", 1, "--arrival-rate", 1e-6)
    result = train("c2ucb", learnable, tmp_path / "m.npz", *short)
    assert "has learnt from 1 episode in" in words(result)
    assert "in 1 episode no request arrived" in words(result)
    assert "from 1 episode already" in words(train("c2ucb", learnable, tmp_path / "m.npz", *short))


def test_a_return_that_is_not_known_is_no_nan(learnable: Path, tmp_path: Path) -> None:
    result = train(QUICK_PPO, learnable, tmp_path / "m.zip", "--steps", 1, "--duration", 1000)
    assert result.exit_code == 0, result.output
    assert "no episode has ended" in result.output
    assert "nan" not in result.output


def test_an_option_without_effect_is_told(learnable: Path, tmp_path: Path) -> None:
    result = train("c2ucb", learnable, tmp_path / "m.npz", "--episodes", 1, "--steps", 5)
    assert result.exit_code == 0, result.output
    assert "--steps has no effect" in " ".join(result.output.split())
