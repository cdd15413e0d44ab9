"""Recording a live run: its requests as a table, and all that its decisions depended on.

A record is a folder:

* ``requests.csv``, a row per request in order of arrival, which `edgecloud calibrate` and
  `edgecloud_gym.arrivals.Trace` read;
* ``rounds.jsonl``, what the decision process was told in each round and what it answered;
* ``run.json``, the nodes, the agent and its settings;
* ``agent.npz``, what the agent had learnt when the run began, if it learns.

Neither prompts nor keys are in it.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.gateway.decisions import DecisionProcess, Outcome, Round
from agents.gateway.servers.spec import ClusterFile
from agents.gateway.ticket import Ticket
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.files import write_json
from edgecloud_gym.nodes import Node
from edgecloud_gym.simulator.live import LiveEvent, LiveRequest

REQUESTS: Final = "requests.csv"
ROUNDS: Final = "rounds.jsonl"
RUN: Final = "run.json"
AGENT: Final = "agent.npz"
COLUMNS: Final = (
    "request_id", "arrival_time", "dispatch_time", "first_token_time", "completion_time", "node",
    "prompt_tokens", "cached_tokens", "output_tokens", "attempts", "outcome",
)  # fmt: skip


class Recorder:
    """Writes a record as a gateway runs; see the module.

    Args:
        folder: A new folder, or an empty one.
        process: Whose decisions are recorded.
        cluster: The servers.

    Raises:
        FileExistsError: If there is something in the folder.
        OSError: If nothing can be written there.
    """

    def __init__(self, folder: Path, process: DecisionProcess, cluster: ClusterFile) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError(f"{folder}: is not empty; a record is a folder of its own")
        self._names = [server.name for server in cluster.servers]
        self._next = 0  # the request whose row comes next
        self._rows: dict[int, str] = {}
        player = process.player
        write_json(folder / RUN, {"started": time.time(), **describe(process)})
        if player.agent.state():
            player.agent.save(folder / AGENT)
        # Unbuffered lines: what is there after a crash is good up to its last line.
        self._requests = (folder / REQUESTS).open("w", encoding="utf-8", buffering=1)
        self._rounds = (folder / ROUNDS).open("w", encoding="utf-8", buffering=1)
        self._requests.write(",".join(COLUMNS) + "\n")

    def on_round(self, told: Round, outcome: Outcome) -> None:
        """Writes a round."""
        if told.arrivals or told.events or outcome.actions or outcome.forced:
            self._rounds.write(json.dumps(_round(told, outcome), separators=(",", ":")) + "\n")

    def on_end(self, ticket: Ticket) -> None:
        """Writes a request, as soon as all that came before it are written."""
        self._rows[ticket.key] = _csv_line(self._row(ticket))
        while self._next in self._rows:
            self._requests.write(self._rows.pop(self._next))
            self._next += 1

    def _row(self, ticket: Ticket) -> list[Any]:
        done = ticket.outcome == "completed"
        return [
            ticket.key,
            _time(ticket.arrival),
            _time(ticket.dispatch),
            _time(ticket.first_token if done else math.nan),
            _time(ticket.finish if done else math.nan),
            "" if ticket.node is None else self._names[ticket.node],
            ticket.prompt_tokens,
            "" if ticket.cached_tokens is None else ticket.cached_tokens,
            ticket.tokens,
            ticket.attempts,
            ticket.outcome,
        ]

    def close(self) -> None:
        """Closes the files."""
        self._requests.close()
        self._rounds.close()


def _time(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{seconds:.6f}"


def _csv_line(row: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    return line.getvalue()


def describe(process: DecisionProcess) -> dict[str, Any]:
    """Returns what a run consists of, as JSON values."""
    player = process.player
    config = player.env.config
    return {
        "agent": player.agent.name,
        "settings": {n: _plain(v) for n, v in player.agent.settings().items()},
        "learn": player.learn,
        "seed": player.seed,
        "waiting": player.waiting,
        "nodes": [_node(node) for node in config.nodes],
        "environment": {
            name: getattr(config, name)
            for name in (
                "candidate_pool_size", "work_conserving", "observe", "embedding_dim", "signal_age",
            )
        },
        "dataset": player.dataset,
    }  # fmt: skip


def _node(node: Node) -> dict[str, Any]:
    return {"kind": node.kind, **{name: _plain(value) for name, value in vars(node).items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, EngineModel):
        return value.to_dict()
    return str(value) if isinstance(value, Path) else value


def _round(told: Round, outcome: Outcome) -> dict[str, Any]:
    return {
        "now": told.now,
        "arrivals": [_request(request) for request in told.arrivals],
        "events": [[e.time, e.kind, e.request, e.value] for e in told.events],
        "closed": list(told.closed),
        "force": told.force,
        "actions": outcome.actions,
        "sent": [list(pair) for pair in outcome.sent],
        **({"shadow": sorted(outcome.shadow.items())} if outcome.shadow else {}),
    }


def _request(request: LiveRequest) -> list[Any]:
    shown: list[Any] = [request.key, request.arrival, request.prompt_tokens]
    if request.embedding is not None:
        packed = np.asarray(request.embedding, "<f4").tobytes()
        shown.append(base64.b64encode(packed).decode())
    return shown


def read_round(record: Mapping[str, Any]) -> tuple[Round, Outcome]:
    """Returns a round and what came of it, as they were recorded."""
    arrivals = [
        LiveRequest(
            key,
            arrival,
            tokens,
            np.frombuffer(base64.b64decode(packed[0]), "<f4") if packed else None,
        )
        for key, arrival, tokens, *packed in record["arrivals"]
    ]
    events = [LiveEvent(*values) for values in record["events"]]
    told = Round(record["now"], arrivals, events, tuple(record["closed"]), record["force"])
    sent = [(key, node) for key, node in record["sent"]]
    return told, Outcome(sent=sent, actions=record["actions"])
