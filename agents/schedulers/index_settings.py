"""What an index policy was tuned to: its numbers, by name, in small JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.prediction import Prediction
from agents.rules.index import Index
from edgecloud_gym.config import Priority
from edgecloud_gym.files import read_json, write_json
from edgecloud_gym.priorities import AgedScores
from edgecloud_gym.wording import shown

BUNDLED: Final = Path(__file__).parents[1] / "assets" / "index"
LONG: Final = 4.0  # s


class Order(NamedTuple):
    """The weights of the order: key = E[log T] + root · E[√T] + long · P(T > 4 s) + spread · σ.

    σ is the standard deviation of log T.
    """

    root: float = 0.0
    long: float = 0.0
    spread: float = 0.0

    def key(self, prediction: Prediction) -> NDArray[np.float64]:
        """Returns the key of each request (n,), the lowest of which goes first."""
        mean, std = prediction.log_time_mean, prediction.log_time_std
        root = np.exp(mean / 2 + std**2 / 8)  # the mean of a log-normal's square root
        key = mean + self.root * root + self.long * prediction.exceeds(LONG) + self.spread * std
        return np.asarray(key)


class Ageing(NamedTuple):
    """How those who wait gain on the others: key + rate · arrival time.

    Attributes:
        rate: 1/s.
        last: Share of the requests, those with the largest predictions, that come last.
    """

    rate: float = 0.0
    last: float = 0.0


@dataclass(frozen=True)
class IndexSettings:
    """An index policy's numbers.

    Attributes:
        index: Where requests go.
        ordering: Who goes first.
        ageing: How `index-aged` lets time count.
        training: How they came about, JSON values.
    """

    index: Index
    ordering: Order = field(default_factory=Order)
    ageing: Ageing = field(default_factory=Ageing)
    training: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def order(self, prediction: Prediction, usual: NDArray[np.float64], aged: bool) -> Priority:
        """Returns the order of a queue of requests.

        Args:
            prediction: What is predicted of each dataset row.
            usual: Predicted log times of what may arrive (n,), which tell who is among the longest.
            aged: Whether time counts.
        """
        key = self.ordering.key(prediction)
        if not aged:
            return key
        longest = np.quantile(usual, 1.0 - self.ageing.last)
        return AgedScores(key, self.ageing.rate, prediction.log_time_mean > longest)

    def save(self, path: Path) -> None:
        """Writes a JSON file, complete or not at all."""
        numbers = {name: getattr(self, name)._asdict() for name in _GROUPS}
        write_json(path, {**numbers, "training": dict(self.training)})


_GROUPS: Final[Mapping[str, Any]] = {"index": Index, "ordering": Order, "ageing": Ageing}


def load_index(given: str | Path | IndexSettings) -> IndexSettings:
    """Reads what ``edgecloud train index`` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If it is neither a path nor settings.
        ValueError: If it holds no index policy; the message says what is wrong.
    """
    if isinstance(given, IndexSettings):
        return given
    if not isinstance(given, str | Path):
        raise TypeError(f"tuned={shown(given)}: must be a path or IndexSettings")
    path = Path(given)
    try:
        read = read_json(path)
        groups = {name: _group(name, kind, read[name]) for name, kind in _GROUPS.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: holds no index policy: {error}") from error
    return IndexSettings(**groups, training=read.get("training", {}))


def _group(name: str, kind: Any, given: Mapping[str, float]) -> Any:
    group = kind(**given)
    for field_name, value in group._asdict().items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ValueError(f"{name}.{field_name}={shown(value)}: must be a finite number")
    return group


def bundled_index(env: Any) -> IndexSettings | None:
    """Returns what comes with the package for an environment, None if there is nothing."""
    path = BUNDLED / f"{system_name(env)}.json"
    return load_index(path) if path.exists() else None


def system_name(env: Any) -> str:
    """Returns the id whose policy suits an environment; an edge with an engine is a cluster."""
    if not env.config.is_pair:
        return "EdgeCloud-Cluster-v0"
    return f"EdgeCloud-{type(env).__name__.removesuffix('Env').removesuffix('Batching')}-v0"
