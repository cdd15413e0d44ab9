"""Libraries that an extra of this package brings, named where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing(extra: str) -> Iterator[None]:
    """Says which extra brings what an import in the block does not find.

    Args:
        extra: Its name, as in ``pip install 'edgecloud-gym[rllib]'``.

    Raises:
        ModuleNotFoundError: If a module is missing; it and the extra are named.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: pip install 'edgecloud-gym[{extra}]'", name=error.name
        ) from error
