"""What the compiled code reads and never writes: settings, nodes and dataset tables, packed."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.config import REWARD_TERMS, SystemConfig
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.nodes import Engine, Node, Sequences, Slots, StaticBatches, node_names
from edgecloud_gym.simulator.observation import FLOAT_KEYS, ObservationLayout
from edgecloud_gym.simulator.workload import Workload

WAITING: Final = -1  # `slot` of a request that has not been dispatched

# Kinds of nodes.
STATIC_BATCHES: Final = 0
SEQUENCES: Final = 1
ENGINE: Final = 2
SLOTS: Final = 3
_KINDS: Final = {
    StaticBatches: STATIC_BATCHES,
    Sequences: SEQUENCES,
    Engine: ENGINE,
    Slots: SLOTS,
}

PARAMETERS_DTYPE: Final = np.dtype(
    [
        ("pair", "i8"),  # whether it is an edge and a cloud, and shown as such
        ("candidates", "i8"),
        ("work_conserving", "i8"),
        ("drain", "i8"),
        ("priority_mode", "i8"),
        ("duration", "f8"),
        ("slo", "f8"),
        ("interval", "f8"),
        ("signal_age", "f8"),
        ("time_scale", "f8"),  # s, where a squashed time is one half
        ("count_scale", "f8"),  # requests, where a squashed count per interval is one half
        ("ageing", "f8"),  # score per second of arrival time
        ("score_mean", "f8"),
        ("score_std", "f8"),
        *((f"weight_{term}", "f8") for term in REWARD_TERMS),
        *((f"start_{key}", "i8") for key in FLOAT_KEYS),  # floats before this key, per lane
    ],
    align=True,
)

NODE_DTYPE: Final = np.dtype(
    [
        ("kind", "i8"),
        ("services", "i8"),  # batches, sequences or slots side by side
        ("capacity", "i8"),  # requests that one of them takes
        ("places", "i8"),  # services + backlog
        ("backlog", "i8"),
        ("multiplier", "f8"),
        ("rtt", "f8"),
        ("first_slot", "i8"),  # where its slots lie among all nodes'
        ("first_member", "i8"),  # likewise the members of its batches
        ("first_curve", "i8"),  # likewise its slowdown curve, s(1) first
        ("engine", "i8"),  # its number among the engines
        ("rate", "f8"),  # requests/s that it can complete
        ("speed", "f8"),  # that as a share of the fastest node's
        ("token_scale", "f8"),  # prompt tokens, where its squashed outstanding ones are one half
    ],
    align=True,
)

CHANGE_DTYPE: Final = np.dtype(
    [
        ("time", "f8"),
        ("node", "i8"),
        ("pace", "f8"),  # how long a second of work takes from then on: 1 / speed
    ],
    align=True,
)

TABLE_DTYPE: Final = np.dtype(
    [
        ("base_latency", "f8"),
        ("score", "f8"),
        ("prompt_tokens", "f4"),  # as shown
        ("tokens", "i4"),  # of the prompt
    ],
    align=True,
)


def make_parameters(
    config: SystemConfig, workload: Workload, layout: ObservationLayout
) -> NDArray[np.void]:
    """Packs what the compiled code reads of the settings, shape (1,)."""
    parameters = np.zeros(1, PARAMETERS_DTYPE)
    values = {
        "pair": config.is_pair,
        "candidates": config.candidate_pool_size,
        "work_conserving": config.work_conserving,
        "drain": config.drain,
        "duration": config.duration,
        "slo": config.slo_limits.get("jct", np.inf),
        "interval": config.telemetry_interval,
        "signal_age": config.signal_age,
        "time_scale": workload.mean_latency,
        "count_scale": max(1.0, workload.mean_rate * config.telemetry_interval),
        "score_std": 1.0,
        **{f"weight_{term}": weight for term, weight in config.reward_weights.items()},
        **{f"start_{key}": start for key, start in layout.starts.items()},
    }
    for name, value in values.items():
        parameters[name] = value
    return parameters


def make_nodes(nodes: tuple[Node, ...], workload: Workload) -> NDArray[np.void]:
    """Packs what the compiled code reads of the nodes, `NODE_DTYPE` (nodes,)."""
    packed = np.zeros(len(nodes), NODE_DTYPE)
    slot = member = curve = engine = 0
    for record, node, slowdown, capacity in zip(
        packed, nodes, workload.slowdowns, workload.capacities, strict=True
    ):
        record["kind"] = _KINDS[type(node)]
        record["services"] = node.services
        record["capacity"] = node.batch
        record["places"] = node.services + node.backlog
        record["backlog"] = node.backlog
        record["multiplier"] = getattr(node, "time_multiplier", 1.0)
        record["rtt"] = node.network_rtt
        record["first_slot"] = slot
        record["first_member"] = member
        record["first_curve"] = curve
        record["engine"] = engine
        record["rate"] = capacity
        record["speed"] = capacity / max(workload.capacities)
        record["token_scale"] = max(1.0, workload.mean_prompt * node.services * node.batch)
        slot += slot_count(node)
        member += member_count(node)
        curve += len(slowdown)
        engine += isinstance(node, Engine)
    return packed


def make_changes(config: SystemConfig) -> NDArray[np.void]:
    """Packs the changes of speed, `CHANGE_DTYPE` (changes,), by time."""
    names = node_names(config.nodes)
    packed = np.zeros(len(config.speed_changes), CHANGE_DTYPE)
    for record, (node, time, speed) in zip(packed, config.speed_changes, strict=True):
        record["time"] = time
        record["node"] = names.index(node)
        record["pace"] = 1.0 / speed
    return packed


def slot_count(node: Node) -> int:
    """Returns how many slots a node has; an engine's one only gives its requests a number."""
    return 1 if isinstance(node, Engine) else node.services


def member_count(node: Node) -> int:
    """Returns how many members of batches a node has; a slot knows its only request itself."""
    return node.services * node.batch if node.batch > 1 else 0


def make_table(dataset: RequestDataset) -> NDArray[np.void]:
    """Packs what the compiled code reads of each dataset row, shape (rows,)."""
    table = np.zeros(len(dataset), TABLE_DTYPE)
    table["base_latency"] = dataset.base_latency
    if dataset.prompt_tokens is not None:
        table["prompt_tokens"] = prompt_feature(dataset.prompt_tokens)
        table["tokens"] = dataset.prompt_tokens
    return table


def prompt_feature(tokens: Any) -> Any:
    """Returns how counts of prompt tokens are shown: log(1 + tokens) / log(1 + 4096), at most 1."""
    return np.minimum(np.log1p(tokens) / np.log1p(4096.0), 1.0)
