"""What logs of real servers look like: one function per format, from a record to its times.

A record becomes a `Row`. Times are in s, on any clock; NaN where a log does not know them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from edgecloud_gym.checks import parse_number
from edgecloud_gym.wording import shown

NAN: Final = math.nan
MS: Final = 1e-3
US: Final = 1e-6
NS: Final = 1e-9
UNITS: Final = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": MS, "us": US, "µs": US, "ns": NS}

# Why a request is left out.
FAILED: Final = "failed or cancelled"
WARM_UP: Final = "warm-up"
EMPTY: Final = "without output tokens"
UNFINISHED: Final = "unfinished"
WHOLE: Final = "without a time of the first token"  # such as those that did not stream

OPEN_LOOP: Final = "edgecloud profile"

Record = Mapping[str, Any]


class Row(NamedTuple):
    """One request: when it was sent, queued, scheduled, answered; and its tokens."""

    sent: float
    first: float
    finish: float
    prompt: float
    output: float
    queued: float = NAN
    scheduled: float = NAN
    cached: float = NAN
    left_out: str = ""


class Format(NamedTuple):
    """A log format: its name, the keys that tell it (dots for nesting), how a record is read."""

    name: str
    keys: tuple[str, ...]
    read: Callable[[Record], Row]


def get(record: Record, key: str) -> Any:
    """Returns the value under a dotted key; None if there is none."""
    value: Any = record
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def number(record: Record, key: str, unit: float = 1.0) -> float:
    """Returns the finite number under a dotted key, times a unit.

    Raises:
        ValueError: If there is none.
    """
    found = optional(record, key, unit)
    if math.isnan(found):
        raise ValueError(f"{key} is missing")
    return found


def optional(record: Record, key: str, unit: float = 1.0) -> float:
    """Returns the number under a dotted key, times a unit; NaN if there is none.

    Raises:
        ValueError: If there is something else.
    """
    value = get(record, key)
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return NAN
    return stated(key, value) * unit


def stated(key: str, value: object) -> float:
    """Returns the finite number that a value is, or states as text.

    Raises:
        ValueError: If it is none, with the key.
    """
    try:
        found = parse_number(value) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}={value!r:.60}: must be a number") from error
    except OverflowError:
        found = math.inf
    if isinstance(value, bool) or not math.isfinite(found):
        raise ValueError(f"{key}={value!r:.60}: must be a finite number")
    return found


def _left_out(reason: str) -> Row:
    return Row(NAN, NAN, NAN, NAN, NAN, left_out=reason)


def _vllm_statistics(record: Record) -> Row:
    queued = number(record, "queued_ts")
    sent = optional(record, "client_sent")
    if math.isnan(sent):
        sent = optional(record, "arrival_time")
    return Row(
        queued if math.isnan(sent) else sent,
        number(record, "first_token_ts"),
        number(record, "last_token_ts"),
        number(record, "input_toks"),
        number(record, "output_toks"),
        queued=queued,
        scheduled=optional(record, "scheduled_ts"),
    )


def _vllm_bench(record: Record) -> Row:
    if record.get("errors"):
        return _left_out(FAILED)
    sent = number(record, "start_times")
    first = sent + number(record, "ttfts")
    gaps = record.get("itls")
    if not isinstance(gaps, list):
        raise ValueError("itls is missing")
    return Row(
        sent,
        first,
        first + math.fsum(stated("itls", gap) for gap in gaps),
        number(record, "input_lens"),
        number(record, "output_lens"),
    )


def _guidellm(record: Record) -> Row:
    status = get(record, "info.status") or record.get("status") or "completed"
    if status not in ("completed", "successful", "success"):
        return _left_out(FAILED)
    times = "info.timings."
    last = optional(record, times + "last_token_iteration")
    return Row(
        number(record, times + "request_start"),
        number(record, times + "first_token_iteration"),
        number(record, times + "request_end") if math.isnan(last) else last,
        number(record, "prompt_tokens"),
        number(record, "output_tokens"),
        cached=optional(record, "cached_tokens"),
    )


def _aiperf(record: Record) -> Row:
    if get(record, "metadata.was_cancelled") or record.get("error"):
        return _left_out(FAILED)
    if str(get(record, "metadata.benchmark_phase") or "profiling").lower().startswith("warm"):
        return _left_out(WARM_UP)
    sent = number(record, "metadata.request_start_ns", NS)
    return Row(
        sent,
        sent + _metric(record, "time_to_first_token"),
        sent + _metric(record, "request_latency"),
        _metric(record, "input_sequence_length"),
        _metric(record, "output_sequence_length"),
    )


def _metric(record: Record, name: str) -> float:
    value = number(record, f"metrics.{name}.value")
    unit = str(get(record, f"metrics.{name}.unit") or "").lower()
    return value * UNITS.get(unit, 1.0)


def _blis(record: Record) -> Row:
    if str(record.get("status") or "ok").lower() not in ("ok", "success", "completed", "200"):
        return _left_out(FAILED)
    sent = optional(record, "send_time_us", US)
    return Row(
        number(record, "arrival_time_us", US) if math.isnan(sent) else sent,
        number(record, "first_chunk_time_us", US),
        number(record, "last_chunk_time_us", US),
        number(record, "input_tokens"),
        number(record, "output_tokens"),
    )


def _dynamo(record: Record) -> Row:
    if get(record, "request.error") or get(record, "request.cancelled"):
        return _left_out(FAILED)
    sent = number(record, "request.request_received_ms", MS)
    return Row(
        sent,
        sent + number(record, "request.ttft_ms", MS),
        sent + number(record, "request.total_time_ms", MS),
        number(record, "request.input_tokens"),
        number(record, "request.output_tokens"),
        cached=optional(record, "request.cached_tokens"),
    )


def _llamacpp(record: Record) -> Row:
    timings = record["timings"] if isinstance(record.get("timings"), Mapping) else record
    first = number(timings, "prompt_ms", MS)
    cached = optional(timings, "cache_n")
    return Row(
        0.0,
        first,
        first + number(timings, "predicted_ms", MS),
        # prompt_n counts what was computed
        number(timings, "prompt_n") + (0.0 if math.isnan(cached) else cached),
        number(timings, "predicted_n"),
        cached=cached,
    )


def _ollama(record: Record) -> Row:
    first = number(record, "prompt_eval_duration", NS)
    return Row(
        0.0,
        first,
        first + number(record, "eval_duration", NS),
        number(record, "prompt_eval_count"),
        number(record, "eval_count"),
    )


def _open_loop(record: Record) -> Row:
    if record.get("warm_up"):
        return _left_out(WARM_UP)
    if record.get("status") != "ok":
        return _left_out(FAILED)
    if not record.get("counted"):
        raise ValueError(
            "the server did not count the tokens (no usage), and chunks are not tokens"
        )
    finish = number(record, "last_chunk")
    first = optional(record, "first_chunk")
    return Row(
        number(record, "sent"),
        finish if math.isnan(first) else first,  # an answer of an end token alone
        finish,
        number(record, "prompt_tokens"),
        number(record, "output_tokens"),
        cached=optional(record, "cached_tokens"),
    )


def _ours(record: Record) -> Row:
    if record.get("completion_time") in (None, "") or math.isnan(
        optional(record, "completion_time")
    ):
        return _left_out(UNFINISHED)
    if math.isnan(optional(record, "first_token_time")):
        return _left_out(WHOLE)
    return Row(
        number(record, "arrival_time"),
        number(record, "first_token_time"),
        number(record, "completion_time"),
        number(record, "prompt_tokens"),
        number(record, "output_tokens"),
        cached=optional(record, "cached_tokens"),
    )


FORMATS: Final = (
    Format("vLLM statistics", ("queued_ts", "first_token_ts"), _vllm_statistics),
    Format("vllm bench serve", ("input_lens", "ttfts"), _vllm_bench),
    Format("GuideLLM", ("info.timings",), _guidellm),
    Format("AIPerf", ("metadata.request_start_ns",), _aiperf),
    Format("BLIS TraceV2", ("arrival_time_us", "first_chunk_time_us"), _blis),
    Format("Dynamo request trace", ("request.request_received_ms",), _dynamo),
    Format("llama.cpp timings", ("timings.prompt_ms",), _llamacpp),
    Format("llama.cpp timings", ("prompt_n", "prompt_ms"), _llamacpp),
    Format("Ollama", ("prompt_eval_duration", "eval_duration"), _ollama),
    Format(OPEN_LOOP, ("planned", "status"), _open_loop),
    Format("requests.csv", ("arrival_time", "completion_time"), _ours),
)
# Formats of durations alone: their requests are taken as sent one after the other.
ONE_BY_ONE: Final = ("llama.cpp timings", "Ollama")

NAMED: Final = ("sent", "first", "finish", "prompt", "output", "queued", "scheduled", "cached")


def named_columns(columns: Mapping[str, str]) -> Format:
    """Makes a format of columns that the user names.

    Args:
        columns: The column of each field of `NAMED`; the last three may be absent. A column whose
            name ends in ``_ms``, ``_us`` or ``_ns`` is in that unit, others in s or tokens.

    Raises:
        ValueError: If a field is unknown or missing.
    """
    for name in columns:
        if name not in NAMED:
            raise ValueError(f"columns: {shown(name)} must be one of {', '.join(NAMED)}")
    for name in NAMED[:5]:
        if name not in columns:
            raise ValueError(
                f"columns: {shown(name)} is missing; needed are {', '.join(NAMED[:5])}"
            )

    def read(record: Record) -> Row:
        fields: dict[str, Any] = {}
        for name, column in columns.items():
            unit = UNITS.get(column.rsplit("_", 1)[-1], 1.0) if "_" in column else 1.0
            get_one = number if name in NAMED[:5] else optional
            fields[name] = get_one(record, column, unit)
        return Row(**fields)

    return Format("named columns", (columns["sent"],), read)


def expanded(record: Record) -> Iterator[Record]:
    """Yields the requests of an object that holds many, or the object itself.

    Raises:
        ValueError: If what should be a list of objects is none.
    """
    if "input_lens" in record and isinstance(record.get("ttfts"), list):
        keys = ("input_lens", "output_lens", "ttfts", "itls", "start_times", "errors")
        lists = {key: record[key] for key in keys if isinstance(record.get(key), list)}
        lengths = {key: len(values) for key, values in lists.items()}
        if len({*lengths.values()}) > 1:
            told = ", ".join(f"{key} {length}" for key, length in lengths.items())
            raise ValueError(f"lists of unequal length: {told}")
        for values in zip(*lists.values(), strict=True):
            yield dict(zip(lists, values, strict=True))
    elif isinstance(record.get("benchmarks"), list):
        for benchmark in _objects(record, "benchmarks"):
            yield from _guidellm_requests(benchmark)
    elif isinstance(record.get("requests"), (list, Mapping)):
        yield from _guidellm_requests(record)
    else:
        yield record


def _guidellm_requests(benchmark: Record) -> Iterator[Record]:
    requests = benchmark.get("requests")
    if not isinstance(requests, Mapping):
        yield from _objects(benchmark, "requests")
        return
    yield from _objects(requests, "successful")
    for kind in ("errored", "incomplete", "cancelled"):
        for record in _objects(requests, kind):
            info = record.get("info")
            known = info if isinstance(info, Mapping) else {}
            yield {**record, "info": {**known, "status": kind}}


def _objects(record: Record, key: str) -> list[Record]:
    """Returns the objects listed under a key; none if there is nothing."""
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise ValueError(f"{key} must be a list of objects, got {value!r:.60}")
    return value
