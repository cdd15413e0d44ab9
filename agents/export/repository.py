"""A trained model as a folder that the hub takes: the file, its card, and how it was evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.experiments.design.scenario import Scenario
from agents.experiments.design.spec import AgentSpec
from agents.experiments.experiment import run_experiment
from agents.experiments.training.model_file import read_model_file
from agents.export.card import model_card
from agents.schedulers.policy_file import POLICIES
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.files import replacing, write_json

RESULTS: Final = "results.json"
_BESIDE: Final = "fcfs"
_METRICS: Final = ("jct_mean", "jct_p95", "unfinished")


def write_repository(
    path: str | Path, folder: str | Path, scenario: Scenario, seeds: Sequence[int]
) -> dict[str, Any]:
    """Evaluates a model, and writes a folder for `huggingface_hub` or `huggingface_sb3` to push.

    It holds a copy of the model's file, the card (``README.md``, see `model_card`) and
    ``results.json`` with the keys that huggingface_sb3 writes. Files of these names are replaced.

    Args:
        path: The model's file, of Stable-Baselines3 (which is unpickled) or a network of
            ``edgecloud train``.
        folder: Where to; it is made.
        scenario: Where it is evaluated, beside FCFS on the same requests.
        seeds: Of the episodes.

    Returns:
        What stands in ``results.json``.

    Raises:
        FileNotFoundError: If there is no such file.
        UnreadableFileError: If it holds no trained model.
        ValueError: If it holds a bandit, or does not fit the scenario.
    """
    path, folder = Path(path), Path(folder)
    spec = _spec(path)
    model_card(path, scenario.env_id, [0.0])  # so that what has no card is refused now
    summary = run_experiment(scenario, [spec, _BESIDE], list(seeds), output_dir=None).summary
    own = summary[summary["agent"] == spec.label]
    rewards = own["reward"].to_numpy()
    results = {
        "mean_reward": float(np.mean(rewards)),
        "std_reward": float(np.std(rewards)),
        "is_deterministic": True,
        "n_eval_episodes": len(rewards),
    }
    card = model_card(path, scenario.env_id, rewards.tolist(), _notes(scenario, seeds, summary))
    content = path.read_bytes()
    with replacing(folder / path.name) as temporary:
        temporary.write_bytes(content)
    write_json(folder / RESULTS, results)
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(card, encoding="utf-8")
    return results


def _spec(path: Path) -> AgentSpec:
    model = read_model_file(path)
    if model.agent == "sb3":
        return AgentSpec("sb3", {"path": str(path)}, label=path.stem, explore=False)
    settings = {"model": str(path)} if model.agent in POLICIES else {}
    return AgentSpec(model.agent, settings, label=path.stem, explore=False)


def _notes(scenario: Scenario, seeds: Sequence[int], summary: Any) -> str:
    """Returns how it was evaluated, and beside whom."""
    settings = ", ".join(f"{name}={_shown(value)}" for name, value in scenario.settings.items())
    lines = [
        "## Evaluation",
        "",
        f"Seeds {min(seeds)} to {max(seeds)}; {settings}, all else as the environment has it by "
        f"default. Returns depend on these settings; beside the model plays {_BESIDE}, on the same "
        "requests.",
        "",
        f"| Agent | {' | '.join(_METRICS)} |",
        f"|---|{'---:|' * len(_METRICS)}",
    ]
    for name, rows in summary.groupby("agent", sort=False, observed=True):
        values = [f"{rows[metric].mean():.2f}" for metric in _METRICS]
        lines.append(f"| {name} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    return value.name if isinstance(value, RequestDataset) else str(value)
