"""How many threads libraries compute with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps BLAS, and torch where it is loaded, to one thread.

    A sum that is split among threads has other last bits, so that results would depend on how many
    cores a machine has; matrices here are so small that a second thread hardly shortens anything;
    and processes beside one another would all want every core.
    """
    with _libraries(len(sys.modules)).limit(limits=1, user_api="blas"):
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


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """Returns the libraries there are while so many modules are imported: more come with modules.

    To look for them takes 1.5 ms, more than a decision.
    """
    del modules
    return ThreadpoolController()
