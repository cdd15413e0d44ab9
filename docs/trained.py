"""Tables about the trained models that come with the package, from their files and docs/data/."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "agents" / "assets" / "models"
DATA = Path(__file__).resolve().parent / "data"


def models(_: str = "") -> str:
    """Returns which models there are, how each was made, and its learning curve in numbers."""
    lines = [
        "| Model | Size | Command | Learnt from | Time | Score at first | Score | Beside it |",
        "|---|---:|---|---:|---:|---:|---:|---|",
    ]
    for path in sorted(MODELS.glob("*.npz")):
        header = _header(path)
        training = header["training"]
        made, agent = training["made"], header["agent"]
        curve = pd.read_csv(path.with_suffix(".csv")).drop_duplicates(["agent", "done"])
        own = curve[curve["agent"] == agent]
        beside = curve[curve["agent"] != agent]
        others = ", ".join(f"{row.agent} {row.score:.3f}" for row in beside.itertuples())
        command = shlex.join(made["command"])
        lines.append(
            f"| `{path.stem}` | {path.stat().st_size / 1000:.0f} kB | `{command}` "
            f"| {training['done']:,} of {int(own['done'].max()):,} steps "
            f"| {own['seconds'].max() / 60:.0f} min | {own['score'].iloc[0]:.4f} "
            f"| {training['score']:.4f} | {others} |"
        )
    return "\n".join(lines)


def machines(_: str = "") -> str:
    """Returns on what the models were trained."""
    found = {_header(path)["training"]["made"]["machine"] for path in MODELS.glob("*.npz")}
    return "; ".join(sorted(found))


def ppo(_: str = "") -> str:
    """Returns mean JCTs of the models beside others: difference and interval where paired."""
    table = json.loads((DATA / "ppo.json").read_text(encoding="utf-8"))
    lines = ["| Scenario | Agent | Mean JCT (s) | PPO less it (s) | 95 % interval |"]
    lines.append("|---|---|---:|---:|---:|")
    for scenario, agents in table.items():
        own = np.array(agents["ppo"])
        lines.append(f"| {scenario} | **ppo** | **{own.mean():.3f}** | | |")
        for agent, values in agents.items():
            if agent == "ppo":
                continue
            difference = own - np.array(values)
            low, high = _interval(difference)
            lines.append(
                f"| | {agent} | {np.mean(values):.3f} | {difference.mean():+.3f} "
                f"| {low:+.3f} to {high:+.3f} |"
            )
    return "\n".join(lines)


def ablations(_: str = "") -> str:
    """Returns what each part of the training buys."""
    table = pd.read_csv(DATA / "ppo_ablations.csv")
    lines = ["| Without | Score at first | At its best | At last |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row.without} | {row.first:.4f} | {row.best:.4f} | {row.last:.4f} |"
        for row in table.itertuples()
    ]
    return "\n".join(lines)


def _interval(values: Any, draws: int = 10_000) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of a mean."""
    rng = np.random.default_rng(0)
    means = np.mean(rng.choice(values, (draws, len(values))), axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _header(path: Path) -> dict[str, Any]:
    """Returns the header of a model's file."""
    with np.load(path, allow_pickle=False) as file:
        found: dict[str, Any] = json.loads(str(file["header"]))
    return found


if __name__ == "__main__":
    sys.stdout.write(models() + "\n")
