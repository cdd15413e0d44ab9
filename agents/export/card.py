"""A card for a trained model, in the form that huggingface_sb3 pushes and the hub reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.experiments.model_file import read_model_file
from edgecloud_gym.files import replacing

_TAGS: Final = ("deep-reinforcement-learning", "reinforcement-learning", "stable-baselines3")


def model_card(path: str | Path, env_id: str, rewards: Sequence[float], notes: str = "") -> str:
    """Returns a model card, Markdown with front matter.

    Args:
        path: The model's file, of Stable-Baselines3.
        env_id: Where it was evaluated.
        rewards: The return of each episode of the evaluation, at least one.
        notes: What else a reader should know: settings of the evaluation, other metrics.

    Raises:
        FileNotFoundError: If there is no such file.
        UnreadableFileError: If it holds no trained model.
        ValueError: If it is of another library, or there are no rewards.
    """
    model = read_model_file(Path(path))
    if model.agent != "sb3":
        raise ValueError(
            f"{path}: holds {model.agent!r} of edgecloud train, not a model of Stable-Baselines3"
        )
    if not len(rewards):
        raise ValueError("rewards: must hold the return of at least one episode")
    value = f"{np.mean(rewards):.2f} +/- {np.std(rewards):.2f}"
    return (
        f"{_front_matter(model.algorithm, env_id, value)}\n"
        f"# {model.algorithm} agent playing {env_id}\n\n"
        f"A {model.algorithm} agent of "
        "[stable-baselines3](https://github.com/DLR-RM/stable-baselines3) that schedules LLM "
        "requests between an edge and a cloud, in an environment of edgecloud-gym.\n\n"
        f"Mean return of {len(rewards)} episodes: {value}.\n\n"
        f"{_usage(Path(path).name, env_id)}{_training(model.training)}{notes}"
    ).rstrip() + "\n"


def write_model_card(
    path: str | Path, env_id: str, rewards: Sequence[float], notes: str = ""
) -> Path:
    """Writes a card, ``README.md``, beside a model's file; see `model_card`."""
    card = Path(path).with_name("README.md")
    text = model_card(path, env_id, rewards, notes)
    with replacing(card) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return card


def _front_matter(algorithm: str, env_id: str, value: str) -> str:
    return f"""---
library_name: stable-baselines3
tags:
- {env_id}
{chr(10).join(f"- {tag}" for tag in _TAGS)}
model-index:
- name: {algorithm}
  results:
  - task:
      type: reinforcement-learning
      name: reinforcement-learning
    dataset:
      name: {env_id}
      type: {env_id}
    metrics:
    - type: mean_reward
      value: {value}
      name: mean_reward
      verified: false
---
"""


def _usage(name: str, env_id: str) -> str:
    short = env_id.split("-")[1].casefold() if env_id.count("-") else env_id
    return (
        "## Usage\n\n```bash\npip install 'edgecloud-gym[agents]'\n"
        f"edgecloud evaluate {name} --trust --env {short}\n```\n\n"
        "The file holds pickled objects: load it only if you trust where it comes from.\n\n"
    )


def _training(training: Mapping[str, Any] | None) -> str:
    if not training:
        return ""
    told = json.dumps(dict(training), indent=2, sort_keys=True)
    return f"## Training\n\n```json\n{told}\n```\n\n"
