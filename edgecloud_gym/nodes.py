"""The nodes that serve requests: what a system is made of, and what an action says of a candidate.

A system is a list of nodes. The paper's has two, an edge and a cloud; clusters have any list:

>>> nodes = [
...     Engine("edge-a", model="rtxpro6000-llama-3.1-8b", backlog=16),
...     Slots("cloud", slots=64, network_rtt=0.05),
... ]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.checks import MOST, check_integer, check_number, float_array, refuse_entries
from edgecloud_gym.engines import EngineModel, load_engine
from edgecloud_gym.wording import shown

EDGE_NODE: Final = 0
CLOUD_NODE: Final = 1
NODE_NAMES: Final = ("edge", "cloud")  # of the paper's system

# An action has one number per candidate: 0 to wait, 1 + node to be sent there.
WAIT: Final = 0
TO_EDGE: Final = 1 + EDGE_NODE
TO_CLOUD: Final = 1 + CLOUD_NODE

MEASURED: Final = "measured"
Slowdown: TypeAlias = str | tuple[float, ...] | None
_MOST: Final = 2**31 - 1  # counts are 32-bit integers in the compiled core


@dataclass(frozen=True)
class Node:
    """What all nodes have. Immutable and validated.

    Attributes:
        name: What it is called; no two nodes of a system have the same name.
        network_rtt: Network round trip to it (s), part of the time of every request.
        backlog: How many dispatched requests may queue at the node itself, first come first
            served. 0: a request is dispatched only into service.

    Raises:
        TypeError: If a value is of another kind.
        ValueError: If it is out of range; the message names node, value and what is allowed.
    """

    name: str
    _: KW_ONLY
    network_rtt: float = 0.0
    backlog: int = 0

    kind: ClassVar[str] = ""
    places: ClassVar[str] = ""  # the attribute that says how many it serves side by side

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"name={shown(self.name)}: a node's name must be a string, not empty")
        self._check_number("network_rtt", least=0.0)
        self._check_integer("backlog", least=0, most=_MOST)  # nothing is kept for each

    @property
    def services(self) -> int:
        """How many services run side by side: batches, sequences or slots."""
        return int(getattr(self, self.places))

    @property
    def batch(self) -> int:
        """How many requests one service takes."""
        return 1

    @property
    def room(self) -> int:
        """How many requests it takes when it is idle, its backlog included."""
        return self.services * self.batch + self.backlog

    def label(self, setting: str) -> str:
        """Returns what messages call a setting of this node."""
        return f"node {shown(self.name)}: {setting}"

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_integer(self, name: str, least: int, most: int = MOST) -> None:
        value = check_integer(self.label(name), getattr(self, name), least=least, most=most)
        self._set(name, value)

    def _check_number(self, name: str, **bounds: float) -> None:
        self._set(name, check_number(self.label(name), getattr(self, name), **bounds))


@dataclass(frozen=True)
class StaticBatches(Node):
    """Batches side by side, each of which ends for all its members when the longest one ends.

    A batch of k takes ``time_multiplier`` · max(base) · s(k) + ``network_rtt``.

    Attributes:
        batches: How many run side by side; 0 for a node that takes nothing.
        capacity: Largest batch.
        slowdown: None (no slowdown), "measured" (the dataset's curve) or s(1), s(2), ...
        time_multiplier: Inference time as a multiple of the dataset's.
    """

    _: KW_ONLY
    batches: int = 1
    capacity: int = 4
    slowdown: Slowdown = MEASURED
    time_multiplier: float = 1.0

    kind: ClassVar[str] = "static batches"
    places: ClassVar[str] = "batches"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_integer("batches", least=0)
        self._check_integer("capacity", least=1)
        if self.batches * self.capacity > MOST:
            raise ValueError(
                f"{self.label('batches')}={self.batches} and capacity={self.capacity}: must have "
                f"{MOST} places together at most"
            )
        self._check_number("time_multiplier", above=0.0)
        self._set("slowdown", _as_tuple(checked_slowdown(self.label("slowdown"), self.slowdown)))

    @property
    def batch(self) -> int:
        """How many requests one service takes."""
        return self.capacity


@dataclass(frozen=True)
class Sequences(Node):
    """Continuous batching by latency: while n requests run, each progresses at rate 1 / s(n).

    A request reaches the node ``network_rtt`` after it was dispatched, and does
    ``time_multiplier`` · base of work there.

    Attributes:
        sequences: How many run side by side; 0 for a node that takes nothing.
        slowdown: None (no slowdown), "measured" (the dataset's curve) or s(1), s(2), ...
        time_multiplier: Inference time as a multiple of the dataset's.
    """

    _: KW_ONLY
    sequences: int = 4
    slowdown: Slowdown = MEASURED
    time_multiplier: float = 1.0

    kind: ClassVar[str] = "sequences"
    places: ClassVar[str] = "sequences"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_integer("sequences", least=0)
        self._check_number("time_multiplier", above=0.0)
        self._set("slowdown", _as_tuple(checked_slowdown(self.label("slowdown"), self.slowdown)))


@dataclass(frozen=True)
class Engine(Node):
    """A real server's continuous batching, at the level of its steps; see `EngineModel`.

    A request reaches the server ``network_rtt`` after it was dispatched. It needs a dataset with
    token counts. How fast the server is, its model says.

    Attributes:
        model: An `EngineModel`, the name of a bundled one, or the path of a JSON file.
    """

    _: KW_ONLY
    model: EngineModel | str | Path

    kind: ClassVar[str] = "engine"
    places: ClassVar[str] = "sequences"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("model", engine_model(self.label("model"), self.model))

    @property
    def engine(self) -> EngineModel:
        """The model, loaded."""
        assert isinstance(self.model, EngineModel)  # as `__post_init__` left it
        return self.model

    @property
    def sequences(self) -> int:
        """How many sequences the server holds at a time."""
        return self.engine.sequences


@dataclass(frozen=True)
class Slots(Node):
    """Slots that do not disturb each other, such as a cloud's.

    A request takes max(0.001 s, ``time_multiplier`` · base) + ``network_rtt`` of a slot's time.

    Attributes:
        slots: How many there are; 0 for a node that takes nothing.
        time_multiplier: Inference time as a multiple of the dataset's.
    """

    _: KW_ONLY
    slots: int = 8
    time_multiplier: float = 0.7
    network_rtt: float = 0.05

    kind: ClassVar[str] = "slots"
    places: ClassVar[str] = "slots"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_integer("slots", least=0)
        self._check_number("time_multiplier", above=0.0)


def checked_nodes(nodes: object) -> tuple[Node, ...]:
    """Returns the nodes of a system as a tuple.

    Raises:
        TypeError: If they are no sequence of nodes.
        ValueError: If there are none, two have the same name, or none takes a request.
    """
    if not isinstance(nodes, Sequence) or isinstance(nodes, str):
        raise TypeError(f"nodes={shown(nodes)}: must be a list of {_kinds()}")
    for node in nodes:
        if not isinstance(node, Node) or type(node) is Node:
            raise TypeError(f"nodes={shown(nodes)}: {shown(node)} must be one of {_kinds()}")
    if not nodes:
        raise ValueError(f"nodes={shown(nodes)}: must hold at least one node")
    names = [node.name for node in nodes]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"nodes: {names.count(name)} are named {shown(name)}; names must differ"
            )
    for node in nodes:
        if node.backlog and not node.services:
            raise ValueError(
                f"{node.label('backlog')}={node.backlog}: must be 0 where {node.places}=0, "
                "for nobody would ever be served"
            )
    if not any(node.services for node in nodes):
        raise ValueError(f"nodes={shown(nodes)}: at least one must serve requests")
    return tuple(nodes)


def checked_slowdown(name: str, slowdown: object) -> str | NDArray[np.float64] | None:
    """Returns a slowdown curve, or where it is to be taken from.

    Raises:
        TypeError: If it cannot be read as numbers.
        ValueError: If it is out of range.
    """
    if slowdown is None or (isinstance(slowdown, str) and slowdown == MEASURED):
        return slowdown
    allowed = 'must be None, "measured", or a 1-D array of finite numbers > 0'
    if isinstance(slowdown, str):
        raise ValueError(f"{name}={shown(slowdown)}: {allowed}")
    curve = float_array(name, slowdown, allowed)
    if curve.ndim != 1 or curve.size == 0:
        raise ValueError(f"{name}={shown(slowdown)}: {allowed}")
    refuse_entries(name, curve, ~(np.isfinite(curve) & (curve > 0)), allowed)
    return curve


def engine_model(name: str, model: object) -> EngineModel:
    """Returns an engine model that is given by itself, as a mapping, by name or by path.

    Raises:
        TypeError: If it is anything else.
        ValueError: If there is none of that name; the message lists the known ones.
        FileNotFoundError: If there is no such file.
    """
    if isinstance(model, EngineModel):
        return model
    if isinstance(model, Mapping):
        return EngineModel.from_dict(model)
    if not isinstance(model, str | Path):
        raise TypeError(f"{name}={shown(model)}: must be an EngineModel, a name or a path")
    try:
        return load_engine(model)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{name}={shown(str(model))}: there is no such file") from error
    except ValueError as error:
        raise type(error)(f"{name}={shown(str(model))}: {error}") from error


def node_names(nodes: Iterable[Node]) -> tuple[str, ...]:
    """Returns the nodes' names, in order."""
    return tuple(node.name for node in nodes)


def in_words(nodes: Iterable[Node]) -> str:
    """Returns the nodes by name and kind: ``"edge-a (engine), cloud (slots)"``."""
    return ", ".join(f"{node.name} ({node.kind})" for node in nodes)


def _kinds() -> str:
    return ", ".join(kind.__name__ for kind in (Engine, StaticBatches, Sequences, Slots))


def _as_tuple(slowdown: Any) -> Slowdown:
    return tuple(slowdown.tolist()) if isinstance(slowdown, np.ndarray) else slowdown
