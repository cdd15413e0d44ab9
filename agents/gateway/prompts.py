"""What a gateway knows of prompts: about how long they are, and their embeddings."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.gateway.api.openai import Question
from agents.gateway.encoding import Encoder, EncoderGoneError
from agents.gateway.ticket import Ticket
from edgecloud_gym.dataset import RequestDataset

Vector = NDArray[np.float32]

_TOKENS_PER_BYTE: Final = 0.25
_NICENESS: Final = 10
_AT_ONCE: Final = 8  # prompts: more together are hardly quicker, and all wait for the last
_WEIGHT: Final = 0.02  # of the latest prompt among those that are remembered
_LOG = logging.getLogger(__name__)


def _yield_to_others() -> None:
    """Lets this thread compute when no other wants to: tokens that pass through come first."""
    if sys.platform == "linux":  # elsewhere threads have no priority of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


class PromptLengths:
    """Estimates how many tokens a prompt has: a line through what servers have counted of late.

    The line does not begin at 0: a chat's template has tokens of its own.

    Args:
        reference: Whose prompts it begins with.
    """

    def __init__(self, reference: RequestDataset) -> None:
        sizes, counts = np.array([100.0, 1000.0]), _TOKENS_PER_BYTE * np.array([100.0, 1000.0])
        if reference.prompts is not None and reference.prompt_tokens is not None:
            lengths = [len(p.encode("utf-8", "surrogatepass")) for p in reference.prompts]
            sizes, counts = (
                np.array(lengths, np.float64),
                reference.prompt_tokens.astype(np.float64),
            )
        # Means of size, count, size squared and their product.
        self._means = np.array(
            [sizes.mean(), counts.mean(), (sizes**2).mean(), (sizes * counts).mean()]
        )

    def estimate(self, question: Question) -> int:
        """Returns about how many tokens a request's prompt has, at least 1."""
        if question.in_tokens:
            return max(1, question.size)
        size, count, square, product = self._means.tolist()
        spread = square - size**2
        slope = (product - size * count) / spread if spread > 1e-6 * square else count / size
        slope = min(max(slope, 0.0), count / size)  # nor a template of less than nothing
        tokens: float = count + slope * (question.size - size)
        return max(1, round(tokens))

    def learn(self, question: Question, ticket: Ticket) -> None:
        """Takes note of what a server has counted, if the request was completed."""
        if question.in_tokens or ticket.outcome != "completed" or not question.size:
            return
        size, count = float(question.size), float(ticket.prompt_tokens)
        told = np.array([size, count, size**2, size * count])
        self._means += _WEIGHT * (told - self._means)


class Embeddings:
    """Embeds prompts in a thread of its own; what was embedded of late is remembered.

    Prompts that come while others are being embedded are embedded together.

    Args:
        encode: Turns prompts into vectors (n, d).
        remembered: How many prompts are remembered.
    """

    def __init__(self, encode: Encoder, remembered: int = 4096) -> None:
        self._encode = encode
        self._remembered = remembered
        self._known: OrderedDict[str, Vector] = OrderedDict()
        self._wanted: dict[str, asyncio.Future[Vector | None]] = {}
        self._told = ""
        self._worker: asyncio.Task[None] | None = None
        self._pool = ThreadPoolExecutor(
            1, thread_name_prefix="embeddings", initializer=_yield_to_others
        )

    async def of(self, prompt: str) -> Vector | None:
        """Returns the embedding of a prompt, (d,); None if it could not be made."""
        prompt = prompt.encode("utf-8", "replace").decode()  # half a character is none
        found = self._known.get(prompt)
        if found is not None:
            self._known.move_to_end(prompt)
            return found
        if prompt not in self._wanted:
            self._wanted[prompt] = asyncio.get_running_loop().create_future()
        wanted = self._wanted[prompt]
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._embed_wanted())
        return await asyncio.shield(wanted)  # others may wait for it, too

    async def _embed_wanted(self) -> None:
        while self._wanted:
            prompts = list(itertools.islice(self._wanted, _AT_ONCE))
            vectors = await self._embed(prompts)
            for prompt, vector in zip(prompts, vectors, strict=True):
                if vector is not None:
                    self._known[prompt] = vector
                self._wanted.pop(prompt).set_result(vector)
            while len(self._known) > self._remembered:
                self._known.popitem(last=False)

    async def _embed(self, prompts: list[str]) -> Sequence[Vector | None]:
        loop = asyncio.get_running_loop()
        # Whatever goes wrong here, a request can be routed without: its embedding is all zeros.
        try:
            return list(await loop.run_in_executor(self._pool, self._encode, prompts))
        except Exception as error:  # noqa: BLE001
            if len(prompts) > 1:  # the others are not to suffer from one
                return [vector for prompt in prompts for vector in await self._embed([prompt])]
            self._tell(error)
            return [None]

    def _tell(self, error: Exception) -> None:
        message = f"a prompt could not be embedded: {error}"
        if message != self._told:  # not a hundred times a second
            self._told = message
            _LOG.error(message, exc_info=None if isinstance(error, EncoderGoneError) else error)

    def close(self) -> None:
        """Ends the thread, once the encoder has answered."""
        self._pool.shutdown(cancel_futures=True)
