"""Drift: what changes in the middle of an episode, at times that are known before it begins.

A machine becomes slower or faster (`SpeedChange`), or other prompts arrive (`PromptMix`). Nobody
who decides is told: neither observations nor ``info`` name a speed or a mix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.checks import check_number, did_you_mean
from edgecloud_gym.files import duplicate
from edgecloud_gym.wording import listed, shown


class SpeedChange(NamedTuple):
    """From a time on, a node works at another speed.

    At speed v everything that the node computes takes 1 / v times as long as its settings say; the
    network's round trip does not. What is in service at that time has its work so far behind it,
    and does the rest at the new speed: of slots and static batches the round trip comes first,
    sequences progress at v / s(n). An engine's step keeps the speed at which it began.

    Attributes:
        node: The node's name.
        time: When, s.
        speed: As a multiple of what the node's settings say, not of what it was before; above 0.
    """

    node: str
    time: float
    speed: float


class PromptMix(NamedTuple):
    """From a time on, prompts of other families arrive.

    Attributes:
        time: Requests that arrive at this time (s) or later are concerned.
        weights: How often each family is drawn, in proportion; those not named do not arrive.
    """

    time: float
    weights: Mapping[str, float]


def checked_speed_changes(
    changes: object, nodes: Sequence[str], duration: float
) -> tuple[SpeedChange, ...]:
    """Returns speed changes in order of time.

    Raises:
        TypeError: If they are no sequence of (node, time, speed).
        ValueError: If a node is unknown, a number out of range, or two are of one node and time.
    """
    allowed = "must be a list of (node's name, time in s, speed)"
    checked = []
    for item in _items("speed_changes", changes, allowed, 3):
        node, time, speed = item
        if not isinstance(node, str) or node not in nodes:
            hint = did_you_mean(str(node), nodes)
            raise ValueError(
                f"speed_changes={shown(changes)}: there is no node {shown(node)}{hint}; must be "
                f"one of {listed(nodes)}"
            )
        checked.append(
            SpeedChange(
                node,
                _checked_time(f"speed_changes, time of {shown(node)}", time, duration),
                check_number(f"speed_changes, speed of {shown(node)}", speed, above=0.0),
            )
        )
    twice = duplicate([f"{change.node!r} at {change.time:g} s" for change in checked])
    if twice is not None:
        raise ValueError(f"speed_changes={shown(changes)}: {twice} is given twice")
    return tuple(sorted(checked, key=lambda change: change.time))


def checked_prompt_mix(mixes: object, duration: float) -> tuple[PromptMix, ...]:
    """Returns mixes of prompts in order of time.

    Raises:
        TypeError: If they are no sequence of (time, weights).
        ValueError: If a number is out of range, no weight is above 0, or two are of one time.
    """
    allowed = "must be a list of (time in s, {family: weight})"
    checked = []
    for time, weights in _items("prompt_mix", mixes, allowed, 2):
        if not isinstance(weights, Mapping):
            raise TypeError(f"prompt_mix={shown(mixes)}: {allowed}")
        numbers = {
            str(family): check_number(f"prompt_mix, weight of {shown(family)}", weight, least=0.0)
            for family, weight in weights.items()
        }
        if not any(numbers.values()):
            raise ValueError(f"prompt_mix={shown(mixes)}: at each time a weight must be above 0")
        checked.append(PromptMix(_checked_time("prompt_mix, time", time, duration), numbers))
    twice = duplicate([f"{mix.time:g} s" for mix in checked])
    if twice is not None:
        raise ValueError(f"prompt_mix={shown(mixes)}: {twice} is given twice")
    return tuple(sorted(checked, key=lambda mix: mix.time))


def _items(name: str, given: object, allowed: str, length: int) -> Iterable[Sequence[Any]]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise TypeError(f"{name}={shown(given)}: {allowed}")
    for item in given:
        if not isinstance(item, Sequence) or isinstance(item, str) or len(item) != length:
            raise TypeError(f"{name}={shown(given)}: {allowed}, not {shown(item)}")
    return given


def _checked_time(name: str, time: object, duration: float) -> float:
    """Returns a time within the episode: a later one would change nothing, or only its end."""
    checked = check_number(name, time, least=0.0)
    if checked >= duration:
        raise ValueError(
            f"{name}={shown(time)}: must be before arrivals end, duration={duration:g} s"
        )
    return checked


class Speeds:
    """The speed of one node over time."""

    def __init__(self, node: str, changes: Sequence[tuple[str, float, float]]) -> None:
        """Takes a node's own of an episode's changes, which are in order of time."""
        own = [(time, speed) for name, time, speed in changes if name == node]
        self._times = np.array([0.0, *(time for time, _ in own)])
        self._speeds = np.array([1.0, *(speed for _, speed in own)])
        steps = np.diff(self._times) * self._speeds[:-1]
        self._done = np.concatenate([[0.0], np.cumsum(steps)])  # work that it could do by then

    @property
    def are_constant(self) -> bool:
        """Whether there is no change."""
        return len(self._times) == 1

    def finish(self, start: NDArray[np.float64], work: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns when work is done, s (n,).

        Args:
            start: When it begins, s (n,).
            work: How long it takes at speed 1, s (n,).
        """
        target = self._done_by(start) + work
        last = np.searchsorted(self._done, target, side="right") - 1
        last = np.maximum(last, 0)
        return np.asarray(self._times[last] + (target - self._done[last]) / self._speeds[last])

    def _done_by(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        last = np.maximum(np.searchsorted(self._times, times, side="right") - 1, 0)
        return np.asarray(self._done[last] + (times - self._times[last]) * self._speeds[last])
