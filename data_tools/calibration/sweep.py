"""How long steps take as measured: from sweeps over fixed concurrencies and batch curves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_tools.calibration.formats import stated
from data_tools.calibration.sweep_file import SweepFile, is_sweep
from edgecloud_gym.dataset.tables import read_table, table_suffix
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.files import UnreadableFileError, read_json

Steps = tuple[tuple[float, float], ...]
HALFWAY: Final = 0.5
PLATEAU: Final = 1.25  # times to first token that differ by less, for prompts of other lengths


@dataclass(frozen=True)
class MeasuredSteps:
    """What an engine's steps take, measured and not fitted.

    Attributes:
        step_times: Tokens in a step and what it takes without looking back (s).
        context_time: What one cached token adds (s).
        prefill_overhead: The least that a step with prompt tokens takes (s).
        sequences: How many decoded together at most, of a local model the largest size; None where
            it is not known.
        shared_prefix: Prompt tokens that the server had in its cache whatever the prompt was.
        mixed_batches: Whether prompts are read in one batch with the tokens of those that decode.
        notes: What a user should know of it.
    """

    step_times: Steps
    context_time: float = 0.0
    prefill_overhead: float = 0.0
    sequences: int | None = None
    shared_prefix: int = 0
    mixed_batches: bool = True
    notes: tuple[str, ...] = ()

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers by the names of `EngineModel`."""
        return {
            "step_overhead": 0.0,
            "step_floor": 0.0,
            "token_time": 0.0,
            "context_time": self.context_time,
            "prefill_overhead": self.prefill_overhead,
            "step_times": self.step_times,
            "shared_prefix": self.shared_prefix,
            "mixed_batches": self.mixed_batches,
        }

    def engine(self, **settings: Any) -> EngineModel:
        """Returns an engine model of these steps.

        Args:
            **settings: Any other attribute of `EngineModel`; those that are None are left out.

        Raises:
            ValueError: If nothing says how many sequences the server runs at a time.
        """
        given = {name: value for name, value in settings.items() if value is not None}
        given.setdefault("sequences", self.sequences)
        if given["sequences"] is None:
            raise ValueError(
                "sequences is needed: how many the server runs at a time (--sequences)"
            )
        budget = given.get("batched_tokens", 2048)
        given["batched_tokens"] = max(budget, given["sequences"])
        return EngineModel(**(self.numbers | given))


def read_sweep(path: str | Path) -> Steps:
    """Returns the curve of `read_steps`: tokens and seconds."""
    return read_steps(path).step_times


def read_steps(path: str | Path) -> MeasuredSteps:
    """Reads a sweep of `edgecloud profile`, a CSV of tokens and seconds, or `slowdown.json`.

    Raises:
        UnreadableFileError: If the file is none of these.
    """
    path = Path(path)
    try:
        if table_suffix(path) == ".json":
            value = read_json(path)
            if is_sweep(value):
                return steps_of(SweepFile.from_json(path, value))
            pairs = zip(value["batch_sizes"], value["step_time"], strict=True)
            return MeasuredSteps(tuple(_step(*pair) for pair in pairs))
        steps = []
        for place, record in read_table(path):
            try:
                if isinstance(record, ValueError):
                    raise record
                steps.append(_step(record["tokens"], record["seconds"]))
            except ValueError as error:
                raise UnreadableFileError(f"{path}, {place}: {error}") from error
        return MeasuredSteps(tuple(steps))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UnreadableFileError):
            raise
        raise UnreadableFileError(
            f"{path}: a sweep is a CSV with columns tokens and seconds, or a JSON object with "
            f"batch_sizes and step_time, or what edgecloud profile --concurrency writes: {error}"
        ) from error


def is_sweep_file(path: str | Path) -> bool:
    """Whether a file is a sweep of `edgecloud profile`; whatever cannot be read is none."""
    if table_suffix(Path(path)) != ".json":
        return False
    try:
        return is_sweep(read_json(Path(path)))
    except (UnreadableFileError, OSError):
        return False  # whoever reads it as a log says what is wrong with it


def _step(tokens: object, seconds: object) -> tuple[float, float]:
    step = stated("tokens", tokens), stated("seconds", seconds)
    for name, value in zip(("tokens", "seconds"), step, strict=True):
        if value <= 0:
            raise ValueError(f"{name} {value:g}: must be above 0")
    return step


def steps_of(file: SweepFile) -> MeasuredSteps:
    """Returns what a sweep tells of an engine's steps.

    Rounds give the decoding step by its number of sequences, the idle server's time to first token
    the step with so many prompt tokens, and its decoding steps, each over another context, what a
    cached token adds. Medians over the repetitions. Prompts of a sweep have nothing in common but
    what the server adds to them: what it finds in its cache of a prompt is the shared prefix.

    Raises:
        ValueError: If fewer than two different steps were measured.
    """
    notes: list[str] = []
    together = _together(file)
    context_time = _context_time(file, notes)
    decoding: dict[float, float] = {}
    for n in sorted({m.concurrency for m in file.rounds}):
        steps = [
            m.step - context_time * m.context
            for m in file.rounds
            if m.concurrency == n and m.step is not None
        ]
        if steps:
            decoding[float(n)] = max(float(np.median(steps)), 1e-9)
    reading = _reading(file)
    prefill_overhead = _least_reading(decoding, reading)
    largest = max(decoding, default=0.0)
    points = decoding | {
        tokens: time
        for tokens, time in reading.items()
        if tokens > largest and time > PLATEAU * prefill_overhead
    }
    if len(points) < 2:
        raise ValueError("a sweep needs two concurrencies or prompt lengths that were measured")
    if together is not None:
        notes.extend(_about_sequences(file, together))
    tokens = sorted(points)
    rising = np.maximum.accumulate([points[t] for t in tokens])  # noise on a flat curve
    found = MeasuredSteps(
        step_times=tuple((t, float(f"{s:.4g}")) for t, s in zip(tokens, rising, strict=True)),
        context_time=float(f"{context_time:.4g}"),
        prefill_overhead=float(f"{prefill_overhead:.4g}"),
        sequences=together,
        shared_prefix=int(np.median([m.cached_tokens for m in file.idle])) if file.idle else 0,
    )
    if found.shared_prefix:
        notes.append(
            f"shared_prefix: {found.shared_prefix} tokens of each prompt were in the server's cache"
        )
    mixed = _mixes(file, found, notes)
    return replace(found, mixed_batches=mixed, notes=tuple(notes))


def _mixes(file: SweepFile, steps: MeasuredSteps, notes: list[str]) -> bool:
    """Whether steps with a prompt took as long as one batch, rather than as two."""
    mixed, apart = (steps.engine(sequences=1, mixed_batches=way) for way in (True, False))
    places = []  # of the measured steps between the two, which are 0 and 1
    for m in file.mixed:
        beside: dict[str, Any] = {"decoding": m.decoding, "context": m.context}
        beside["prompt"] = max(1.0, m.prompt_tokens - m.cached_tokens)
        least, most = mixed.step_time(**beside), apart.step_time(**beside)
        if m.step is not None and most > least:
            places.append((m.step - least) / (most - least))
    if not places:
        if file.is_local:
            return True  # there is no server to tell about
        notes.append(
            "mixed_batches: the sweep does not tell whether prompts are read in one batch with "
            "those that decode: taken to be so"
        )
        return True
    if np.median(places) < HALFWAY:
        return True
    notes.append(
        "mixed_batches: false; prompts are read beside those that decode, not in one batch with "
        "them: a step with both takes the time of both"
    )
    return False


def _together(file: SweepFile) -> int | None:
    """Returns how many decoded together at most; None without rounds.

    By the median of each concurrency's rounds: a client that is held up sees the end of one answer
    after the beginning of the next.
    """
    found: dict[int, list[int]] = {}
    for m in file.rounds:
        found.setdefault(m.concurrency, []).append(m.together)
    return max((int(np.median(some)) for some in found.values()), default=None)


def _about_sequences(file: SweepFile, together: int) -> list[str]:
    most = max(file.concurrencies)
    if file.is_local:
        larger = f"sequences: {together}, the largest size that was measured; {most} was asked for"
        return [larger] if together < most else []
    if together < most:
        return [f"{together} of {most} requests decoded together: taken as the server's sequences"]
    return [
        f"all of {most} requests decoded together: the server may run more sequences at a time "
        "(--sequences)"
    ]


def _context_time(file: SweepFile, notes: list[str]) -> float:
    """Returns the slope of decoding steps over their context, s per token.

    Of each number of sequences the mean is its own, the slope is common to all: least squares of
    the relative error.
    """
    groups: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for m in file.idle:
        if m.step is not None:
            groups.setdefault((1, m.asked), []).append((m.context, m.step))
    for r in file.rounds:
        if r.step is not None and r.concurrency > 1:
            groups.setdefault((r.concurrency, r.asked), []).append((r.context, r.step))
    sizes = sorted({n for n, _ in groups})
    if len(groups) == len(sizes):
        notes.append("context_time: not measured, two prompt lengths or more would tell; it is 0")
        return 0.0
    context, step = np.array([np.median(pairs, axis=0) for pairs in groups.values()]).T
    own = np.array([[n == size for size in sizes] for n, _ in groups], dtype=np.float64)
    design = np.column_stack([own, context]) / step[:, None]
    slope = np.linalg.lstsq(design, np.ones_like(step), rcond=None)[0][-1]
    if slope <= 0:
        notes.append("context_time: steps over longer contexts took no longer; it is 0")
    return max(0.0, float(slope))


def _reading(file: SweepFile) -> dict[float, float]:
    """Returns the time to first token by the prompt tokens that were computed, s."""
    found: dict[float, float] = {}
    for asked in sorted({m.asked for m in file.idle}):
        some = [m for m in file.idle if m.asked == asked]
        computed = np.median([max(1.0, m.prompt_tokens - m.cached_tokens) for m in some])
        found[float(computed)] = float(np.median([m.ttft for m in some]))
    return found


def _least_reading(decoding: dict[float, float], reading: dict[float, float]) -> float:
    """Returns what any step with prompt tokens takes at least, s; 0 if that is nothing special.

    Servers that launch such steps from the host take as long for few prompt tokens as for twice as
    many or more, though a decoding step is much shorter.
    """
    if not reading or not decoding:
        return 0.0
    shortest = min(reading)
    least = reading[shortest]
    flat = any(n >= 2 * shortest and time <= PLATEAU * least for n, time in reading.items())
    return least if flat and least > PLATEAU * max(decoding.values()) else 0.0
