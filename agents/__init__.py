"""Agents that schedule requests in `edgecloud_gym`, and the experiments that compare them."""

from agents.base import Agent
from agents.experiment import ExperimentError, ExperimentResult, run_experiment
from agents.registry import AGENT_NAMES, make_agent
from agents.runs import AgentSpec, Scenario

__all__ = [
    "AGENT_NAMES",
    "Agent",
    "AgentSpec",
    "ExperimentError",
    "ExperimentResult",
    "Scenario",
    "make_agent",
    "run_experiment",
]
