"""The simulator: many independent lanes of one system, over the compiled event loop.

`Simulator` is what both environments stand on. It owns the state, draws the workload, and calls
`edgecloud_gym.simulator.compiled.events.step_lanes`; it knows nothing of Gymnasium.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgecloud_gym.checks import MOST, check_integer, refuse_entries
from edgecloud_gym.config import Priority, SystemConfig
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.nodes import EDGE_NODE, WAIT, node_names
from edgecloud_gym.priorities import LAST, AgedScores
from edgecloud_gym.simulator.compiled import events
from edgecloud_gym.simulator.compiled.views import Engines
from edgecloud_gym.simulator.draws import draw_arrivals, draw_mixed_rows, draw_rows
from edgecloud_gym.simulator.embeddings import (
    embedding_table,
    require_embeddings,
    shown_embeddings,
)
from edgecloud_gym.simulator.footprint import lane_bytes, naming_what_is_large, require_memory
from edgecloud_gym.simulator.legality import legal_pairs
from edgecloud_gym.simulator.observation import ObservationLayout
from edgecloud_gym.simulator.output import Output
from edgecloud_gym.simulator.parameters import (
    WAITING,
    make_changes,
    make_nodes,
    make_parameters,
    make_table,
)
from edgecloud_gym.simulator.state import (
    BY_ARRIVAL,
    BY_CALLABLE,
    BY_TABLE,
    STEP_DTYPE,
    State,
)
from edgecloud_gym.simulator.workload import Workload
from edgecloud_gym.wording import shown


class Simulator:
    """A number of lanes of the system that ``config`` describes.

    Attributes:
        config: The settings.
        dataset: The requests.
        workload: What the two mean together.
        layout: How the observation lies in the buffers.
        node_names: What the nodes are called, in order.
        batch_capacity: Requests that a service of the first node takes.
        state: All that changes.
        parameters: The settings as compiled code reads them, `PARAMETERS_DTYPE` (1,).
        node_table: The nodes likewise, `NODE_DTYPE` (nodes,).
        curves: Their slowdown curves, one behind the other, float64.
        lane_bytes: About what memory a lane takes.
        step_address: Where the machine code of a step is.
        arrays: All that compiled code works on; other arrays after each start of an episode.
        scorer: The ``priority`` callable, if one ranks the waiting queue.
        row_scores: The scores per dataset row that order the waiting queue, if some do.
        score_rows: Takes the place of a ``priority`` callable, with the dataset rows (n,) of the
            prompts instead of their embeddings; `set_priority` removes it.
    """

    def __init__(self, config: SystemConfig, lanes: int) -> None:
        """Loads the dataset and allocates the lanes.

        Raises:
            MemoryError: If the lanes do not fit in memory.
            ValueError: If dataset and settings do not fit together, or there are too many lanes.
        """
        check_integer("num_envs", lanes, least=1, most=MOST)
        self.config = config
        self.lanes = lanes
        self.dataset = load_dataset(config.dataset)
        self.workload = Workload.resolve(config, self.dataset)
        self._shown = shown_embeddings(config, self.dataset)
        self.layout = ObservationLayout(config, len(self.dataset), self._shown.shape[1])
        self._float_count = lanes * self.layout.size
        self._id_shape = (lanes, config.candidate_pool_size if config.observe == "id" else 0)
        self._mask_shape = (lanes, config.candidate_pool_size, 1 + len(config.nodes))
        # Rows of an odd number of cache lines: a power of two would put all into the same few.
        self._told_shape = (STEP_DTYPE.itemsize // 8, 8 * (-(-lanes // 8) | 1))
        self._untold = np.empty((0, lanes), np.int64)
        self.parameters = make_parameters(config, self.workload, self.layout)
        self.node_table = make_nodes(tuple(config.nodes), self.workload)
        self.curves = np.concatenate([*self.workload.slowdowns, np.empty(0)])
        self.changes = make_changes(config)
        self._table = make_table(self.dataset)
        self.node_names = node_names(config.nodes)
        self.batch_capacity = config.nodes[EDGE_NODE].batch
        self.lane_bytes = lane_bytes(config, self.workload, self.layout)
        if lanes > 1:
            require_memory(lanes, self.lane_bytes)
        with naming_what_is_large(lanes, self.lane_bytes):
            self._allocate()

    def _allocate(self) -> None:
        """Makes the arrays of all lanes, which have not been reset."""
        lanes, config = self.lanes, self.config
        self.state = State.allocate(lanes, config)
        shut = np.zeros(self._mask_shape[1:], np.int8)
        shut[:, WAIT] = 1
        self._shut = shut.reshape(-1)  # a lane's mask where no node has room
        self._no_action = np.zeros((lanes, config.candidate_pool_size), np.int64)
        self._everyone = np.ones(lanes, np.bool_)
        self.scorer: Callable[[NDArray[np.float32]], NDArray[np.float64]] | None = None
        self.score_rows: Callable[[NDArray[np.int64]], NDArray[np.float64]] | None = None
        self.row_scores: AgedScores | None = None
        self.set_priority(config.priority)
        self._bind()

    def __getstate__(self) -> dict[str, Any]:
        # Neither copying nor pickling keeps views as views and read-only arrays read-only, and
        # machine code is this process's own: all three are bound anew.
        return {k: v for k, v in self.__dict__.items() if k not in _BOUND}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()

    @cached_property
    def embeddings(self) -> NDArray[np.float32]:
        """The embedding of each dataset row as observed and as scored, (rows, D).

        Raises:
            ValueError: If the dataset has no embeddings.
        """
        if self._shown.shape[1] > 0:
            return self._shown
        return embedding_table(self.dataset, self.config.embedding_dim)

    @property
    def has_scorer(self) -> bool:
        """Whether a callable ranks the waiting queue."""
        return self.scorer is not None

    @property
    def is_scored(self) -> bool:
        """Whether the waiting queue is in the order of scores, not of arrival."""
        return bool(self.parameters["priority_mode"][0] != BY_ARRIVAL)

    def set_priority(self, priority: Priority) -> None:
        """Chooses how waiting queues are ordered, from the next episode on.

        Raises:
            ValueError: If an array does not hold one score per dataset row, or a callable is to
                score the embeddings of a dataset that has none.
        """
        self.scorer = self.score_rows = self.row_scores = None
        self.parameters["ageing"] = 0.0
        if priority is None:
            self.parameters["priority_mode"] = BY_ARRIVAL
        elif callable(priority):
            require_embeddings(self.dataset)
            self.parameters["priority_mode"] = BY_CALLABLE
            self.scorer = priority
        else:
            self._take_scores(priority)
            self.parameters["priority_mode"] = BY_TABLE

    def set_scores(self, scores: ArrayLike | AgedScores) -> None:
        """Takes other scores in place of those of a priority with one per dataset row.

        They hold for whoever arrives from now on, and for those that wait after
        `rank_anew`.

        Raises:
            RuntimeError: If the priority is something else.
            ValueError: If there is not one score per dataset row.
        """
        if self.parameters["priority_mode"][0] != BY_TABLE:
            raise RuntimeError("set_scores() needs a priority with one score per dataset row")
        self._take_scores(scores)

    def _take_scores(self, priority: ArrayLike | AgedScores) -> None:
        aged = priority if isinstance(priority, AgedScores) else None
        given = np.asarray(priority if aged is None else aged.scores, np.float64)
        if given.shape != (len(self.dataset),):
            raise ValueError(
                f"priority has shape {given.shape}: needs one score per dataset row, "
                f"({len(self.dataset)},)"
            )
        self.row_scores = AgedScores(given, 0.0) if aged is None else aged
        self._table["score"] = given if aged is None else given + LAST * aged.last
        self.parameters["ageing"] = 0.0 if aged is None else aged.rate
        shown = given[self._scored_rows()]
        if len(shown):
            self.parameters["score_mean"] = shown.mean()
            self.parameters["score_std"] = shown.std()

    def _scored_rows(self) -> NDArray[np.integer]:
        """Returns the rows whose scores tell what is usual (n,)."""
        return self.workload.rows

    def begin_episode(self, lane: int, rng: np.random.Generator) -> None:
        """Draws a lane's requests and puts it at time 0.

        Raises:
            ValueError: If the arrival process does not return what it must, or prompts that may
                come once do not suffice.
        """
        config = self.config
        workload = self.workload
        arrivals = draw_arrivals(rng, config, workload.arrival_rate)
        if workload.mixture is None:
            rows = draw_rows(rng, workload.rows, len(arrivals), config.prompt_order)
        else:
            rows = draw_mixed_rows(rng, workload.mixture, arrivals, config.prompt_order)
        self.begin_with(lane, arrivals, rows)

    def begin_with(self, lane: int, arrivals: NDArray[np.float64], rows: NDArray[np.int32]) -> None:
        """Puts a lane at time 0, before requests that were drawn already.

        Args:
            lane: Which lane.
            arrivals: When they arrive (n,), sorted (s).
            rows: Their rows of the dataset (n,).
        """
        config = self.config
        self.state.reserve(len(arrivals), heap=self.is_scored)
        changes = self.changes["time"]
        first_change = float(changes[0]) if len(changes) else np.inf
        self.state.begin_episode(lane, arrivals, rows, config.telemetry_interval, first_change)
        if self.state.served is not None:
            found = self.dataset.cached_tokens
            self.state.begin_service(
                lane,
                self._tokens("prompt_tokens", rows),
                self._tokens("response_tokens", rows),
                -1 if found is None else found[rows],
            )
        self._bind_arrays()

    def _tokens(self, name: str, rows: NDArray[np.int32]) -> NDArray[np.int32]:
        counts: NDArray[np.int32] | None = getattr(self.dataset, name)
        return np.zeros(len(rows), np.int32) if counts is None else counts[rows]

    def output(self, told: bool = False) -> Output:
        """Allocates buffers for one step of all lanes.

        Args:
            told: Whether what the step yields is wanted there, and not in the state alone.
        """
        return Output(
            np.empty(self._float_count, np.float32),
            np.empty(self._id_shape, np.int32),
            np.empty(self._mask_shape, np.int8),
            np.empty(self._told_shape, np.int64) if told else self._untold,
        )

    def run(
        self,
        stage: int,
        output: Output,
        actions: NDArray[np.int64] | None = None,
        active: NDArray[np.bool_] | None = None,
        first: int = 0,
        last: int | None = None,
    ) -> None:
        """Runs stages of `compiled.events` on the active lanes in [first, last).

        Args:
            stage: Flags of `compiled.events`.
            output: Filled for the active lanes where the stage observes.
            actions: (lanes, M), values 0 to the number of nodes; read where the stage applies them.
            active: Which lanes take part (lanes,); all by default.
            first: First lane.
            last: One past the last lane; the number of lanes by default.
        """
        self._step_lanes(
            stage,
            first,
            self.lanes if last is None else last,
            self._everyone if active is None else active,
            self._no_action if actions is None else actions,
            *self.arrays,
            output.floats,
            output.ids,
            output.masks,
            output.told,
        )

    def work(
        self, output: Output, actions: NDArray[np.int64] | None, active: NDArray[np.bool_]
    ) -> tuple[Any, ...]:
        """Returns what compiled steps are given behind stage and lanes; see `run`."""
        actions = self._no_action if actions is None else actions
        return (active, actions, *self.arrays, *output.buffers)

    def _bind(self) -> None:
        """Gathers the arrays and the function compiled for them."""
        self._bind_arrays()
        work = self.work(self.output(), self._no_action, self._everyone)
        arguments = (0, 0, self.lanes, *work)
        self._step_lanes = events.step_lanes.compiled_for(arguments)
        self.step_address = events.step_lanes.address_for(arguments)

    def _bind_arrays(self) -> None:
        """Gathers the compiled code's arrays once, not at every step."""
        state = self.state
        engines = None
        if state.engines is not None:
            names = Engines._fields
            engines = Engines(*(getattr(state.engines, name) for name in names))
        self.arrays = (
            self.parameters,
            self.node_table,
            self.curves,
            self.changes,
            self._table,
            _readonly(self._shown),
            self._shut,
            state.lanes,
            state.nodes,
            state.requests,
            state.finished,
            state.window,
            state.heap,
            state.slots,
            state.members,
            state.history,
            state.signals,
            state.steps,
            state.served,
            engines,
        )

    def score_arrivals(self, lane: int) -> None:
        """Scores, with the priority callable, the requests that arrived since the last time."""
        record = self.state.lanes[lane]
        arrived = self.state.requests[lane, record["admitted"] : record["arrived"]]
        if not len(arrived):
            return
        arrived["score"] = self._scores(arrived["row"])

    def rank_anew(self, lane: int) -> None:
        """Scores all waiting requests anew, and ranks them.

        Each distinct prompt is scored once: in overload the same prompts wait many times.
        """
        requests = self.state.requests[lane, : self.state.lanes[lane]["admitted"]]
        waiting = np.flatnonzero(requests["slot"] == WAITING)
        rows, places = np.unique(requests["row"][waiting], return_inverse=True)
        ageing = self.parameters["ageing"][0] * requests["arrival"][waiting]
        requests["score"][waiting] = self._scores(rows)[places] + ageing
        self.run(events.REORDER | events.SETTLE, self.output(), first=lane, last=lane + 1)

    def _scores(self, rows: NDArray[np.int32]) -> NDArray[np.float64]:
        """Returns the scores of dataset rows (n,)."""
        if self.scorer is None:
            return np.asarray(self._table["score"][rows])
        if len(rows) == 0:
            return np.empty(0)
        if self.score_rows is None:
            scores = np.asarray(self.scorer(self.embeddings[rows]), np.float64)
        else:
            scores = self.score_rows(rows.astype(np.int64))
        allowed = f"must return one finite score each, shape ({len(rows)},)"
        if scores.shape != rows.shape:
            told = f"priority callable returned {shown(scores)} for {len(rows)} prompts"
            raise ValueError(f"{told}: {allowed}")
        refuse_entries("scores of the priority callable", scores, ~np.isfinite(scores), allowed)
        return scores

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which rows of the candidates hold a request, bool (lanes, M)."""
        sizes = self.state.lanes["window_size"]
        return np.arange(self.config.candidate_pool_size) < sizes[:, np.newaxis]

    @property
    def room(self) -> NDArray[np.int64]:
        """How many requests each node takes now, int64 (lanes, nodes)."""
        return np.array(self.state.nodes["room"])

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns what candidates may do now, (lanes, M, 1 + nodes): wait, or go to a node."""
        masks = np.ones(self._mask_shape, np.bool_)
        masks[..., 1:] = legal_pairs(self.present, self.room)
        return masks

    @property
    def total_room(self) -> NDArray[np.int64]:
        """How many requests each node takes when it is idle, int64 (nodes,)."""
        return np.array([node.room for node in self.config.nodes])

    def busy_slots(self, lane: int) -> list[int]:
        """Returns how many services run on each node; of an engine, how many requests it has."""
        busy: list[int] = self.state.nodes["busy"][lane].tolist()
        return busy

    def offsets(self, node: int) -> tuple[int, int]:
        """Returns where a node's slots and members begin in the state's arrays."""
        spec = self.node_table[node]
        return int(spec["first_slot"]), int(spec["first_member"])

    def nodes(self, slots: NDArray[np.int32]) -> NDArray[np.int64]:
        """Returns the node of each slot that a request was dispatched to, -1 for `WAITING`."""
        return np.searchsorted(self.node_table["first_slot"], slots, side="right") - 1


_BOUND: Final = ("arrays", "step_address", "_step_lanes")  # to this process


def _readonly(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Returns a read-only view: Numba compiles anew for arrays that differ in this."""
    view = array.view()
    view.setflags(write=False)
    return view
