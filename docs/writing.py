"""Summary files under docs/data/, and how their numbers are written in tables."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

DATA = Path(__file__).resolve().parent / "data"
BASELINE, ORACLE = "fcfs", "sjf-oracle"
LINEAR = ("clinucb", "c2ucb")
NEURAL = ("cn-greedy", "cn-ducb", "neural-linear", "cn-ts")
BANDITS = (*LINEAR, *NEURAL)
INFORMED = (ORACLE, "oracle-placement")  # they know the true times


def read(name: str) -> pd.DataFrame:
    """Reads a summary file.

    Raises:
        FileNotFoundError: If its step has not been run; the step is named.
    """
    path = DATA / f"{name}.csv"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: python docs/rebuild.py makes it")
    return pd.read_csv(path)


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]], align: str = "") -> str:
    """Returns a Markdown table; its first column is aligned left, the others right by default."""
    rules = {"l": "---", "r": "--:"}
    rule = [rules[letter] for letter in align or "l".ljust(len(head), "r")]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *lines])


def signed(value: float) -> str:
    """Returns a number with its sign, to two places."""
    return f"{value:+z.1f}" if abs(value) < 9.95 else f"{value:+.0f}"


def estimate(mean: float, low: float, high: float) -> str:
    """Returns a mean with its interval."""
    return f"{mean:z.2f} [{low:z.2f}, {high:z.2f}]"


def short(env_id: str) -> str:
    """Returns what an id says of the environment."""
    return env_id.removeprefix("EdgeCloud-").removesuffix("-v0")


def span(values: Iterable[float]) -> str:
    """Returns from what to what numbers go, rounded."""
    low, high = min(values), max(values)
    return f"{low:,.0f}" if round(low) == round(high) else f"{low:,.0f} to {high:,.0f}"


def share(row: object, baseline: float) -> str:
    """Returns a paired difference as a share of the baseline, with its interval."""
    names = ("jct_difference", "jct_difference_low", "jct_difference_high")
    mean, low, high = (100.0 * getattr(row, name) / baseline for name in names)
    return f"{signed(mean)}% [{signed(low)}, {signed(high)}]"
