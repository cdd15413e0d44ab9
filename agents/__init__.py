"""Agents that schedule requests in `edgecloud_gym`, and the experiments that compare them."""

from agents.base import Agent
from agents.experiments.design.scenario import Scenario
from agents.experiments.design.spec import AgentSpec
from agents.experiments.experiment import run_experiment
from agents.experiments.results.result import ExperimentError, ExperimentResult
from agents.recording.collect import collect, load_recording
from agents.registry import AGENT_NAMES, make_agent
from agents.schedulers.policy_file import save_policy
from agents.schedulers.sb3_file import save_model

__all__ = [
    "AGENT_NAMES",
    "Agent",
    "AgentSpec",
    "ExperimentError",
    "ExperimentResult",
    "Scenario",
    "collect",
    "load_recording",
    "make_agent",
    "run_experiment",
    "save_model",
    "save_policy",
]
