"""How far servers are from what their engine models say."""

from __future__ import annotations

import logging
import math
from typing import Final

from agents.gateway.ticket import Ticket
from edgecloud_gym.nodes import Engine, Node

_WEIGHT: Final = 0.05  # of the latest request in the moving average
_SLOW: Final = 3.0
_LOG = logging.getLogger(__name__)


class Slowness:
    """Compares a server's time per further token with that of its engine model.

    Attributes:
        factor: How many times as slow it has been of late as the model says; NaN before it is
            known, and for nodes without an engine model.
    """

    def __init__(self, node: Node) -> None:
        self.factor = math.nan
        self._node = node
        self._said = False

    def see(self, ticket: Ticket, beside: int) -> None:
        """Takes note of a request that is done.

        Args:
            ticket: The request.
            beside: How many others were at the node when it ended.
        """
        node = self._node
        if not isinstance(node, Engine) or ticket.tokens < 2 or math.isnan(ticket.first_token):
            return
        taken = (ticket.finish - ticket.first_token) / (ticket.tokens - 1)
        running = min(beside + 1, node.sequences)
        context = running * (ticket.prompt_tokens + ticket.tokens / 2)
        ratio = taken / node.engine.step_time(decoding=running, context=context)
        known = not math.isnan(self.factor)
        self.factor = self.factor + _WEIGHT * (ratio - self.factor) if known else ratio
        self._tell()

    def _tell(self) -> None:
        if self.factor > _SLOW and not self._said:
            _LOG.warning(
                "server %s takes %.1f times as long per token as its engine model says",
                self._node.name,
                self.factor,
            )
        self._said = self.factor > _SLOW
