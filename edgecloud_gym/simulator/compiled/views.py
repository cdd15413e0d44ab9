"""What compiled functions are handed: a lane's part of every array, bundled.

Most functions take ``p``, the settings (`PARAMETERS_DTYPE`), ``lane`` (`LANE_DTYPE`) and ``v``, a
`View`. Two more exist only in systems that need them and are None elsewhere, where Numba leaves
out what stands behind ``if ... is not None``: ``served`` (`ENGINE_REQUEST_DTYPE`, one per request),
where nodes queue requests or count tokens, and ``engines``, an `Engines`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from edgecloud_gym.simulator.compiled.inlining import inlined


class View(NamedTuple):
    """The system's and a lane's arrays; see `edgecloud_gym.simulator.state`."""

    nodes: Any  # NODE_DTYPE (nodes,)
    states: Any  # NODE_STATE_DTYPE (nodes,)
    curves: Any  # slowdown curves of all nodes, one behind the other
    table: Any  # TABLE_DTYPE (rows,)
    requests: Any
    finished: Any
    window: Any
    slots: Any
    members: Any
    history: Any


class Engines(NamedTuple):
    """A system's engines, and a lane's part of their arrays; see `EngineArrays`."""

    settings: Any
    curves: Any
    bounds: Any
    states: Any
    sequences: Any
    phases: Any


@inlined
def of_lane(array, i):
    """Returns a lane's part of an array that may be absent."""
    if array is None:
        return None
    return array[i]


@inlined
def engines_of_lane(engines, i):
    """Returns a lane's engines, where there are any."""
    if engines is None:
        return None
    return Engines(
        engines.settings,
        engines.curves,
        engines.bounds,
        engines.states[i],
        engines.sequences[i],
        engines.phases[i],
    )


@inlined
def one_engine(engines, number):
    """Returns settings, state, sequences and phases of an engine of a lane."""
    first = engines.bounds[number, 0]
    last = engines.bounds[number + 1, 0]
    phase = engines.bounds[number, 1]
    end = engines.bounds[number + 1, 1]
    return (
        engines.settings[number],
        engines.states[number],
        engines.sequences[first:last],
        engines.phases[phase:end],
    )
