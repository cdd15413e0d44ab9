"""What a gateway allows."""

from __future__ import annotations

from dataclasses import dataclass

from edgecloud_gym.checks import check_integer, check_number


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a gateway allows. Immutable and validated.

    Attributes:
        queue: How many requests may wait at the gateway; others are refused with 429.
        body: Largest body of a request (bytes).
        prompt: Longest prompt (tokens, as estimated), None for no limit.
        attempts: How many servers a request is sent to at most, one after the other.
        queue_time: How long a request may wait at the gateway (s).
        connect_time: How long connecting to a server may take (s).
        first_token_time: How long a server may take to give the first token of a stream (s).
        stall_time: How long a stream may give nothing after that (s).
        total_time: How long an answer may take from its dispatch to its end (s).
        drain_time: How long a shutdown waits for requests to end (s).

    Raises:
        TypeError: If a value is of another kind.
        ValueError: If it is out of range.
    """

    queue: int = 1024
    body: int = 4 * 2**20
    prompt: int | None = None
    attempts: int = 3
    queue_time: float = 120.0
    connect_time: float = 5.0
    first_token_time: float = 120.0
    stall_time: float = 60.0
    total_time: float = 1800.0
    drain_time: float = 30.0

    def __post_init__(self) -> None:
        for name in ("queue", "body", "attempts"):
            check_integer(name, getattr(self, name), least=1)
        if self.prompt is not None:
            check_integer("prompt", self.prompt, least=1)
        for name in ("queue_time", "connect_time", "first_token_time", "stall_time", "total_time"):
            check_number(name, getattr(self, name), above=0)
        check_number("drain_time", self.drain_time, least=0)
