"""What compiled functions are handed: a lane's part of every array, bundled.

Most functions take ``p``, the settings (`PARAMETERS_DTYPE`), ``lane`` (`LANE_DTYPE`) and ``v``, a
`View`. Two more exist only in systems that need them and are None elsewhere, where Numba leaves
out what stands behind ``if ... is not None``: ``served`` (`ENGINE_REQUEST_DTYPE`, one per request),
where nodes queue requests or count tokens, and ``engines``, an `Engines`.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class View(NamedTuple):
    """The system's and a lane's arrays; see `edgecloud_gym.simulator.state`."""

    nodes: Any  # NODE_DTYPE (nodes,)
    states: Any  # NODE_STATE_DTYPE (nodes,)
    curves: Any  # slowdown curves of all nodes, one behind the other
    changes: Any  # CHANGE_DTYPE (changes,), by time
    table: Any  # TABLE_DTYPE (rows,)
    requests: Any
    finished: Any
    window: Any
    slots: Any
    members: Any
    history: Any
    signals: Any


class Engines(NamedTuple):
    """A system's engines, and a lane's part of their arrays; see `EngineArrays`."""

    settings: Any  # ENGINE_DTYPE (engines,)
    curves: Any
    states: Any  # ENGINE_STATE_DTYPE (engines,)
    sequences: Any  # SEQUENCE_DTYPE (engines, most sequences)
    phases: Any  # int32 (engines, largest block)
