"""The file of a sweep over fixed concurrencies: its keys, and what is wrong with a bad one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from data_tools.calibration.formats import stated
from edgecloud_gym.files import UnreadableFileError, read_json, write_json

KIND: Final = "edgecloud sweep"


@dataclass(frozen=True)
class IdleMeasurement:
    """One request to an idle server.

    Attributes:
        asked: Prompt tokens that were wanted.
        repeat: Repetition, from 0.
        prompt_tokens, cached_tokens: As the server counted them.
        ttft: Time to first token, s.
        step: Mean decoding step, s; None where the answer was too short.
        context: Cached tokens in the middle of these steps.
    """

    asked: int
    repeat: int
    prompt_tokens: float
    cached_tokens: float
    ttft: float
    step: float | None
    context: float


@dataclass(frozen=True)
class RoundMeasurement:
    """Requests side by side.

    Attributes:
        concurrency: How many.
        asked: Prompt tokens of each that were wanted.
        repeat: Repetition, from 0.
        together: How many of them decoded at one time, at most.
        step: Mean step while all decoded, s; None where they never did.
        tokens: Tokens per sequence in that time.
        context: Cached tokens of all in the middle of it.
    """

    concurrency: int
    asked: int
    repeat: int
    together: int
    step: float | None
    tokens: float
    context: float


@dataclass(frozen=True)
class MixedMeasurement:
    """A request that came while others decoded.

    Attributes:
        decoding: How many others.
        asked: Prompt tokens that were wanted.
        repeat: Repetition, from 0.
        prompt_tokens, cached_tokens: Of the one that came, as the server counted them.
        step: The step in which its prompt was read and the others decoded, s; None where there was
            no such step.
        context: Cached tokens that the others looked back on.
    """

    decoding: int
    asked: int
    repeat: int
    prompt_tokens: float
    cached_tokens: float
    step: float | None
    context: float


@dataclass(frozen=True)
class SweepFile:
    """What a sweep measured; the names of the attributes are the keys of the file.

    Attributes:
        concurrencies, prompt_lengths: Levels, ascending.
        repeats: How often each is measured.
        idle, rounds, mixed: Measurements so far.
        configuration: What the times depend on.
        conditions: Of each session.
    """

    concurrencies: tuple[int, ...]
    prompt_lengths: tuple[int, ...]
    repeats: int
    idle: tuple[IdleMeasurement, ...] = ()
    rounds: tuple[RoundMeasurement, ...] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    conditions: tuple[Mapping[str, Any], ...] = ()
    mixed: tuple[MixedMeasurement, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether a model on this machine was measured, and no server.

        The configuration of such a run names the source of the weights.
        """
        return "source" in self.configuration

    def with_idle(self, measured: IdleMeasurement) -> SweepFile:
        """Returns a copy with one more measurement."""
        return replace(self, idle=(*self.idle, measured))

    def with_round(self, measured: RoundMeasurement) -> SweepFile:
        """Returns a copy with one more measurement."""
        return replace(self, rounds=(*self.rounds, measured))

    def with_mixed(self, measured: MixedMeasurement) -> SweepFile:
        """Returns a copy with one more measurement."""
        return replace(self, mixed=(*self.mixed, measured))

    def begun(self, conditions: Mapping[str, Any]) -> SweepFile:
        """Returns a copy with the conditions of one more session."""
        return replace(self, conditions=(*self.conditions, conditions))

    def widened(self, other: SweepFile) -> SweepFile:
        """Returns a copy that asks for the levels and repetitions of another one as well."""
        return replace(
            self,
            concurrencies=tuple(sorted({*self.concurrencies, *other.concurrencies})),
            prompt_lengths=tuple(sorted({*self.prompt_lengths, *other.prompt_lengths})),
            repeats=max(self.repeats, other.repeats),
        )

    def write(self, path: Path) -> None:
        """Writes the file; readers see either the old one or the whole new one."""
        write_json(path, {"kind": KIND, **asdict(self)})

    @classmethod
    def read(cls, path: Path) -> SweepFile:
        """Reads the file.

        Raises:
            UnreadableFileError: If it is no sweep, or a value is not what it should be.
        """
        return cls.from_json(path, read_json(path))

    @classmethod
    def from_json(cls, path: Path, content: Any) -> SweepFile:
        """Makes one of what the file at ``path`` holds; see `read`."""
        if not is_sweep(content):
            raise UnreadableFileError(f"{path}: not a sweep of edgecloud profile")
        try:
            return cls(
                concurrencies=tuple(
                    int(stated("concurrencies", n)) for n in content["concurrencies"]
                ),
                prompt_lengths=tuple(
                    int(stated("prompt_lengths", n)) for n in content["prompt_lengths"]
                ),
                repeats=int(stated("repeats", content["repeats"])),
                idle=tuple(_measurement(IdleMeasurement, item) for item in content["idle"]),
                rounds=tuple(_measurement(RoundMeasurement, item) for item in content["rounds"]),
                configuration=dict(content["configuration"]),
                conditions=tuple(map(dict, content["conditions"])),
                # Older files have none.
                mixed=tuple(_measurement(MixedMeasurement, i) for i in content.get("mixed", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableFileError(f"{path}: a damaged sweep: {error}") from error


def is_sweep(content: Any) -> bool:
    """Whether the content of a JSON file is a sweep of `edgecloud profile`."""
    return isinstance(content, dict) and content.get("kind") == KIND


Measurement = TypeVar("Measurement", IdleMeasurement, RoundMeasurement, MixedMeasurement)
_WHOLE: Final = ("asked", "repeat", "concurrency", "together", "decoding")
_POSITIVE: Final = ("ttft", "step", "prompt_tokens", "concurrency", "together", "decoding")


def _measurement(kind: type[Measurement], item: Mapping[str, Any]) -> Measurement:
    values: dict[str, Any] = {}
    for name, value in item.items():
        number = None if name == "step" and value is None else stated(name, value)
        if number is not None and (number < 0 or (number == 0 and name in _POSITIVE)):
            raise ValueError(f"{name} {number:g}: must be above 0")
        values[name] = int(number) if number is not None and name in _WHOLE else number
    return kind(**values)
