"""A system's state as plain text: the "ansi" render mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from edgecloud_gym.render.geometry import count, percent, seconds
from edgecloud_gym.results.snapshot import NodeView, SlotView, Snapshot, title

WIDTH: Final = 80
_INDENT: Final = 7  # width of the first column
_MOST_LINES: Final = 8  # per side
_BAR: Final = 12
_MOST_NODES: Final = 9


def render_text(view: Snapshot) -> str:
    """Writes a snapshot in lines of at most 80 characters, ASCII only.

    Args:
        view: The snapshot.

    Returns:
        The lines, without a line break at the end.
    """
    served = _nodes(view.nodes) if view.nodes else [*_edge(view), *_cloud(view)]
    lines = [*_header(view), "", *_queue(view), *served, *_jct(view)]
    return "\n".join(line.rstrip() for line in lines)


def _nodes(nodes: Sequence[NodeView]) -> list[str]:
    """Writes two lines per node: who runs and who queues, and what is known beyond that."""
    lines = []
    for node in nodes[:_MOST_NODES]:
        share = node.running / max(1, node.services)
        busy = f"{count(node.running)} of {count(node.services)} {node.places}"
        name = node.name.encode("ascii", "replace").decode()
        lines.append(f"{name[:18]:<19}{_bar(share, _BAR)}  {busy}, {count(node.queued)} queued")
        more = f"{node.kind}, {count(node.completed)} done"
        if node.preemptions >= 0:
            more += f", {count(node.preemptions)} preemptions"
        if not math.isnan(node.cache):
            more += f", cache {percent(node.cache)}"
        lines.append(" " * 19 + more)
    if hidden := nodes[_MOST_NODES:]:
        lines.append(f"and {count(len(hidden))} more")
    width = WIDTH - _INDENT
    return [_labelled("" if i else "nodes", line[:width]) for i, line in enumerate(lines)]


def _header(view: Snapshot) -> list[str]:
    share = min(1.0, view.time / view.duration)
    verb = "until" if share < 1.0 else "ended at"
    numbers = {
        "arrived": view.arrived,
        "waiting": view.queue_length,
        "running": view.running,
        "done": view.completed,
        "offloaded": view.offloaded,
    }
    return [
        _both_ends(title(view), f"time {seconds(view.time)}"),
        _both_ends(_bar(share, WIDTH - 32), f"arrivals {verb} {seconds(view.duration)}"),
        "".join(f"{name} {count(number)}".ljust(16) for name, number in numbers.items()),
    ]


def _queue(view: Snapshot) -> list[str]:
    if view.queue_length == 0:
        return [_labelled("queue", "empty")]
    head = f"{count(view.queue_length)} waiting"
    if view.ages:
        head += f", the longest of the candidates for {seconds(max(view.ages))}"
    return [_labelled("queue", head), _labelled("", _ids(view.candidates, WIDTH - _INDENT))]


def _edge(view: Snapshot) -> list[str]:
    if not view.edge:
        return [_labelled("edge", "none")]
    if view.continuous:
        return _side("edge", view.edge, "sequences running", capacity=1)
    return _side("edge", view.edge, "batches running", view.batch_capacity)


def _cloud(view: Snapshot) -> list[str]:
    if not view.cloud:
        return [_labelled("cloud", "none")]
    return _side("cloud", view.cloud, "requests running", capacity=1)


def _side(name: str, slots: Sequence[SlotView], what: str, capacity: int) -> list[str]:
    """Writes the slots of a side, two in a line where each holds one request."""
    columns = 2 if capacity == 1 else 1
    width = (WIDTH - _INDENT) // columns
    shown = min(len(slots), _MOST_LINES * columns)
    cells = [_slot(i, slots[i], capacity, width).ljust(width) for i in range(shown)]
    rows = ["".join(cells[i : i + columns]) for i in range(0, shown, columns)]
    busy = sum(bool(slot.requests) for slot in slots)
    lines = [f"{count(busy)} of {count(len(slots))} {what}", *rows]
    if hidden := slots[shown:]:
        hidden_busy = sum(bool(slot.requests) for slot in hidden)
        lines.append(f"and {count(len(hidden))} more, {count(hidden_busy)} of them running")
    return [_labelled("" if i else name, line) for i, line in enumerate(lines)]


def _slot(index: int, slot: SlotView, capacity: int, width: int) -> str:
    if not slot.requests:
        return f"{index + 1:>3}  idle"
    text = f"{index + 1:>3}  {_bar(slot.progress, _BAR)} {seconds(slot.elapsed):>8}  "
    if capacity > 1:
        text += f"{len(slot.requests)}/{capacity}  "
    # One character stays free: between two columns, or at the end of the line.
    return text + _ids(slot.requests, width - len(text) - 1)


def _jct(view: Snapshot) -> list[str]:
    if not view.completed:
        return [_labelled("JCT", "no request is done yet")]
    text = f"mean {seconds(view.mean_jct)}"
    for node, chosen in (("edge", ~view.on_cloud), ("cloud", view.on_cloud)):
        if chosen.any():
            text += f"    lately on the {node} {seconds(float(np.mean(view.jcts[chosen])))}"
    return [_labelled("JCT", text)]


def _labelled(label: str, text: str) -> str:
    return label.ljust(_INDENT) + text


def _both_ends(left: str, right: str) -> str:
    return left + right.rjust(WIDTH - len(left))


def _bar(share: float, width: int) -> str:
    full = round(share * width)
    return f"[{'#' * full}{'.' * (width - full)}]"


def _ids(requests: Sequence[int], width: int) -> str:
    """Writes request ids, and how many more there are where the width ends."""
    text = " ".join(map(str, requests))
    if len(text) <= width:
        return text
    # Ids are dropped from the end until what is left fits beside the note on how many.
    for kept in range(min(len(requests), width) - 1, -1, -1):
        note = f"+{len(requests) - kept}"
        text = " ".join([*map(str, requests[:kept]), note])
        if len(text) <= width:
            return text
    return ""
