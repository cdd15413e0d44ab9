"""What is shown on a walk along the queue: every column by name, once."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edgecloud_gym.nodes import Engine, Sequences, Slots, StaticBatches
from edgecloud_gym.simulator.observation import NODES, Block, Column
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.wrappers.forecast import FEATURE_LIMIT, Forecast
from edgecloud_gym.wrappers.node_times import NodeTimes

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_KINDS: Final = (StaticBatches, Sequences, Engine, Slots)


def _log(name: str, meaning: str) -> Column:
    return Column(name, meaning, -FEATURE_LIMIT, FEATURE_LIMIT)


CANDIDATE: Final = Block(
    "candidate",
    _log("time", "log of its predicted base latency (s)"),
    _log("output", "log of its predicted answer (tokens)"),
    Column("prompt", "prompt tokens (log scale)"),
    Column("waited", "time waited"),
    Column("position", "position in the window, as a share of it"),
    _log("gap", "log of the next candidate's predicted time over its own; 0 for the last"),
    _log("behind", "mean log predicted time of those behind it in the window; its own if none"),
)
WALK_NODES: Final = Block(
    "nodes",
    *NODES.columns,
    Column("open", "takes the candidate"),
    Column("full", "the candidate would have to queue there"),
    Column("elsewhere", "mean free share of the other nodes"),
    Column("only", "no other node takes it"),
    Column("sent", "sent there in this decision, as a share of its room"),
    Column("fill", "fill of the batch being gathered there"),
    _log("stretch", "log of the candidate's predicted time over the shortest of that batch"),
    _log("time", "log of the predicted time (s) until it would be done there"),
    _log("excess", "the same less the least of all nodes"),
    Column("crowded", "with it they would be more than are served side by side, cache included"),
    _log("cost", "log of two parts that time and one of the work there, less the least of all"),
    _log("lag", "log of how much slower than predicted the node was of late"),
)
WALK_SYSTEM: Final = Block(
    "system",
    _log("queue", "log(1 + requests that wait besides it)"),
    _log("requests", "log(1 + requests in the system)"),
    Column("longest", "longest wait"),
    Column("over", "arrivals are over"),
    _log("closed", "log of the least predicted time (s) of nodes that take none now; 10 if none"),
    Column("room", "mean free share of all nodes"),
)
_N = WALK_NODES.positions
_C = CANDIDATE.positions
_S = WALK_SYSTEM.positions


def walk_space(nodes: int, features: int) -> spaces.Dict:
    """Returns the space of what is shown of one lane.

    Args:
        nodes: How many nodes there are.
        features: How many features a forecast has.
    """
    boxes: dict[str, spaces.Space[Any]] = {}
    for block, rows in ((CANDIDATE, None), (WALK_NODES, nodes), (WALK_SYSTEM, None)):
        low, high = block.bounds()
        if block is CANDIDATE:
            more = np.full(features, FEATURE_LIMIT, np.float32)
            low, high = np.concatenate([low, -more]), np.concatenate([high, more])
        if rows is not None:
            low, high = np.tile(low, (rows, 1)), np.tile(high, (rows, 1))
        boxes[block.key] = spaces.Box(low, high, dtype=np.float32)
    boxes["legal"] = spaces.Box(0.0, 1.0, (1 + nodes,), np.float32)
    return spaces.Dict(boxes)


class Progress(Protocol):
    """How far a walk has come; see `edgecloud_gym.wrappers.walk.QueueWalk`."""

    sent: Ints
    shortest: Floats
    lag: Floats


class WalkFeatures:
    """Writes what is shown.

    Attributes:
        base: Predicted base latency of the candidates at hand, s (lanes,).
        plain: Predicted times until done on each node by its model alone, s (lanes, nodes).
    """

    def __init__(self, simulator: Simulator, forecast: Forecast, times: NodeTimes) -> None:
        config, dataset = simulator.config, simulator.dataset
        rows = len(dataset)
        self._simulator = simulator
        self._times = times
        self._table = forecast.table()
        self._time = forecast.time
        self._log_time = np.log(forecast.time)
        prompts = dataset.prompt_tokens
        self._prompt = np.zeros(rows) if prompts is None else prompts.astype(np.float64)
        self._shown_prompt = np.minimum(1.0, np.log1p(self._prompt) / np.log1p(4096.0))
        output = forecast.output_tokens
        self._output = np.full(rows, times.mean_output) if output is None else np.asarray(output)
        self._total = np.maximum(1, simulator.total_room).astype(np.float64)
        self._places = np.array([node.services * node.batch for node in config.nodes])
        self._batch = np.array([node.batch for node in config.nodes])
        self._rates = np.maximum(1e-9, simulator.workload.capacities)
        self._scale = simulator.workload.mean_latency
        self._pair = config.is_pair
        self._fixed = self._node_constants()
        lanes = simulator.lanes
        self._lanes = np.arange(lanes)
        self.base = np.ones(lanes)
        self.plain = np.ones((lanes, len(config.nodes)))

    def replace(self, rows: Ints, forecast: Forecast) -> None:
        """Takes other predictions of some rows, which stand for other requests from now on.

        Args:
            rows: The rows (n,).
            forecast: Of these alone.
        """
        self._table[rows] = forecast.table()
        self._time[rows] = forecast.time
        self._log_time[rows] = np.log(forecast.time)
        prompts = self._simulator.dataset.prompt_tokens
        if prompts is not None:
            self._prompt[rows] = prompts[rows]
            self._shown_prompt[rows] = np.minimum(1.0, np.log1p(prompts[rows]) / np.log1p(4096.0))
        if forecast.output_tokens is not None:
            self._output[rows] = forecast.output_tokens

    def space(self) -> spaces.Dict:
        """Returns the space of one lane's observation."""
        return walk_space(len(self._simulator.config.nodes), self._table.shape[1])

    def write(
        self, at: Ints, here: Bools, legal: Bools, room: Ints, walk: Progress
    ) -> dict[str, NDArray[np.float32]]:
        """Returns the observation of all lanes, 0 for the candidate where there is none.

        Args:
            at: Position of the candidates at hand (lanes,).
            here: Where there is one (lanes,).
            legal: Which nodes take it (lanes, nodes).
            room: Requests that each node still takes (lanes, nodes).
            walk: What else this decision has done so far.
        """
        state = self._simulator.state
        if state.requests.shape[1] == 0:  # nobody arrives in any lane
            shapes = {name: box.shape or () for name, box in self.space().items()}
            return {n: np.zeros((len(at), *shape), np.float32) for n, shape in shapes.items()}
        ids = state.window[self._lanes, at]
        requests = state.requests[self._lanes, ids]
        row = np.where(here, requests["row"], 0)
        self.base = self._time[row]
        system = self._system(here, room, walk.sent)
        nodes = self._nodes(row, legal, room, walk, system)
        return {
            "candidate": self._candidate(row, at, here, requests["arrival"]),
            "nodes": nodes,
            "system": system,
        }

    def _candidate(self, row: Ints, at: Ints, here: Bools, arrival: Floats) -> Any:
        state = self._simulator.state
        out = np.empty((len(row), len(CANDIDATE) + self._table.shape[1]), np.float32)
        own = self._log_time[row]
        waited = state.lanes["now"] - arrival
        m = state.window.shape[1]
        window = np.arange(m)
        behind = (window > at[:, np.newaxis]) & (window < state.lanes["window_size"][:, np.newaxis])
        window_ids = np.minimum(state.window, state.requests.shape[1] - 1)
        rows = state.requests["row"][self._lanes[:, np.newaxis], window_ids]
        times = self._log_time[np.where(behind, rows, 0)] * behind
        count = behind.sum(axis=1)
        following = times[self._lanes, np.minimum(at + 1, m - 1)]
        out[:, _C.time] = own
        out[:, _C.output] = np.log(self._output[row])
        out[:, _C.prompt] = self._shown_prompt[row]
        out[:, _C.waited] = waited / (waited + self._scale)
        out[:, _C.position] = at / m
        out[:, _C.gap] = np.where(count > 0, following - own, 0.0)
        out[:, _C.behind] = np.where(count > 0, times.sum(axis=1) / np.maximum(1, count), own)
        out[:, len(CANDIDATE) :] = self._table[row]
        out *= here[:, np.newaxis]
        return np.clip(out, -FEATURE_LIMIT, FEATURE_LIMIT, out=out)

    def _system(self, here: Bools, room: Ints, sent: Ints) -> Any:
        lanes = self._simulator.state.lanes
        config = self._simulator.config
        out = np.empty((len(lanes), len(WALK_SYSTEM)), np.float32)
        oldest = np.minimum(lanes["oldest"], self._simulator.state.requests.shape[1] - 1)
        arrival = self._simulator.state.requests["arrival"][self._lanes, oldest]
        longest = np.where(lanes["queue_length"] > 0, np.maximum(0.0, lanes["now"] - arrival), 0.0)
        out[:, _S.queue] = np.log1p(np.maximum(0, lanes["queue_length"] - here - sent.sum(axis=1)))
        out[:, _S.requests] = np.log1p(lanes["queue_length"] + lanes["dispatched"])
        out[:, _S.longest] = longest / (longest + self._scale)
        out[:, _S.over] = lanes["now"] >= config.duration
        out[:, _S.room] = (room / self._total).mean(axis=1)
        return out

    def _nodes(self, row: Ints, legal: Bools, room: Ints, walk: Progress, system: Any) -> Any:
        """Writes the rows of the nodes, and in ``system`` what is known of the closed ones."""
        out = np.empty((*room.shape, len(WALK_NODES)), np.float32)
        sent = walk.sent
        out[:, :, : len(NODES)] = self._signals(room)
        seen = self._total * (1.0 - out[:, :, _N.room])
        occupied = np.rint(seen if self._pair else seen + sent)  # of a pair `room` is exact
        share = room / self._total
        self.plain = self._times(occupied, self.base, self._prompt[row], self._output[row])
        times = np.log(self.plain) + walk.lag
        there = occupied + 1.0
        closed = np.where(legal, FEATURE_LIMIT, times).min(axis=1)
        system[:, _S.closed] = np.minimum(closed, FEATURE_LIMIT)
        others = max(1, room.shape[1] - 1)
        gathered = (sent > 0) & (self._batch > 1)
        shortest = np.where(gathered, walk.shortest, self.base[:, np.newaxis])
        out[:, :, _N.room] = (
            share if self._pair else np.maximum(0.0, (self._total - occupied) / self._total)
        )
        out[:, :, _N.open] = legal
        out[:, :, _N.full] = occupied >= self._places
        out[:, :, _N.elsewhere] = (share.sum(axis=1, keepdims=True) - share) / others
        out[:, :, _N.only] = legal & (legal.sum(axis=1, keepdims=True) == 1)
        out[:, :, _N.sent] = np.minimum(1.0, sent / self._total)
        out[:, :, _N.fill] = np.where(gathered, (sent - 1) % self._batch + 1, 0) / self._batch
        out[:, :, _N.stretch] = np.log(self.base[:, np.newaxis] / shortest)
        out[:, :, _N.time] = times
        out[:, :, _N.excess] = times - times.min(axis=1, keepdims=True)
        out[:, :, _N.crowded] = there > np.maximum(1.0, self._times.fitting)
        cost = np.log((there / self._rates + 2.0 * self.plain) / 3.0) + walk.lag
        out[:, :, _N.cost] = cost - cost.min(axis=1, keepdims=True)
        out[:, :, _N.lag] = walk.lag
        return np.clip(out, -FEATURE_LIMIT, FEATURE_LIMIT, out=out)

    def _signals(self, room: Ints) -> Any:
        """Returns the nodes as a cluster's observation shows them; of a pair the same, now."""
        state = self._simulator.state
        if not self._pair:
            return state.signals.reshape(*room.shape, len(NODES))
        at = NODES.positions
        out = np.repeat(self._fixed[np.newaxis], len(room), axis=0)
        out[:, :, at.room] = room / self._total
        services = [max(1, node.services) for node in self._simulator.config.nodes]
        out[:, :, at.running] = np.minimum(1.0, state.nodes["busy"] / services)
        return out

    def _node_constants(self) -> NDArray[np.float32]:
        """Returns what of a pair's nodes never changes, the rest 0: (nodes, columns)."""
        simulator, at = self._simulator, NODES.positions
        capacities = np.array(simulator.workload.capacities)
        out = np.zeros((len(capacities), len(NODES)), np.float32)
        for row, node in zip(out, simulator.config.nodes, strict=True):
            row[[isinstance(node, kind) for kind in _KINDS].index(True)] = 1.0
            row[at.rtt] = node.network_rtt / (node.network_rtt + self._scale)
        out[:, at.speed] = capacities / capacities.max()
        return out
