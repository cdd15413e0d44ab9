"""Whether a recorded run would be decided the same way again, round by round."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agents.base import Agent
from agents.gateway.decisions import DecisionProcess, Player
from agents.gateway.records.recorder import AGENT, ROUNDS, RUN, read_round
from agents.registry import make_agent
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.files import UnreadableFileError, read_json, read_jsonl
from edgecloud_gym.node_files import make_node

_SHOWN: Final = 3


@dataclass(frozen=True)
class Parity:
    """How a recorded run compares with its repetition.

    Attributes:
        rounds: How many rounds there are.
        decisions: How many decisions.
        differences: Where they differ, in words; a few at most.
    """

    rounds: int
    decisions: int
    differences: tuple[str, ...]


def check_parity(folder: Path, dataset: RequestDataset | None = None) -> Parity:
    """Decides a recorded run once more, from the recorded state, and compares every decision.

    Args:
        folder: The record.
        dataset: What the scales of the observation came from; by default what the record names.

    Raises:
        UnreadableFileError: If the record is damaged.
        OSError: If it cannot be read.
    """
    run = read_json(folder / RUN)
    process = DecisionProcess(_player(folder, run, dataset))
    rounds = decisions = 0
    differences: list[str] = []
    for number, record in read_jsonl(folder / ROUNDS):
        if isinstance(record, ValueError):
            raise UnreadableFileError(f"{folder / ROUNDS}, line {number}: {record}") from record
        told, recorded = read_round(record)
        outcome = process.decide(told)
        rounds += 1
        decisions += len(recorded.actions)
        if (outcome.actions, outcome.sent) != (recorded.actions, recorded.sent):
            differences.append(f"round {number}: sent {recorded.sent}, now {outcome.sent}")
    return Parity(rounds, decisions, tuple(differences[:_SHOWN]))


def _player(folder: Path, run: dict[str, Any], dataset: RequestDataset | None) -> Player:
    agent: Agent = make_agent(run["agent"], **run["settings"])
    if (folder / AGENT).exists():
        agent.load(folder / AGENT)
    return Player(
        agent,
        [make_node(node) for node in run["nodes"]],
        dataset=run["dataset"] if dataset is None else dataset,
        waiting=run["waiting"],
        settings=run["environment"],
        learn=run["learn"],
        seed=run["seed"],
    )
