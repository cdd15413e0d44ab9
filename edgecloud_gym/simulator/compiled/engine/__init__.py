"""Compiled engine: a server with continuous batching, simulated at the level of its steps.

One engine is a record of settings (`ENGINE_DTYPE`), a record of state (`ENGINE_STATE_DTYPE`), one
`SEQUENCE_DTYPE` record per sequence that it can hold, and a count of sequences by their position
in a block of the cache. Requests are records with at least the fields of `ENGINE_REQUEST_DTYPE`.
Nothing is allocated.

An owner of engines calls, at a time ``now`` to which all of them have been advanced:

    engine_arrive(m, e, requests, request, now)      # any number of times
    engine_settle(m, e, s, phases, curves, requests) # before e.end is read
    ...
    engine_advance(m, e, s, phases, curves, requests, until)

`engine_advance` stops behind the first moment at which a request finishes, and says so. Who reads
`e.end` after settling can end that one step with `engine_end_step` instead.
"""

from edgecloud_gym.simulator.compiled.engine.advance import (
    engine_advance,
    engine_arrive,
    engine_blocks_used,
    engine_change_pace,
    engine_end_step,
    engine_outstanding,
    engine_settle,
)
from edgecloud_gym.simulator.compiled.engine.layout import (
    ENGINE_DTYPE,
    ENGINE_REQUEST_DTYPE,
    ENGINE_STATE_DTYPE,
    NONE,
    SEQUENCE_DTYPE,
    engine_curves,
    engine_settings,
    reset_engine,
)

__all__ = [
    "ENGINE_DTYPE",
    "ENGINE_REQUEST_DTYPE",
    "ENGINE_STATE_DTYPE",
    "NONE",
    "SEQUENCE_DTYPE",
    "engine_advance",
    "engine_arrive",
    "engine_blocks_used",
    "engine_change_pace",
    "engine_curves",
    "engine_end_step",
    "engine_outstanding",
    "engine_settings",
    "engine_settle",
    "reset_engine",
]
