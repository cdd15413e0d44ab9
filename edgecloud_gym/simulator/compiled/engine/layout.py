"""What an engine's arrays hold, and how they are filled before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.engines import TIMES, EngineModel

NONE: Final = -1  # no sequence, no request

# What a sequence is doing. One that leaves has computed its last token, in a step that has not
# ended; one that is released was preempted in that state, and has given back all it held.
FREE: Final = 0
READING: Final = 1
DECODING: Final = 2
LEAVING: Final = 3
RELEASED: Final = 4

ENGINE_DTYPE: Final = np.dtype(
    [
        *((name, "f8") for name in TIMES),
        ("sequences", "i8"),
        ("batched_tokens", "i8"),
        ("blocks", "i8"),  # of the cache; NONE: no limit
        ("block_size", "i8"),
        ("lookahead", "i8"),
        ("reserve_prompt", "i8"),
        ("prefix_caching", "i8"),
        ("shared_prefix", "i8"),  # tokens of every prompt that the cache has already
        ("mixed_batches", "i8"),
        ("curve_start", "i8"),  # first point of its curve among all engines' curves
        ("curve_points", "i8"),  # 0: no curve
    ],
    align=True,
)

ENGINE_STATE_DTYPE: Final = np.dtype(
    [
        ("now", "f8"),  # the last boundary between steps, or when it woke
        ("end", "f8"),  # the next one, inf while idle
        ("due", "i8"),  # whether a step is to be composed at `now`
        ("pace", "f8"),  # how many times as long as by its settings a step takes that began
        ("next_pace", "f8"),  # ... that is yet to begin
        # The sequences.
        ("clock", "i8"),  # steps composed in which the decoding sequences took a token
        ("decoding", "i8"),  # sequences that take a token in the next step composed
        ("context", "i8"),  # cached tokens that these will look back on in it
        ("running", "i8"),  # sequences held: decoding, reading or leaving
        ("reading", "i8"),  # the one whose prompt is read in part, NONE if there is none
        ("oldest", "i8"),  # of the running, in order of admission
        ("youngest", "i8"),
        ("vacant", "i8"),  # first of the free sequence records
        # Blocks are taken from the front of the free ones and given back at their end: positions
        # in that line, counted from the start. What is free is given - taken.
        ("taken", "i8"),
        ("given", "i8"),
        ("held", "f8"),  # what has been taken by `now`, over time (block-seconds)
        # The queue: the preempted, a stack, before those that have never run, a list.
        ("preempted", "i8"),
        ("queue_head", "i8"),
        ("queue_tail", "i8"),
        ("queued", "i8"),
        # The step that runs (0) and the one composed next (1).
        ("step_decoding", "i8", 2),
        ("step_context", "i8", 2),
        ("step_prompt", "i8", 2),  # prompt tokens
        ("step_first", "i8", 2),  # sequences that give their first token at its end
        ("step_leaving", "i8", 2),  # sequences that leave at its end, in order
        ("step_last", "i8", 2),  # the last of these
        # A span of equal decoding steps from `now` on; 0: a single step.
        ("span", "i8"),
        ("span_step", "f8"),  # s per step, without what the context costs
        ("span_context", "i8"),  # of its first step
        # What left at `now`: a list by `queued_next` of the requests, in order.
        ("finished", "i8"),
        ("finished_head", "i8"),
        ("preemptions", "i8"),
    ],
    align=True,
)

SEQUENCE_DTYPE: Final = np.dtype(
    [
        ("state", "i4"),
        ("request", "i4"),
        ("older", "i4"),  # neighbours in order of admission; `younger` links the vacant as well
        ("younger", "i4"),
        ("next_first", "i4"),
        ("next_leaving", "i4"),
        ("heap", "i4"),  # not about this sequence: the decoding ones, as a heap by `mark`
        ("place", "i4"),  # where it is in that heap
        ("length", "i4"),  # tokens to read before it decodes: prompt and answer so far
        ("generated", "i4"),  # answer so far, when it was admitted
        ("tokens", "i8"),  # cached, of one that reads or leaves
        ("offset", "i8"),  # of one that decodes: cached tokens less the clock
        ("mark", "i8"),  # the clock at its last token
        # Not about this sequence: the stack of the preempted.
        ("put_request", "i4"),
        ("put_generated", "i4"),
        ("put_full", "i4"),  # blocks that were full
        ("put_start", "i8"),  # where its blocks lie in the line of free ones, tail first
        ("put_end", "i8"),
    ],
    align=True,
)

ENGINE_REQUEST_DTYPE: Final = np.dtype(
    [
        ("admitted", "f8"),  # when the first step that it is in was composed
        ("first_token", "f8"),
        ("finish", "f8"),
        ("prompt_tokens", "i4"),
        ("output_tokens", "i4"),
        ("cached_tokens", "i4"),  # of its prompt, found in the cache; below 0: `shared_prefix`
        ("queued_next", "i4"),  # behind it in an engine's queue, or among what finished together
        ("preemptions", "i4"),
    ],
    align=True,
)


def engine_settings(models: Sequence[EngineModel]) -> NDArray[np.void]:
    """Packs what the compiled code reads of engine models, `ENGINE_DTYPE` (models,)."""
    settings = np.zeros(len(models), ENGINE_DTYPE)
    start = 0
    for record, model in zip(settings, models, strict=True):
        for name in (*TIMES, "sequences", "batched_tokens", "block_size", "shared_prefix"):
            record[name] = getattr(model, name)
        for name in ("lookahead", "reserve_prompt", "prefix_caching", "mixed_batches"):
            record[name] = getattr(model, name)
        record["blocks"] = NONE if model.blocks is None else model.blocks
        record["curve_start"] = start
        record["curve_points"] = len(model.step_times or ())
        start += len(model.step_times or ())
    return settings


def engine_curves(models: Sequence[EngineModel]) -> NDArray[np.float64]:
    """Returns the curves of all models one behind the other, float64 (points, 2)."""
    points = [point for model in models for point in model.step_times or ()]
    return np.array(points, np.float64).reshape(-1, 2)


def reset_engine(
    settings: np.void,
    state: np.void,
    sequences: NDArray[np.void],
    phases: NDArray[np.int32],
) -> None:
    """Empties an engine, at time 0.

    Args:
        settings: Its record of `ENGINE_DTYPE`.
        state: Its record of `ENGINE_STATE_DTYPE`.
        sequences: `SEQUENCE_DTYPE` (sequences,).
        phases: int32 (block size,).
    """
    for name in ENGINE_STATE_DTYPE.names or ():
        state[name] = 0
    state["end"] = np.inf
    state["pace"] = state["next_pace"] = 1.0
    for name in ("reading", "oldest", "youngest", "queue_head", "queue_tail", "finished_head"):
        state[name] = NONE
    for name in ("step_first", "step_leaving", "step_last"):
        state[name] = NONE
    state["given"] = max(0, int(settings["blocks"]))
    n = len(sequences)
    sequences[:] = np.zeros((), SEQUENCE_DTYPE)
    sequences["younger"] = np.arange(1, n + 1)
    sequences["younger"][n - 1] = NONE
    phases[:] = 0
