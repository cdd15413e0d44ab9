"""Walking along the ranked queue, one candidate at a time, for any number of lanes.

A decision begins at the head of the queue. For the candidate at hand one choice is made: 0, it
waits, or 1 + node, it goes there. Then comes the next one, until nothing more can be assigned or
more candidates than ``skips`` have been left waiting.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edgecloud_gym.nodes import WAIT
from edgecloud_gym.simulator.legality import PartialAction
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.wording import shown
from edgecloud_gym.wrappers.forecast import Forecast
from edgecloud_gym.wrappers.node_times import NodeTimes
from edgecloud_gym.wrappers.walk_features import WalkFeatures

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
MEMORY: Final = 0.1  # weight of the latest request in `QueueWalk.lag`


class QueueWalk(PartialAction):
    """Where the walk of each lane stands.

    Attributes:
        nodes: How many nodes there are.
        skips: How many candidates may be left waiting before the decision ends.
        cursor: Position of the candidate at hand, int64 (lanes,).
        mask: Which choices are legal, int8 (lanes, 1 + nodes).
        sent: Requests that this decision has sent to each node so far, int64 (lanes, nodes).
        shortest: The shortest prediction among these, s (lanes, nodes); inf where there is none.
        lag: By how much nodes have of late been slower than predicted: moving averages of
            log(actual / predicted) of what they finished (lanes, nodes).
    """

    def __init__(self, simulator: Simulator, forecast: Forecast, skips: int = 0) -> None:
        """Makes walks for all lanes, on which nothing is legal before `start`.

        Args:
            simulator: Whose lanes they are.
            forecast: What is predicted of the dataset's rows.
            skips: How many candidates may be left waiting before the decision ends.

        Raises:
            TypeError: If ``forecast`` is none.
            ValueError: If it is of another dataset.
        """
        config = simulator.config
        if not isinstance(forecast, Forecast):
            raise TypeError(
                f"forecast={forecast!r:.60}: must be a Forecast, "
                "such as Forecast(time) of predicted times (s), one per row of the dataset"
            )
        if len(forecast.time) != len(simulator.dataset):
            raise ValueError(
                f"forecast has {len(forecast.time)} rows, dataset {shown(simulator.dataset.name)} "
                f"{len(simulator.dataset)}"
            )
        self.nodes = len(config.nodes)
        super().__init__(simulator.lanes, config.candidate_pool_size, self.nodes)
        self._simulator = simulator
        self._times = NodeTimes(simulator)
        self._features = WalkFeatures(simulator, forecast, self._times)
        self.skips = skips
        self._may_hold = not config.work_conserving
        self._batch = np.array([node.batch for node in config.nodes])
        self._services = np.array([node.services for node in config.nodes])
        self._lanes = np.arange(simulator.lanes)
        self.cursor = np.zeros(simulator.lanes, np.int64)
        self._waiting = np.zeros(simulator.lanes, np.int64)
        self.mask = np.zeros((simulator.lanes, 1 + self.nodes), np.int8)
        self.sent = np.zeros((simulator.lanes, self.nodes), np.int64)
        self.shortest = np.full((simulator.lanes, self.nodes), np.inf)
        self.lag = np.zeros((simulator.lanes, self.nodes))
        self._expected = np.zeros((simulator.lanes, 0))

    def start(
        self,
        which: Bools | slice = slice(None),
        over: Bools | None = None,
        begun: Bools | slice | None = None,
    ) -> None:
        """Starts a new decision in some lanes.

        Args:
            which: The lanes (lanes,); all by default.
            over: Lanes whose episode has ended (lanes,): only to wait is legal there.
            begun: Lanes whose episode has just begun (lanes,).
        """
        simulator = self._simulator
        if begun is not None:
            self.lag[begun] = 0.0
            self._expected[begun] = np.nan
        self._learn(which, begun)
        self.begin(simulator.present, simulator.room, which)
        self.cursor[which] = 0
        self._waiting[which] = 0
        self.sent[which] = 0
        self.shortest[which] = np.inf
        if over is not None:
            self.unassigned[over] = False
        self._look()

    def choose(self, choices: Ints) -> tuple[Bools, Bools]:
        """Makes one choice per lane. An illegal one leaves the candidate waiting.

        Args:
            choices: (lanes,), each in [0, nodes].

        Returns:
            Which lanes have ended their decision, and which chose illegally; bool (lanes,).
        """
        legal = self.mask[self._lanes, choices] == 1
        placing = legal & (choices != WAIT)
        lanes = np.flatnonzero(placing)
        nodes, at = choices[lanes] - 1, self.cursor[lanes]
        times = self._features.base[lanes]
        self._expect(lanes, at, nodes)
        self.assign(lanes, at, nodes)
        self.sent[lanes, nodes] += 1
        self.shortest[lanes, nodes] = np.minimum(self.shortest[lanes, nodes], times)
        self._waiting += ~placing
        self.cursor += 1
        return ~self._look(), ~legal

    def replace(self, rows: Ints, forecast: Forecast) -> None:
        """Takes other predictions of rows (n,), which stand for other requests from now on."""
        self._features.replace(rows, forecast)

    def forget(self) -> None:
        """Forgets what was expected of whom: requests have other ids from now on."""
        self._expected[...] = np.nan

    def best(self, scores: NDArray[np.float64]) -> Ints:
        """Returns the legal choice of the highest score in each lane, of scores (lanes, 1 + N)."""
        return np.asarray(np.where(self.mask == 1, scores, -np.inf).argmax(axis=1))

    def action_space(self, scores: bool) -> spaces.Space[Any]:
        """Returns a lane's action space: a choice, or a score for each."""
        if scores:
            return spaces.Box(-1.0, 1.0, (1 + self.nodes,), np.float32)
        return spaces.Discrete(1 + self.nodes)

    def observe(self) -> dict[str, NDArray[np.float32]]:
        """Returns what is known of the candidate at hand and of the nodes, for all lanes."""
        legal = self.mask[:, 1:] == 1
        here = legal.any(axis=1)
        at = np.minimum(self.cursor, self.picks.shape[1] - 1)
        shown = self._features.write(at, here, legal, self.room, self)
        return {**shown, "legal": self.mask.astype(np.float32)}

    def space(self) -> spaces.Dict:
        """Returns the space of one lane's observation."""
        return self._features.space()

    def _look(self) -> Bools:
        """Looks at the candidate at hand; returns the lanes in which it can be assigned."""
        m = self.picks.shape[1]
        at = np.minimum(self.cursor, m - 1)
        here = (self.cursor < m) & (self._waiting <= self.skips) & self.unassigned[self._lanes, at]
        legal = (self.room > 0) & here[:, np.newaxis]
        more = legal.any(axis=1)
        self.mask[:, 1:] = legal
        self.mask[:, WAIT] = 1 if self._may_hold else ~self._some_idle(legal)
        return np.asarray(more)

    def _some_idle(self, legal: Bools) -> Bools:
        """Tells where a service would stay idle that the candidate at hand could have."""
        states = self._simulator.state.nodes
        begun = -(-self.sent // self._batch)
        idle = self._services - states["busy"] - states["queued"] - begun > 0
        return np.asarray((idle & legal).any(axis=1))

    def _expect(self, lanes: Ints, at: Ints, nodes: Ints) -> None:
        """Notes how long requests are predicted to take that are sent now."""
        state = self._simulator.state
        lacking = state.requests.shape[1] - self._expected.shape[1]
        if lacking > 0:
            self._expected = np.pad(self._expected, ((0, 0), (0, lacking)), constant_values=np.nan)
        requests = state.window[lanes, at]
        self._expected[lanes, requests] = self._features.plain[lanes, nodes]

    def _learn(self, which: Bools | slice, begun: Bools | slice | None) -> None:
        """Compares what has finished since the last step with what was predicted of it."""
        simulator = self._simulator
        lanes, finished = simulator.state.lanes, simulator.state.finished
        first = lanes["done_before"]
        count = np.zeros(len(lanes), np.int64)
        count[which] = (lanes["done"] - first)[which]
        if begun is not None:
            count[begun] = 0
        for i in range(int(count.max(initial=0))):
            some = np.flatnonzero(count > i)
            ids = finished[some, first[some] + i]
            predicted = self._expected[some, ids] if self._expected.shape[1] else np.nan
            done = simulator.state.requests[some, ids]
            with np.errstate(invalid="ignore", divide="ignore"):
                lag = np.log((done["finish"] - done["dispatch"]) / predicted)
            known = np.isfinite(lag)
            nodes = simulator.nodes(done["slot"])
            target = (some[known], nodes[known])
            self.lag[target] += MEMORY * (lag[known] - self.lag[target])
