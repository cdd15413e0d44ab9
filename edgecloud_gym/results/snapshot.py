"""A lane as people look at it: what a viewer draws, and agents must not see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.config import CONTINUOUS
from edgecloud_gym.nodes import Engine, Slots
from edgecloud_gym.simulator.simulator import Simulator


@dataclass(frozen=True)
class SlotView:
    """A slot as a viewer sees it.

    Attributes:
        requests: Who runs there; empty if idle.
        elapsed: Time since they started (s).
        progress: Share of the work that is done, in [0, 1].
        shares: Each one's own work as a share of the slot's, in (0, 1]: a batch lasts as long as
            its longest member.
    """

    requests: tuple[int, ...]
    elapsed: float
    progress: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class NodeView:
    """A node of a cluster as a viewer sees it.

    Attributes:
        name: What it is called.
        kind: Of which kind it is: "engine", "sequences", "static batches" or "slots".
        places: What its services are called: "batches", "sequences" or "slots".
        services: How many of them there are.
        running: How many of them run.
        queued: Requests that were dispatched to it and are not in service: in its backlog, an
            engine's queue, or on their way.
        requests: All its requests.
        completed: Requests that it has completed.
        cache: Share of its cache that was taken when agents last saw it, NaN without a limit.
        preemptions: How often it preempted a request, -1 where it never does.
    """

    name: str
    kind: str
    places: str
    services: int
    running: int
    queued: int
    requests: int
    completed: int
    cache: float
    preemptions: int


@dataclass(frozen=True)
class Snapshot:
    """A lane at one moment, for people to look at; it shows what agents must not see.

    Attributes:
        time: Simulated time (s).
        duration: When arrivals stop (s).
        continuous: Whether the edge batches continuously.
        batch_capacity: Largest edge batch.
        queue_length: Waiting requests.
        pool_size: How many of them are candidates at most, M.
        candidates: Request ids at the head of the queue.
        ages: Their time since arrival (s).
        edge: Edge slots.
        cloud: Cloud slots.
        completed: Requests done.
        arrived: Requests arrived.
        offloaded: Requests dispatched to the cloud.
        mean_jct: Mean JCT of the requests done (s), NaN if there is none.
        finish_times: Completion times of the latest requests done (s), float64 (n,).
        jcts: Their JCTs (s), float64 (n,).
        on_cloud: Whether the cloud served them, bool (n,); in clusters, slots of any name.
        nodes: The nodes of a cluster, whose ``edge`` and ``cloud`` are empty.
    """

    time: float
    duration: float
    continuous: bool
    batch_capacity: int
    queue_length: int
    pool_size: int
    candidates: tuple[int, ...]
    ages: tuple[float, ...]
    edge: tuple[SlotView, ...]
    cloud: tuple[SlotView, ...]
    completed: int
    arrived: int
    offloaded: int
    mean_jct: float
    finish_times: NDArray[np.float64]
    jcts: NDArray[np.float64]
    on_cloud: NDArray[np.bool_]
    nodes: tuple[NodeView, ...] = ()

    @property
    def running(self) -> int:
        """Requests in service."""
        if self.nodes:
            return sum(node.requests - node.queued for node in self.nodes)
        return sum(len(slot.requests) for slot in (*self.edge, *self.cloud))


def title(view: Snapshot) -> str:
    """Returns what to call the system."""
    if view.nodes:
        return f"Cluster of {len(view.nodes)} node{'s' if len(view.nodes) > 1 else ''}"
    return f"{'Continuous' if view.continuous else 'Static'} batching"


def snapshot(simulator: Simulator, lane: int, recent: int = 400) -> Snapshot:
    """Returns a lane as a viewer sees it, with the ``recent`` latest completions."""
    config = simulator.config
    state = simulator.state
    record = state.lanes[lane]
    now = float(record["now"])
    requests = state.requests[lane]
    arrived = requests[: int(record["arrived"])]
    window = state.window[lane, : int(record["window_size"])]
    done = state.finished[lane, : int(record["done"])]
    jcts = requests["finish"][done] - requests["arrival"][done]
    latest = done[-recent:]
    slots = config.edge_concurrency + config.cloud_concurrency
    cloudy = np.array([isinstance(node, Slots) for node in config.nodes] + [False])
    on_cloud = cloudy[simulator.nodes(arrived["slot"])]  # -1, the last, is nowhere
    views = [_slot_view(simulator, lane, slot, now) for slot in range(slots)]
    return Snapshot(
        time=now,
        duration=config.duration,
        continuous=config.batching == CONTINUOUS,
        batch_capacity=simulator.batch_capacity,
        queue_length=int(record["queue_length"]),
        pool_size=config.candidate_pool_size,
        candidates=tuple(window.tolist()),
        ages=tuple((now - requests["arrival"][window]).tolist()),
        edge=tuple(views[: config.edge_concurrency]),
        cloud=tuple(views[config.edge_concurrency :]),
        completed=int(record["done"]),
        arrived=len(arrived),
        offloaded=int(np.count_nonzero(on_cloud)),
        mean_jct=float(jcts.mean()) if len(jcts) else float("nan"),
        finish_times=requests["finish"][latest],
        jcts=jcts[-recent:],
        on_cloud=on_cloud[latest],
        nodes=() if config.is_pair else _node_views(simulator, lane, done),
    )


def _node_views(simulator: Simulator, lane: int, done: NDArray[np.int32]) -> tuple[NodeView, ...]:
    served = simulator.nodes(simulator.state.requests["slot"][lane, done])
    completed = np.bincount(served, minlength=len(simulator.config.nodes))
    views = []
    engine = 0
    for k, node in enumerate(simulator.config.nodes):
        state = simulator.state.nodes[lane, k]
        running, queued = int(state["busy"]), int(state["queued"])
        cache, preemptions = float("nan"), -1
        if isinstance(node, Engine):
            assert simulator.state.engines is not None
            record = simulator.state.engines.states[lane, engine]
            engine += 1
            running = int(record["running"])
            queued += int(record["queued"] + record["preempted"])
            preemptions = int(record["preemptions"])
            cache = float(state["cache"]) if node.engine.kv_tokens is not None else cache
        in_batches = running
        if node.batch > 1:
            first, _ = simulator.offsets(k)
            slots = simulator.state.slots[lane, first : first + node.services]
            in_batches = int(slots["count"].sum())
        views.append(
            NodeView(
                name=node.name,
                kind=node.kind,
                places=node.places,
                services=node.services,
                running=running,
                queued=queued,
                requests=in_batches + queued,
                completed=int(completed[k]),
                cache=cache,
                preemptions=preemptions,
            )
        )
    return tuple(views)


def _slot_view(simulator: Simulator, lane: int, index: int, now: float) -> SlotView:
    config = simulator.config
    slot = simulator.state.slots[lane, index]
    count = int(slot["count"])
    if count == 0:
        return SlotView((), 0.0, 0.0, ())
    elapsed = now - float(slot["start"])
    if index < config.edge_concurrency:
        members = _members(simulator, lane, index, count)
        progress = float(slot["attained"] / slot["work"])
    else:
        members = [int(slot["request"])]
        progress = elapsed / float(slot["mark"] - slot["start"])
    base_latency = simulator.dataset.base_latency[simulator.state.requests["row"][lane, members]]
    return SlotView(
        requests=tuple(members),
        elapsed=elapsed,
        progress=min(1.0, max(0.0, progress)),
        shares=tuple((base_latency / base_latency.max()).tolist()),
    )


def _members(simulator: Simulator, lane: int, index: int, count: int) -> list[int]:
    """Returns who is in a busy slot."""
    number = int(simulator.nodes(np.array(index)))
    first_slot, first = simulator.offsets(number)
    batch = simulator.config.nodes[number].batch
    if batch == 1:
        return [int(simulator.state.slots[lane, index]["request"])]
    start = first + (index - first_slot) * batch
    members: list[int] = simulator.state.members[lane, start : start + count].tolist()
    return members
