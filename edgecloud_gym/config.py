"""The settings of a cloud-edge system: one frozen, validated object."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.arrivals import ArrivalProcess, make_arrivals
from edgecloud_gym.checks import (
    MOST,
    check_bool,
    check_choice,
    check_integer,
    check_number,
    did_you_mean,
    float_array,
    refuse_entries,
)
from edgecloud_gym.dataset import SPLITS, RequestDataset
from edgecloud_gym.drift import checked_prompt_mix, checked_speed_changes
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.node_files import nodes_of
from edgecloud_gym.nodes import (
    NODE_NAMES,
    Engine,
    Node,
    Sequences,
    Slots,
    StaticBatches,
    checked_slowdown,
    engine_model,
    node_names,
)
from edgecloud_gym.priorities import AgedScores
from edgecloud_gym.wording import shown

Priority: TypeAlias = (
    NDArray[np.float64] | AgedScores | Callable[[NDArray[np.float32]], NDArray[np.float64]] | None
)

STATIC: Final = "static"
CONTINUOUS: Final = "continuous"
CLUSTER: Final = "cluster"
SHUFFLE: Final = "shuffle"
ONCE: Final = "once"
SEQUENTIAL: Final = "sequential"
PROMPT_ORDERS: Final = (SHUFFLE, SEQUENTIAL, ONCE)
# What a reward may be made of, and the type in which a step adds it up.
REWARD_TERMS: Final[Mapping[str, type]] = {
    "jct": float,
    "makespan": float,
    "completed": int,
    "cloud_seconds": float,
    "slo_violations": int,
}
OBJECTIVES: Final = ("jct", "ttft", "tpot")
DEFAULT_LOAD: Final = 0.9
NOT_APPLICABLE: Final = object()  # among an environment's defaults: a setting it does not have


@dataclass(frozen=True, kw_only=True, eq=False)
class SystemConfig:
    """Everything that defines a cloud-edge system and its workload.

    An instance is valid: construction raises ``TypeError`` or ``ValueError`` naming the setting,
    its value and what is allowed.

    Attributes:
        batching: ``"static"`` or ``"continuous"`` batching on the edge, or ``"cluster"``: any list
            of nodes; set by the environment id.
        nodes: The nodes of a cluster, of `edgecloud_gym.nodes`, or mappings as `load_nodes` reads
            them. Otherwise they are the two that the settings of edge and cloud describe, and
            cannot be given.
        dataset: A bundled name, a path to JSONL or Parquet, or a `RequestDataset`.
        split: ``"train"``, ``"test"`` or ``"all"``: which prompts arrive.
        prompt_order: ``"shuffle"`` (each prompt once before any repeats, like a deck of cards),
            ``"once"`` (the same, but none ever repeats: more requests than prompts are an error)
            or ``"sequential"`` (request i is row i mod n of the split).
        prompt_mix: From which times on which families of prompts arrive: ``(time, {family:
            weight})``, several in a list; see `edgecloud_gym.drift.PromptMix`. Within a family
            ``prompt_order`` holds. Before the first time, and by default, the split as it is, which
            is what ``load`` refers to throughout.
        arrivals: A name or an object of `edgecloud_gym.arrivals`, or a mapping of such an object's
            ``kind`` and fields.
        arrival_rate: Mean arrival rate (requests/s); excludes ``load``.
        load: Arrival rate as a fraction of the system's capacity; excludes ``arrival_rate``.
            Neither means 0.9, except for a `Trace`, which then keeps its own times.
        duration: Arrivals stop at this time (s).
        drain: Whether the episode goes on until the last request is done (``True``) or is
            truncated at ``duration``.
        edge_concurrency: Edge batches side by side (static) or sequence slots (continuous).
        edge_batch_capacity: Largest edge batch (static batching only).
        edge_slowdown: ``None`` (no slowdown), ``"measured"`` (the dataset's curve), or an array
            whose entry n - 1 is s(n).
        edge_engine: Continuous batching only: an `EngineModel`, a mapping of its fields, the name
            of a bundled one or the path of a JSON file makes the edge a real server, simulated step
            by step; it has its own number of sequences. ``None``: continuous batching by latency.
        cloud_concurrency: Cloud slots.
        cloud_time_multiplier: Cloud inference time as a multiple of the edge's.
        network_rtt: Network round trip to the cloud (s).
        speed_changes: When nodes become slower or faster: ``(node, time, speed)``, several in a
            list; see `edgecloud_gym.drift.SpeedChange`. ``load`` refers to the speeds that the
            other settings say.
        candidate_pool_size: Waiting requests shown to the agent, M.
        priority: Order of the waiting queue, lower first: ``None`` (arrival order), one score per
            dataset row, or a callable from embeddings (n, D) to scores (n,).
        work_conserving: Whether slots that an action leaves idle take the remaining candidates.
        observe: ``"embedding"`` or ``"id"``: what identifies a candidate in the observation.
        embedding_dim: Leading principal components kept, all if there are fewer; ``None`` is the
            full width, not rotated.
        reward: ``"jct"``, another term's name, or a mapping from terms to weights.
        slo: Service-level objective on the JCT (s), or ``None``. In clusters also a mapping from
            ``"jct"``, ``"ttft"`` (time to first token) and ``"tpot"`` (time per output token) to
            objectives (s), all of which a request has to meet; ``slo_limits`` is that mapping.
        signal_age: In clusters, how old the state of the nodes that the agent sees may be (s): it
            is read anew at the first decision after that time. 0: it is exact.
        history_length: Telemetry samples in the observation, H; 0 for none.
        telemetry_interval: Time between telemetry samples (s).
    """

    batching: str = STATIC
    nodes: Sequence[Node] = ()
    dataset: str | Path | RequestDataset = "smollm2-135m"
    split: str = "all"
    prompt_order: str = SHUFFLE
    prompt_mix: Sequence[tuple[float, Mapping[str, float]]] = ()
    arrivals: str | ArrivalProcess | Mapping[str, Any] = "poisson"
    arrival_rate: float | None = None
    load: float | None = None
    duration: float = 600.0
    drain: bool = True
    edge_concurrency: int = 1
    edge_batch_capacity: int = 4
    edge_slowdown: str | NDArray[np.float64] | None = None
    edge_engine: EngineModel | str | Path | None = None
    cloud_concurrency: int = 8
    cloud_time_multiplier: float = 0.7
    network_rtt: float = 0.05
    speed_changes: Sequence[tuple[str, float, float]] = ()
    candidate_pool_size: int = 32
    priority: Priority = None
    work_conserving: bool = True
    observe: str = "embedding"
    embedding_dim: int | None = 64
    reward: str | Mapping[str, float] = "jct"
    slo: float | Mapping[str, float] | None = None
    signal_age: float = 0.0
    history_length: int = 0
    telemetry_interval: float = 1.0
    reward_weights: Mapping[str, float] = field(init=False, repr=False)
    slo_limits: Mapping[str, float] = field(init=False, repr=False)
    arrival_process: ArrivalProcess = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice("batching", self.batching, (STATIC, CONTINUOUS, CLUSTER))
        _check_dataset(self.dataset)
        check_choice("split", self.split, SPLITS)
        check_choice("prompt_order", self.prompt_order, PROMPT_ORDERS)
        if self.arrival_rate is not None and self.load is not None:
            raise ValueError(
                f"arrival_rate={shown(self.arrival_rate)} and load={shown(self.load)}: give at "
                "most one"
            )
        for name in ("duration", "cloud_time_multiplier", "telemetry_interval"):
            check_number(name, getattr(self, name), above=0.0)
        for name in ("arrival_rate", "load"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0.0)
        for name in ("network_rtt", "signal_age"):
            check_number(name, getattr(self, name), least=0.0)
        for name in ("drain", "work_conserving"):
            check_bool(name, getattr(self, name))
        for name, least in (
            ("edge_concurrency", 0),
            ("cloud_concurrency", 0),
            ("edge_batch_capacity", 1),
            ("candidate_pool_size", 1),
            ("history_length", 0),
        ):
            check_integer(name, getattr(self, name), least=least, most=MOST)
        if self.embedding_dim is not None:
            check_integer("embedding_dim", self.embedding_dim, least=1)
        check_choice("observe", self.observe, ("embedding", "id"))
        self._set("edge_slowdown", checked_slowdown("edge_slowdown", self.edge_slowdown))
        self._settle_nodes()
        names = node_names(self.nodes)
        changes = checked_speed_changes(self.speed_changes, names, self.duration)
        self._set("speed_changes", changes)
        self._set("prompt_mix", checked_prompt_mix(self.prompt_mix, self.duration))
        self._set("priority", _checked_priority(self.priority))
        self._set("slo_limits", _checked_slo(self.slo, self.is_pair))
        self._set("reward_weights", _checked_reward(self.reward, "jct" in self.slo_limits))
        self._set("arrival_process", make_arrivals(self.arrivals))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _settle_nodes(self) -> None:
        """Makes ``nodes`` what the system consists of, whichever settings say so."""
        if self.batching == CLUSTER:
            self._set("nodes", nodes_of(self.nodes))
            # A cluster has no side of these names.
            self._set("edge_concurrency", 0)
            self._set("cloud_concurrency", 0)
            return
        if self.edge_engine is not None:
            model = engine_model("edge_engine", self.edge_engine)
            self._set("edge_engine", model)
            self._set("edge_concurrency", model.sequences)
        if self.edge_concurrency == 0 and self.cloud_concurrency == 0:
            raise ValueError(
                "edge_concurrency=0 and cloud_concurrency=0: at least one must be positive"
            )
        self._set("nodes", (self._edge_node(), self._cloud_node()))

    def _edge_node(self) -> Node:
        name = NODE_NAMES[0]
        if self.edge_engine is not None:
            return Engine(name, model=self.edge_engine)
        curve: Any = self.edge_slowdown
        slots = self.edge_concurrency
        if self.batching == CONTINUOUS:
            return Sequences(name, sequences=slots, slowdown=curve)
        capacity = self.edge_batch_capacity
        return StaticBatches(name, batches=slots, capacity=capacity, slowdown=curve)

    def _cloud_node(self) -> Node:
        return Slots(
            NODE_NAMES[1],
            slots=self.cloud_concurrency,
            time_multiplier=self.cloud_time_multiplier,
            network_rtt=self.network_rtt,
        )

    @property
    def is_pair(self) -> bool:
        """Whether the system is the paper's: an edge without an engine, and a cloud."""
        return self.batching != CLUSTER and self.edge_engine is None

    @classmethod
    def from_settings(
        cls, settings: Mapping[str, Any], defaults: Mapping[str, Any]
    ) -> SystemConfig:
        """Builds a configuration from a user's settings over an environment's defaults.

        Args:
            settings: What the user gave, by name.
            defaults: What the environment id sets; names mapped to `NOT_APPLICABLE` are refused.

        Raises:
            TypeError: If a setting is unknown, does not apply to this environment, or has the
                wrong type.
            ValueError: If a value is out of range.
        """
        known = settable(defaults)
        for name, value in settings.items():
            if name not in known:
                raise TypeError(_unknown_setting(name, value, known))
        if settings.get("edge_engine") is not None:
            for name in ("edge_concurrency", "edge_slowdown"):
                if name in settings:
                    raise ValueError(f"{name}={shown(settings[name])}: edge_engine has its own")
        fixed = {name: value for name, value in defaults.items() if value is not NOT_APPLICABLE}
        return cls(**{**fixed, **settings})


def settable(defaults: Mapping[str, Any]) -> list[str]:
    """Returns the names that a user may set in an environment with these defaults."""
    names = [f.name for f in dataclasses.fields(SystemConfig) if f.init and f.name != "batching"]
    return [name for name in names if defaults.get(name) is not NOT_APPLICABLE]


def _unknown_setting(name: str, value: object, known: Iterable[str]) -> str:
    """Returns a refusal with Python's own words: TorchRL tries settings, and looks for these."""
    hint = did_you_mean(name, known)
    return (
        f"unknown setting {name}={shown(value)}, an unexpected keyword argument "
        f"{shown(name)}{hint}; this environment takes: {', '.join(known)}"
    )


def _check_dataset(dataset: object) -> None:
    if not isinstance(dataset, (str, Path, RequestDataset)):
        raise TypeError(
            f"dataset={shown(dataset)}: must be a bundled name, a path or a RequestDataset, "
            f"not {type(dataset).__name__}"
        )


def _checked_priority(priority: object) -> Priority:
    if priority is None or callable(priority) or isinstance(priority, AgedScores):
        return priority
    allowed = "must be None, a callable, or a 1-D array with one finite score per dataset row"
    scores = float_array("priority", priority, allowed)
    if scores.ndim != 1:
        raise ValueError(f"priority={shown(priority)}: {allowed}")
    refuse_entries("priority", scores, ~np.isfinite(scores), allowed)
    return scores


def _checked_slo(slo: object, is_pair: bool) -> Mapping[str, float]:
    if slo is None:
        return {}
    known = ("jct",) if is_pair else OBJECTIVES
    if isinstance(slo, str):
        raise TypeError(
            f"slo={shown(slo)}: must be a number > 0 (s) or map from {', '.join(known)} to such"
        )
    if not isinstance(slo, Mapping):
        return {"jct": check_number("slo", slo, above=0.0)}
    if not slo or any(name not in known for name in slo):
        why = " (an edge and a cloud know no tokens)" if is_pair else ""
        raise ValueError(f"slo={shown(slo)}: must map from {', '.join(known)} to times (s){why}")
    return {name: check_number(f"slo[{shown(name)}]", slo[name], above=0.0) for name in slo}


def _checked_reward(reward: object, has_slo: bool) -> Mapping[str, float]:
    weights = {reward: 1.0} if isinstance(reward, str) else reward
    if not isinstance(weights, Mapping):
        raise TypeError(f"reward={shown(reward)}: must be a term's name or a mapping of weights")
    if not weights:
        raise ValueError(
            f"reward={shown(reward)}: must name at least one of {', '.join(REWARD_TERMS)}"
        )
    for term, weight in weights.items():
        if term not in REWARD_TERMS:
            raise ValueError(
                f"reward={shown(reward)}: terms must be among {', '.join(REWARD_TERMS)}"
            )
        check_number(f"reward[{term!r}]", weight)
    if weights.get("slo_violations") and not has_slo:
        raise ValueError(
            f"reward={shown(reward)}: the term 'slo_violations' needs slo (s), on the JCT, to be "
            "set"
        )
    return {term: float(weights.get(term, 0.0)) for term in REWARD_TERMS}
