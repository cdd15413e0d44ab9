"""What is sent when: arrival times from a process or a recording, prompts beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_tools.load.open_loop import PlannedRequest
from data_tools.load.prompts import TokenScale
from edgecloud_gym.arrivals import Poisson, Trace, read_trace
from edgecloud_gym.checks import check_integer, check_number


@dataclass(frozen=True)
class Recording:
    """A workload trace to be played.

    Attributes:
        name: Of the file.
        trace: Its arrivals.
        input_tokens, output_tokens: int (n,), of each arrival.
    """

    name: str
    trace: Trace
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Recording:
        """Reads a workload trace of any known format; its first request is at 0 s.

        Raises:
            UnreadableFileError: If it is none.
        """
        recorded = read_trace(path)
        inputs = np.asarray(recorded.input_tokens, np.int64)
        outputs = np.asarray(recorded.output_tokens, np.int64)
        return cls(Path(path).name, Trace(recorded.times), inputs, outputs)


def arrival_times(
    rate: float | None,
    duration: float,
    most: int,
    seed: int,
    recording: Recording | None = None,
) -> NDArray[np.float64]:
    """Returns when requests are due, ascending (n,), s.

    Args:
        rate: Mean (requests/s): of a Poisson process, or that a recording is stretched to; None
            plays a recording as it was.
        duration: s; later arrivals are left out.
        most: How many requests at most.
        seed: Of the Poisson process; together with the rate it settles the times.
        recording: What is played.

    Raises:
        ValueError: If a setting is out of range, or nothing arrives.
    """
    check_number("duration", duration, above=0)
    check_integer("most_requests", most, least=1)
    if rate is not None:
        check_number("rate", rate, above=0)
    rng = np.random.default_rng([seed, 0 if rate is None else round(1e6 * rate)])
    process = Poisson() if recording is None else recording.trace
    times = process.sample(rng, rate, duration)[:most]
    if len(times) == 0:
        raise ValueError(f"duration={duration:g}: must be long enough for a request to arrive")
    return times


def plan_prompts(
    times: NDArray[np.float64], prompts: Sequence[str], max_tokens: int, seed: int
) -> list[PlannedRequest]:
    """Deals prompts to arrivals like a deck of cards, shuffled anew when it is used up."""
    rng = np.random.default_rng([seed, 1])
    rounds = -(-len(times) // len(prompts))
    dealt = np.concatenate([rng.permutation(len(prompts)) for _ in range(rounds)])
    return [
        PlannedRequest(float(at), prompts[i], max_tokens)
        for at, i in zip(times, dealt, strict=False)
    ]


def plan_recording(
    times: NDArray[np.float64],
    recording: Recording,
    scale: TokenScale,
    max_tokens: int,
    seed: int,
) -> list[PlannedRequest]:
    """Gives each arrival of a recording a prompt of random words, as long as it was recorded.

    Args:
        times: Of its first requests.
        recording: Whose tokens are taken.
        scale: How many words make a token.
        max_tokens: Answers are cut there.
        seed: Of the words.
    """
    rng = np.random.default_rng([seed, 2])
    sizes = zip(times, recording.input_tokens, recording.output_tokens, strict=False)
    return [
        PlannedRequest(float(at), scale.prompt(int(read), rng), max(1, min(int(wrote), max_tokens)))
        for at, read, wrote in sizes
    ]
