"""The decision process of a gateway: what has happened goes in, who goes where comes out.

Everything here is synchronous and depends on what it is told alone: the same rounds give the same
decisions, which is how a recorded run is checked (`agents.gateway.records.parity`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent
from agents.registry import make_agent
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.envs.live import LiveEnv
from edgecloud_gym.nodes import Node
from edgecloud_gym.simulator.compiled.follow import SENT
from edgecloud_gym.simulator.live import LiveEvent, LiveRequest

FALLBACK: Final = "join-shortest-queue"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Round:
    """What has happened since the round before.

    Attributes:
        now: What time it is (s).
        arrivals: Who has come.
        events: What else has happened.
        closed: Places of each node that take nobody, in their order.
        force: Whether the oldest are to be sent if nobody is at any node.
    """

    now: float
    arrivals: Sequence[LiveRequest] = ()
    events: Sequence[LiveEvent] = ()
    closed: tuple[int, ...] = ()
    force: bool = False


@dataclass
class Outcome:
    """What a round came to.

    Attributes:
        sent: Who is sent where: keys and nodes, in order.
        actions: The agent's actions, one a decision.
        forced: How many of ``sent`` the agent would have left waiting.
        fallbacks: Decisions that the fallback rule took because the agent raised.
        stuck: Whether somebody waits though nobody is at any node: the agent wants it so.
        shadow: Where a shadow agent would have sent whom, by key, after repair.
    """

    sent: list[tuple[int, int]] = field(default_factory=list)
    actions: list[list[int]] = field(default_factory=list)
    forced: int = 0
    fallbacks: int = 0
    stuck: bool = False
    shadow: dict[int, int] = field(default_factory=dict)


class Player:
    """An agent before a live system of its own.

    Args:
        agent: Who decides.
        nodes: The servers, as the agent is to see them.
        dataset: What the scales of the observation come from.
        waiting: How many requests may wait.
        settings: Any other setting of ``EdgeCloud-Cluster-v0``.
        learn: Whether the agent goes on learning.
        seed: Seeds what the agent draws.

    Raises:
        TypeError: If a setting is unknown or of the wrong type.
        ValueError: If a setting is out of range, or the agent does not play such a system.
    """

    def __init__(
        self,
        agent: Agent,
        nodes: Sequence[Node],
        *,
        dataset: str | RequestDataset,
        waiting: int,
        settings: Mapping[str, Any] | None = None,
        learn: bool = True,
        seed: int = 0,
    ) -> None:
        if not agent.plays_live:
            raise ValueError(
                f"agent {agent.name!r} does not play live: it must know more of each request than "
                "can be known of one that has just come"
            )
        given = dict(settings or {})
        if agent.work_conserving is not None:
            given.setdefault("work_conserving", agent.work_conserving)
        seen = agent.observes()
        for name, value in seen.items():
            given.setdefault(name, value)
        if seen.get("observe") == "id":
            raise ValueError(
                f"agent {agent.name!r} knows prompts by their rows in a dataset, and live prompts "
                "have none: it must be trained with observe='embedding'"
            )
        given.setdefault("observe", "id")  # costs nothing; who wants embeddings asks for them
        self.agent = agent
        self.learn = learn
        self.seed = seed
        self.dataset = str(getattr(dataset, "name", dataset))
        self.waiting = waiting
        self.env = LiveEnv(waiting=waiting, nodes=list(nodes), dataset=dataset, **given)
        self._fallback = make_agent(FALLBACK)
        self._fallback.reset(self.env, seed)  # first: the queue's order is the agent's
        agent.reset(self.env, seed)
        self._renumbered = 0
        self._told = ""
        # What is compiled or loaded at a first decision is so before there is any.
        agent.act(*self.env.reset(seed=seed), learn)

    @property
    def needs_embeddings(self) -> bool:
        """Whether the agent asks for embeddings of prompts."""
        return self.env.live.needs_embeddings

    def follow(self, told: Round) -> list[int]:
        """Takes down what has happened; returns keys of whom that has sent by force."""
        for node, places in enumerate(told.closed):
            self.env.live.close_places(node, places)
        forced = self.env.follow(told.arrivals, told.events, told.now, told.force)
        if len(self.env.live.entered):
            self.agent.rows_changed(self.env.live.entered)
        if self.env.live.renumbered > self._renumbered:
            self._renumbered = self.env.live.renumbered
            self.agent.forget_predictions()
        return forced

    def act(self) -> tuple[NDArray[np.int64], bool]:
        """Returns what the agent decides now, and whether it was the fallback that did."""
        # An agent is foreign code and may raise anything; requests must not suffer from it.
        try:
            observation, info = self.env.observe()
            if self.agent.observe(self.env.completions()):
                observation, info = self.env.reprioritize()
            action = self.agent.act(observation, info, self.learn)
            return self.env.checked(action), False
        except Exception as error:  # noqa: BLE001
            self._tell(error)
        observation, info = self.env.observe(scored=False)
        return self._fallback.act(observation, info), True

    def _tell(self, error: Exception) -> None:
        message = f"{type(error).__name__}: {error}"
        if message != self._told:  # not a thousand times a second
            self._told = message
            _LOG.error("agent %s failed, %s decides instead", self.agent.name, FALLBACK,
                       exc_info=error)  # fmt: skip


class DecisionProcess:
    """Decides for a live system, round by round.

    Args:
        player: Who decides.
        shadow: Who is asked what it would have done, if anybody.
    """

    def __init__(self, player: Player, shadow: Player | None = None) -> None:
        self.player = player
        self.shadow = shadow

    @property
    def needs_embeddings(self) -> bool:
        """Whether anybody asks for embeddings of prompts."""
        players = [self.player] if self.shadow is None else [self.player, self.shadow]
        return any(player.needs_embeddings for player in players)

    def decide(self, told: Round) -> Outcome:
        """Takes down what has happened and decides as long as there is something to decide."""
        outcome = Outcome()
        env = self.player.env
        forced = self.player.follow(told)
        if forced:
            outcome.forced = len(forced)
            outcome.sent += [pair for pair in env.live.at_nodes() if pair[0] in forced]
        if self.shadow is not None:
            self.shadow.follow(Round(told.now, told.arrivals, told.events, told.closed))
            self._mirror(told.now, outcome.sent)
        while env.is_epoch:
            action, fell_back = self.player.act()
            outcome.actions.append(action.tolist())
            outcome.fallbacks += fell_back
            if self.shadow is not None:
                outcome.shadow |= self._ask_shadow()
            sent = env.dispatch(action)
            if not sent:
                break
            self._mirror(told.now, sent)
            outcome.sent += sent
        outcome.stuck = env.is_epoch and not env.live.at_nodes()
        return outcome

    def _ask_shadow(self) -> dict[int, int]:
        """Returns where the shadow would send whom, its picks repaired as those of who routes."""
        assert self.shadow is not None
        env = self.shadow.env
        if not env.is_epoch:
            return {}
        action, fell_back = self.shadow.act()
        sent = {} if fell_back else dict(env.rehearse(action))
        env.look_on()
        return sent

    def _mirror(self, now: float, sent: Sequence[tuple[int, int]]) -> None:
        """Tells the shadow who has been sent where."""
        if self.shadow is not None and sent:
            events = [LiveEvent(now, SENT, key, node) for key, node in sent]
            self.shadow.env.follow([], events, now)
