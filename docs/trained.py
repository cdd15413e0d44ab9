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
    """Returns what each part of the training buys: means over seeds, and least to most."""
    table = pd.read_csv(DATA / "ppo_ablations.csv")
    lines = ["| Without | Score at first | At its best | At last |", "|---|---:|---:|---:|"]
    for without, rows in table.groupby("without", sort=False):
        cells = [_spread(rows[name]) for name in ("first", "best", "last")]
        lines.append(f"| {without} | {' | '.join(cells)} |")
    seeds = int(table.groupby("without").size().min())
    steps = f", {int(table['steps'].max()):,} steps each" if "steps" in table else ""
    note = "One training of each: differences of a hundredth may be chance."
    if seeds > 1:
        note = f"Means of {seeds} trainings of each{steps}, and in brackets least to most."
    return "\n".join([*lines, "", note])


def nodes(_: str = "") -> str:
    """Returns how networks play numbers of nodes that they have not learnt on."""
    path = DATA / "ppo_nodes.json"
    if not path.exists():
        return "Not measured yet: `python docs/ppo_runs.py nodes` does it."
    found = json.loads(path.read_text(encoding="utf-8"))
    lines = ["| Plays | Who | Mean JCT (s) | of one trained there |", "|---|---|---:|---:|"]
    for cluster, agents in found["clusters"].items():
        there = np.mean(agents[cluster])
        for number, (who, values) in enumerate(agents.items()):
            means = np.mean(values, axis=1)
            named = f"ppo, trained on {who}" if who.endswith("nodes") else who
            share = f"{100 * means.mean() / there:.1f} %"
            lines.append(f"| {'' if number else cluster} | {named} | {_spread(means)} | {share} |")
    seeds = max(len(values) for agents in found["clusters"].values() for values in agents.values())
    note = f"{found['steps']:,} steps each; means of {seeds} trainings, in brackets least to most."
    return "\n".join([*lines, "", note])


def _spread(values: Any) -> str:
    """Returns the mean of a few numbers, and the least and the largest if they differ."""
    numbers = np.asarray(values, float)
    mean, low, high = (f"{value:.4f}" for value in (numbers.mean(), numbers.min(), numbers.max()))
    return mean if low == high else f"{mean} [{low}, {high}]"


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
