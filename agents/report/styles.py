"""How an agent is drawn: the same in every picture, in print, and for the colour-blind.

Colours are Paul Tol's (muted and bright schemes), which stay apart for colour-blind readers; line
and marker tell apart what a grey print shows alike. An agent of the registry has its own; one with
settings (``cn-greedy:epsilon=0.2``) has its colour and other marks; any other gets one by its name.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from itertools import cycle, islice
from typing import Final, NamedTuple

from agents.statistics import ORACLE


class Style(NamedTuple):
    """How an agent's curve is drawn."""

    color: str
    linestyle: str
    marker: str


_OWN: Final = {
    ORACLE: Style("#000000", "-.", "d"),
    "fcfs": Style("#332288", "-", "o"),
    "random": Style("#999933", ":", "x"),
    "round-robin": Style("#66ccee", "--", "s"),
    "least-connections": Style("#44aa99", "--", "^"),
    "queue-length": Style("#777777", ":", "v"),
    "historical-lrt": Style("#882255", "--", "D"),
    "join-shortest-queue": Style("#228833", "--", "p"),
    "power-of-two": Style("#aa3377", "--", "X"),
    "least-kv": Style("#bb5566", ":", "H"),
    "edge-first": Style("#004488", "-.", "8"),
    "edge-only": Style("#777777", "--", "<"),
    "cloud-only": Style("#777777", "-.", ">"),
    "clinucb": Style("#117733", "-", "P"),
    "c2ucb": Style("#ddaa33", "-", "h"),
    "cn-greedy": Style("#cc6677", "-", "s"),
    "cn-ducb": Style("#aa4499", "-", "D"),
    "neural-linear": Style("#4477aa", "-", "v"),
    "cn-ts": Style("#ee7733", "-", "^"),
    "warm-linear": Style("#ee3377", "-", "*"),
    "oracle-placement": Style("#555555", "-.", "o"),
    "predicted-sjf": Style("#0077bb", "--", "o"),
    "index": Style("#cc3311", "-", "X"),
    "index-aged": Style("#cc3311", "--", "*"),
    "ppo": Style("#009988", "-", "p"),
    "maskable-ppo": Style("#009988", "--", "P"),
    "recurrent-ppo": Style("#009988", "-.", "P"),
    "a2c": Style("#6699cc", ":", "s"),
    "dqn": Style("#997700", ":", "D"),
    "sac": Style("#994455", ":", "^"),
    "sb3": Style("#009988", "-", "8"),
}
_COLOURS: Final = (
    "#4477aa",
    "#cc6677",
    "#117733",
    "#ddaa33",
    "#882255",
    "#66ccee",
    "#aa4499",
    "#999933",
    "#44aa99",
)
_LINES: Final = ("-", "--", ":", "-.")
_MARKERS: Final = ("X", "p", "*", "8", "<", ">", "H")  # thin ones are lost on a line


def styles(labels: Iterable[str]) -> dict[str, Style]:
    """Returns a style per label, all different; the same for a label wherever it can be."""
    found: dict[str, Style] = {}
    taken = set(_OWN.values())
    for label in sorted(set(labels)):
        if label in _OWN:
            found[label] = _OWN[label]
            continue
        choices = _choices(label)
        style = next((choice for choice in choices if choice not in taken), choices[0])
        taken.add(style)
        found[label] = style
    return {label: found[label] for label in dict.fromkeys(labels)}


def _choices(label: str) -> list[Style]:
    """Returns the styles that a label may have, the one that it should have first."""
    base = _OWN.get(label.partition(":")[0])
    colours = _COLOURS if base is None else (base.color,)
    every = [Style(c, line, marker) for line in _LINES for marker in _MARKERS for c in colours]
    start = zlib.crc32(label.encode()) % len(every)
    return list(islice(cycle(every), start, start + len(every)))
