"""How the nodes of a cluster are painted: a row for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from edgecloud_gym.render.canvas import MUTED, Canvas
from edgecloud_gym.render.geometry import Box, count, percent
from edgecloud_gym.render.slots import CLOUD_COLOURS, EDGE_COLOURS, SideColours
from edgecloud_gym.results.snapshot import NodeView

_ROW: Final = 52  # wished height of a node's row
_LEAST_ROW: Final = 30
_NAME: Final = 130  # pixels for names


def paint_nodes(canvas: Canvas, area: Box, nodes: Sequence[NodeView]) -> None:
    """Paints who runs and who queues at each node, and how full an engine's cache is.

    Args:
        canvas: Where to.
        area: The room there is.
        nodes: The nodes; those for which there is no room are counted below.
    """
    most = area.h // _LEAST_ROW
    shown = nodes if len(nodes) <= most else nodes[: most - 1]
    height = min(_ROW, area.h // max(len(shown), 1)) if shown is nodes else _LEAST_ROW
    for i, node in enumerate(shown):
        _paint_node(canvas, Box(area.x, area.y + i * height, area.w, height - 4), node)
    if hidden := len(nodes) - len(shown):
        canvas.text(f"+ {count(hidden)} more", area.x, area.bottom - 10, colour=MUTED)


def _paint_node(canvas: Canvas, row: Box, node: NodeView) -> None:
    colours = CLOUD_COLOURS if node.kind == "slots" else EDGE_COLOURS
    canvas.text(_cut(canvas, node.name, _NAME - 8), row.x, row.y + 8, 13, colours.strong)
    canvas.text(f"{count(node.completed)} done", row.x, row.y + 23, 11, MUTED)
    right = row.cut(left=_NAME)
    widths = (right.w * 55 // 100, right.w * 20 // 100, right.w * 25 // 100)
    busy = f"{count(node.running)} of {count(node.services)} {node.places}"
    share = node.running / max(1, node.services)
    _paint_bar(canvas, Box(right.x, row.y, widths[0] - 12, row.h), busy, share, colours)
    queue = Box(right.x + widths[0], row.y, widths[1] - 12, row.h)
    # A queue has no natural end: half of the bar is as many as can be served.
    waiting = node.queued / (node.queued + max(1, node.services))
    _paint_bar(canvas, queue, f"{count(node.queued)} queued", waiting, colours)
    cache = Box(right.x + widths[0] + widths[1], row.y, widths[2], row.h)
    if not math.isnan(node.cache):
        note = f"cache {percent(node.cache)}, {count(node.preemptions)} preempted"
        _paint_bar(canvas, cache, note, node.cache, colours)


def _paint_bar(canvas: Canvas, box: Box, note: str, share: float, colours: SideColours) -> None:
    canvas.bar(Box(box.x, box.y + 2, box.w, 12), share, colours.fill, colours.tint, radius=3)
    canvas.text(_cut(canvas, note, box.w, 11), box.x, box.y + 23, 11, MUTED)


def _cut(canvas: Canvas, text: str, width: int, size: int = 13) -> str:
    """Shortens text that does not fit."""
    if canvas.text_width(text, size) <= width:
        return text
    while text and canvas.text_width(f"{text}...", size) > width:
        text = text[:-1]
    return f"{text}..."
