"""Engine models: a real server's continuous batching as a few numbers and its settings.

A server works in steps. In each it computes T tokens: one for every sequence that decodes, and
pieces of the prompts that are being read. With K cached tokens that the decoding sequences look
back on, a step takes

    max(prefill_overhead if it holds prompt tokens else 0,
        step_overhead + max(step_floor, token_time · T) + context_time · K)

or, where steps are not of that form, with a piecewise-linear curve over T, `step_times`, in place
of max(step_floor, token_time · T). Servers that compute prompt tokens and those of decoding
sequences one batch after the other (`mixed_batches` false) take that time for each of the two.

Tokens at the head of a prompt that a server has in its cache already, such as those of a chat
template that all prompts share (`shared_prefix`, or what is known of a single request), are not
computed. They count among the cached tokens that a sequence looks back on, and each sequence holds
them in the cache. One token of a prompt is always computed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from edgecloud_gym.checks import MOST, check_bool, check_integer, check_number, did_you_mean
from edgecloud_gym.files import UnreadableFileError, is_bundled_name, read_json, write_json
from edgecloud_gym.wording import shown

ENGINES: Final = Path(__file__).parent / "assets" / "engines"
TIMES: Final = (
    "step_overhead",
    "step_floor",
    "token_time",
    "context_time",
    "prefill_overhead",
)
_FLAGS: Final = ("lookahead", "reserve_prompt", "prefix_caching", "mixed_batches")
_TEXTS: Final = ("name", "served_model", "hardware", "source")
_LONG_STEP: Final = 3600.0  # s; nothing that serves takes longer, so it is a slip of units
_MOST: Final = 2**31 - 1  # counts are 32-bit integers in the compiled core


class Figures(Mapping[str, Any]):
    """A mapping that cannot be changed, and can be copied and pickled."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


def _figures() -> Any:
    return field(default_factory=lambda: Figures({}), compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class EngineModel:
    """How a server with continuous batching spends its time. Immutable and validated.

    Example:
        >>> model = EngineModel(
        ...     step_overhead=1e-3, step_floor=4.6e-3, token_time=21e-6, context_time=6e-8,
        ...     prefill_overhead=0.02, sequences=256, kv_tokens=400_000,
        ... )
        >>> round(model.step_time(decoding=64, context=64_000), 6)
        0.00944

    Attributes:
        step_overhead: What every step costs (s).
        step_floor: Reading the weights once (s).
        token_time: Computing one token (s).
        context_time: Reading one cached token (s).
        prefill_overhead: The least that a step with prompt tokens takes, on servers that launch
            such steps from the host (s).
        sequences: How many sequences it holds at a time.
        batched_tokens: How many tokens a step computes at most; at least ``sequences``.
        kv_tokens: How many tokens the cache holds; None for no limit.
        block_size: Tokens per block of the cache.
        lookahead: Whether a step is composed while the one before it runs.
        reserve_prompt: Whether a request is admitted only if its whole prompt fits in the cache;
            otherwise its first piece is enough.
        prefix_caching: Whether the blocks of a preempted sequence stay readable until taken.
        shared_prefix: Tokens at the head of every prompt that the server always has in its cache,
            such as a chat template's. A preempted sequence finds them there again.
        mixed_batches: Whether a step computes prompt tokens and those of decoding sequences in one
            batch; otherwise one batch after the other, as llama.cpp does.
        step_times: Pairs (tokens, s), tokens increasing, that take the place of max(step_floor,
            token_time · T); the last slope goes on. None for that form itself.
        name: What it is called.
        served_model: The language model that was served.
        hardware: What it ran on.
        source: Where the numbers come from.
        errors: Relative errors on requests or loads that were not fitted: signed, but for
            ``e2e_mape``.
        intervals: 95 % interval (low, high) of each fitted number (s); None for one that the log
            could not tell.
        judged: What the errors were measured on, and any other note, by name.

    Raises:
        TypeError: If a value is of another kind.
        ValueError: If it is out of range; the message names it and what is allowed.
    """

    step_overhead: float
    step_floor: float
    token_time: float
    context_time: float
    prefill_overhead: float = 0.0
    sequences: int
    batched_tokens: int = 2048
    kv_tokens: int | None = None
    block_size: int = 16
    lookahead: bool = True
    reserve_prompt: bool = True
    prefix_caching: bool = True
    shared_prefix: int = 0
    mixed_batches: bool = True
    step_times: tuple[tuple[float, float], ...] | None = None
    name: str = ""
    served_model: str = field(default="", repr=False)
    hardware: str = field(default="", repr=False)
    source: str = field(default="", repr=False)
    errors: Mapping[str, float] = field(
        default_factory=lambda: Figures({}), compare=False, repr=False
    )
    intervals: Mapping[str, Any] = field(
        default_factory=lambda: Figures({}), compare=False, repr=False
    )
    judged: Mapping[str, Any] = field(
        default_factory=lambda: Figures({}), compare=False, repr=False
    )

    def __post_init__(self) -> None:
        for name in TIMES:
            self._set(name, check_number(name, getattr(self, name), least=0, most=_LONG_STEP))
        self._set("sequences", check_integer("sequences", self.sequences, least=1, most=MOST))
        tokens = check_integer("batched_tokens", self.batched_tokens, least=1, most=_MOST)
        if tokens < self.sequences:
            raise ValueError(
                f"batched_tokens={tokens}: must be an integer >= sequences={self.sequences}, "
                "one token for each"
            )
        self._set("batched_tokens", tokens)
        self._set("block_size", check_integer("block_size", self.block_size, least=1, most=4096))
        if self.kv_tokens is not None:
            limit = check_integer("kv_tokens", self.kv_tokens, least=self.block_size, most=_MOST)
            self._set("kv_tokens", limit)
        prefix = check_integer("shared_prefix", self.shared_prefix, least=0, most=_MOST)
        self._set("shared_prefix", prefix)
        for name in _FLAGS:
            self._set(name, check_bool(name, getattr(self, name)))
        if self.step_times is not None:
            self._set("step_times", _checked_curve(self.step_times))
        for name in _TEXTS:
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name}={shown(getattr(self, name))}: must be a string")
        for name in ("errors", "intervals", "judged"):
            if not isinstance(getattr(self, name), Mapping):
                raise TypeError(f"{name}={shown(getattr(self, name))}: must be a mapping")
            self._set(name, Figures(getattr(self, name)))
        if self.step_overhead + self._computing(1) <= 0:
            raise ValueError(
                "step_overhead, step_floor, token_time: a step that computes one token must take "
                "longer than 0 s"
            )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def blocks(self) -> int | None:
        """How many blocks the cache holds; None for no limit."""
        return None if self.kv_tokens is None else self.kv_tokens // self.block_size

    def step_time(self, *, decoding: float, context: float = 0.0, prompt: float = 0.0) -> float:
        """Returns how long a step takes (s).

        Args:
            decoding: How many sequences decode in it.
            context: Cached tokens that these look back on.
            prompt: Prompt tokens computed in it.
        """
        apart = not self.mixed_batches and decoding > 0 and prompt > 0
        time = self.step_overhead + self._computing(decoding if apart else decoding + prompt)
        if apart:
            time += self._computing(prompt)
        time += self.context_time * context
        return max(self.prefill_overhead, time) if prompt > 0 else time

    def _computing(self, tokens: float) -> float:
        if self.step_times is None:
            return max(self.step_floor, self.token_time * tokens)
        if tokens <= self.step_times[0][0]:
            return self.step_times[0][1]
        (low, start), (high, end) = self.step_times[-2:]
        for left, right in zip(self.step_times, self.step_times[1:], strict=False):
            if tokens <= right[0]:
                (low, start), (high, end) = left, right
                break
        return start + (end - start) * (tokens - low) / (high - low)

    def computed(self, prompt_tokens: float) -> float:
        """Returns how many tokens of a prompt it computes: those that are not in `shared_prefix`.

        At least one, or the whole of a prompt that is shorter.
        """
        return max(min(1.0, prompt_tokens), prompt_tokens - self.shared_prefix)

    def fits(self, prompt_tokens: int, output_tokens: int) -> bool:
        """Tells whether a request of this size can ever finish with the cache there is."""
        blocks = self.blocks
        return blocks is None or prompt_tokens + output_tokens - 1 <= blocks * self.block_size

    def capacity(
        self, prompt_tokens: float, output_tokens: float, *, context: float | None = None
    ) -> float:
        """Returns the rate at which it finishes requests when full (requests/s).

        With n sequences decoding, prompts arrive at the rate of finishes: a finish, and a step
        with a prompt in it, comes every ``output_tokens`` / n steps. n is the smallest of
        ``sequences``, what the cache holds, and what leaves the budget room for the prompts.

        Args:
            prompt_tokens: Mean prompt (tokens).
            output_tokens: Mean answer (tokens).
            context: Mean cached tokens of a sequence that decodes. Long answers decode for longer,
                so that this is E[output (prompt + output / 2)] / E[output]; by default what it is
                where all requests are alike, prompt + output / 2.
        """
        prompt = check_number("prompt_tokens", prompt_tokens, above=0)
        output = check_number("output_tokens", output_tokens, least=1)
        held = prompt + output / 2 if context is None else check_number("context", context, above=0)
        prompt = self.computed(prompt)
        n = min(self.sequences, self.batched_tokens / (1 + prompt / output))
        if self.kv_tokens is not None:
            n = min(n, max(1.0, self.kv_tokens / held))
        finishes = n / output  # per step
        share = min(1.0, finishes * max(1.0, prompt / self.batched_tokens))  # steps with prompts
        read = self.step_time(decoding=n, context=n * held, prompt=finishes * prompt / share)
        plain = self.step_time(decoding=n, context=n * held)
        return finishes / (share * read + (1 - share) * plain)

    def replaced(self, **changes: Any) -> EngineModel:
        """Returns a copy with other values, checked anew."""
        return replace(self, **changes)

    def save(self, path: str | Path) -> None:
        """Writes the model as JSON."""
        write_json(Path(path), self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Returns what the JSON file holds."""
        shown = {name: getattr(self, name) for name in (*_TEXTS, *TIMES)}
        shown |= {f.name: getattr(self, f.name) for f in fields(self) if f.name not in shown}
        for name in ("errors", "intervals", "judged"):
            shown[name] = dict(shown[name])
        if self.step_times is not None:
            shown["step_times"] = [list(point) for point in self.step_times]
        return shown

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EngineModel:
        """Builds a model from what its JSON file holds.

        Raises:
            TypeError: If a key is missing or a value is of another kind.
            ValueError: If a key is unknown or a value out of range.
        """
        known = {f.name for f in fields(cls)}
        for key in values:
            if key not in known:
                raise ValueError(f"unknown key {shown(key)}{did_you_mean(key, known)}")
        for key in (*TIMES[:4], "sequences"):
            if key not in values:
                raise ValueError(f"key {shown(key)} is missing")
        return cls(**values)

    @classmethod
    def from_hardware(
        cls,
        *,
        parameters: float,
        layers: int,
        kv_bytes_per_token: float,
        flops: float,
        bandwidth: float,
        memory: float,
        sequences: int = 256,
        bytes_per_parameter: float = 2.0,
        **settings: Any,
    ) -> EngineModel:
        """Derives a model from data sheets, for where there is no log.

        Reading the weights runs at 0.97 of the memory's bandwidth, computing at 0.76 of the peak,
        reading the cache at 0.6 of the bandwidth; a step costs 50 µs a layer beside, and one with
        prompt tokens takes at least 1 ms a layer where it is launched from the host. What
        0.9 of the memory leaves beside the weights holds the cache. These are what logs of two
        models on an H100 with vLLM gave; expect errors of some tens of per cent elsewhere.

        Args:
            parameters: Weights of the model that compute a token (for a mixture of experts: those
                that are active).
            layers: Its layers.
            kv_bytes_per_token: 2 · layers · heads of keys and values · size of a head · bytes.
            flops: Peak rate of the card, or of the cards together, without sparsity (1/s).
            bandwidth: Memory bandwidth (bytes/s).
            memory: Memory (bytes).
            sequences: How many sequences it holds at a time.
            bytes_per_parameter: 2 for 16-bit weights.
            **settings: Any other attribute, in place of what is derived.

        Raises:
            ValueError: If a figure is out of range, or the weights do not fit in the memory.
        """
        size = check_number("parameters", parameters, above=0)
        depth = check_integer("layers", layers, least=1)
        per_token = check_number("kv_bytes_per_token", kv_bytes_per_token, above=0)
        rate = check_number("flops", flops, above=0)
        speed = check_number("bandwidth", bandwidth, above=0)
        room = check_number("memory", memory, above=0)
        weights = size * check_number("bytes_per_parameter", bytes_per_parameter, above=0)
        kv_tokens = math.floor((0.9 * room - weights) / per_token)
        if kv_tokens < 16:
            raise ValueError(
                f"memory={shown(memory)}: must be a number of bytes whose 0.9 holds the weights "
                f"({weights:.3g}) and some cache"
            )
        derived: dict[str, Any] = {
            "step_overhead": 50e-6 * depth,
            "step_floor": weights / (0.97 * speed),
            "token_time": 2 * size / (0.76 * rate),
            "context_time": per_token / (0.6 * speed),
            "kv_tokens": min(kv_tokens, _MOST),
            "sequences": sequences,
            "source": "derived from data sheets",
        }
        return cls(**(derived | settings))


def bundled_engines() -> tuple[str, ...]:
    """Returns the names of the engine models that come with the package."""
    return tuple(sorted(path.stem for path in ENGINES.glob("*.json")))


def load_engine(source: str | Path) -> EngineModel:
    """Loads an engine model.

    Args:
        source: The name of a bundled one, as a text, or the path of a JSON file.

    Raises:
        ValueError: If there is no model of that name, or a path does not end in ``.json``.
        FileNotFoundError: If there is no such file.
        UnreadableFileError: If the file holds no engine model.
    """
    path = Path(source)
    if path.suffix != ".json":
        known = bundled_engines()
        if not is_bundled_name(source, known):
            raise ValueError(
                f"engine model {shown(str(source))}: must be one of {', '.join(known)}"
                f"{did_you_mean(str(source), known)}, or the path of a .json file"
            )
        path = ENGINES / f"{source}.json"
    values = read_json(path)
    if not isinstance(values, dict):
        raise UnreadableFileError(f"{path}: an engine model is a JSON object")
    try:
        return EngineModel.from_dict(values)
    except (TypeError, ValueError) as error:
        raise UnreadableFileError(f"{path}: {error}") from error


def _checked_curve(value: Any) -> tuple[tuple[float, float], ...]:
    allowed = "step_times must be two or more pairs (tokens, seconds), tokens increasing from 1"
    try:
        pairs = [tuple(pair) for pair in value]
    except TypeError as error:
        raise TypeError(f"{allowed}, got {shown(value)}") from error
    if len(pairs) < 2 or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{allowed}, got {shown(value)}")
    curve = tuple(
        (
            check_number("step_times (tokens)", tokens, least=1),
            check_number("step_times (seconds)", time, above=0, most=_LONG_STEP),
        )
        for tokens, time in pairs
    )
    if any(right[0] <= left[0] for left, right in itertools.pairwise(curve)):
        raise ValueError(f"{allowed}, got {shown(value)}")
    if curve[-1][1] < curve[-2][1]:
        raise ValueError(
            f"step_times={shown(value)}: the last slope goes on for ever and must not fall"
        )
    return curve
