"""``edgecloud train``: what it writes, how it goes on, and what it refuses."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

from agents.experiments.training import learners
from agents.experiments.training.model_file import read_model_file
from agents.schedulers.policy_file import read_policy
from tests.agents.cli.conftest import invoke, words

QUICK_PPO = "ppo:n_steps=4:n_epochs=1:lanes=4:peers=2:width=8"
ROLLOUT = 4 * 6  # of two lanes at each of three loads


def train(agent: str, learnable: Path, output: Path, *arguments: object) -> Result:
    settings = ("--dataset", learnable, "--duration", 10, "--set", "candidate_pool_size=4")
    env = () if "--env" in arguments else ("--env", "EdgeCloud-Static-v0")
    if "--duration" in arguments:
        settings = (*settings[:2], *settings[4:])
    if "--evaluate-every" not in arguments and agent != "index":
        settings = (*settings, "--evaluate-every", 0)
    return invoke("train", agent, *env, "--output", output, *settings, *arguments)


def parameters(path: Path) -> np.ndarray:
    arrays = read_policy(path).arrays
    return np.concatenate([arrays[n].ravel() for n in sorted(arrays) if n.startswith("network/")])


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
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
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
    assert training["settings"]["work_conserving"] is False
    assert training["settings"]["load"] == [0.8, 0.95, 1.1]
    last = read_policy(tmp_path / "first-last.npz")
    assert any(name.startswith("learning/") for name in last.arrays)


@pytest.mark.parametrize(
    "agent",
    [
        "maskable-ppo:n_steps=4:n_epochs=1:lanes=2:peers=1",
        "a2c:n_steps=4:lanes=2:peers=1",
        "dqn:learning_starts=8:batch_size=8:buffer_size=100:lanes=2",
        "sac:learning_starts=8:batch_size=8:buffer_size=100:lanes=2:width=8",
        "recurrent-ppo:n_steps=4:n_epochs=1:lanes=2:width=8",
    ],
)
def test_every_algorithm_goes_through_the_same_door(
    agent: str, learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.experiments.training.network_learner._OFF_POLICY_STRIDE", 16)
    path = tmp_path / "m.npz"
    result = train(agent, learnable, path, "--steps", 16, "--load", 1.0)
    assert result.exit_code == 0, result.output
    assert read_model_file(path).agent == agent.partition(":")[0]
    played = invoke(
        *("evaluate", path, "--env", "static", "--dataset", learnable, "--duration", 5),
        *("--seeds", 1, "--workers", 1, "--set", "candidate_pool_size=4", "--output", tmp_path),
    )
    assert played.exit_code == 0, played.output


def test_the_best_is_kept_apart_from_the_last(learnable: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    looks = ("--evaluate-every", ROLLOUT, "--evaluation-seeds", 1, "--beside", "fcfs,edge-only")
    result = train(QUICK_PPO, learnable, path, "--steps", 2 * ROLLOUT, *looks)
    assert result.exit_code == 0, result.output
    names = ["m-last.npz", "m.csv", "m.npz", "m.png"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    table = pd.read_csv(tmp_path / "m.csv")
    assert table[table["agent"] == "ppo"]["done"].unique().tolist() == [0, ROLLOUT, 2 * ROLLOUT]
    assert table[table["agent"] == "fcfs"]["score"].tolist() == [1.0] * 3
    best = table[table["agent"] == "ppo"].groupby("done")["score"].first()
    training = read_model_file(path).training
    assert training is not None
    assert training["done"] == best.idxmin()
    assert training["score"] == pytest.approx(best.min())
    assert training["settings"]["split"] == "fit"
    assert read_model_file(tmp_path / "m-last.npz").training["done"] == 2 * ROLLOUT
    assert f"{best.min():.3f} at its best" in words(result)


def test_it_stops_early_when_nothing_becomes_better(learnable: Path, tmp_path: Path) -> None:
    idle = QUICK_PPO + ":learning_rate=1e-12"
    looks = ("--evaluate-every", ROLLOUT, "--evaluation-seeds", 1, "--beside", "")
    options = ("--steps", 9 * ROLLOUT, *looks, "--patience", 2)
    result = train(idle, learnable, tmp_path / "m.npz", *options)
    assert result.exit_code == 0, result.output
    assert "stopped early: nothing was better in 2 looks" in words(result)
    assert read_model_file(tmp_path / "m-last.npz").training["done"] == 2 * ROLLOUT


def test_a_bandit_may_be_looked_at_as_well(learnable: Path, tmp_path: Path) -> None:
    looks = ("--evaluate-every", 1, "--evaluation-seeds", 1, "--beside", "")
    result = train("c2ucb", learnable, tmp_path / "m.npz", "--episodes", 2, *looks)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "m.csv")
    assert table[table["agent"] == "c2ucb"]["done"].tolist() == [0, 1, 2]


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
        ("ppo:policy_kwargs=3", [], "ppo has no setting 'policy_kwargs'"),
        ("ppo:rule=best", [], "rule='best': must be"),
        ("ppo:horizon=0", [], "horizon=0: must be a finite number > 0"),
        ("dqn:n_epochs=1", [], "dqn has no setting 'n_epochs'"),
        ("c2ucb", ["--load", 1, "--load", 2], "c2ucb learns at one load, not at 2"),
        ("ppo", ["--load", 1, "--load", 1], "--load: one is given twice: 1, 1"),
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
    empty = 2 if agent == "c2ucb" else 4 * 4  # an empty episode is a single step
    assert f"in {empty} episodes no request arrived" in words(result)


def test_ppo_says_that_it_learns_whole_rollouts(learnable: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.npz"
    for steps, learnt in ((ROLLOUT + 1, 2 * ROLLOUT), (3 * ROLLOUT, 3 * ROLLOUT)):
        result = train(QUICK_PPO, learnable, output, "--steps", steps)
        assert result.exit_code == 0, result.output
        assert f"learnt from {learnt} steps" in words(result)
        told = f"ppo learns {ROLLOUT} steps at a time: from {learnt}, not {steps}"
        assert (told in words(result)) == (learnt != steps)
        training = read_model_file(output).training
        assert training is not None
        assert training["done"] == learnt


@pytest.mark.parametrize("agent", ["ppo", "c2ucb"])
@pytest.mark.parametrize("suffix", [".ZIP", ".json"])
def test_a_file_that_looks_like_something_else_is_refused(
    suffix: str, agent: str, learnable: Path, tmp_path: Path
) -> None:
    result = train(agent, learnable, tmp_path / f"m{suffix}")
    assert result.exit_code == 2
    assert f"a file of {agent} ends in .npz, not {suffix}" in words(result)
    assert not list(tmp_path.iterdir())


def test_one_episode_is_not_in_the_plural(learnable: Path, tmp_path: Path) -> None:
    short = ("--episodes", 1, "--arrival-rate", 1e-6)
    result = train("c2ucb", learnable, tmp_path / "m.npz", *short)
    assert "has learnt from 1 episode in" in words(result)
    assert "in 1 episode no request arrived" in words(result)
    assert "from 1 episode already" in words(train("c2ucb", learnable, tmp_path / "m.npz", *short))


def test_a_return_that_is_not_known_is_no_nan(learnable: Path, tmp_path: Path) -> None:
    result = train(QUICK_PPO, learnable, tmp_path / "m.npz", "--steps", 1, "--duration", 1000)
    assert result.exit_code == 0, result.output
    assert "no episode has ended" in result.output
    assert "nan" not in result.output


@pytest.mark.parametrize(
    ("agent", "options", "message"),
    [
        ("c2ucb", ("--steps", 5), "--steps has no effect on c2ucb: .* --episodes"),
        ("ppo", ("--episodes", 5), "--episodes has no effect on ppo: .* --steps"),
        ("c2ucb", ("--patience", 2), "--patience has no effect without .*--evaluate-every"),
        ("c2ucb", ("--tensorboard", "t"), "--tensorboard has no effect without"),
        ("ppo", ("--evaluate-every", 0, "--beside", "fcfs"), "--beside has no effect without"),
        ("ppo", ("--evaluate-every", 0, "--evaluation-seeds", 9), "--evaluation-seeds has no eff"),
        ("ppo", ("--workers", 2), "--workers has no effect without --seeds: one training is not"),
        ("ppo", ("--scheduler", "local"), "--scheduler has no effect without --seeds"),
        ("ppo", ("--azure", "azure.csv"), "--azure has no effect without a --scenario"),
        ("ppo", ("--seeds", 2, "--scheduler", "tcp://h:1", "--workers", 2), "those of --scheduler"),
        *(
            ("index", (f"--{name}", value), f"--{name} has no effect on an index policy")
            for name, value in (
                ("steps", 5),
                ("seeds", 2),
                ("evaluate-every", 2),
                ("evaluation-seeds", 2),
                ("beside", "fcfs"),
                ("patience", 2),
                ("tensorboard", "t"),
                ("workers", 2),
                ("scheduler", "local"),
                ("arrival-rate", 2),
                ("trace", "t.csv"),
                ("rate-scale", 2),
                ("azure", "azure.csv"),
            )
        ),
        ("index", ("--set", "load=0.5"), "--set load has no effect on an index policy"),
        ("index", ("--set", "observe=id"), "--set observe has no effect on an index policy"),
    ],
)
def test_an_option_without_effect_is_refused(
    agent: str, options: tuple[Any, ...], message: str, learnable: Path, tmp_path: Path
) -> None:
    output = tmp_path / ("m.json" if agent == "index" else "m.npz")
    result = train(agent, learnable, output, *options)
    assert result.exit_code == 2
    assert re.search(f"error: .*{message}", words(result))
    assert not output.exists()
