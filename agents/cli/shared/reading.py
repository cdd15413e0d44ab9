"""How the text of options is read: settings, agents with settings, environments."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import gymnasium as gym

from agents.base import constructor_arguments
from agents.cli.shared.models import bundled_models
from agents.experiments.design.spec import AgentSpec
from agents.experiments.training.model_file import ModelFile
from agents.registry import LEARNERS, agent_class
from agents.schedulers.policy_file import read_policy
from edgecloud_gym import CLUSTER_ID, ENV_IDS
from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.config import SystemConfig, settable
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.files import duplicate
from edgecloud_gym.wording import listed, shown

_OPENING: Final = {"(": ")", "[": "]", "{": "}"}
_BEFORE_QUOTE: Final = "=,:([{ "
_TRUTH: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PICKLED: Final = (
    "a file of Stable-Baselines3 holds pickled objects, and to read it runs whatever code is in "
    "it. If you know where it comes from, give --trust; `edgecloud train` now writes .npz files, "
    "which hold arrays alone"
)
_TEXT_KINDS: Final = {"str", "Path", "RequestDataset", "ArrivalProcess", "None", "PathLike", "os"}

Annotations = Mapping[str, str]


def read_settings(items: Sequence[str] | None, kinds: Annotations | None = None) -> dict[str, Any]:
    """Reads ``key=value`` items.

    Args:
        items: The items.
        kinds: The type of each setting, as its annotation has it: of a text, 7 is the text "7".

    Raises:
        ValueError: If an item has another form, or a key is given twice.
    """
    pairs = [_pair(item) for item in items or []]
    twice = duplicate([key for key, _ in pairs])
    if twice is not None:
        raise ValueError(f"{twice}: is given twice: {listed(items or [])}")
    return {key: read_value(text, (kinds or {}).get(key, "")) for key, text in pairs}


def _pair(item: str) -> tuple[str, str]:
    key, separator, text = item.partition("=")
    if not separator or not key.strip():
        raise ValueError(f"{shown(item)}: must be KEY=VALUE")
    return key.strip(), text.strip()


def read_value(text: str, kind: str = "") -> Any:
    """Reads a value: a Python literal, ``true``, ``false``, ``none``, or else text.

    >>> read_value("[64, 64]"), read_value("false", "bool"), read_value("7", "str | Path")
    ([64, 64], False, '7')

    Args:
        text: The value as it was typed; quotes make it text.
        kind: The setting's annotation, if it is known.
    """
    words = set(re.findall(r"\w+", kind))
    if text[:1] in ("'", '"'):
        return _literal(text)
    if text.casefold() in ("none", "null") and (not words or "None" in words):
        return None
    if text.casefold() in _TRUTH and (not words or "bool" in words):
        return _TRUTH[text.casefold()]
    if words and words <= _TEXT_KINDS:
        return text
    return _literal(text)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return text


def split_outside(text: str, separator: str) -> list[str]:
    """Splits a text where a separator stands outside of brackets and quotes.

    >>> split_outside("fcfs,cn-ts:hidden=[64,64],sb3:path='a,b.zip'", ",")
    ['fcfs', 'cn-ts:hidden=[64,64]', "sb3:path='a,b.zip'"]

    Raises:
        ValueError: If a bracket or quote is not closed.
    """
    parts, start, closing = [], 0, ""
    for at, character in enumerate(text):
        quoted = closing[-1:] in ("'", '"') and closing
        if closing and character == closing[-1]:
            closing = closing[:-1]
        elif quoted:
            continue
        elif character in "'\"" and (at == 0 or text[at - 1] in _BEFORE_QUOTE):
            closing += character
        elif character in _OPENING:
            closing += _OPENING[character]
        elif character == separator and not closing:
            parts.append(text[start:at])
            start = at + 1
    if closing:
        raise ValueError(
            f"{shown(text)}: {closing[-1]!r} is missing; quotes make it part of a text"
        )
    return [*parts, text[start:]]


def read_name(text: str) -> tuple[str, list[str]]:
    """Reads ``name`` or ``name:key=value:key=value``; returns the name and the items.

    Raises:
        ValueError: If a bracket or quote is not closed, or an item has another form.
    """
    name, *items = split_outside(text, ":")
    for item in items:
        if "=" not in item:
            raise ValueError(
                f"{shown(text)}: {shown(item)} must be KEY=VALUE; a value with a comma or colon is "
                "put in quotes"
            )
    return name.strip(), items


def read_agents(text: str, trust: bool = False) -> list[AgentSpec]:
    """Reads agents separated by commas, each as `read_name` does, and makes each once.

    Args:
        text: The agents.
        trust: Whether files of Stable-Baselines3 may be read, which hold pickled objects.

    Raises:
        OSError: If an agent's file cannot be read.
        TypeError: If an agent has no such setting, or lacks one that it needs.
        ValueError: If there is none, a name is missing between commas, one is unknown or given
            twice, or a setting is out of range.
    """
    if not text.strip():
        raise ValueError("--agents: name at least one")
    items = [item.strip() for item in split_outside(text, ",")]
    if "" in items:
        raise ValueError(f"--agents {shown(text)}: a name is missing before or after a comma")
    specs = [_agent(item, trust) for item in items]
    twice = duplicate([spec.label for spec in specs])
    if twice is not None:
        raise ValueError(f"--agents: each agent may occur once: {shown(twice)} is given twice")
    return specs


def _agent(text: str, trust: bool) -> AgentSpec:
    name, items = read_name(text)
    if name in bundled_models():
        agent = read_policy(bundled_models()[name]).agent
        raise ValueError(
            f"--agents {text}: is a model: the agent {agent} plays the one that is for the "
            f"environment, {agent}:model=FILE another; edgecloud evaluate takes models by name"
        )
    spec = AgentSpec(name, read_settings(items, agent_kinds(name)), label=text)
    if "path" in spec.settings:
        require_trust(name, f"--agents {text}", trust)
    try:
        spec.make()  # so that a wrong setting is refused now
    except OSError as error:
        raise type(error)(f"--agents {text}: {error.strerror or error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"--agents {text}: {error}") from error
    return spec


def agent_kinds(name: str) -> dict[str, str]:
    """Returns the types of an agent's settings, by name."""
    return {n: str(p.annotation) for n, p in constructor_arguments(agent_class(name)).items()}


def setting_kinds() -> dict[str, str]:
    """Returns the types of the settings of environments, by name."""
    parameters = inspect.signature(SystemConfig).parameters
    return {name: str(parameter.annotation) for name, parameter in parameters.items()}


def find_env(name: str) -> str:
    """Returns an environment's id from the id or from what is special in it.

    >>> find_env("continuous")
    'EdgeCloud-Continuous-v0'

    Raises:
        ValueError: If it is not an environment of this package.
    """
    known = (*ENV_IDS, CLUSTER_ID)
    short = {_squeezed(env_id.split("-")[1]): env_id for env_id in known}
    short |= {_squeezed(env_id): env_id for env_id in known}
    short |= {_squeezed(env_id.rpartition("-")[0]): env_id for env_id in known}
    found = short.get(_squeezed(name.rpartition(":")[2]))
    if found is None:
        raise ValueError(
            f"--env {shown(name)}: must be one of {', '.join(known)}{did_you_mean(name, known)}"
        )
    return found


def _squeezed(name: str) -> str:
    """Returns a name as it is compared: ``time-series`` and ``time_series`` are ``TimeSeries``."""
    return name.casefold().replace("_", "").replace("-", "").strip()


def settable_in(env_id: str) -> list[str]:
    """Returns the names of the settings that an environment has."""
    return settable(env_defaults(env_id))


def env_defaults(env_id: str) -> Mapping[str, Any]:
    """Returns what an environment sets differently from `SystemConfig`."""
    entry_point = gym.spec(env_id).entry_point
    assert isinstance(entry_point, str)
    environment: Any = gym.envs.registration.load_env_creator(entry_point)
    defaults: Mapping[str, Any] = environment.defaults
    return defaults


def check_embeddings(specs: Sequence[AgentSpec], data: RequestDataset) -> None:
    """Raises ``ValueError`` if agents learn from embeddings and the dataset has none."""
    learners = [str(spec.agent) for spec in specs if spec.agent in LEARNERS]
    if learners and data.embeddings is None:
        raise ValueError(needs_embeddings(", ".join(learners), data))


def needs_embeddings(learners: str, data: RequestDataset) -> str:
    """Returns what to tell who would learn from a dataset without embeddings."""
    return (
        f"{learners}: learn from embeddings, and dataset {shown(data.name)} has none; "
        "make them with `edgecloud embed`"
    )


def check_baseline(baseline: str, labels: Sequence[str]) -> None:
    """Raises ``ValueError`` if the baseline does not play."""
    if baseline not in labels:
        raise ValueError(
            f"--baseline {shown(baseline)}: unknown agent, must be one of those compared: "
            f"{listed(labels)}{did_you_mean(baseline, labels)}"
        )


def check_trust(models: Sequence[ModelFile], trust: bool) -> None:
    """Raises ``ValueError`` if a file holds pickled objects and nobody has said that it may."""
    for model in models:
        require_trust(model.agent, model.path, trust)


def require_trust(agent: str, given: object, trust: bool) -> None:
    """Raises ``ValueError`` if an agent is read from pickled objects and nobody has said it may.

    Args:
        agent: Its name.
        given: What the user gave, for the message.
        trust: Whether it may.
    """
    if agent == "sb3" and not trust:
        raise ValueError(f"{given}: {_PICKLED}")
