"""Compiled rules: small functions that look at the state alone, and what they are written with.

>>> from agents import rules
>>> @rules.rule
... def oldest_to_first_open(d):
...     for candidate in range(rules.candidates(d)):
...         node = rules.first_open(d)
...         if node == rules.NONE:
...             return
...         rules.send(d, candidate, node)
"""

from __future__ import annotations

from agents.rules.draws import below, uniform
from agents.rules.plan import (
    NONE,
    batch_room,
    batch_to_edge,
    cache_use,
    candidates,
    fill_cloud,
    first_open,
    is_cloud,
    is_open,
    is_static,
    load,
    next_waiting,
    occupied,
    places,
    row_of,
    send,
    takes_call,
    waiting,
)
from edgecloud_gym.simulator.compiled.inlining import compiled as helper
from edgecloud_gym.simulator.rules import Rule, rule

__all__ = [
    "NONE",
    "Rule",
    "batch_room",
    "batch_to_edge",
    "below",
    "cache_use",
    "candidates",
    "fill_cloud",
    "first_open",
    "helper",
    "is_cloud",
    "is_open",
    "is_static",
    "load",
    "next_waiting",
    "occupied",
    "places",
    "row_of",
    "rule",
    "send",
    "takes_call",
    "uniform",
    "waiting",
]
