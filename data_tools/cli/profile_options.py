"""The options of ``edgecloud profile``: their types, names and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from data_tools.backends import base
from data_tools.cli.options import path_option

PROMPTS, LOCAL, SERVER = "Prompts", "Models on this machine", "Models on a server"  # panels
LOAD, ENGINE = "A server under load", "Engine model"
API_KEY_VARIABLE: Final = "EDGECLOUD_API_KEY"
# Options that only make sense for one of the ways to measure.
LOCAL_ONLY: Final = (
    *("device", "dtype", "attention", "threads", "chat"),
    *("batch_sizes", "context_lengths", "decode"),
)
ENDPOINT_ONLY: Final = ("limit_field", "timeout", "retries", "api_key_variable")
LOADS: Final = ("concurrency", "rate", "trace")
LOAD_ONLY: Final = (*("prompt_lengths", "duration", "max_in_flight", "max_requests", "seed"),)
LOOP_ONLY: Final = ("duration", "max_in_flight", "max_requests", "max_new_tokens")
FILES_ONLY: Final = ("split", "column", "skip_malformed")
PROMPTS_ONLY: Final = (*FILES_ONLY, "limit")
ENGINE_ONLY: Final = ("sequences", "lookahead")
ONE_BY_ONE_ONLY: Final = ("repeat", "times", "retries")

Prompts = Annotated[
    str,
    typer.Argument(
        help="Prompts: a .json, .jsonl, .parquet, .csv or .txt file, a directory of such "
        "files, a dataset on the Hugging Face hub (NAME:CONFIG where it has several "
        "configurations), or 'builtin' for the set that ships with this package."
    ),
]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="[NAME=]MODEL",
        help="A hub id, a directory or a .gguf file; with --endpoint, the model's name on the "
        "server. NAME goes into the rows and the file name. Repeatable.",
    ),
]
Split = Annotated[
    str, typer.Option(rich_help_panel=PROMPTS, help="Split, perhaps a slice: 'train[:50000]'.")
]
Column = Annotated[
    str | None,
    typer.Option(rich_help_panel=PROMPTS, help="Column with the prompt; found where usual."),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", "-n", rich_help_panel=PROMPTS, help="Most prompts to use."),
]
SkipMalformed = Annotated[
    bool,
    typer.Option(
        "--skip-malformed",
        rich_help_panel=PROMPTS,
        help="Leave records without a usable prompt out, with a warning.",
    ),
]
Repeat = Annotated[
    int,
    typer.Option(
        rich_help_panel=PROMPTS, help="Prompts to measure again, to see how noisy times are."
    ),
]
Times = Annotated[int, typer.Option(rich_help_panel=PROMPTS, help="Measurements of each of these.")]
MaxNewTokens = Annotated[int, typer.Option(help="Longest answer (tokens).")]
OutputDir = Annotated[Path, path_option("--output-dir", "-o", help="Directory of the results.")]
Device = Annotated[
    str, typer.Option(rich_help_panel=LOCAL, help="Device: auto, cpu, cuda, cuda:1, ...")
]
Dtype = Annotated[
    str,
    typer.Option(
        rich_help_panel=LOCAL,
        help="Number format: auto (as stored), float32, bfloat16 or float16.",
    ),
]
Attention = Annotated[
    str,
    typer.Option(
        rich_help_panel=LOCAL,
        help="Attention backend of transformers: auto, sdpa, eager, flash_attention_2.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(rich_help_panel=LOCAL, help="CPU threads; by default PyTorch's choice."),
]
Chat = Annotated[
    bool,
    typer.Option(
        rich_help_panel=LOCAL, help="Wrap prompts in the model's chat template, if it has one."
    ),
]
BatchSizes = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LOCAL,
        metavar="N,N,...",
        help="Measure the batch slowdown curve as well, at these sizes: 1,2,4,8,16.",
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=SERVER,
        metavar="URL",
        help="OpenAI-compatible server that has the models: http://127.0.0.1:8000/v1.",
    ),
]
LimitField = Annotated[
    base.LimitField,
    typer.Option(
        rich_help_panel=SERVER,
        metavar="NAME",
        help="Name of the token limit in requests: max_tokens, or max_completion_tokens, which "
        "some models insist on.",
    ),
]
Timeout = Annotated[
    float, typer.Option(rich_help_panel=SERVER, help="Longest silence of the server (s).")
]
Retries = Annotated[
    int,
    typer.Option(rich_help_panel=SERVER, help="Further attempts at a busy or absent server."),
]
ApiKeyVariable = Annotated[
    str,
    typer.Option(
        rich_help_panel=SERVER,
        metavar="NAME",
        help="Environment variable with the server's key. The key itself is written nowhere.",
    ),
]

ContextLengths = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LOCAL,
        metavar="N,N,...",
        help="With --batch-sizes: step times over contexts of these lengths, too (tokens); with "
        "--engine 64,512 unless given.",
    ),
]
Decode = Annotated[
    base.DecodeMode,
    typer.Option(
        rich_help_panel=LOCAL,
        help="eager: transformers' generate; graph: one captured step, on a GPU; auto: that on a "
        "GPU where it works.",
    ),
]
Concurrency = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LOAD,
        metavar="N,N,...",
        help="Sweep: the step time at so many requests side by side, as in 1,2,4,8, and the time "
        "to first token of the idle server.",
    ),
]
PromptLengths = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LOAD,
        metavar="N,N,...",
        help="Sweep: lengths of the prompts (tokens). (32,256,1024)",
    ),
]
Rate = Annotated[
    list[float] | None,
    typer.Option(
        rich_help_panel=LOAD,
        help="Open loop: mean arrivals per second, Poisson, or what --trace is stretched to. "
        "Repeatable: one loop after the other.",
    ),
]
Trace = Annotated[
    Path | None,
    path_option(
        rich_help_panel=LOAD,
        help="Open loop: a workload trace whose arrivals and token counts are played.",
    ),
]
Duration = Annotated[
    float, typer.Option(rich_help_panel=LOAD, help="Open loop: for how long requests arrive (s).")
]
MaxInFlight = Annotated[
    int,
    typer.Option(
        rich_help_panel=LOAD,
        help="Open loop: a request that is due while so many are unanswered is not sent, and "
        "counted.",
    ),
]
MaxRequests = Annotated[
    int, typer.Option(rich_help_panel=LOAD, help="Open loop: most requests, whatever the duration.")
]
Seed = Annotated[
    int, typer.Option(rich_help_panel=LOAD, help="Random seed of arrivals, prompts and orders.")
]
Engine = Annotated[
    Path | None,
    path_option(
        rich_help_panel=ENGINE,
        help="Engine model (.json) to write: measured by --concurrency and tested by the open "
        "loops; of a local model measured by --batch-sizes.",
    ),
]
Sequences = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=ENGINE,
        help="Sequences that the server runs at a time; by default as many as the sweep saw.",
    ),
]
Lookahead = Annotated[
    bool | None,
    typer.Option(
        rich_help_panel=ENGINE,
        help="Whether the server composes a step while the one before it runs; by default as vLLM, "
        "or what suits the open loops better.",
    ),
]
