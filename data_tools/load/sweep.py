"""A sweep over fixed concurrencies: how long a step takes, and a prompt of a length.

Three kinds of measurement, several times each in random order, so that drift of the machine falls
on all alike: the idle server with a prompt of a length, which gives the time to first token and the
decoding step of one sequence over that context; so many requests side by side, whose steps are
timed while all of them decode; and a prompt that comes while others decode, which tells whether
both are computed in one batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from data_tools.backends.chat import OK, ChatClient, Exchange
from data_tools.backends.endpoint import EndpointStoppedError
from data_tools.calibration.sweep_file import (
    IdleMeasurement,
    MixedMeasurement,
    RoundMeasurement,
    SweepFile,
)
from data_tools.load.prompts import TokenScale
from data_tools.load.server import ServerTraits
from edgecloud_gym.checks import check_integer
from edgecloud_gym.wording import shown

REPEATS: Final = 5
IDLE_TOKENS: Final = 16
ROUND_TOKENS: Final = 64
TRIES: Final = 3
COMERS: Final = 3  # one after the other, beside the same answers
LEAST_STEPS: Final = 4  # in a round's window
BUNDLED: Final = 1.5  # tokens a chunk
TASK: Final = "Write a very long story with these words: "


async def run_sweep(
    client: ChatClient,
    traits: ServerTraits,
    file: SweepFile,
    *,
    save: Callable[[SweepFile], object],
    advance: Callable[[str], object],
    seed: int = 0,
) -> SweepFile:
    """Measures what a sweep's file lacks.

    Args:
        client: To the server, which nobody else should use meanwhile.
        traits: What `warm_up` found out.
        file: Which concurrencies and lengths, and what earlier sessions measured.
        save: Called with the file after each measurement.
        advance: Called with what was measured, for a progress bar.
        seed: Of orders and prompts.

    Raises:
        EndpointStoppedError: If the server counts no tokens, or fails to answer.
    """
    if traits.scale is None:
        raise EndpointStoppedError(
            f"{client.url} reports no usage: a sweep needs the server's token counts "
            "(stream_options.include_usage)"
        )
    # Another session draws other prompts: the server may have those of the last one in its cache.
    rng = np.random.default_rng([seed, 4, len(file.conditions)])
    for repeat, kind, level in missing(file, rng):
        if kind == "idle":
            file = file.with_idle(await _idle(client, traits, level, repeat, rng))
        elif kind == "mixed":
            for measured in await _mixed(client, traits, file, repeat, rng):
                file = file.with_mixed(measured)
        else:
            file = file.with_round(await _round(client, traits, file, level, repeat, rng))
        save(file)
        advance(kind if kind == "mixed" else f"{kind} {level}")
    return file


def count_measurements(file: SweepFile) -> int:
    """Returns how many measurements a sweep consists of, those that are made among them."""
    return count_missing(replace(file, idle=(), rounds=(), mixed=()))


def count_missing(file: SweepFile) -> int:
    """Returns how many measurements a sweep lacks."""
    return sum(1 for _ in missing(file, np.random.default_rng(0)))


def missing(file: SweepFile, rng: np.random.Generator) -> Iterator[tuple[int, str, int]]:
    """Yields (repetition, "idle" or "round", level) of what a file lacks, shuffled within each.

    A repetition ends with (repetition, "mixed", 0): how many the server runs is known by then.
    """
    levels = [("idle", length) for length in file.prompt_lengths]
    levels += [("round", n) for n in file.concurrencies]
    have = {(m.repeat, "idle", m.asked) for m in file.idle}
    have |= {(m.repeat, "round", m.concurrency) for m in file.rounds}
    have |= {(m.repeat, "mixed", 0) for m in file.mixed}
    for repeat in range(file.repeats):
        for i in rng.permutation(len(levels)):
            if (repeat, *levels[i]) not in have:
                yield (repeat, *levels[i])
        if max(file.concurrencies, default=1) > 1 and (repeat, "mixed", 0) not in have:
            yield (repeat, "mixed", 0)


async def _idle(
    client: ChatClient, traits: ServerTraits, asked: int, repeat: int, rng: np.random.Generator
) -> IdleMeasurement:
    assert traits.scale is not None
    for _ in range(TRIES):
        prompt = traits.scale.prompt(asked, rng)
        exchange = await client.ask(prompt, IDLE_TOKENS, extra=traits.extra)
        if exchange.first is not None:
            break  # without `ignore_eos` an answer may be empty
    _require(client, exchange)
    assert exchange.first is not None
    assert exchange.prompt_tokens is not None
    assert exchange.output_tokens is not None
    steps = exchange.output_tokens - 1
    return IdleMeasurement(
        asked=asked,
        repeat=repeat,
        prompt_tokens=exchange.prompt_tokens,
        cached_tokens=exchange.cached_tokens or 0,
        ttft=exchange.first - exchange.sent,
        step=(exchange.moments[-1] - exchange.first) / steps if steps >= LEAST_STEPS else None,
        context=exchange.prompt_tokens + exchange.output_tokens / 2,
    )


async def _round(
    client: ChatClient,
    traits: ServerTraits,
    file: SweepFile,
    concurrency: int,
    repeat: int,
    rng: np.random.Generator,
) -> RoundMeasurement:
    assert traits.scale is not None
    length = min(file.prompt_lengths)
    for _ in range(TRIES):
        prompts = [_story(traits.scale, length, rng) for _ in range(concurrency)]
        asked = [client.ask(prompt, ROUND_TOKENS, extra=traits.extra) for prompt in prompts]
        exchanges = await asyncio.gather(*asked)
        if all(exchange.first is not None for exchange in exchanges):
            break
    for exchange in exchanges:
        _require(client, exchange)
    together, step, tokens, context = window(exchanges)
    return RoundMeasurement(
        concurrency=concurrency,
        asked=length,
        repeat=repeat,
        together=together,
        step=step,
        tokens=tokens,
        context=context,
    )


async def _mixed(
    client: ChatClient,
    traits: ServerTraits,
    file: SweepFile,
    repeat: int,
    rng: np.random.Generator,
) -> list[MixedMeasurement]:
    length = min(file.prompt_lengths)
    # One less than are known to decode together: the server has a place for one more.
    together = max((m.concurrency for m in file.rounds if m.step is not None), default=1)
    decoding = max(1, together - 1)
    for _ in range(TRIES):
        comers, others = await _meeting(client, traits, length, decoding, rng)
        if all(exchange.first is not None for exchange in (*comers, *others)):
            break
    for exchange in (*comers, *others):
        _require(client, exchange)
    steps = [shared_step(one, others) for one in comers]
    return [
        MixedMeasurement(
            decoding=decoding,
            asked=length,
            repeat=repeat,
            prompt_tokens=one.prompt_tokens or 1,
            cached_tokens=one.cached_tokens or 0,
            step=step,
            context=context,
        )
        for one, (step, context) in zip(comers, steps, strict=True)
    ]


async def _meeting(
    client: ChatClient, traits: ServerTraits, length: int, decoding: int, rng: np.random.Generator
) -> tuple[list[Exchange], list[Exchange]]:
    """Lets a few requests, one after the other, come while so many others decode.

    Returns:
        Those that came, and the others.
    """
    assert traits.scale is not None
    begun = asyncio.Event()
    chunks: dict[int, int] = {}

    def on_chunk(exchange: Exchange) -> None:
        chunks[id(exchange)] = len(exchange.moments)
        if sum(count >= LEAST_STEPS for count in chunks.values()) == decoding:
            begun.set()

    prompts = [_story(traits.scale, length, rng) for _ in range(decoding)]
    asked = [
        client.ask(prompt, ROUND_TOKENS, extra=traits.extra, on_chunk=on_chunk)
        for prompt in prompts
    ]
    others = asyncio.gather(*asked)
    others.add_done_callback(lambda _: begun.set())  # of short answers
    await begun.wait()
    comers = [
        await client.ask(traits.scale.prompt(length, rng), 1, extra=traits.extra)
        for _ in range(COMERS)
    ]
    return comers, await others


def shared_step(one: Exchange, others: Sequence[Exchange]) -> tuple[float | None, float]:
    """Returns the step in which a prompt was read while others decoded.

    It is the pause in their answers that ends with the first token of the one that came.

    Args:
        one: The one that came.
        others: Those that decoded; all are answered.

    Returns:
        The time of the step (s), None where one of them did not decode all the while or chunks are
        not tokens; cached tokens that they looked back on.
    """
    pauses, context = [], 0.0
    first = one.moments[0]
    for other in others:
        moments = np.array(other.moments)
        bundled = (other.output_tokens or 0) > BUNDLED * len(moments)
        if bundled or not moments[0] < one.sent < first < moments[-1]:
            return None, 0.0
        same = max(1, int(np.abs(moments - first).argmin()))  # the chunk of the same step
        pauses.append(moments[same] - moments[same - 1])
        context += (other.prompt_tokens or 0) + same
    return float(np.median(pauses)), context


def _story(scale: TokenScale, tokens: int, rng: np.random.Generator) -> str:
    return TASK + scale.prompt(max(1, tokens - 10), rng)


def _require(client: ChatClient, exchange: Exchange) -> None:
    if exchange.status != OK or exchange.first is None or not exchange.counted:
        why = exchange.error or "its answer was empty, or its tokens were not counted"
        raise EndpointStoppedError(f"{client.url} failed during the sweep: {why}")


def window(exchanges: Sequence[Exchange]) -> tuple[int, float | None, float, float]:
    """Returns what a round tells: the steps made while all of its requests decoded.

    Args:
        exchanges: Requests sent at one time, all answered.

    Returns:
        How many decoded together at most; the mean time of a step (s), None where they never all
        did, or for too short; tokens per sequence in that time; cached tokens in its middle.
    """
    firsts = np.array([exchange.moments[0] for exchange in exchanges])
    lasts = np.array([exchange.moments[-1] for exchange in exchanges])
    together = int(max(((firsts <= at) & (lasts > at)).sum() for at in firsts))
    begin, end = firsts.max(), lasts.min()
    if together < len(exchanges):
        return max(1, together), None, 0.0, 0.0
    steps, tokens, context = [], [], 0.0
    for exchange in exchanges:
        moments = np.array(exchange.moments)
        inside = np.flatnonzero((moments >= begin) & (moments <= end))
        per_chunk = (exchange.output_tokens or 0) / len(moments)  # servers may bundle tokens
        made = (len(inside) - 1) * per_chunk
        if made < LEAST_STEPS:
            return together, None, 0.0, 0.0
        steps.append((moments[inside[-1]] - moments[inside[0]]) / made)
        tokens.append(made)
        middle = (inside[0] + inside[-1]) / 2 * per_chunk
        context += (exchange.prompt_tokens or 0) + middle
    return together, float(np.mean(steps)), float(np.mean(tokens)), float(context)


def check_levels(name: str, levels: Sequence[int]) -> tuple[int, ...]:
    """Returns concurrencies or lengths in ascending order, each once.

    Raises:
        TypeError, ValueError: If one is no integer from 1, or there is none.
    """
    found = tuple(sorted({check_integer(name, level, least=1) for level in levels}))
    if not found:
        raise ValueError(f"{name}={shown(levels)}: must be one number or more")
    return found
