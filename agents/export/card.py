"""A card for a trained model, in the form that huggingface_sb3 pushes and the hub reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np

from agents.experiments.training.model_file import ModelFile, read_model_file
from agents.schedulers.policy_file import POLICIES
from edgecloud_gym.checks import check_number, check_path, did_you_mean
from edgecloud_gym.files import replacing
from edgecloud_gym.wording import shown

_TAGS: Final = ("deep-reinforcement-learning", "reinforcement-learning")
_SB3: Final = "stable-baselines3"
_OURS: Final = "edgecloud-gym"


def model_card(path: str | Path, env_id: str, rewards: Sequence[float], notes: str = "") -> str:
    """Returns a model card, Markdown with front matter.

    Args:
        path: The model's file, of Stable-Baselines3 or a network of ``edgecloud train``.
        env_id: Where it was evaluated.
        rewards: The return of each episode of the evaluation, at least one.
        notes: What else a reader should know: settings of the evaluation, other metrics.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If an argument is of a wrong type.
        UnreadableFileError: If it holds no trained model.
        ValueError: If it holds a bandit, no ``env_id`` is registered, or there are no rewards.
    """
    if not isinstance(env_id, str):
        raise TypeError(
            f"env_id={shown(env_id)}: must be the id of the environment of the evaluation"
        )
    if env_id.rpartition(":")[2] not in gym.registry:  # of MODULE:ID
        raise ValueError(
            f"env_id={shown(env_id)}: must be the id of the environment of the evaluation, and "
            f"none of this name is registered{did_you_mean(env_id, gym.registry)}"
        )
    model = read_model_file(check_path("path", path))
    if model.agent != "sb3" and model.agent not in POLICIES:
        raise ValueError(
            f"{path}: holds {model.agent!r}, which goes on learning; a card is of a model of "
            f"Stable-Baselines3, or of {', '.join(POLICIES)} of edgecloud train"
        )
    known = [check_number("rewards", reward) for reward in rewards]
    if not known:
        raise ValueError("rewards=[]: must hold the return of at least one episode")
    name = model.algorithm or model.agent.upper()
    value = f"{np.mean(known):.2f} +/- {np.std(known):.2f}"
    return (
        f"{_front_matter(model, name, env_id, value)}\n"
        f"# {name} agent playing {env_id}\n\n"
        f"A {name} agent of {_origin(model)} that schedules LLM requests between an edge and a "
        "cloud, in an environment of edgecloud-gym.\n\n"
        f"Mean return of {len(known)} episodes: {value}.\n\n"
        f"{_usage(model, env_id)}{_training(model.training)}{notes}"
    ).rstrip() + "\n"


def write_model_card(
    path: str | Path, env_id: str, rewards: Sequence[float], notes: str = ""
) -> Path:
    """Writes a card, ``README.md``, beside a model's file; see `model_card`."""
    text = model_card(path, env_id, rewards, notes)
    card = Path(path).with_name("README.md")
    with replacing(card) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return card


def _origin(model: ModelFile) -> str:
    if model.agent == "sb3":
        return "[stable-baselines3](https://github.com/DLR-RM/stable-baselines3)"
    return "`edgecloud train` (learnt with Stable-Baselines3)"


def _front_matter(model: ModelFile, name: str, env_id: str, value: str) -> str:
    library = _SB3 if model.agent == "sb3" else _OURS
    tags = (env_id, *_TAGS, *dict.fromkeys((_SB3, library)))
    return f"""---
library_name: {library}
tags:
{chr(10).join(f"- {tag}" for tag in tags)}
model-index:
- name: {name}
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


def _usage(model: ModelFile, env_id: str) -> str:
    short = env_id.split("-")[1].casefold() if env_id.count("-") else env_id
    trust, warning = "", "The file holds arrays and JSON alone: to read it runs no code.\n\n"
    if model.agent == "sb3":
        trust = "--trust "
        warning = (
            "The file holds pickled objects: load it only if you trust where it comes from.\n\n"
        )
    return (
        "## Usage\n\n```bash\npip install 'edgecloud-gym[agents]'\n"
        f"edgecloud evaluate {model.path.name} {trust}--env {short}\n```\n\n{warning}"
    )


def _training(training: Mapping[str, Any] | None) -> str:
    if not training:
        return ""
    told = json.dumps(dict(training), indent=2, sort_keys=True)
    return f"## Training\n\n```json\n{told}\n```\n\n"
