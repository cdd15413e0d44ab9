"""One engine over a log of requests: what calibration and validation compare with real times."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecloud_gym.checks import real_numbers
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.simulator.compiled.engine import (
    ENGINE_DTYPE,
    ENGINE_REQUEST_DTYPE,
    ENGINE_STATE_DTYPE,
    SEQUENCE_DTYPE,
    engine_curves,
    engine_settings,
    reset_engine,
)
from edgecloud_gym.simulator.compiled.engine.log import run_log


class EngineTimes(NamedTuple):
    """When each request was admitted, gave its first token and finished.

    Attributes:
        first_token: float64 (n,), s, on the clock of the arrivals.
        finish: float64 (n,), s.
        preemptions: int32 (n,), how often each was preempted.
        admitted: float64 (n,), s: when the first step that it is in was composed.
    """

    first_token: NDArray[np.float64]
    finish: NDArray[np.float64]
    preemptions: NDArray[np.int32]
    admitted: NDArray[np.float64]


def simulate_engine(
    model: EngineModel,
    arrival: ArrayLike,
    prompt_tokens: ArrayLike,
    output_tokens: ArrayLike,
    cached_tokens: ArrayLike | None = None,
) -> EngineTimes:
    """Simulates one server that gets every request when it arrives.

    Args:
        model: The server.
        arrival: When each request reaches it (n,), s, in any order.
        prompt_tokens: Integers (n,), at least 1.
        output_tokens: Integers (n,), at least 1.
        cached_tokens: Tokens of each prompt that are found in the cache, integers (n,), at least
            0, or -1 where that is the model's ``shared_prefix``; None for all. The last token of
            a prompt is computed all the same, also where more are given than the prompt has.

    Returns:
        Times and preemptions (n,), in the order of the arguments.

    Raises:
        TypeError: If an array holds text, truth values, complex numbers or dates.
        ValueError: If arrays differ in length, an entry is masked or out of range, or a request is
            larger than the cache.
    """
    times = _numbers("arrival", arrival)
    if times.ndim != 1 or not np.isfinite(times).all():
        raise ValueError("arrival must hold finite times (s), one per request")
    prompts = _counts("prompt_tokens", prompt_tokens, len(times))
    outputs = _counts("output_tokens", output_tokens, len(times))
    if model.blocks is not None:
        room = model.blocks * model.block_size
        large = np.flatnonzero(prompts.astype(np.int64) + outputs - 1 > room)
        if len(large):
            i = int(large[0])
            raise ValueError(
                f"request {i} needs {int(prompts[i]) + int(outputs[i]) - 1} tokens in the cache, "
                f"and kv_tokens={model.kv_tokens} holds {room}"
            )
    order = np.argsort(times, kind="stable")
    start = times[order[0]] if len(order) else 0.0  # small numbers keep their digits
    requests = np.zeros(len(times), ENGINE_REQUEST_DTYPE)
    requests["prompt_tokens"] = prompts[order]
    requests["output_tokens"] = outputs[order]
    requests["cached_tokens"] = -1
    if cached_tokens is not None:
        found = _counts("cached_tokens", cached_tokens, len(times), least=-1)
        requests["cached_tokens"] = found[order]
    settings = engine_settings([model])
    states = np.zeros(1, ENGINE_STATE_DTYPE)
    sequences = np.zeros(model.sequences, SEQUENCE_DTYPE)
    phases = np.zeros(model.block_size, np.int32)
    reset_engine(settings[0], states[0], sequences, phases)
    curves = engine_curves([model])
    _compiled()(settings, states, sequences, phases, curves, requests, times[order] - start)
    first = np.empty(len(times))
    finish = np.empty(len(times))
    admitted = np.empty(len(times))
    preemptions = np.empty(len(times), np.int32)
    first[order] = requests["first_token"] + start
    finish[order] = requests["finish"] + start
    preemptions[order] = requests["preemptions"]
    admitted[order] = requests["admitted"] + start
    return EngineTimes(first, finish, preemptions, admitted)


@cache
def _compiled() -> Callable[..., None]:
    """Looks the machine code up once: that takes a third of a millisecond, a fit asks often."""
    dtypes = (ENGINE_DTYPE, ENGINE_STATE_DTYPE, SEQUENCE_DTYPE, np.int32)
    records = [np.empty(0, dtype) for dtype in dtypes]
    curves, requests, arrival = np.empty((0, 2)), np.empty(0, ENGINE_REQUEST_DTYPE), np.empty(0)
    return run_log.compiled_for((*records, curves, requests, arrival))


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        return real_numbers(values, entry="request")
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def _counts(name: str, values: ArrayLike, n: int, least: int = 1) -> NDArray[np.int32]:
    exact = _numbers(name, values)
    if exact.shape != (n,):
        raise ValueError(f"{name} must have one entry per request: {n}, got shape {exact.shape}")
    good = (exact >= least) & (exact <= np.iinfo(np.int32).max // 4) & (exact == np.floor(exact))
    if not good.all():
        i = int(np.argmin(good))
        raise ValueError(f"{name} must be whole numbers from {least}; request {i} has {exact[i]:g}")
    return exact.astype(np.int32)
