"""``edgecloud profile``: how long models take to answer prompts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_tools.backends.base import LimitField
from data_tools.cli.console import quieten_transformers, reading_input, reporting
from data_tools.cli.options import on_error, path_option
from edgecloud_gym.checks import check_integer, parse_number
from edgecloud_gym.dataset.rows import ERROR, OnError, request_failed
from edgecloud_gym.files import check_writable

if TYPE_CHECKING:
    from data_tools.backends.endpoint import EndpointBackend

PROMPTS, LOCAL, SERVER = "Prompts", "Models on this machine", "Models on a server"  # panels
API_KEY_VARIABLE = "EDGECLOUD_API_KEY"
LOCAL_ONLY = ("device", "dtype", "attention", "threads", "chat", "batch_sizes")
ENDPOINT_ONLY = ("limit_field", "timeout", "retries", "api_key_variable")


def profile(
    context: typer.Context,
    prompts: Annotated[
        str,
        typer.Argument(
            help="Prompts: a .json, .jsonl, .parquet, .csv or .txt file, a directory of such "
            "files, a dataset on the Hugging Face hub (NAME:CONFIG where it has several "
            "configurations), or 'builtin' for the set that ships with this package."
        ),
    ] = "tatsu-lab/alpaca",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="[NAME=]MODEL",
            help="A hub id, a directory or a .gguf file; with --endpoint, the model's name on the "
            "server. NAME goes into the rows and the file name. Repeatable.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(rich_help_panel=PROMPTS, help="Split, perhaps a slice: 'train[:50000]'.")
    ] = "train",
    column: Annotated[
        str | None,
        typer.Option(rich_help_panel=PROMPTS, help="Column with the prompt; found where usual."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", rich_help_panel=PROMPTS, help="Most prompts to use."),
    ] = None,
    skip_malformed: Annotated[
        bool,
        typer.Option(
            "--skip-malformed",
            rich_help_panel=PROMPTS,
            help="Leave records without a usable prompt out, with a warning.",
        ),
    ] = False,
    repeat: Annotated[
        int,
        typer.Option(
            rich_help_panel=PROMPTS, help="Prompts to measure again, to see how noisy times are."
        ),
    ] = 0,
    times: Annotated[
        int, typer.Option(rich_help_panel=PROMPTS, help="Measurements of each of these.")
    ] = 3,
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer (tokens).")] = 512,
    output_dir: Annotated[
        Path, path_option("--output-dir", "-o", help="Directory of the results.")
    ] = Path("inference_results"),
    device: Annotated[
        str, typer.Option(rich_help_panel=LOCAL, help="Device: auto, cpu, cuda, cuda:1, ...")
    ] = "auto",
    dtype: Annotated[
        str,
        typer.Option(
            rich_help_panel=LOCAL,
            help="Number format: auto (as stored), float32, bfloat16 or float16.",
        ),
    ] = "auto",
    attention: Annotated[
        str,
        typer.Option(
            rich_help_panel=LOCAL,
            help="Attention backend of transformers: auto, sdpa, eager, flash_attention_2.",
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(rich_help_panel=LOCAL, help="CPU threads; by default PyTorch's choice."),
    ] = None,
    chat: Annotated[
        bool,
        typer.Option(
            rich_help_panel=LOCAL, help="Wrap prompts in the model's chat template, if it has one."
        ),
    ] = True,
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=LOCAL,
            metavar="N,N,...",
            help="Measure the batch slowdown curve as well, at these sizes: 1,2,4,8,16.",
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=SERVER,
            metavar="URL",
            help="OpenAI-compatible server that has the models: http://127.0.0.1:8000/v1.",
        ),
    ] = None,
    limit_field: Annotated[
        LimitField,
        typer.Option(
            rich_help_panel=SERVER,
            metavar="NAME",
            help="Name of the token limit in requests: max_tokens, or max_completion_tokens, which "
            "some models insist on.",
        ),
    ] = "max_tokens",
    timeout: Annotated[
        float, typer.Option(rich_help_panel=SERVER, help="Longest silence of the server (s).")
    ] = 300.0,
    retries: Annotated[
        int,
        typer.Option(rich_help_panel=SERVER, help="Further attempts at a busy or absent server."),
    ] = 5,
    api_key_variable: Annotated[
        str,
        typer.Option(
            rich_help_panel=SERVER,
            metavar="NAME",
            help="Environment variable with the server's key. The key itself is written nowhere.",
        ),
    ] = API_KEY_VARIABLE,
) -> None:
    """Measure how long models take to answer prompts, one at a time.

    Writes one line per prompt to inference_data_NAME.jsonl in the output
    directory, as soon as it is measured. Interrupted, the same command goes on
    where it stopped. For example:

    edgecloud profile builtin -n 100 -m HuggingFaceTB/SmolLM2-135M-Instruct

    edgecloud profile prompts.json -m small=model.gguf --batch-sizes 1,2,4,8,16

    edgecloud profile builtin -m Qwen3 --endpoint http://127.0.0.1:8000/v1
    """
    resume = f"What was measured is in {output_dir}; the same command goes on from there."
    with reporting(resume), ExitStack() as open_backends:
        with reading_input():
            models = _named_models(model or [])
            _refuse_useless_options(context, endpoint is not None)
            local: dict[str, Any] = {
                "max_new_tokens": max_new_tokens,
                "device": device,
                "dtype": dtype,
                "threads": threads,
                "batch_sizes": _batch_sizes(batch_sizes),
            }
            backends: list[EndpointBackend] = []
            if endpoint is None:
                from data_tools.profiling.profiler import check_settings

                check_settings(**local)
            else:
                from data_tools.backends.endpoint import EndpointBackend

                key = _api_key(api_key_variable)
                for name, served in models.items():
                    backend = EndpointBackend(
                        endpoint,
                        served,
                        name=name,
                        max_new_tokens=max_new_tokens,
                        api_key=key,
                        limit_field=limit_field,
                        timeout=timeout,
                        retries=retries,
                    )
                    backends.append(open_backends.enter_context(backend))
            chosen = _prompts(
                prompts, split, column, limit, on_error(skip_malformed), repeat, times
            )
            check_writable(output_dir, folder=True)

        from data_tools.profiling.profiler import profile_backend, profile_models

        if endpoint is None:
            quieten_transformers()
            paths = profile_models(
                models, chosen, output_dir, attention=attention, chat=chat, **local
            )
        else:
            paths = [profile_backend(backend, chosen, output_dir) for backend in backends]
        for path in paths:
            _report_rows(path)


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
    if key is None and variable != API_KEY_VARIABLE:
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
            raise ValueError(f"--model={model!r}: must be MODEL or NAME=MODEL")
        for other in named:
            if output_path(Path(), name) == output_path(Path(), other):
                raise ValueError(
                    f"--model: {other!r} and {name!r} would write the same file; use NAME=MODEL"
                )
        named[name] = source
    return named


def _refuse_useless_options(context: typer.Context, endpoint: bool) -> None:
    useless, why = (LOCAL_ONLY, "with") if endpoint else (ENDPOINT_ONLY, "without")
    for name in useless:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(f"--{name.replace('_', '-')} has no effect {why} --endpoint")


def _batch_sizes(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        numbers = [parse_number(size) for size in text.split(",")]
    except ValueError:
        numbers = []
    sizes = tuple(int(number) for number in numbers if number.is_integer())
    if len(sizes) < len(numbers) or len(set(sizes)) < 2 or min(sizes) < 1:
        raise ValueError(f"--batch-sizes={text!r}: must be two or more sizes such as 1,2,4,8")
    return sizes


def _report_rows(path: Path) -> None:
    from data_tools.profiling.run_file import read_rows

    rows = read_rows(path)
    failed = [row for row in rows if request_failed(row)]
    typer.echo(f"{path}: {len(rows)} rows, {len(failed)} of them failed")
    if failed:
        typer.echo(f"  the first failure: {failed[0][ERROR]}")
