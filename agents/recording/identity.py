"""What the episodes of a recording depend on: whoever goes on with one must have the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agents.base import Agent, constructor_arguments
from agents.experiments.identity.fingerprint import file_digest, files_in, identify
from edgecloud_gym import __version__
from edgecloud_gym.dataset import load_dataset

FORMAT: Final = "edgecloud-recording/1"


def begun_with(
    agent: Agent, spec: Any, dataset_id: str, seed: int, explore: bool
) -> dict[str, Any]:
    """Returns all that a recording's episodes depend on, as JSON values by name.

    Args:
        agent: Who plays, after its first `Agent.reset`, with what it knows by then.
        spec: The environment's specification.
        dataset_id: The id of Minari.
        seed: Of the first episode.
        explore: Whether the agent may try things out and learn.
    """
    return {
        "format": FORMAT,
        "version": __version__,
        "agent": _of_agent(agent),
        "dataset_id": dataset_id,
        "seed": seed,
        "explore": explore,
        "env": spec.id,
        "max_episode_steps": spec.max_episode_steps,
        "wrappers": [_identified(wrapper) for wrapper in spec.additional_wrappers],
        "settings": _of_environment(spec.kwargs),
        # Last: it follows from the seed, unless the agent had learnt before.
        "learnt": _identified(agent.state()) if agent.learns else None,
    }


def _of_environment(settings: Mapping[str, Any]) -> dict[str, Any]:
    dataset = settings.get("dataset")
    loaded = {} if dataset is None else {"dataset": load_dataset(dataset)}
    return {
        **{name: _identified(value) for name, value in {**settings, **loaded}.items()},
        "files": _digests({name: v for name, v in settings.items() if name != "dataset"}),
    }


def _of_agent(agent: Agent) -> dict[str, Any]:
    settings = {
        name: getattr(agent, name, None) for name in sorted(constructor_arguments(type(agent)))
    }
    files = [str(path) for path in type(agent).own_files()]
    return {
        "name": agent.name,
        "class": _identified(type(agent)),
        "settings": {name: _identified(value) for name, value in settings.items()},
        "files": _digests([settings, files]),
    }


def _digests(settings: Any) -> list[str]:
    return [file_digest(path) for path in files_in(settings)]


def _identified(value: Any) -> Any:
    """Returns what tells a value apart; of what cannot be compared, this very object."""
    try:
        return identify(value)
    except TypeError:
        return repr(value)
