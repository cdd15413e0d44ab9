"""Agents that schedule requests in `edgecloud_gym`, and the experiments that compare them."""

from agents.base import Agent
from agents.experiments.experiment import ExperimentError, ExperimentResult, run_experiment
from agents.experiments.runs import AgentSpec, Scenario
from agents.registry import AGENT_NAMES, make_agent

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
