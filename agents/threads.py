"""How many threads libraries compute with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps BLAS, and torch where it is loaded, to one thread.

    A sum that is split among threads has other last bits, so that results would depend on how many
    cores a machine has; matrices here are so small that a second thread hardly shortens anything;
    and processes beside one another would all want every core.
    """
    with threadpool_limits(1, user_api="blas"):
        if "torch" not in sys.modules:
            yield
            return
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
