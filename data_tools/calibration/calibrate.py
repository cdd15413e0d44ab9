"""From logs of a server to an engine model with its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from data_tools.calibration.errors import measured, simulated
from data_tools.calibration.fit import Part, fit, loss
from data_tools.calibration.identify import (
    RESAMPLES,
    check_concurrency,
    drop_unidentified,
    intervals,
    matters,
    remarks,
)
from data_tools.calibration.logs import Log
from data_tools.calibration.result import Calibration, Judgement, errors_on, rounded, with_errors
from data_tools.calibration.sweep import MeasuredSteps, Steps
from edgecloud_gym.engines import TIMES, EngineModel
from edgecloud_gym.wording import shown

FLAGS: Final = ("lookahead", "reserve_prompt", "prefix_caching")
# What only a cache with a limit can show.
_OF_THE_CACHE: Final = ("reserve_prompt", "prefix_caching")
SETTINGS: Final = (
    "sequences", "kv_tokens", "batched_tokens", "block_size", *FLAGS,
    "shared_prefix", "mixed_batches",
)  # fmt: skip
SHARED_BY: Final = 90  # per cent of the requests


def calibrate(
    logs: Sequence[Log],
    *,
    name: str = "",
    served_model: str = "",
    hardware: str = "",
    sweep: MeasuredSteps | Steps | None = None,
    resamples: int = RESAMPLES,
    progress: Callable[[int], None] | None = None,
    **settings: Any,
) -> Calibration:
    """Fits an engine to logs of one server.

    One log is fitted on its first, third, ... request and judged on the others. Several are fitted
    together, and each is judged by a fit of the others alone. With a sweep nothing is fitted: a
    step takes what was measured, and the logs test that.

    Args:
        logs: Of one server, each at its load.
        name: Of the model.
        served_model: The language model.
        hardware: What it ran on.
        sweep: What steps take, as measured at fixed concurrencies: of `read_steps`, or pairs of
            tokens in a step and seconds.
        resamples: How often the bootstrap draws for the intervals.
        progress: Called with 1 after each resample of the bootstrap.
        **settings: The server's settings, by the names of `EngineModel`: what is not given is read
            from the logs, or chosen by fit (`lookahead`, `reserve_prompt`, `prefix_caching`).
            Without a sweep `shared_prefix` is what nine of ten requests at least have found in the
            cache; what the logs say of each request goes before it when they are simulated.

    Raises:
        TypeError: If a setting is unknown.
        ValueError: If settings are lacking or contradict each other, or the logs cannot tell.
    """
    for key in settings:
        if key not in SETTINGS:
            raise TypeError(f"unknown setting {shown(key)}: must be one of {', '.join(SETTINGS)}")
    given = {key: value for key, value in settings.items() if value is not None}
    steps = MeasuredSteps(sweep) if isinstance(sweep, tuple) else sweep
    if steps is not None and steps.sequences is not None:
        given = {"sequences": steps.sequences} | given
    known = _settings(logs, given)
    _check_sizes(logs, known)
    described: dict[str, Any] = {"name": name, "served_model": served_model, "hardware": hardware}
    described["source"] = f"edgecloud calibrate, {', '.join(log.name for log in logs)}"
    if steps is not None:
        return _measured(logs, known, steps, described)
    known.setdefault("shared_prefix", _shared_prefix(logs))
    check_concurrency(logs)
    parts = [Part.whole(log) for log in logs] if len(logs) > 1 else [Part.half(logs[0], odd=True)]
    model, value = fit(parts, known)
    model, known = _choose_flags(parts, known, model, value)
    value = loss(model, parts)
    model, fixed, _ = drop_unidentified(parts, known, model, value)
    model = rounded(model)  # judged as it is written: a step more or less moves a request
    judgements = _judge(logs, parts, known, fixed, model)
    spans = intervals(parts, known, model, fixed, resamples, progress)
    notes = _notes(logs, known, given)
    notes += [_unidentified(key, number) for key, number in fixed.items()]
    return Calibration(
        model=with_errors(model, judgements, spans, notes, described),
        judgements=judgements,
        notes=tuple(notes),
        pairs={log.name: (measured(log), simulated(model, log)) for log in logs},
    )


def _unidentified(name: str, number: float) -> str:
    if number == 0:
        return f"{name}: not identified; without it the logs are matched as well, so it is 0"
    return (
        f"{name}: not identified; the logs are matched as well if it is 0. The {number:.3g} s that "
        "the model has are the best of many that would do"
    )


def _settings(logs: Sequence[Log], given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for log in logs:
        for key, value in log.settings.items():
            if key not in given and found.setdefault(key, value) != value:
                raise ValueError(
                    f"{key}: the logs say {found[key]} and {value}; logs of one server are needed"
                )
    found |= given
    if "sequences" not in found:
        raise ValueError("sequences is needed: how many the server runs at a time (--sequences)")
    return found


def _shared_prefix(logs: Sequence[Log]) -> int:
    """Returns how many prompt tokens nearly all requests found in the cache; 0 if no log says."""
    found = np.concatenate([log.cached[log.cached >= 0] for log in logs])
    return int(np.percentile(found, 100 - SHARED_BY, method="lower")) if len(found) else 0


def _check_sizes(logs: Sequence[Log], known: Mapping[str, Any]) -> None:
    probe = EngineModel(**(dict.fromkeys(TIMES, 1.0) | dict(known)))
    for log in logs:
        for i in range(len(log)):
            if not probe.fits(int(log.prompt[i]), int(log.output[i])):
                raise ValueError(
                    f"{log.name}: request {i} needs {log.prompt[i] + log.output[i] - 1} tokens in "
                    f"the cache, and kv_tokens={probe.kv_tokens}"
                )


def _choose_flags(
    parts: Sequence[Part], known: dict[str, Any], model: EngineModel, value: float
) -> tuple[EngineModel, dict[str, Any]]:
    """Turns each setting that nobody gave the other way, where the logs speak for it."""
    for flag in FLAGS:
        if flag in known:
            continue
        limited = known.get("kv_tokens") is not None
        if flag in _OF_THE_CACHE and not limited:
            continue
        turned = known | {flag: not getattr(model, flag)}
        if loss(model.replaced(**{flag: turned[flag]}), parts) == value:
            continue  # it makes no difference at all
        other, new = fit(parts, turned, start=model)
        if new < value - matters(parts):
            model, value, known = other, new, turned
        else:
            known = known | {flag: getattr(model, flag)}
    return model, known


def _judge(
    logs: Sequence[Log],
    parts: Sequence[Part],
    known: Mapping[str, Any],
    fixed: Mapping[str, float],
    model: EngineModel,
) -> tuple[Judgement, ...]:
    if len(logs) == 1:
        log = logs[0]
        rows = [
            (parts[0], "odd requests", True),
            (Part.half(log, odd=False), "even requests", False),
        ]
        return tuple(
            Judgement("odd requests", f"{log.name}, {what}", errors_on(model, part), fitted)
            for part, what, fitted in rows
        )
    together = "all logs"
    nothing = {key: value for key, value in fixed.items() if value == 0}
    found = [Judgement(together, log.name, errors_on(model, Part.whole(log)), True) for log in logs]
    for left_out, log in enumerate(logs):
        others = [part for i, part in enumerate(parts) if i != left_out]
        try:
            check_concurrency([part.log for part in others])
        except ValueError:
            continue
        alone, _ = fit(others, known, fixed=nothing)
        names = ", ".join(part.log.name for part in others)
        found.append(Judgement(names, log.name, errors_on(alone, Part.whole(log)), False))
    return tuple(found)


def _measured(
    logs: Sequence[Log], known: dict[str, Any], steps: MeasuredSteps, described: dict[str, Any]
) -> Calibration:
    """Takes the numbers from a sweep, and fits nothing."""
    given = dict(known)
    parts = [Part.whole(log) for log in logs]
    models = [steps.engine(**known)]
    for flag in FLAGS:
        if flag not in known:
            models.append(models[0].replaced(**{flag: not getattr(models[0], flag)}))
    model = min(models, key=lambda m: loss(m, parts))
    judgements = tuple(
        Judgement("nothing: the sweep alone", log.name, errors_on(model, part), False)
        for log, part in zip(logs, parts, strict=True)
    )
    notes = [*_notes(logs, known, given), *steps.notes]
    notes.append("step times as measured in the sweep: nothing was fitted")
    spans = dict.fromkeys(TIMES)
    return Calibration(
        model=with_errors(model, judgements, spans, notes, described),
        judgements=judgements,
        notes=tuple(notes),
        pairs={log.name: (measured(log), simulated(model, log)) for log in logs},
    )


def _notes(logs: Sequence[Log], known: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    notes = []
    for log in logs:
        left = ", ".join(f"{count} {reason}" for reason, count in log.left_out.items())
        notes.append(
            f"{log.name}: {len(log)} requests ({log.kind})"
            + (f"; left out: {left}" if left else "")
        )
        notes += [f"{log.name}: {note}" for note in log.notes]
        if log.front_end > 0:
            notes.append(
                f"{log.name}: {1000 * log.front_end:.1f} ms at least from sending to the queue"
            )
        waited = log.scheduled - log.sent
        if not np.isnan(waited).any():
            notes.append(
                f"{log.name}: mean time to first token {np.mean(log.first - log.sent):.3f} s from "
                f"sending, {np.mean(log.first - log.scheduled):.3f} s from being scheduled"
            )
    for flag in FLAGS:
        if flag not in given and flag in known:
            notes.append(f"{flag}={known[flag]}: chosen by fit")
    if "shared_prefix" not in given and known.get("shared_prefix"):
        notes.append(
            f"shared_prefix={known['shared_prefix']}: {SHARED_BY} % of the requests found as many "
            "prompt tokens in the cache, or more"
        )
    return notes + remarks(logs, known)


__all__ = ["RESAMPLES", "Calibration", "Judgement", "calibrate", "errors_on"]
