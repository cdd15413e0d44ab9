"""The profiler: measures how long a model takes to answer each prompt.

:func:`profile_models` runs local models; :func:`profile_backend` runs anything that answers prompts
and tells how long it took. Both write the reference collector's file: one JSONL line per prompt in
``inference_data_<MODEL_NAME>.jsonl``, flushed as measured, resumable, metadata beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from data_tools.backends.base import Backend, DecodeMode, ModelUnavailableError
from data_tools.machine import load_average, session_conditions
from data_tools.profiling.run_file import RunFile
from data_tools.progress import track
from edgecloud_gym.checks import check_choice, check_integer
from edgecloud_gym.dataset.rows import CACHED
from edgecloud_gym.dataset.slowdown import slowdown_path
from edgecloud_gym.files import check_writable
from edgecloud_gym.wording import shown


def output_path(output_dir: Path, model_name: str) -> Path:
    """Returns the reference's file for a model: "Qwen2.5-3B" -> inference_data_Qwen2_5-3B.jsonl."""
    return output_dir / f"inference_data_{re.sub(r'[^A-Za-z0-9_-]', '_', model_name)}.jsonl"


def check_settings(
    *,
    max_new_tokens: int = 512,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    batch_sizes: Sequence[int] = (),
    context_lengths: Sequence[int] = (),
    decode: DecodeMode = "auto",
) -> None:
    """Checks settings of `profile_models` before anything is loaded.

    Raises:
        TypeError, ValueError: If one is out of range.
    """
    from data_tools.backends.models import DTYPES, resolve_device
    from data_tools.profiling.slowdown import distinct_sizes

    check_integer("max_new_tokens", max_new_tokens, least=1)
    if threads is not None:
        check_integer("threads", threads, least=1)
    if batch_sizes:
        distinct_sizes(batch_sizes)
    for length in context_lengths:
        check_integer("context_lengths", length, least=1)
    if context_lengths and not batch_sizes:
        raise ValueError("context_lengths: batch_sizes is needed beside them")
    check_choice("decode", decode, get_args(DecodeMode))
    check_choice("dtype", dtype, tuple(DTYPES))
    resolve_device(device)


def profile_models(
    models: Mapping[str, str],
    prompts: Sequence[str],
    output_dir: str | Path = "inference_results",
    *,
    max_new_tokens: int = 512,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    threads: int | None = None,
    chat: bool = True,
    batch_sizes: Sequence[int] = (),
    context_lengths: Sequence[int] = (),
    decode: DecodeMode = "auto",
    show_progress: bool = True,
) -> list[Path]:
    """Measures every prompt on every model; interrupted, it resumes when called again.

    With ``batch_sizes``, each model's slowdown curve is measured after its prompts and written, as
    it grows, to ``inference_data_<MODEL_NAME>.slowdown.json``. It resumes like the prompts. With
    ``context_lengths`` beside them, steps and prefills are measured over these as well, for an
    engine model: ``inference_data_<MODEL_NAME>.sweep.json``.

    Args:
        models: Display name -> hub id, local directory or GGUF file.
        prompts: Texts to answer, in order. A text that occurs k times is measured k times.
        output_dir: Where the JSONL files and their metadata go.
        max_new_tokens: Cap on an answer's length, >= 1.
        device: "auto", "cpu", "cuda", ...
        dtype: "auto", "float32", "bfloat16" or "float16".
        attention: Attention backend in transformers' terms, or "auto".
        threads: CPU threads for torch; None leaves torch's choice.
        chat: Whether to wrap prompts in the model's chat template, if it has one.
        batch_sizes: Sizes to measure the decoding step at, none or at least two distinct ones.
        context_lengths: Tokens before the timed steps, for an engine model; none without one.
        decode: "eager"; "graph": one captured step, on a GPU; "auto": that where it works.
        show_progress: Whether to draw a progress bar with rate and time left.

    Returns:
        The JSONL file of each model.

    Raises:
        TypeError, ValueError: If a setting is out of range.
        ModelUnavailableError: If a model cannot be loaded, or its context is too short for
            ``context_lengths``.
        ConfigurationChangedError: If a file holds rows measured under other settings.
        OSError: If nothing can be written to ``output_dir``.
    """
    import torch

    from data_tools.backends.limits import measure_limits
    from data_tools.backends.local import LocalBackend
    from data_tools.backends.models import load_model
    from data_tools.profiling.local_sweep import check_lengths, continue_sweep, sweep_path
    from data_tools.profiling.slowdown import continue_slowdown

    check_settings(
        max_new_tokens=max_new_tokens,
        device=device,
        dtype=dtype,
        threads=threads,
        batch_sizes=batch_sizes,
        context_lengths=context_lengths,
        decode=decode,
    )
    check_writable(Path(output_dir), folder=True)
    if threads is not None:
        torch.set_num_threads(threads)

    def profile_model(name: str, source: str) -> Path:
        # A function of its own, so that one model's memory is free before the next is loaded.
        loaded = load_model(source, device=device, dtype=dtype, attention=attention)
        try:
            check_lengths(loaded, context_lengths)  # before hours of measuring
        except ValueError as error:
            raise ModelUnavailableError(
                f"model {shown(name)}: {error}: so long is its context"
            ) from error
        backend = LocalBackend(
            name, loaded, max_new_tokens=max_new_tokens, chat=chat, decode=decode
        )
        limits = measure_limits(loaded, backend.decoding)
        path = profile_backend(
            backend,
            prompts,
            Path(output_dir),
            show_progress=show_progress,
            about={"limits": limits.to_json()},
        )
        common: dict[str, Any] = {"show_progress": show_progress, "decoding": backend.decoding}
        if batch_sizes:
            continue_slowdown(
                slowdown_path(path),
                loaded,
                batch_sizes,
                backend.configuration,
                session_conditions(),
                **common,
            )
        if context_lengths:
            continue_sweep(
                sweep_path(path),
                loaded,
                batch_sizes=batch_sizes,
                context_lengths=context_lengths,
                configuration=backend.configuration,
                conditions=session_conditions(),
                **common,
            )
        return path

    return [profile_model(name, source) for name, source in models.items()]


profile = profile_models  # its name at first


def profile_backend(
    backend: Backend,
    prompts: Sequence[str],
    output_dir: Path,
    *,
    show_progress: bool = True,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Measures the prompts that the backend's file does not hold yet.

    Args:
        backend: What answers.
        prompts: Texts, in order.
        output_dir: Where the file goes.
        show_progress: Whether to draw a progress bar.
        about: What to note of this session, beside its conditions.

    Returns:
        The JSONL file.

    Raises:
        ConfigurationChangedError: If the file's rows were measured under another configuration.
    """
    path = output_path(output_dir, backend.name)
    with RunFile(path, backend.configuration, session_conditions() | dict(about or {})) as run:
        missing = missing_prompts(prompts, run.done)
        if missing:
            backend.warm_up()
        bar = track(
            missing,
            backend.name,
            done_before=len(prompts) - len(missing),
            visible=show_progress,
        )
        with closing(bar):
            for prompt in bar:
                run.append(_row(backend, prompt))
    return path


def missing_prompts(prompts: Sequence[str], done: Mapping[str, int]) -> list[str]:
    """Returns the prompts not measured yet, in order; of k equal ones the last k - done remain."""
    seen: Counter[str] = Counter()
    missing = []
    for prompt in prompts:
        seen[prompt] += 1
        if seen[prompt] > done.get(prompt, 0):
            missing.append(prompt)
    return missing


def spread_repeats(prompts: Sequence[str], count: int, times: int) -> list[str]:
    """Adds repetitions of some prompts, spread over the run, to learn how noisy the times are.

    Args:
        prompts: The prompts, n of them.
        count: How many of them to repeat, evenly spaced, 0 to n.
        times: How often each of these is measured in all, >= 1.

    Returns:
        n + count * (times - 1) prompts; the copies of one prompt lie about n / times apart.
    """
    n = len(prompts)
    check_integer("count", count, least=0, most=n)
    check_integer("times", times, least=1)
    chosen = [i * n // count for i in range(count)]
    copies = [((i + k * n / times) % n, prompts[i]) for i in chosen for k in range(1, times)]
    placed = sorted([*enumerate(prompts), *copies], key=lambda item: item[0])
    return [prompt for _, prompt in placed]


def _row(backend: Backend, prompt: str) -> dict[str, Any]:
    """Measures a prompt; the reference's seven keys come first.

    What a cache held is told by servers alone, and by not all of them: the others' rows have no key
    for it.
    """
    measured = asdict(backend.measure(prompt))
    if measured[CACHED] is None:
        del measured[CACHED]
    reference_keys = {
        "request_text": prompt,
        "model_name": backend.name,
        "response_text": measured.pop("response_text"),
        "device": backend.device,
    }
    return {**reference_keys, **measured, "load_average": load_average()}
