"""What README.md says of the results is what the summary files hold."""

import re
from pathlib import Path

import pandas as pd

from agents.registry import BANDITS


def test_the_tails(repository: Path) -> None:
    text = " ".join((repository / "README.md").read_text(encoding="utf-8").split())
    said = re.search(r"95th percentile of every bandit is longer .* by (\d+) to (\d+) %", text)
    assert said is not None
    table = pd.read_csv(repository / "docs" / "data" / "schedulers.csv")
    table = table[(table["env"] == "EdgeCloud-TimeSeries-v0") & (table["load"] == 0.95)]
    by_agent = table.set_index("agent")
    bandits = by_agent.loc[list(BANDITS)]
    shares = 100 * bandits["p95_difference"] / by_agent.loc["fcfs", "p95"]
    assert (bandits["p95_difference_low"] > 0).all()
    assert [int(number) for number in said.groups()] == [round(shares.min()), round(shares.max())]


def test_it_is_as_wide_as_a_terminal(repository: Path) -> None:
    lines = (repository / "README.md").read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 140
