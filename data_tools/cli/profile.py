"""``edgecloud profile``: how long models take to answer prompts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from data_tools.cli import profile_options as options
from data_tools.cli.console import quieten_transformers, reading_input, reporting
from data_tools.cli.engine import check_engine, check_local_engine, write_local_engine
from data_tools.cli.load import measure as measure_load
from data_tools.cli.options import on_error, refuse_given, whole_numbers
from data_tools.cli.reports import report_limits, report_rows
from edgecloud_gym.checks import check_integer
from edgecloud_gym.dataset.rows import OnError
from edgecloud_gym.files import check_writable
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    from data_tools.load.session import ServerUnderLoad


def profile(
    context: typer.Context,
    prompts: options.Prompts = "tatsu-lab/alpaca",
    model: options.Model = None,
    split: options.Split = "train",
    column: options.Column = None,
    limit: options.Limit = None,
    skip_malformed: options.SkipMalformed = False,
    repeat: options.Repeat = 0,
    times: options.Times = 3,
    max_new_tokens: options.MaxNewTokens = 512,
    output_dir: options.OutputDir = Path("inference_results"),
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    attention: options.Attention = "auto",
    threads: options.Threads = None,
    chat: options.Chat = True,
    batch_sizes: options.BatchSizes = None,
    context_lengths: options.ContextLengths = None,
    decode: options.Decode = "auto",
    endpoint: options.Endpoint = None,
    limit_field: options.LimitField = "max_tokens",
    timeout: options.Timeout = 300.0,
    retries: options.Retries = 5,
    api_key_variable: options.ApiKeyVariable = options.API_KEY_VARIABLE,
    concurrency: options.Concurrency = None,
    prompt_lengths: options.PromptLengths = None,
    rate: options.Rate = None,
    trace: options.Trace = None,
    duration: options.Duration = 60.0,
    max_in_flight: options.MaxInFlight = 1024,
    max_requests: options.MaxRequests = 100_000,
    seed: options.Seed = 0,
    engine: options.Engine = None,
    sequences: options.Sequences = None,
    lookahead: options.Lookahead = None,
) -> None:
    """Measure how long models take to answer prompts, one at a time.

    Writes one line per prompt to inference_data_NAME.jsonl in the output
    directory, as soon as it is measured. Interrupted, the same command goes on
    where it stopped. For example:

    edgecloud profile builtin -n 100 -m HuggingFaceTB/SmolLM2-135M-Instruct

    edgecloud profile prompts.json -m small=model.gguf --batch-sizes 1,2,4,8,16

    edgecloud profile builtin -m Qwen3 --endpoint http://127.0.0.1:8000/v1

    With --concurrency, --rate or --trace a server is measured under load: at
    fixed concurrencies, or with requests that arrive whether or not the earlier
    ones are answered. --engine makes an engine model of it:

    edgecloud profile builtin -m Qwen3 --endpoint http://127.0.0.1:8000/v1
    --concurrency 1,2,4,8,16 --rate 2 --rate 8 --engine qwen3.json
    """
    resume = f"What was measured is in {output_dir}; the same command goes on from there."
    with reporting(resume):
        with reading_input():
            models = _named_models(model or [])
            loads = concurrency is not None or bool(rate or trace)
            _refuse_useless_options(context, endpoint is not None, loads)
            if sequences is not None:
                check_integer("--sequences", sequences, least=1)
            engine_settings = {"sequences": sequences, "lookahead": lookahead}

        def read_prompts() -> list[str]:
            return _prompts(prompts, split, column, limit, on_error(skip_malformed), repeat, times)

        if endpoint is None:
            with reading_input():
                lengths = whole_numbers("--context-lengths", context_lengths)
                local: dict[str, Any] = {
                    "max_new_tokens": max_new_tokens,
                    "device": device,
                    "dtype": dtype,
                    "threads": threads,
                    "batch_sizes": whole_numbers("--batch-sizes", batch_sizes, least=2),
                    "context_lengths": lengths or ((64, 512) if engine else ()),
                    "decode": decode,
                }
                check_local_engine(engine, models, local["batch_sizes"])
            more = {"attention": attention, "chat": chat}
            paths = _profile_here(models, read_prompts, output_dir, more, local)
            if engine is not None:
                write_local_engine(paths[0], engine, engine_settings)
            return
        with reading_input():
            server: dict[str, Any] = {
                "max_new_tokens": max_new_tokens,
                "limit_field": limit_field,
                "timeout": timeout,
                "api_key": _api_key(api_key_variable),
            }
        if not loads:
            server["retries"] = retries
            _profile_server(endpoint, models, read_prompts, output_dir, server)
            return
        with reading_input():
            server |= {
                "concurrencies": whole_numbers("--concurrency", concurrency),
                "rates": tuple(rate or ()),
                "duration": duration,
                "most_in_flight": max_in_flight,
                "most_requests": max_requests,
                "seed": seed,
            }
            if prompt_lengths is not None:
                server["prompt_lengths"] = whole_numbers("--prompt-lengths", prompt_lengths)
            asked = _loads(endpoint, models, read_prompts, output_dir, trace, server)
            check_engine(engine, asked, sequences)
        for one in asked:
            measure_load(one, engine, engine_settings)


def _profile_here(
    models: dict[str, str],
    read_prompts: Callable[[], list[str]],
    output_dir: Path,
    more: dict[str, Any],
    settings: dict[str, Any],
) -> list[Path]:
    """Measures models on this machine and returns their files."""
    from data_tools.profiling.profiler import check_settings, profile_models

    with reading_input():
        check_settings(**settings)
        chosen = read_prompts()
        check_writable(output_dir, folder=True)
    quieten_transformers()
    paths = profile_models(models, chosen, output_dir, **more, **settings)
    for path in paths:
        report_rows(path)
        report_limits(path)
    return paths


def _profile_server(
    endpoint: str,
    models: dict[str, str],
    read_prompts: Callable[[], list[str]],
    output_dir: Path,
    settings: dict[str, Any],
) -> None:
    """Measures models behind a server, one prompt at a time."""
    from data_tools.backends.endpoint import EndpointBackend
    from data_tools.profiling.profiler import profile_backend

    with ExitStack() as opened:
        with reading_input():
            backends = [
                opened.enter_context(EndpointBackend(endpoint, served, name=name, **settings))
                for name, served in models.items()
            ]
            chosen = read_prompts()
            check_writable(output_dir, folder=True)
        paths = [profile_backend(backend, chosen, output_dir) for backend in backends]
    for path in paths:
        report_rows(path)


def _loads(
    endpoint: str,
    models: dict[str, str],
    read_prompts: Callable[[], list[str]],
    output_dir: Path,
    trace: Path | None,
    settings: dict[str, Any],
) -> list[ServerUnderLoad]:
    """Returns what is to be measured of each model behind a server under load."""
    from data_tools.load.plan import Recording
    from data_tools.load.session import ServerUnderLoad

    recording = None if trace is None else Recording.read(trace)
    chosen = read_prompts() if settings["rates"] and recording is None else []
    return [
        ServerUnderLoad(
            endpoint,
            served,
            name=name,
            output_dir=output_dir,
            prompts=chosen,
            recording=recording,
            **settings,
        )
        for name, served in models.items()
    ]


def _prompts(
    source: str,
    split: str,
    column: str | None,
    limit: int | None,
    on_bad: OnError,
    repeat: int,
    times: int,
) -> list[str]:
    """Returns the prompts, those to measure again among them."""
    from data_tools.profiling.profiler import spread_repeats
    from data_tools.prompts.sources import load_prompts

    check_integer("--repeat", repeat, least=0)
    check_integer("--times", times, least=1)
    if limit is not None:
        check_integer("--limit", limit, least=1)
    try:
        prompts = load_prompts(source, split=split, column=column, limit=limit, on_error=on_bad)
    except ConnectionError as error:
        raise ConnectionError(f"{error}; a local file or 'builtin' needs no network") from error
    check_integer("--repeat", repeat, least=0, most=len(prompts))
    return spread_repeats(prompts, repeat, times) if repeat else prompts


def _api_key(variable: str) -> str | None:
    key = os.environ.get(variable)
    if key is None and variable != options.API_KEY_VARIABLE:
        raise ValueError(f"--api-key-variable: {variable} is not set")
    return key or None


def _named_models(models: Sequence[str]) -> dict[str, str]:
    """Returns display name -> model; a MODEL without `NAME=` is named by its last part."""
    if not models:
        raise ValueError("--model is missing: name at least one model")
    from data_tools.profiling.profiler import output_path

    named: dict[str, str] = {}
    for model in models:
        name, equals, source = model.partition("=")
        if not equals or Path(model).exists():
            name, source = Path(model).name.removesuffix(".gguf"), model
        if not name or not source:
            raise ValueError(f"--model={shown(model)}: must be MODEL or NAME=MODEL")
        for other in named:
            if output_path(Path(), name) == output_path(Path(), other):
                raise ValueError(
                    f"--model: {shown(other)} and {shown(name)} would write the same file; use "
                    "NAME=MODEL"
                )
        named[name] = source
    return named


def _refuse_useless_options(context: typer.Context, endpoint: bool, loads: bool) -> None:
    """Raises at an option that has no effect on what is measured."""
    useless: list[tuple[tuple[str, ...], str]] = []
    useless += [(options.LOCAL_ONLY, "with --endpoint")] if endpoint else []
    if not endpoint:
        useless.append(((*options.ENDPOINT_ONLY, *options.LOADS), "without --endpoint"))
    engine = context.params.get("engine") is not None
    if not engine:
        useless.append((options.ENGINE_ONLY, "without --engine"))
    if engine and endpoint and not loads:
        useless.append((("engine",), "with --endpoint without --rate, --trace or --concurrency"))
    if loads:
        useless.append((options.ONE_BY_ONE_ONLY, "with --rate, --trace or --concurrency"))
        loops = bool(context.params["rate"] or context.params["trace"])
        if not loops:
            useless.append((options.LOOP_ONLY, "without --rate or --trace"))
        if not context.params["rate"] or context.params["trace"]:
            useless.append(
                (options.PROMPTS_ONLY, "where no prompts are sent: --rate without --trace does")
            )
        if context.params["concurrency"] is None:
            useless.append((("prompt_lengths",), "without --concurrency"))
    else:
        useless.append((options.LOAD_ONLY, "without --rate, --trace or --concurrency"))
    if not context.params["repeat"]:
        useless.append((("times",), "without --repeat"))
    if context.params["prompts"] == "builtin":
        useless.append((options.FILES_ONLY, "on the built-in prompts"))
    for names, why in useless:
        refuse_given(context, names, why)
