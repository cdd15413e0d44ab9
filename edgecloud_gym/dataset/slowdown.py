"""The file of a batch slowdown curve: its keys, and what is wrong with a bad one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from edgecloud_gym.dataset.tables import beside
from edgecloud_gym.files import UnreadableFileError, read_json, write_json
from edgecloud_gym.wording import shown

LARGEST: Final = 1e300


@dataclass(frozen=True)
class SlowdownFile:
    """Content of a ``slowdown.json``; the names of the attributes are its keys.

    An environment needs ``slowdown`` alone. A list that a file does not have is empty, a number or
    a mapping None.

    Attributes:
        slowdown: Entry n - 1 is s(n), by how much a batch of n runs slower than one request alone.
        batch_sizes: Sizes n that were measured.
        step_time: Median time of a decoding step at each size (s).
        step_time_quartiles: First and third quartile of it (s).
        step_time_repeats: Each repetition (s).
        context_length: Tokens in each sequence's cache when the timed steps began.
        steps: Timed steps per repetition.
        a, b: A step of n takes about a + b n (s).
        fit_error: Largest relative deviation of that from the medians.
        did_not_fit: Why a size could not be measured, by size.
        configuration: Of the run that measured.
        conditions: Of the machine meanwhile.
    """

    slowdown: list[float]
    batch_sizes: list[int] = field(default_factory=list)
    step_time: list[float] = field(default_factory=list)
    step_time_quartiles: list[tuple[float, float]] = field(default_factory=list)
    step_time_repeats: list[list[float]] = field(default_factory=list)
    context_length: int | None = None
    steps: int | None = None
    a: float | None = None
    b: float | None = None
    fit_error: float | None = None
    did_not_fit: Mapping[str, str] | None = None
    configuration: Mapping[str, Any] | None = None
    conditions: Mapping[str, Any] | None = None

    @property
    def measured_to(self) -> int | None:
        """The largest size that was measured; beyond it the curve is extrapolated."""
        return max(self.batch_sizes, default=None)

    @property
    def unit(self) -> float | None:
        """The fitted step of one sequence (s), to which s(1) = 1 belongs; None without a fit."""
        return None if self.a is None or self.b is None else (self.a + self.b) or None

    def write(self, path: Path) -> None:
        """Writes the file; readers see either the old one or the whole new one."""
        content = {name: value for name, value in asdict(self).items() if value is not None}
        write_json(path, content)

    @classmethod
    def read(cls, path: Path) -> SlowdownFile:
        """Reads the file; keys that it should not have are passed over.

        Raises:
            UnreadableFileError: If it is not a JSON object with a list of numbers under
                ``slowdown``, or what it says of the measurement does not fit together.
        """
        content = read_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("slowdown"), list):
            raise UnreadableFileError(
                f"{path}: key 'slowdown' must hold a list of numbers, s(1), s(2), ..."
            )
        known = {item.name for item in fields(cls)}
        stated = {name: value for name, value in content.items() if name in known}
        for name, (form, is_good) in _FORMS.items():
            if stated.get(name) is not None and not is_good(stated[name]):
                raise UnreadableFileError(f"{path}: key {shown(name)} must hold {form}")
        file = cls(**{name: value for name, value in stated.items() if value is not None})
        if file.slowdown[0] != 1:
            raise UnreadableFileError(f"{path}: key 'slowdown' must start with s(1) = 1")
        sizes = len(file.batch_sizes)
        for name in ("step_time", "step_time_quartiles", "step_time_repeats"):
            if len(getattr(file, name)) not in (0, sizes):
                raise UnreadableFileError(
                    f"{path}: key {shown(name)} must have one entry per batch size"
                )
        return file


def slowdown_path(requests: Path) -> Path:
    """Returns where the curve of a file of requests lives: ``x.jsonl`` -> ``x.slowdown.json``."""
    return beside(requests, ".slowdown.json")


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value < LARGEST  # type: ignore[operator]


def _is_time(value: object) -> bool:
    return _is_number(value) and value != 0


def _is_size(value: object) -> bool:
    return _is_time(value) and isinstance(value, int)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_time, value))


def _is_curve(value: object) -> bool:
    return _list_of(_is_time)(value) and bool(value)


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _list_of(good: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(good, value))


_FORMS: Final = {
    "slowdown": ("a list of numbers above 0, s(1), s(2), ...", _is_curve),
    "batch_sizes": ("a list of whole numbers above 0", _list_of(_is_size)),
    "step_time": ("a list of times above 0 s", _list_of(_is_time)),
    "step_time_quartiles": ("a list of pairs of times above 0 s", _list_of(_is_pair)),
    "step_time_repeats": ("a list of lists of times above 0 s", _list_of(_list_of(_is_time))),
    "context_length": ("a whole number above 0", _is_size),
    "steps": ("a whole number above 0", _is_size),
    "a": ("a time from 0 s", _is_number),
    "b": ("a time from 0 s", _is_number),
    "fit_error": ("a number from 0", _is_number),
    "did_not_fit": ("a JSON object", _is_mapping),
    "configuration": ("a JSON object", _is_mapping),
    "conditions": ("a JSON object", _is_mapping),
}
