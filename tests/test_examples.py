"""Every example runs, with short settings, and prints what it promises."""

import os
import runpy
import sys
from functools import partial
from pathlib import Path

import pytest

from edgecloud_gym import sb3

# Arguments that make it short, and what is then printed or written.
EXAMPLES = {
    "compare_schedulers.py": (
        ["--duration", "20", "--epochs", "1"],
        ["static: mean JCT", "time series: mean JCT", "continuous: mean JCT", "sjf-oracle"],
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
    "watch_episode.py": (["--save", "frames", "--duration", "3"], []),
    "write_your_own_agent.py": ([], ["remember", "sjf-oracle"]),
}


def test_all_are_here(repository: Path) -> None:
    assert set(EXAMPLES) == {path.name for path in (repository / "examples").glob("*.py")}


@pytest.mark.filterwarnings("ignore:rich is experimental")  # the progress bar that SB3 shows
@pytest.mark.usefixtures("learning_briefly")
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_runs(
    name: str,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments, promised = EXAMPLES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # no worker processes
    brief = partial(sb3.make_vec_env, duration=5.0)  # where an example asks for no duration
    monkeypatch.setattr(sb3, "make_vec_env", brief)
    runpy.run_path(str(repository / "examples" / name), run_name="__main__")
    printed = capsys.readouterr().out
    assert [text for text in promised if text not in printed] == []
    if name == "watch_episode.py":
        assert len(list((tmp_path / "frames").glob("*.png"))) > 3
