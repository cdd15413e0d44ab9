"""The text of a dataset card: what was measured, on what, how well."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_tools.bundling.run_figures import RunFigures


def dataset_card(
    name: str,
    figures: RunFigures,
    metadata: Mapping[str, Any],
    slowdown: Mapping[str, Any] | None,
    embedding_model: str,
    *,
    licence: str,
    notes: str = "",
) -> str:
    """Returns the card in Markdown.

    Args:
        name: Of the dataset.
        figures: What the rows say.
        metadata: The run file's metadata.
        slowdown: Content of ``slowdown.json``, or None if the curve was not measured.
        embedding_model: Name of the BERT.
        licence: Under which the answers are given.
        notes: What else a reader should know about the measurement.
    """
    sections = [
        f"# {name}\n\nMeasured single-request inference times of a language model: "
        f"{figures.requests} prompts, one at a time, greedy decoding.",
        _model_section(metadata["configuration"], metadata["sessions"]),
        _files_section(slowdown is not None, embedding_model),
        _measurement_section(figures, metadata["configuration"]),
        _figures_section(figures),
    ]
    if slowdown is not None:
        sections.append(_slowdown_section(slowdown))
    sections.append(_limits_section(figures, metadata["configuration"], licence, notes))
    return "\n\n".join(sections) + "\n"


def _model_section(settings: Mapping[str, Any], sessions: list[dict[str, Any]]) -> str:
    last = sessions[-1]
    served = "endpoint" in settings
    rows = {
        **(_server_rows(settings) if served else _local_rows(settings)),
        "Cores": f"{last['cores_of_machine']} in the machine, {last['cores_usable']} usable",
        "Memory": f"{last['memory_gib']} GiB",
        "GPU driver": last["gpu_driver"],
        "System": f"{last['system']}, Python {last['python']}",
        "Measured": f"from {sessions[0]['started']}" + _resumptions(sessions),
    }
    lines = [f"| {key} | {value} |" for key, value in rows.items() if value is not None]
    note = "\n\nWhat is said of the machine is true of the client." if served else ""
    return "## Model and machine\n\n| | |\n|---|---|\n" + "\n".join(lines) + note


def _local_rows(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Model": f"{settings['model']} ({settings['source']}, {settings['revision']})",
        "Weights computed in": settings["dtype"],
        "Attention": settings["attention"],
        "Hardware": f"{settings['hardware']} ({settings['device']})",
        "Threads": settings["threads"],
        "Libraries": ", ".join(
            f"{library} {settings[library]}"
            for library in ("torch", "transformers", "tokenizers", "numpy")
        ),
    }


def _server_rows(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Model": f"{settings['model']} (served as {settings['served_model']})",
        "Server": settings["endpoint"],
    }


def _resumptions(sessions: list[dict[str, Any]]) -> str:
    if len(sessions) == 1:
        return " without interruption"
    return f", interrupted {len(sessions) - 1} time(s), resumed last at {sessions[-1]['started']}"


def _files_section(has_slowdown: bool, embedding_model: str) -> str:
    lines = [
        "- `requests.parquet`: one row per prompt. `request_text`, `model_name`, `response_text`, "
        "`device`, `inference_time` (s), `input_token_count`, `output_token_count`; "
        "`time_to_first_token` (s), `finish_reason` (`eos` or `length`), `load_average` (one "
        "minute, after the answer), `repeated_inference_times` (s, where the prompt was measured "
        "again).",
        f"- `embeddings.npz`: one embedding per prompt by {embedding_model}, float16, with pooling "
        "and a digest of the prompts.",
    ]
    if has_slowdown:
        lines.append(
            "- `slowdown.json`: the decoding step time against the batch size, its repetitions, "
            "the fit a + b n, and s(1), s(2), ..."
        )
    return "## Files\n\n" + "\n".join(lines)


def _measurement_section(figures: RunFigures, settings: Mapping[str, Any]) -> str:
    how = _by_server(settings) if "endpoint" in settings else _by_profiler(settings)
    return (
        f"## How it was measured\n\n{how} Of a prompt measured several times, the first "
        "measurement counts." + _noise(figures)
    )


def _by_profiler(settings: Mapping[str, Any]) -> str:
    chat = "in the model's chat template" if settings["chat_template"] else "as plain text"
    return (
        f"Prompts go to the model {chat}, one after the other, after a warm-up. `inference_time` "
        "is the wall time of prefill and greedy decoding, tokenisation excluded, until a stop "
        f"token or {settings['max_new_tokens']} new tokens; on a GPU the clock waits for the "
        "device. `output_token_count` includes the stop token. `time_to_first_token` is the part "
        "until the first token has reached the host."
    )


def _by_server(settings: Mapping[str, Any]) -> str:
    return (
        "Prompts go to the server as chat messages at temperature 0, one after the other over one "
        "connection, after a warm-up; the answer, of at most "
        f"{settings['max_new_tokens']} tokens, is streamed. `inference_time` is what the client "
        "sees: from sending the request to the last chunk of the answer, the network included. "
        "`time_to_first_token` is the part until the first chunk with text."
    )


def _noise(figures: RunFigures) -> str:
    if not figures.repeated:
        return ""
    return (
        f"\n\n{figures.repeated} prompts were measured more than once, spread over the run. Their "
        f"inference times differ by {figures.noise:.1%} in the median ((largest - smallest) / "
        f"mean), by {figures.noise_p95:.1%} in the 95th percentile; {figures.same_answer:.0%} of "
        "them gave the same answer every time."
    )


def _figures_section(figures: RunFigures) -> str:
    low, middle, high = figures.load
    rows = {
        "Requests": f"{figures.requests} ({figures.failed} failed rows left out)",
        "Inference time, mean": f"{figures.mean:.3f} s",
        "median / p95 / longest": f"{figures.median:.3f} / {figures.p95:.3f} / "
        f"{figures.longest:.3f} s",
        "Coefficient of variation": f"{figures.variation:.2f}",
        "Answer length, mean": f"{figures.mean_tokens:.1f} tokens",
        "Time to first token, median": f"{figures.first_token * 1e3:.1f} ms",
        "Time per further token, median": f"{figures.token_time * 1e3:.2f} ms",
        "Answers cut off by the cap": f"{figures.cut_off:.1%}",
        "Load average, p5 / p50 / p95": f"{low:.2f} / {middle:.2f} / {high:.2f}",
    }
    if not math.isnan(figures.explained):
        rows["R² of log latency from the embedding"] = (
            f"{figures.explained:.2f} (ridge regression, fitted on the train rows, scored on the "
            "test rows)"
        )
    lines = [f"| {key} | {value} |" for key, value in rows.items()]
    return "## Figures\n\n| | |\n|---|---|\n" + "\n".join(lines)


def _slowdown_section(slowdown: Mapping[str, Any]) -> str:
    lines = [
        f"| {size} | {1e3 * time:.2f} | {1e3 * low:.2f} - {1e3 * high:.2f} "
        f"| {time / slowdown['step_time'][0]:.2f} | {slowdown['slowdown'][size - 1]:.2f} |"
        for size, time, (low, high) in zip(
            slowdown["batch_sizes"],
            slowdown["step_time"],
            slowdown["step_time_quartiles"],
            strict=True,
        )
    ]
    repeats = len(slowdown["step_time_repeats"][0])
    return (
        "## Batch slowdown\n\n"
        f"Decoding step time, median and quartiles of {repeats} repetitions in random order, each "
        f"the median of {slowdown['steps']} steps from a context of {slowdown['context_length']} "
        "tokens. s(n) = (a + b n) / (a + b) with "
        f"a = {1e3 * slowdown['a']:.2f} ms, b = {1e3 * slowdown['b']:.2f} ms; the fit misses the "
        f"medians by at most {slowdown['fit_error']:.0%}.\n\n"
        "| n | step, ms | quartiles, ms | relative to n = 1 | s(n) |\n|---|---|---|---|---|\n"
        + "\n".join(lines)
    )


def _limits_section(
    figures: RunFigures, settings: Mapping[str, Any], licence: str, notes: str
) -> str:
    limits = (
        "## Licence and limits\n\n"
        f"The answers are a language model's output, given under {licence}. They are here for "
        "their length and time, not for their content: a small model is often wrong.\n\n"
        f"One model, one machine, greedy decoding, answers of at most {settings['max_new_tokens']} "
        f"tokens ({figures.cut_off:.1%} cut off there)."
    )
    return f"{limits} {notes}".rstrip()
