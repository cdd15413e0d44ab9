"""The text of a dataset card: what was measured, on what, how well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_tools.backends.base import LocalConfiguration, ServerConfiguration, read_configuration
from data_tools.machine import Limits, SessionConditions

if TYPE_CHECKING:
    from data_tools.bundling.run_figures import RunFigures
    from data_tools.profiling.run_file import RunMetadata
    from edgecloud_gym.dataset.slowdown import SlowdownFile


@dataclass(frozen=True)
class Card:
    """What a card tells.

    Attributes:
        name: Of the dataset.
        figures: What the rows say.
        metadata: The run file's metadata; None if it came without.
        first_row: A row, for what it says of model and device.
        slowdown: The batch slowdown curve; None if it was not measured.
        embedding_model: Name of the BERT.
        license: Under which the answers are given.
        notes: What else a reader should know about the measurement.
    """

    name: str
    figures: RunFigures
    metadata: RunMetadata | None
    first_row: Mapping[str, Any]
    slowdown: SlowdownFile | None
    embedding_model: str
    license: str
    notes: str = ""

    @property
    def settings(self) -> LocalConfiguration | ServerConfiguration | None:
        """The configuration of the run, as far as it is known."""
        return None if self.metadata is None else read_configuration(self.metadata.configuration)

    @property
    def sentence(self) -> str:
        """What the dataset is."""
        return (
            "Measured single-request inference times of a language model: "
            f"{self.figures.requests} prompts, one at a time, greedy decoding."
        )

    def text(self) -> str:
        """Returns the card in Markdown."""
        sections = [
            f"# {self.name}\n\n{self.sentence}",
            self._model_section(),
            _files_section(self.slowdown is not None, self.embedding_model),
            f"## How it was measured\n\n{_how(self.settings)} Of a prompt measured several times, "
            "the first measurement counts." + _noise(self.figures),
            _figures_section(self.figures),
        ]
        if self.slowdown is not None:
            sections.append(_slowdown_section(self.slowdown))
        sections.append(self._limits_section())
        return "\n\n".join(sections) + "\n"

    def _model_section(self) -> str:
        if self.metadata is None:
            known = {
                "Model": self.first_row.get("model_name"),
                "Hardware": self.first_row.get("device"),
            }
            note = "Nothing else is known of the machine: the file came without its metadata."
            return f"## Model and machine\n\n{_table(known)}\n\n{note}"
        settings, note = self.settings, ""
        if isinstance(settings, ServerConfiguration):
            rows = _server_rows(settings)
            note = "\n\nWhat is said of the machine is true of the client."
        else:
            rows = _local_rows(settings or LocalConfiguration())
        sessions = [SessionConditions.from_json(session) for session in self.metadata.sessions]
        return f"## Model and machine\n\n{_table(rows | _machine_rows(sessions))}{note}"

    def _limits_section(self) -> str:
        cap = None if self.settings is None else self.settings.max_new_tokens
        cut_off = self.figures.cut_off
        limit = "" if cap is None else f", answers of at most {cap} tokens"
        share = "" if math.isnan(cut_off) else f" ({cut_off:.1%} cut off there)"
        limits = (
            "## License and limits\n\n"
            f"The answers are a language model's output, given under {self.license}. They are here "
            "for their length and time, not for their content: a small model is often wrong.\n\n"
            f"One model, one machine, greedy decoding{limit}{share}."
        )
        return f"{limits} {self.notes}".rstrip()


def _table(rows: Mapping[str, object]) -> str:
    """Returns a table of the rows that say something."""
    lines = [f"| {key} | {value} |" for key, value in rows.items() if value is not None]
    return "| | |\n|---|---|\n" + "\n".join(lines)


def _joined(separator: str, *parts: object) -> str | None:
    return separator.join(str(part) for part in parts if part is not None) or None


def _local_rows(settings: LocalConfiguration) -> dict[str, object]:
    origin = _joined(", ", settings.source, settings.revision)
    libraries = {
        "torch": settings.torch,
        "transformers": settings.transformers,
        "tokenizers": settings.tokenizers,
        "numpy": settings.numpy,
    }
    own = (settings.generation or {}).items()
    return {
        "Model": _joined(" ", settings.model, origin and f"({origin})"),
        "Weights computed in": settings.dtype,
        "Attention": settings.attention,
        "Generation settings": ", ".join(f"{name} {value}" for name, value in own) or None,
        "Hardware": _joined(" ", settings.hardware, settings.device and f"({settings.device})"),
        "Threads": settings.threads,
        "Libraries": ", ".join(f"{name} {v}" for name, v in libraries.items() if v) or None,
    }


def _server_rows(settings: ServerConfiguration) -> dict[str, object]:
    served = settings.served_model and f"(served as {settings.served_model})"
    return {"Model": _joined(" ", settings.model, served), "Server": settings.endpoint}


def _machine_rows(sessions: Sequence[SessionConditions]) -> dict[str, object]:
    if not sessions:
        return {}
    last = sessions[-1]
    cores = last.cores_of_machine and f"{last.cores_of_machine} in the machine"
    usable = last.cores_usable and f"{last.cores_usable} usable"
    started = sessions[0].started
    return {
        "Cores": _joined(", ", cores, usable),
        "Memory": last.memory_gib and f"{last.memory_gib} GiB",
        "GPU driver": last.gpu_driver,
        "System": _joined(", ", last.system, last.python and f"Python {last.python}"),
        "Decoding": last.limits and Limits.from_json(last.limits).verdict(),
        "Measured": started and f"from {started}{_resumptions(sessions)}",
    }


def _resumptions(sessions: Sequence[SessionConditions]) -> str:
    if len(sessions) == 1:
        return " without interruption"
    return f", interrupted {len(sessions) - 1} time(s), resumed last at {sessions[-1].started}"


def _files_section(has_slowdown: bool, embedding_model: str) -> str:
    lines = [
        "- `requests.parquet`: one row per prompt. `request_text`, `model_name`, `response_text`, "
        "`device`, `inference_time` (s), `input_token_count`, `output_token_count`; and, where "
        "they were measured, `time_to_first_token` (s), `finish_reason` (`eos` or `length`), "
        "`load_average` (one minute, after the answer), `repeated_inference_times` (s, where the "
        "prompt was measured again), `cached_tokens` (of the prompt, found in the server's cache).",
        f"- `embeddings.npz`: one embedding per prompt by {embedding_model}, float16, with pooling "
        "and a digest of the prompts.",
    ]
    if has_slowdown:
        lines.append(
            "- `slowdown.json`: the decoding step time against the batch size, its repetitions, "
            "the fit a + b n, and s(1), s(2), ..."
        )
    return "## Files\n\n" + "\n".join(lines)


def _how(settings: LocalConfiguration | ServerConfiguration | None) -> str:
    if settings is None:
        return "Prompts went to the model one after the other; nothing else is known."
    cap = "the cap" if settings.max_new_tokens is None else f"{settings.max_new_tokens} new tokens"
    if isinstance(settings, ServerConfiguration):
        return (
            "Prompts go to the server as chat messages at temperature 0, one after the other over "
            "one connection, after a warm-up; the answer is streamed until the model stops or at "
            f"{cap}. `inference_time` is what the client sees: from sending the request to the "
            "last chunk of the answer, the network included. `time_to_first_token` is the part "
            "until the first chunk with text."
        )
    chat = "in the model's chat template" if settings.chat_template else "as plain text"
    return (
        f"Prompts go to the model {chat}, one after the other, after a warm-up. `inference_time` "
        "is the wall time of prefill and greedy decoding, tokenisation excluded, until a stop "
        f"token or {cap}; on a GPU the clock waits for the device. `output_token_count` includes "
        "the stop token. `time_to_first_token` is the part until the first token has reached the "
        "host."
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
    explained = _shown(
        "{:.2f} (ridge regression, fitted on the train rows, scored on the test rows)",
        figures.explained,
    )
    rows = {
        "Requests": f"{figures.requests} ({figures.failed} failed rows left out)",
        "Inference time, mean": f"{figures.mean:.3f} s",
        "median / p95 / longest": f"{figures.median:.3f} / {figures.p95:.3f} / "
        f"{figures.longest:.3f} s",
        "Coefficient of variation": f"{figures.variation:.2f}",
        "Answer length, mean": _shown("{:.1f} tokens", figures.mean_tokens),
        "Time to first token, median": _shown("{:.1f} ms", figures.first_token * 1e3),
        "Time per further token, median": _shown("{:.2f} ms", figures.token_time * 1e3),
        "Answers cut off by the cap": _shown("{:.1%}", figures.cut_off),
        "Load average, p5 / p50 / p95": _shown("{:.2f} / {:.2f} / {:.2f}", *figures.load),
        "R² of log latency from the embedding": explained,
    }
    return f"## Figures\n\n{_table(rows)}"


def _shown(form: str, *values: float) -> str | None:
    """Returns the values in a form; None where one is not known."""
    return None if any(map(math.isnan, values)) else form.format(*values)


def _curve_at(file: SlowdownFile, size: int) -> str:
    return f"{file.slowdown[size - 1]:.2f}" if size <= len(file.slowdown) else ""


def _slowdown_section(file: SlowdownFile) -> str:
    if file.a is None or file.b is None or not file.batch_sizes or not file.step_time:
        last = len(file.slowdown)
        return f"## Batch slowdown\n\ns({last}) = {file.slowdown[-1]:.2f}; how, is not known."
    quartiles = file.step_time_quartiles or [(math.nan, math.nan)] * len(file.batch_sizes)
    lines = [
        f"| {size} | {1e3 * time:.2f} | {_shown('{:.2f} - {:.2f}', 1e3 * low, 1e3 * high) or ''} "
        f"| {time / file.step_time[0]:.2f} | {_curve_at(file, size)} |"
        for size, time, (low, high) in zip(file.batch_sizes, file.step_time, quartiles, strict=True)
    ]
    repeats = len(file.step_time_repeats[0]) if file.step_time_repeats else "several"
    error = (
        ""
        if file.fit_error is None
        else (f"; the fit misses the medians by at most {file.fit_error:.0%}")
    )
    refused = "".join(
        f" Size {size} was not measured: {why}." for size, why in (file.did_not_fit or {}).items()
    )
    return (
        "## Batch slowdown\n\n"
        f"Decoding step time, median and quartiles of {repeats} repetitions in random order, each "
        f"the median of {file.steps} steps from a context of {file.context_length} tokens. "
        f"s(n) = (a + b n) / (a + b) with a = {1e3 * file.a:.2f} ms, "
        f"b = {1e3 * file.b:.2f} ms{error}.{refused}\n\n"
        "| n | step, ms | quartiles, ms | relative to n = 1 | s(n) |\n|---|---|---|---|---|\n"
        + "\n".join(lines)
    )
