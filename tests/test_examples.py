"""Every example runs, with short settings, and prints what it promises."""

import runpy
import sys
from functools import partial
from pathlib import Path

import pytest

from edgecloud_gym import sb3

# Arguments that make it short, and what is then printed or written.
EXAMPLES = {
    "cleanrl_ppo.py": (
        ["--total-timesteps", "1000", "--num-envs", "4", "--duration", "3"],
        ["global_step=", "mean JCT=", "illegal assignments: 0"],
    ),
    "compare_schedulers.py": (
        ["--duration", "20", "--epochs", "1"],
        ["static: mean JCT", "time series: mean JCT", "continuous: mean JCT", "sjf-oracle"],
    ),
    "learn_from_recordings.py": (
        ["--episodes", "2", "--duration", "60", "--epochs", "1"],
        ["as edgecloud/static/cn-greedy-v0", "of the choices are the agent's", "doubly robust"],
    ),
    "reproduce_paper.py": (
        ["--duration", "30", "--seeds", "1", "--env", "EdgeCloud-Static-v0"],
        ["5 requests/s for 30 s", "completed requests alone", "cn-ducb", "historical-lrt"],
    ),
    "size_a_cluster.py": (
        ["--duration", "5", "--most", "2"],
        ["30 requests/s on engines rtxpro6000", "served well", "TTFT p99 s", "Picture in"],
    ),
    "train_ppo.py": ([], ["agent", "fcfs", "ppo"]),
    "train_rllib.py": (
        ["--iterations", "1", "--batch", "200", "--duration", "3"],
        ["steps: mean JCT", "illegal assignments: 0"],
    ),
    "train_torchrl.py": (
        ["--frames", "512", "--envs", "4", "--duration", "3"],
        ["reward per step", "illegal assignments: 0"],
    ),
    "watch_episode.py": (["--save", "frames", "--duration", "3"], []),
    "write_your_own_agent.py": ([], ["remember", "sjf-oracle"]),
}

ELSEWHERE = {"serve_onnx.py"}  # tests/agents/export: it needs an exported policy
NEEDS = {
    "learn_from_recordings.py": "minari",
    "train_rllib.py": "ray",
    "train_torchrl.py": "torchrl",
}


def test_all_are_here(repository: Path) -> None:
    assert set(EXAMPLES) | ELSEWHERE == {
        path.name for path in (repository / "examples").glob("*.py")
    }


@pytest.mark.filterwarnings("ignore:rich is experimental")  # the progress bar that SB3 shows
@pytest.mark.usefixtures("learning_briefly")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.filterwarnings("ignore") if name in NEEDS else ())
        for name in EXAMPLES
    ],
)
def test_it_runs(
    name: str,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{name} runs where {NEEDS[name]} is installed")
    arguments, promised = EXAMPLES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    # No worker processes.
    monkeypatch.setattr("edgecloud_gym.processors.available_processors", lambda: 1)
    brief = partial(sb3.make_vec_env, duration=5.0)  # where an example asks for no duration
    monkeypatch.setattr(sb3, "make_vec_env", brief)
    runpy.run_path(str(repository / "examples" / name), run_name="__main__")
    printed = capsys.readouterr().out
    assert [text for text in promised if text not in printed] == []
    if name == "watch_episode.py":
        assert len(list((tmp_path / "frames").glob("*.png"))) > 3
