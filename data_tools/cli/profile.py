"""The command `profile`: its options, and what to make of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from data_tools.cli.console import quieten_transformers, reading_input, reporting

PROMPTS, LOCAL, SERVER = "Prompts", "Models on this machine", "Models on a server"  # panels
API_KEY_VARIABLE = "EDGECLOUD_API_KEY"
LOCAL_ONLY = ("device", "dtype", "attention", "threads", "chat", "batch_sizes")
ENDPOINT_ONLY = ("timeout", "retries", "api_key_variable")


def profile(
    context: typer.Context,
    prompts: Annotated[
        str,
        typer.Argument(
            help="Where the prompts come from: a .json, .jsonl or .parquet file, a dataset on the "
            "Hugging Face hub, or 'builtin' for the set that ships with this package."
        ),
    ] = "tatsu-lab/alpaca",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="[NAME=]MODEL",
            help="A hub id, a directory or a .gguf file; with --endpoint, the model's name on the "
            "server. NAME goes into the rows and the file name. May be given several times.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(rich_help_panel=PROMPTS, help="Split, perhaps a slice: 'train[:50000]'.")
    ] = "train",
    column: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=PROMPTS, help="Column with the prompt; found by itself where usual."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", rich_help_panel=PROMPTS, help="Use only the first so many prompts."
        ),
    ] = None,
    repeat: Annotated[
        int,
        typer.Option(
            rich_help_panel=PROMPTS,
            help="Measure so many of the prompts again, to see how noisy times are.",
        ),
    ] = 0,
    times: Annotated[
        int, typer.Option(rich_help_panel=PROMPTS, help="How often each of these is measured.")
    ] = 3,
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 512,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Where the results go.")
    ] = Path("inference_results"),
    device: Annotated[
        str, typer.Option(rich_help_panel=LOCAL, help="auto, cpu, cuda, cuda:1, ...")
    ] = "auto",
    dtype: Annotated[
        str,
        typer.Option(rich_help_panel=LOCAL, help="auto (as stored), float32, bfloat16 or float16."),
    ] = "auto",
    attention: Annotated[
        str, typer.Option(rich_help_panel=LOCAL, help="Attention backend of transformers.")
    ] = "sdpa",
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
            help="Measure models on an OpenAI-compatible server: http://127.0.0.1:8000/v1.",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(rich_help_panel=SERVER, help="Longest silence of the server, s.")
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
    with reporting(resume), reading_input():
        models = _named_models(model or [])
        _refuse_useless_options(context, endpoint is not None)
        sizes = _batch_sizes(batch_sizes)
        key = os.environ.get(api_key_variable)
        if endpoint is not None and key is None and api_key_variable != API_KEY_VARIABLE:
            raise ValueError(f"--api-key-variable: {api_key_variable} is not set")

        from data_tools.profiling.profiler import profile as profile_models
        from data_tools.profiling.profiler import profile_backend, spread_repeats
        from data_tools.prompts.sources import load_prompts

        try:
            chosen = load_prompts(prompts, split=split, column=column, limit=limit)
        except ConnectionError as error:
            raise ConnectionError(f"{error}; a local file or 'builtin' needs no network") from error
        chosen = spread_repeats(chosen, repeat, times) if repeat else chosen
        if endpoint is None:
            quieten_transformers()
            paths = profile_models(
                models,
                chosen,
                output_dir,
                max_new_tokens=max_new_tokens,
                device=device,
                dtype=dtype,
                attention=attention,
                threads=threads,
                chat=chat,
                batch_sizes=sizes,
            )
        else:
            from data_tools.backends.endpoint import EndpointBackend

            paths = []
            for name, served in models.items():
                with EndpointBackend(
                    endpoint,
                    served,
                    name=name,
                    max_new_tokens=max_new_tokens,
                    api_key=key,
                    timeout=timeout,
                    retries=retries,
                ) as backend:
                    paths.append(profile_backend(backend, chosen, output_dir))
        for path in paths:
            _report_rows(path)


def _named_models(models: Sequence[str]) -> dict[str, str]:
    """Display name -> model; a MODEL without `NAME=` is named by its last part."""
    if not models:
        raise ValueError("--model is missing: name at least one model")
    named: dict[str, str] = {}
    for model in models:
        name, equals, source = model.partition("=")
        if not equals:
            name, source = Path(model).name.removesuffix(".gguf"), model
        if not name or not source:
            raise ValueError(f"--model must be MODEL or NAME=MODEL, got {model!r}")
        if name in named:
            raise ValueError(f"--model: two models are named {name!r}; use NAME=MODEL")
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
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = ()
    if len(set(sizes)) < 2 or min(sizes) < 1:
        raise ValueError(f"--batch-sizes must be two or more sizes such as 1,2,4,8; got {text!r}")
    return sizes


def _report_rows(path: Path) -> None:
    from data_tools.profiling.run_file import read_rows

    rows = read_rows(path)
    failed = [row for row in rows if row.get("error") is not None]
    typer.echo(f"{path}: {len(rows)} rows, {len(failed)} of them failed")
    if failed:
        typer.echo(f"  the first failure: {failed[0]['error']}")
