"""Agents by name. Modules are imported when an agent of theirs is made: some need torch."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from agents.base import Agent, constructor_arguments
from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.wording import shown

_CLASSES: Final = {
    "fcfs": "agents.schedulers.heuristics:FCFS",
    "random": "agents.schedulers.heuristics:RandomScheduler",
    "round-robin": "agents.schedulers.heuristics:RoundRobin",
    "least-connections": "agents.schedulers.heuristics:LeastConnections",
    "queue-length": "agents.schedulers.heuristics:QueueLength",
    "historical-lrt": "agents.schedulers.response_time:HistoricalLRT",
    "join-shortest-queue": "agents.schedulers.routers:JoinShortestQueue",
    "power-of-two": "agents.schedulers.routers:PowerOfTwo",
    "least-kv": "agents.schedulers.routers:LeastKV",
    "edge-first": "agents.schedulers.routers:EdgeFirst",
    "edge-only": "agents.schedulers.heuristics:EdgeOnly",
    "cloud-only": "agents.schedulers.heuristics:CloudOnly",
    "sjf-oracle": "agents.schedulers.heuristics:OracleSJF",
    "oracle-placement": "agents.schedulers.index:OraclePlacement",
    "predicted-sjf": "agents.schedulers.index:PredictedSJF",
    "index": "agents.schedulers.index:IndexPolicy",
    "index-aged": "agents.schedulers.index:AgedIndexPolicy",
    "clinucb": "agents.schedulers.bandits.linear:CLinUCB",
    "c2ucb": "agents.schedulers.bandits.linear:C2UCB",
    "cn-greedy": "agents.schedulers.bandits.neural:CNGreedy",
    "cn-ducb": "agents.schedulers.bandits.neural:CNDUCB",
    "neural-linear": "agents.schedulers.bandits.neural_linear:NeuralLinear",
    "cn-ts": "agents.schedulers.bandits.thompson:CNTS",
    "warm-linear": "agents.schedulers.bandits.warm:WarmLinear",
    "ppo": "agents.schedulers.policy_agent:PPOAgent",
    "maskable-ppo": "agents.schedulers.policy_agent:MaskablePPOAgent",
    "a2c": "agents.schedulers.policy_agent:A2CAgent",
    "dqn": "agents.schedulers.policy_agent:DQNAgent",
    "sac": "agents.schedulers.policy_agent:SACAgent",
    "recurrent-ppo": "agents.schedulers.policy_agent:RecurrentPPOAgent",
    "sb3": "agents.schedulers.sb3_agent:SB3Agent",
}

AGENT_NAMES: Final = tuple(_CLASSES)
BANDITS: Final = ("clinucb", "c2ucb", "cn-greedy", "cn-ducb", "neural-linear", "cn-ts")
LEARNERS: Final = (*BANDITS, "warm-linear")  # from zero, and from what training knows


def make_agent(name: str, **kwargs: Any) -> Agent:
    """Makes an agent.

    Args:
        name: One of `AGENT_NAMES`.
        **kwargs: The agent's own settings.

    Raises:
        TypeError: If the agent has no such setting.
        ValueError: If there is no such agent, or a setting is out of range.
        ImportError: If the agent needs a package that is not installed.

    >>> make_agent("fcfs").name
    'fcfs'
    """
    made = agent_class(name)
    _check_settings(made, name, kwargs)
    return made(**kwargs)


def agent_class(name: str) -> type[Agent]:
    """Returns the class of an agent.

    Raises:
        ValueError: If there is no such agent.
        ImportError: If it needs a package that is not installed.
    """
    check_agent_names([name])
    module, _, attribute = _CLASSES[name].partition(":")
    found: type[Agent] = getattr(import_module(module), attribute)
    return found


def check_agent_names(names: list[str]) -> None:
    """Raises ``ValueError``, listing the known agents, if one is unknown."""
    for name in names:
        if name not in _CLASSES:
            raise ValueError(
                f"unknown agent {shown(name)}{did_you_mean(name, _CLASSES)}; "
                f"known agents: {', '.join(AGENT_NAMES)}"
            )


def _check_settings(made: type[Agent], name: str, settings: dict[str, Any]) -> None:
    """Raises ``TypeError`` if an agent has no such setting, or needs one that is not given."""
    parameters = constructor_arguments(made)
    for setting in settings:
        if setting not in parameters:
            known = ", ".join(parameters) or "none"
            hint = did_you_mean(setting, parameters)
            raise TypeError(
                f"agent {shown(name)} has no setting {shown(setting)}{hint}; it takes: {known}"
            )
    needed = [n for n, p in parameters.items() if p.default is p.empty and n not in settings]
    if needed:
        raise TypeError(f"agent {shown(name)} needs {', '.join(f'{n}=...' for n in needed)}")
