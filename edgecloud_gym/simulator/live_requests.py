"""The requests of a live system: a table with a row for each that is there."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.wording import shown

_SHORTEST: Final = 1e-3  # s; logs of times are learnt from, and clocks stand still for less


class LiveRequests:
    """What a `RequestDataset` has, of requests that come and go.

    Agents read it as they read a dataset. What nobody can know yet is NaN or 0: a request's answer
    and its time until it is done.

    Attributes:
        base_latency: (n,) float64, s. How long a request would have taken alone on the machine of
            the reference dataset, NaN until it is done.
        prompt_tokens: (n,) int32.
        response_tokens: (n,) int32, 0 until it is done.
        name: What the reference is called, for it stands in for that.
        reference: The dataset that it stands in for.
        asked: Whether anybody has asked for embeddings.
    """

    prompts: None = None
    slowdown: None = None
    time_to_first_token: None = None
    cached_tokens: None = None
    skipped = 0

    def __init__(self, reference: RequestDataset, rows: int) -> None:
        """Makes an empty table.

        Args:
            reference: Whose times base latencies are told in.
            rows: How many requests there are at most.
        """
        self.reference = reference
        self.name = reference.name
        self.asked = False
        self.base_latency = np.full(rows, np.nan)
        self.prompt_tokens = np.zeros(rows, np.int32)
        self.response_tokens = np.zeros(rows, np.int32)
        given = reference.embeddings
        self._embeddings = None if given is None else np.zeros((rows, given.shape[1]), np.float32)
        self._free = list(range(rows))

    def __len__(self) -> int:
        return len(self.base_latency)

    def __repr__(self) -> str:
        return (
            f"LiveRequests({shown(self.name)}, {len(self) - len(self._free)} of {len(self)} rows)"
        )

    @property
    def embeddings(self) -> NDArray[np.float32] | None:
        """(n, d) float32 as the reference's are, or None where that has none."""
        self.asked = True
        return self._embeddings

    def clear(self) -> None:
        """Empties the table."""
        self._free = list(range(len(self)))

    def take(self, prompt_tokens: int, embedding: NDArray[np.float32] | None) -> int:
        """Enters a request that has come; returns its row.

        Raises:
            RuntimeError: If the table is full.
        """
        if not self._free:
            raise RuntimeError(f"{shown(self)}: more requests than were allowed for")
        row = self._free.pop()
        self.base_latency[row] = np.nan
        self.prompt_tokens[row] = prompt_tokens
        self.response_tokens[row] = 0
        if self._embeddings is not None:
            self._embeddings[row] = 0.0 if embedding is None else embedding
        return row

    def finish(self, row: int, output_tokens: int, service: float) -> None:
        """Enters what has become known of a request that is done.

        Args:
            row: Its row.
            output_tokens: Tokens of its answer, 0 if they were not counted.
            service: How long it was in service (s).
        """
        self.response_tokens[row] = output_tokens
        alone = self.alone(int(self.prompt_tokens[row]), output_tokens, service)
        self.base_latency[row] = max(_SHORTEST, alone)

    @property
    def present(self) -> NDArray[np.int64]:
        """The rows that are taken, int64 (k,)."""
        taken = np.ones(len(self), np.bool_)
        taken[self._free] = False
        return np.flatnonzero(taken)

    def free(self, row: int) -> None:
        """Gives a row back."""
        self._free.append(row)

    def alone(self, prompt_tokens: int, output_tokens: int, service: float) -> float:
        """Returns how long a request would have taken alone on the reference's machine (s).

        Args:
            prompt_tokens: Tokens of its prompt.
            output_tokens: Tokens of its answer, 0 if they were not counted.
            service: How long it was in service where it was, which stands in where the reference
                has no token counts or the answer's were not counted (s).
        """
        if self.time_per_token is None or output_tokens == 0:
            return service
        start, per_prompt, per_output = self.time_per_token
        return start + per_prompt * prompt_tokens + per_output * output_tokens

    @cached_property
    def time_per_token(self) -> tuple[float, float, float] | None:
        """What a request alone takes at all, per prompt token and per token of the answer (s).

        Least squares on the reference dataset, relative to each time, none below 0. None where that
        has no token counts. Times in service depend on who else was there; these do not, and mean
        what a dataset's ``base_latency`` means.
        """
        data = self.reference
        if data.prompt_tokens is None or data.response_tokens is None:
            return None
        columns = np.column_stack(
            [np.ones(len(data)), data.prompt_tokens, data.response_tokens]
        ).astype(np.float64)
        return _nonnegative(columns / data.base_latency[:, np.newaxis])


def _nonnegative(columns: NDArray[np.float64]) -> tuple[float, float, float]:
    """Returns the least squares solution of columns (n, 3) · x = 1 without negative entries."""
    used = [0, 1, 2]
    solution = np.zeros(3)
    while used:
        found = np.linalg.lstsq(columns[:, used], np.ones(len(columns)), rcond=None)[0]
        if found.min() >= 0:
            solution[used] = found
            break
        used.pop(int(found.argmin()))
    return float(solution[0]), float(solution[1]), float(solution[2])
