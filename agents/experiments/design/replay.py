"""Replaying a workload trace: its arrivals, and prompts whose answers are as long as its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.arrivals import Trace, WorkloadTrace, read_trace
from edgecloud_gym.checks import check_number
from edgecloud_gym.dataset import RequestDataset

_MOST: Final = 200_000  # requests that are matched where it is not known how many will arrive


class ReplayedDataset(RequestDataset):
    """The rows of a dataset in the order of a trace: row i is what request i asks.

    What agents see of a prompt is what they see in the dataset itself, so that a trained model
    meets the features that it knows.
    """

    source: RequestDataset
    source_rows: NDArray[np.int64]

    @classmethod
    def of(cls, source: RequestDataset, rows: NDArray[np.int64]) -> Self:
        """Makes one.

        Args:
            source: The dataset.
            rows: Which of its rows request 0, 1, ... asks (n,).
        """
        names = (
            "embeddings", "prompt_tokens", "response_tokens", "cached_tokens",
            "time_to_first_token",
        )  # fmt: skip
        arrays = {name: getattr(source, name) for name in names}
        chosen: dict[str, Any] = {
            name: None if array is None else array[rows] for name, array in arrays.items()
        }
        for name in ("prompts", "families"):
            texts = getattr(source, name)
            chosen[name] = None if texts is None else tuple(texts[row] for row in rows)
        made = cls(
            source.base_latency[rows],
            slowdown=source.slowdown,
            name=source.name,
            **chosen,
        )
        object.__setattr__(made, "source", source)
        object.__setattr__(made, "source_rows", rows)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, (self.source, self.source_rows)

    def embedding_table(self, dim: int | None) -> NDArray[np.float32]:
        """Returns the source's table, row by row; see `RequestDataset.embedding_table`."""
        table: NDArray[np.float32] = self.source.embedding_table(dim)[self.source_rows]
        table.setflags(write=False)
        return table


def whole(dataset: RequestDataset) -> RequestDataset:
    """Returns the dataset that a replay's rows are of; any other dataset is its own."""
    return dataset.source if isinstance(dataset, ReplayedDataset) else dataset


@dataclass(frozen=True)
class Replay:
    """A trace made ready to be played.

    Attributes:
        settings: Of the environment.
        dataset: What is asked.
        notes: What a user should know.
    """

    settings: dict[str, Any]
    dataset: RequestDataset
    notes: list[str] = field(default_factory=list)


def replay(
    path: Path,
    data: RequestDataset,
    *,
    split: str = "all",
    duration: float,
    rate_scale: float = 1.0,
    own_times: bool = True,
) -> Replay:
    """Makes settings that replay a workload trace.

    Where the dataset knows how long its answers are, each request of the trace asks the prompt
    whose answer is nearest in tokens to its own; prompts of one length take turns.

    Args:
        path: The trace, of any format of `edgecloud_gym.arrivals.read_trace`.
        data: Where the prompts come from.
        split: Which of them.
        duration: How long requests arrive (s).
        rate_scale: How many times as fast the trace is replayed.
        own_times: Whether the trace keeps its own times; else a load or rate will stretch it.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no trace, or nothing of it arrives.
    """
    check_number("rate_scale", rate_scale, above=0.0)
    trace = read_trace(path)
    times = trace.times / rate_scale
    count = int(np.searchsorted(times, duration)) if own_times else min(len(times), _MOST)
    arrivals = Trace(times[: max(count, 1)])
    which = f"{count:,} of the {len(trace):,} requests of {path}"
    notes = [f"Replaying {which}." if own_times else f"Replaying up to {which}."]
    if data.response_tokens is None:
        notes.append(
            f"Dataset {data.name!r} does not say how long its answers are: its prompts come in "
            "any order, whatever the trace says of lengths."
        )
        return Replay({"arrivals": arrivals}, data, notes)
    rows = match_lengths(
        trace.output_tokens[: max(count, 1)], data.response_tokens, data.rows(split)
    )
    asked = ReplayedDataset.of(data, rows)
    notes.append(_how_close(trace, asked))
    settings = {"arrivals": arrivals, "dataset": asked}
    return Replay({**settings, "prompt_order": "sequential", "split": "all"}, asked, notes)


def match_lengths(
    wanted: NDArray[np.integer[Any]],
    tokens: NDArray[np.integer[Any]],
    rows: NDArray[np.integer[Any]],
) -> NDArray[np.int64]:
    """Returns for each wanted length a row whose answer is nearest; rows of one length take turns.

    >>> match_lengths(np.array([9, 1, 9, 50]), np.array([10, 10, 2, 30]), np.arange(4))
    array([0, 2, 1, 3])

    Args:
        wanted: Lengths (n,), tokens.
        tokens: Lengths of the dataset's answers, by row, tokens.
        rows: The rows to choose from.
    """
    lengths, starts, counts = np.unique(
        np.sort(tokens[rows]), return_index=True, return_counts=True
    )
    by_length = rows[np.argsort(tokens[rows], kind="stable")]
    above = np.clip(np.searchsorted(lengths, wanted), 1, max(len(lengths) - 1, 1))
    above = np.minimum(above, len(lengths) - 1)
    below = np.maximum(above - 1, 0)
    nearer_below = wanted - lengths[below] <= lengths[above] - wanted
    nearest = np.where(nearer_below, below, above)
    turns = np.zeros(len(wanted), np.int64)  # how often the length has been asked for before
    order = np.argsort(nearest, kind="stable")
    sizes = np.bincount(nearest, minlength=len(lengths))
    turns[order] = np.concatenate([np.arange(size) for size in sizes])
    return np.asarray(by_length[starts[nearest] + turns % counts[nearest]], np.int64)


def _how_close(trace: WorkloadTrace, asked: ReplayedDataset) -> str:
    assert asked.response_tokens is not None
    wanted = trace.output_tokens[: len(asked)]
    exact = np.abs(wanted - asked.response_tokens) <= 0.1 * wanted
    return (
        f"Answers of the trace have {np.median(wanted):,.0f} tokens (median, at most "
        f"{wanted.max():,}), those of the prompts matched {np.median(asked.response_tokens):,.0f} "
        f"(at most {asked.response_tokens.max():,}): {100 * exact.mean():.0f} % within a tenth."
        f"{_prompts_apart(trace, asked)}"
    )


def _prompts_apart(trace: WorkloadTrace, asked: ReplayedDataset) -> str:
    """Says how long the prompts are, which are not the trace's: an engine reads and caches them."""
    if asked.prompt_tokens is None:
        return ""
    return (
        f" Prompts are those of the dataset, {np.median(asked.prompt_tokens):,.0f} tokens; the "
        f"trace's have {np.median(trace.input_tokens[: len(asked)]):,.0f} (medians)."
    )
