"""What a client finds out about a server before it loads it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from data_tools.backends.base import WARM_UP_PROMPT, WARM_UP_RUNS, WARM_UP_TOKENS
from data_tools.backends.chat import OK, ChatClient, Exchange
from data_tools.backends.endpoint import BUSY_STATUSES, LONGEST_PAUSE, EndpointStoppedError
from data_tools.load.prompts import TokenScale, random_words

# vLLM, SGLang and llama.cpp know it: answers then have the length asked for.
ENDLESS: Final[dict[str, Any]] = {"ignore_eos": True}
FEW, MANY = 20, 120  # words
ATTEMPTS: Final = 8  # two minutes


@dataclass(frozen=True)
class ServerTraits:
    """What a server can do, by its first answers.

    Attributes:
        extra: Fields that make answers as long as asked for; empty where they are refused.
        scale: Tokens of prompts of random words; None where the server counts no tokens.
        warm_up: The exchanges of the warm-up.
    """

    extra: dict[str, Any]
    scale: TokenScale | None
    warm_up: list[Exchange] = field(default_factory=list)


async def warm_up(
    client: ChatClient, seed: int = 0, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> ServerTraits:
    """Asks for a few short answers, one after the other, and looks at them.

    Args:
        client: To the server.
        seed: Of the prompts.
        sleep: What pauses while a server is still loading its model; tests pass their own.

    Raises:
        EndpointStoppedError: If the server does not answer these.
    """
    asked = [await _first_answer(client, sleep)]
    asked += [
        _answered(client, await client.ask(WARM_UP_PROMPT, WARM_UP_TOKENS))
        for _ in range(WARM_UP_RUNS - 1)
    ]
    endless = await client.ask(WARM_UP_PROMPT, WARM_UP_TOKENS, extra=ENDLESS)
    extra = ENDLESS if endless.status == OK else {}
    rng = np.random.default_rng([seed, 3])
    sizes = [
        _answered(client, await client.ask(random_words(words, rng), 1)) for words in (FEW, MANY)
    ]
    asked += [*([endless] if extra else []), *sizes]
    few, many = (exchange.prompt_tokens for exchange in sizes)
    known = few is not None and many is not None
    scale = TokenScale.between((FEW, few or 0), (MANY, many or 0)) if known else None
    return ServerTraits(extra=dict(extra), scale=scale, warm_up=asked)


async def _first_answer(
    client: ChatClient, sleep: Callable[[float], Awaitable[object]]
) -> Exchange:
    """Returns the first answer; a server that says that it is busy or loading is asked again."""
    for attempt in range(ATTEMPTS):
        exchange = await client.ask(WARM_UP_PROMPT, WARM_UP_TOKENS)
        if exchange.code not in BUSY_STATUSES or attempt == ATTEMPTS - 1:
            break
        await sleep(min(0.5 * 2**attempt, LONGEST_PAUSE))
    return _answered(client, exchange)


def _answered(client: ChatClient, exchange: Exchange) -> Exchange:
    if exchange.status != OK:
        raise EndpointStoppedError(
            f"{client.url} fails to answer a first, simple request: {exchange.error}"
        )
    return exchange
