"""The simulator's lane of a live system: what really happens takes the place of events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecloud_gym.config import Priority, SystemConfig
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.nodes import StaticBatches
from edgecloud_gym.priorities import AgedScores
from edgecloud_gym.simulator.compiled import follow
from edgecloud_gym.simulator.compiled.engine.layout import ENGINE_REQUEST_DTYPE
from edgecloud_gym.simulator.compiled.events import APPLY
from edgecloud_gym.simulator.compiled.views import Engines
from edgecloud_gym.simulator.live_requests import LiveRequests
from edgecloud_gym.simulator.parameters import TABLE_DTYPE, WAITING, prompt_feature
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.wording import shown

_SPARE: Final = 512  # requests that come and go before the arrays are tidied


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """Something that has happened.

    Attributes:
        time: When (s); no earlier than what was told before.
        kind: One of `edgecloud_gym.simulator.compiled.follow`.
        request: The request's key, which the caller chose when it arrived.
        value: Tokens so far, or the node; of those kinds.
    """

    time: float
    kind: int
    request: int
    value: int = 0


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """What is known of a request when it arrives.

    Attributes:
        key: What its events call it.
        arrival: When it came (s).
        prompt_tokens: Tokens of its prompt, as far as they can be told.
        embedding: Of its prompt, as a dataset's are, (d,); None if no agent asks for any.
    """

    key: int
    arrival: float
    prompt_tokens: int
    embedding: NDArray[np.float32] | None = None


class LiveSimulator(Simulator):
    """One lane whose requests arrive and finish by themselves.

    Scales, capacities and embeddings' axes are those of ``config.dataset``, so that an agent sees
    what it saw in simulation.

    Attributes:
        reference: The dataset that those are taken from.
        dataset: The requests that there are; rows are taken by those who come after.
        rows: The same.
        renumbered: How often requests were given other ids.
        entered: Rows that were taken when it was last told what has happened, int64 (n,).
    """

    def __init__(self, config: SystemConfig, waiting: int) -> None:
        """Allocates the lane.

        Args:
            config: A cluster's settings.
            waiting: How many requests may wait at a time.

        Raises:
            ValueError: If a node gathers batches, which live servers do by themselves, or dataset
                and settings do not fit together.
        """
        for node in config.nodes:
            if isinstance(node, StaticBatches):
                raise ValueError(
                    f"node {shown(node.name)}: static batches cannot be served live; servers "
                    "gather their batches by themselves: must be an engine, sequences or slots"
                )
        super().__init__(config, lanes=1)
        self.reference = self.dataset
        places = sum(node.room for node in config.nodes)
        width = 2 * (waiting + places) + _SPARE
        self.rows = LiveRequests(self.reference, waiting + places + _SPARE)
        self.dataset = cast(RequestDataset, self.rows)
        self._table = np.zeros(len(self.rows), TABLE_DTYPE)
        self._shown = np.zeros((len(self.rows), self._shown.shape[1]), np.float32)
        self._projected = self._shown if self._shown.shape[1] > 0 else None
        self.parameters["duration"] = np.inf  # a day that does not end
        self.state.served = np.zeros((1, 0), ENGINE_REQUEST_DTYPE)
        self.state.reserve(width, heap=True)
        self._at_nodes = np.zeros(places, np.int32)
        self._known = np.zeros(1, np.int64)
        self._closed = np.zeros(len(config.nodes), np.int64)
        self._ids: dict[int, int] = {}
        self._keys: dict[int, int] = {}
        self._leaving: list[int] = []
        self.entered = np.zeros(0, np.int64)
        self.renumbered = 0
        self._no_events = np.zeros(0, follow.EVENT_DTYPE)
        if self.has_scorer:
            self.embeddings  # noqa: B018 - they are needed
        self.begin()

    def begin(self) -> None:
        """Puts the lane at time 0, with nobody there."""
        nothing = np.zeros(0)
        interval = self.config.telemetry_interval
        self.state.begin_episode(0, nothing, nothing.astype(np.int32), interval)
        self._ids.clear()
        self._keys.clear()
        self._leaving.clear()
        self._known[0] = 0
        self.rows.clear()
        self._bind_arrays()
        state = self.state
        self._followed = (
            self.parameters, self.node_table, self.curves, self.changes, self._table, state.lanes,
            state.nodes,
            state.requests, state.finished, state.window, state.heap, state.slots, state.members,
            state.history, state.signals, state.steps, state.served, self._engines(),
        )  # fmt: skip
        arguments = (
            self._no_events, 0.0, False, self._closed, self._at_nodes, self._known, *self._followed,
        )  # fmt: skip
        self._follow_lane: Callable[..., None] = follow.follow_lane.compiled_for(arguments)
        self._follow([], 0.0)

    def _engines(self) -> Engines | None:
        engines = self.state.engines
        return None if engines is None else Engines(*(getattr(engines, n) for n in Engines._fields))

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """The embedding of each row as observed and as scored, (rows, D).

        Raises:
            ValueError: If the reference dataset has none.
        """
        if self._projected is None:
            width = self.reference.embedding_table(self._width).shape[1]
            self._projected = np.zeros((len(self.rows), width), np.float32)
        return self._projected

    @property
    def _width(self) -> int | None:
        dim = self.config.embedding_dim
        if dim is None or self.reference.embeddings is None:
            return None
        return min(dim, int(self.reference.embeddings.shape[1]))

    @property
    def needs_embeddings(self) -> bool:
        """Whether embeddings are observed, or somebody has asked for them."""
        return self._projected is not None or self._shown.shape[1] > 0 or self.rows.asked

    def set_priority(self, priority: Priority) -> None:
        """Chooses how the queue is ordered, from the next `begin` on.

        Args:
            priority: As in every simulator. Of an array, the scores of rows that come later are
                to be given by `set_scores`.

        Raises:
            ValueError: If an array is not one of finite scores, as many as there are rows.
        """
        super().set_priority(priority)
        if callable(priority) and hasattr(self, "_projected"):
            self.embeddings  # noqa: B018 - from now on they are needed

    def _take_scores(self, priority: ArrayLike | AgedScores) -> None:
        given = priority.scores if isinstance(priority, AgedScores) else priority
        if not np.all(np.isfinite(np.asarray(given, np.float64))):
            raise ValueError(
                "priority: how long a live system's requests take nobody knows: must be None, a "
                f"callable on embeddings, or an array of finite scores, ({len(self._table)},)"
            )
        super()._take_scores(priority)

    def _scored_rows(self) -> NDArray[np.integer]:
        return self.rows.present

    def follow(
        self,
        arrivals: Sequence[LiveRequest],
        events: Sequence[LiveEvent],
        until: float,
        force: bool = False,
    ) -> list[int]:
        """Takes down what has happened since the last time.

        Args:
            arrivals: Who has come, in order; at one time arrivals are before other events.
            events: What else has happened, in order.
            until: What time it is now (s).
            force: Whether the oldest are to be dispatched if nobody is at any node.

        Returns:
            Keys of those whom that dispatched.
        """
        if self._arrived + len(arrivals) > self.state.requests.shape[1]:
            self._tidy()
        comers = sorted(arrivals, key=lambda request: request.arrival)
        told = [LiveEvent(r.arrival, follow.ARRIVED, r.key) for r in comers]
        self.entered = np.array(
            [self._enter(number, comer) for number, comer in enumerate(comers, self._arrived)],
            np.int64,
        )
        told = sorted([*told, *events], key=lambda event: event.time)
        forced = int(self.state.steps["forced_dispatches"][0])
        self._follow(told, until, force)
        for event in told:
            if event.kind == follow.FINISHED:
                self._finish(event)
            elif event.kind == follow.LEFT:
                request = self._forget(event.request)
                self.rows.free(int(self.state.requests["row"][0, request]))
        if self.state.steps["forced_dispatches"][0] == forced:
            return []
        return [self._keys[i] for i in self._at_nodes[: self._known[0]].tolist()]

    def _follow(self, events: Sequence[LiveEvent], until: float, force: bool = False) -> None:
        packed = self._no_events
        if events:
            rows = [(e.time, e.kind, self._ids[e.request], e.value) for e in events]
            packed = np.array(rows, follow.EVENT_DTYPE)
        self._follow_lane(
            packed, until, force, self._closed, self._at_nodes, self._known, *self._followed
        )

    @property
    def _arrived(self) -> int:
        return int(self.state.lanes["arrived"][0])

    def _enter(self, request: int, given: LiveRequest) -> int:
        """Writes the records of a request that is about to arrive; returns its row."""
        row = self.rows.take(given.prompt_tokens, given.embedding)
        self._table[row] = (
            0.0,
            self._table["score"][row],
            prompt_feature(given.prompt_tokens),
            given.prompt_tokens,
        )
        if given.embedding is not None and self._projected is not None:
            self.embeddings[row] = self.reference.projected(given.embedding, self._width)
        state = self.state
        assert state.served is not None
        state.requests[0, request] = (given.arrival, np.nan, np.nan, 0.0, row, WAITING)
        served = state.served[0, request]
        for name in ("admitted", "first_token", "finish"):
            served[name] = np.nan
        served["prompt_tokens"] = given.prompt_tokens
        for name in ("output_tokens", "preemptions"):
            served[name] = 0
        served["cached_tokens"] = -1  # what its node finds, the answer will tell
        self._ids[given.key] = request
        self._keys[request] = given.key
        return row

    def _finish(self, event: LiveEvent) -> None:
        """Notes what has become known of a request; its row is kept until it has been read."""
        request = self._forget(event.request)
        state = self.state
        assert state.served is not None
        state.served["finish"][0, request] = event.time
        row = int(state.requests["row"][0, request])
        start = float(state.served["admitted"][0, request])
        if np.isnan(start):  # done before it was believed to have begun, as of a node far away
            start = float(state.requests["dispatch"][0, request])
        self.rows.finish(row, event.value, event.time - start)
        self._leaving.append(row)

    def _forget(self, key: int) -> int:
        request = self._ids.pop(key)
        del self._keys[request]
        return request

    def dispatched(self) -> list[tuple[int, int]]:
        """Returns whom the last action has sent where: keys and nodes, in order.

        To be asked once, after ``APPLY``; what finished before has been read by then.
        """
        for row in self._leaving:
            self.rows.free(row)
        self._leaving.clear()
        before = int(self._known[0])
        self._follow([], float(self.state.lanes["now"][0]))
        return self._where(self._at_nodes[before : self._known[0]])

    def rehearsed(self, actions: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Returns whom an action (1, M) would send where, repaired as ever, and sends nobody.

        Returns:
            Keys of requests and nodes, in the order of the candidates.
        """
        changing = self._changing()
        kept = [array.copy() for array in changing]
        self.run(APPLY, self.output(), actions)
        candidates = self.state.window[0, : self.state.lanes["window_size"][0]]
        gone = self.state.requests["slot"][0, candidates] != WAITING
        found = self._where(candidates[gone])
        for array, before in zip(changing, kept, strict=True):
            array[...] = before
        return found

    def _changing(self) -> list[NDArray[Any]]:
        """Returns the arrays that an action changes."""
        state = self.state
        arrays: list[NDArray[Any] | None] = [
            state.lanes, state.nodes, state.requests, state.slots, state.members, state.steps,
            state.served,
        ]  # fmt: skip
        if state.engines is not None:
            arrays += [state.engines.states, state.engines.sequences, state.engines.phases]
        return [array for array in arrays if array is not None]

    def key(self, request: int) -> int:
        """Returns the key of a request that is there."""
        return self._keys[request]

    def at_nodes(self) -> list[tuple[int, int]]:
        """Returns who is at which node: keys and nodes, in order of dispatch."""
        return self._where(self._at_nodes[: self._known[0]])

    def _where(self, requests: NDArray[np.int32]) -> list[tuple[int, int]]:
        nodes = self.nodes(self.state.requests["slot"][0, requests])
        pairs = zip(requests.tolist(), nodes.tolist(), strict=True)
        return [(self._keys[request], node) for request, node in pairs]

    @property
    def is_epoch(self) -> bool:
        """Whether somebody waits and a node has room."""
        if self.state.lanes["queue_length"][0] == 0:
            return False
        states = self.state.nodes[0]
        return bool(np.any(states["busy"] + states["queued"] < self.node_table["places"]))

    def close_places(self, node: int, places: int) -> None:
        """Lets so many places of a node take nobody, from the next event on; 0 opens it."""
        self._closed[node] = places

    def _tidy(self) -> None:
        """Forgets who is gone, so that the arrays never grow: the others move to their front.

        Their order stays, and with it that of the queue. Ids of requests change.
        """
        self.renumbered += 1
        state = self.state
        lane = state.lanes[0]
        arrived, done = int(lane["arrived"]), int(lane["done"])
        unread = state.finished[0, int(lane["done_before"]) : done].copy()
        kept = np.array(sorted([*self._keys, *unread.tolist()]), np.int64)
        new = np.full(max(arrived, 1), -1, np.int32)
        new[kept] = np.arange(len(kept))
        assert state.served is not None
        for records in (state.requests, state.served):
            records[0, : len(kept)] = records[0, kept]
        lane["admitted"] = np.count_nonzero(kept < lane["admitted"])
        for ids, size in ((state.window[0], "window_size"), (state.heap[0], "heap_size")):
            left = new[ids[: int(lane[size])]]
            left = left[left >= 0]
            lane[size] = len(left)
            ids[: len(left)] = left
        # Without those who left, what was a heap is none; what is sorted, is.
        heap = state.heap[0, : int(lane["heap_size"])]
        heap[:] = heap[np.lexsort((heap, state.requests["score"][0, heap]))]
        at_nodes = self._at_nodes[: self._known[0]]
        at_nodes[:] = new[at_nodes]
        state.finished[0, : len(unread)] = new[unread]
        lane["sampled_arrived"] -= arrived - len(kept)
        lane["sampled_done"] -= done - len(unread)
        lane["arrived"] = len(kept)
        lane["done"] = len(unread)
        lane["done_before"] = 0
        lane["oldest"] = 0
        self._ids = {key: int(new[request]) for key, request in self._ids.items()}
        self._keys = {request: key for key, request in self._ids.items()}
