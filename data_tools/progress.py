"""The progress bar of long commands."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")


def track(
    items: Sequence[Item], title: str, *, done_before: int = 0, visible: bool = True
) -> Generator[Item]:
    """Yields the items under a progress bar with rate and time left.

    Leaving the loop early leaves the bar on the screen until the generator is closed.

    Args:
        items: What is still to do.
        title: What stands before the bar.
        done_before: How much earlier sessions have done; the bar starts there.
        visible: Whether to draw at all.
    """
    with progress_bar(visible) as progress:
        total = done_before + len(items)
        task = progress.add_task(title, total=total, completed=done_before, rate="")
        for item in items:
            yield item
            progress.advance(task)
            speed = progress.tasks[0].speed
            progress.update(task, rate=f"{60 * speed:.1f}/min" if speed else "")


def progress_bar(visible: bool = True) -> Progress:
    """Returns a bar whose tasks have a field ``rate``, on the error stream: output can be piped."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),  # a model's name may hold brackets
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), disable=not visible)
