"""What README.md says of the results is what the summary files hold."""

import re
from pathlib import Path

import pandas as pd

from agents.registry import BANDITS


def test_the_tails(repository: Path) -> None:
    text = " ".join((repository / "README.md").read_text(encoding="utf-8").split())
    said = re.search(
        r"(\d+) s for FCFS, (\d+) s for PPO and (\d+) s or more for bandits; "
        r"`index-aged`, which lets waiting count, has (\d+) s, and less than FCFS everywhere",
        text,
    )
    assert said is not None
    table = pd.read_csv(repository / "docs" / "data" / "protocols.csv")
    table = table[table["protocol"] == "new-frozen"]
    p95 = table.pivot_table(index=["env", "load"], columns="agent", values="p95")
    here = p95.loc["EdgeCloud-TimeSeries-v0", 1.1]
    least = here[list(BANDITS)].min()
    found = [here["fcfs"], here["ppo"], least, here["index-aged"]]
    assert [int(number) for number in said.groups()] == [round(value) for value in found]
    assert (p95["index-aged"] < p95["fcfs"]).all()


def test_it_is_as_wide_as_a_terminal(repository: Path) -> None:
    lines = (repository / "README.md").read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 140
