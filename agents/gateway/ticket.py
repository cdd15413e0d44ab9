"""A request in the gateway's hands."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass


@dataclass(eq=False)
class Ticket:
    """A request in the gateway's hands.

    Attributes:
        key: Its number.
        arrival: When it came (s).
        prompt_tokens: Tokens of its prompt, estimated, or counted when it is done.
        cached_tokens: How many of them its server found in its cache; None before it is done, and
            where the server does not say.
        node: Where it is; None while it waits.
        dispatch: When it was sent there (s), NaN before.
        first_token: When it gave its first token (s), NaN before.
        finish: When it ended (s), NaN before.
        tokens: Tokens that it has given.
        attempts: How often it was sent to a node.
        outcome: How it ended; empty before.
        told_tokens: How many of these the decision process has heard of.
        assigned: Set when it has a node.
    """

    key: int
    arrival: float
    prompt_tokens: int
    node: int | None = None
    dispatch: float = math.nan
    first_token: float = math.nan
    finish: float = math.nan
    tokens: int = 0
    attempts: int = 0
    cached_tokens: int | None = None
    outcome: str = ""
    told_tokens: int = 0
    assigned: asyncio.Event | None = None
