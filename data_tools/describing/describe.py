"""What a dataset or a workload trace holds, in numbers."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike

from data_tools.describing.quantities import Arrivals, Quantity, Slowdown, shown
from edgecloud_gym.arrivals import WorkloadTrace, read_trace
from edgecloud_gym.arrivals.trace_files import recognise
from edgecloud_gym.dataset import RequestDataset, bundled_datasets, load_dataset
from edgecloud_gym.dataset.files import locate
from edgecloud_gym.dataset.rows import OnError, read_requests
from edgecloud_gym.dataset.slowdown import SlowdownFile
from edgecloud_gym.dataset.tables import table_suffix
from edgecloud_gym.files import UnreadableFileError

if TYPE_CHECKING:
    from rich.table import Table

PERCENTILES: Final = (5, 50, 95, 99)
FIRST_TOKEN: Final = "time_to_first_token"
REASON: Final = "finish_reason"
LONGEST: Final = 1e15  # s; what lies beyond is no time
WINDOWS: Final = (1.0, 10.0, 60.0)  # s, for counts of arrivals


@dataclass(frozen=True, eq=False)
class Description:
    """What `describe` found.

    Attributes:
        name: Name of the dataset or trace.
        kind: "dataset", or "workload trace" and its format.
        facts: Label and value, ready to read.
        quantities: What is known of each request.
        relation: Two of them, one against the other; None if it is not known for the same requests.
        arrivals: The arrivals of a trace; None for a dataset.
        slowdown: The slowdown curve of a dataset; None without one.
    """

    name: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    quantities: tuple[Quantity, ...]
    relation: tuple[Quantity, Quantity] | None = None
    arrivals: Arrivals | None = None
    slowdown: Slowdown | None = None


def describe(
    source: str | os.PathLike[str], *, on_error: OnError = "raise", unit: str | None = None
) -> Description:
    """Describes a dataset or a workload trace.

    Args:
        source: What `edgecloud_gym.load_dataset` or `edgecloud_gym.arrivals.read_trace` reads.
        on_error: "raise" at a malformed row of a dataset, or "skip" it.
        unit: What a trace's clock counts; see `read_trace`.

    Raises:
        ValueError: If it is neither, or a unit is given for a dataset.
        UnreadableFileError: If it is malformed.
        FileNotFoundError: If there is no such file.
    """
    check_source(source, unit, on_error)
    if _is_trace(source):
        return _describe_trace(Path(source), unit)
    return _describe_dataset(source, on_error)


def check_source(
    source: str | os.PathLike[str], unit: str | None = None, on_error: OnError = "raise"
) -> None:
    """Checks what `describe` is asked for before anything is read.

    Raises:
        ValueError: If it is neither a trace nor a dataset, a unit is given for a dataset, or rows
            of a trace are to be left out.
        FileNotFoundError: If there is no such file.
    """
    if _is_trace(source):
        if on_error != "raise":
            raise ValueError(
                f"on_error={on_error!r} (--skip-malformed): must be 'raise' for a workload trace, "
                "whose arrivals would be others without a row"
            )
        return
    if unit is not None:
        raise ValueError(f"unit={unit!r}: must be None for a dataset, whose times are seconds")
    locate(source)


def _is_trace(source: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a trace does."""
    path = Path(source)
    if source in bundled_datasets() or not path.is_file() or table_suffix(path) == ".parquet":
        return False
    try:
        recognise(path)
    except UnreadableFileError:
        return False  # what is wrong with it as a dataset will be said
    return True


def _describe_trace(path: Path, unit: str | None) -> Description:
    trace = read_trace(path, unit=unit)
    arrivals = Arrivals(trace.times)
    prompts = Quantity.of("Prompt length", "tokens", trace.input_tokens)
    answers = Quantity.of("Answer length", "tokens", trace.output_tokens)
    return Description(
        name=path.name,
        kind=f"workload trace, {trace.format} format",
        facts=tuple(_trace_facts(trace, arrivals)),
        quantities=(Quantity.of("Inter-arrival time", "s", arrivals.gaps), prompts, answers),
        relation=(prompts, answers),
        arrivals=arrivals,
    )


def _trace_facts(trace: WorkloadTrace, arrivals: Arrivals) -> Iterator[tuple[str, str]]:
    yield "Requests", f"{len(arrivals.times):,}"
    yield "Clock of the file", trace.unit
    yield "Duration", f"{shown(arrivals.duration)} s ({shown(arrivals.duration / 3600)} h)"
    yield "Mean arrival rate", f"{shown(arrivals.rate)} requests/s"
    for window in WINDOWS:
        peak = arrivals.peak(window)
        if not np.isnan(peak):
            yield f"Peak rate over {window:g} s", f"{shown(peak)} requests/s"
    if len(arrivals.gaps):
        yield "Simultaneous arrivals", f"{(arrivals.gaps == 0).mean():.1%}"
    yield "Inter-arrival CV (Poisson: 1)", shown(arrivals.variation)
    for window in WINDOWS:
        label = f"Dispersion of counts, {window:g} s (Poisson: 1)"
        yield label, shown(arrivals.dispersion(window))


def _describe_dataset(source: str | os.PathLike[str], on_error: OnError) -> Description:
    dataset = load_dataset(source, on_error=on_error)
    files = locate(source)
    rows = _measured_rows(files.requests, on_error)
    first_tokens = [time for row in rows if (time := _number(row.get(FIRST_TOKEN))) is not None]
    reasons = Counter(_stated(row.get(REASON)) for row in rows)
    file = None if files.slowdown is None else SlowdownFile.read(files.slowdown)
    columns: dict[tuple[str, str], ArrayLike | None] = {
        ("Inference time", "s"): dataset.base_latency,
        ("Time to first token", "s"): first_tokens,
        ("Prompt length", "tokens"): dataset.prompt_tokens,
        ("Answer length", "tokens"): dataset.response_tokens,
    }
    known = {
        label: Quantity.of(label, unit, values)
        for (label, unit), values in columns.items()
        if values is not None and np.size(values)
    }
    answers = known.get("Answer length")
    return Description(
        name=dataset.name,
        kind="dataset",
        facts=(*_dataset_facts(dataset, reasons), *_slowdown_facts(file)),
        quantities=tuple(known.values()),
        relation=None if answers is None else (answers, known["Inference time"]),
        slowdown=None if file is None else _slowdown(file),
    )


def _dataset_facts(
    dataset: RequestDataset, reasons: Counter[str | None]
) -> Iterator[tuple[str, str]]:
    yield "Requests", f"{len(dataset):,}"
    yield "Rows left out (malformed or failed)", f"{dataset.skipped:,}"
    if dataset.prompts is not None:
        yield "Distinct prompts", f"{len(set(dataset.prompts)):,}"
    mean = Quantity.of("Inference time", "s", dataset.base_latency).mean
    yield "Total inference time", f"{shown(mean * (len(dataset) / 3600))} h"
    yield "Rate of one slot at full load", f"{shown(1 / mean)} requests/s"
    stated = sum(count for reason, count in reasons.items() if reason is not None)
    if stated:
        yield "Answers cut off by the token limit", f"{reasons['length'] / stated:.1%}"
    if dataset.response_tokens is not None:
        tokens = float(dataset.response_tokens.mean()) / mean
        yield "Generated tokens per second", shown(tokens)
    width = "none" if dataset.embeddings is None else f"{dataset.embeddings.shape[1]}-d"
    yield "Embeddings", width


def _slowdown_facts(file: SlowdownFile | None) -> Iterator[tuple[str, str]]:
    """Yields what the curve says of the largest batch that was measured, and beyond."""
    if file is None:
        return
    last, measured = len(file.slowdown), file.measured_to
    label = "Slowdown of a batch of {}"
    if measured is None:  # the file does not say what was measured
        yield label.format(last), f"{shown(file.slowdown[-1])} times"
        return
    if measured <= last:
        label_here = f"{label.format(measured)} (the largest measured)"
        yield label_here, f"{shown(file.slowdown[measured - 1])} times"
    if last > measured:
        yield f"{label.format(last)} (extrapolated)", f"{shown(file.slowdown[-1])} times"
    for size, why in (file.did_not_fit or {}).items():
        yield label.format(size), f"not measured: {why}"


def _measured_rows(path: Path, on_error: OnError) -> list[dict[str, Any]]:
    """Returns the usable rows with what the profiler adds to what an environment needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # load_dataset has said it
        return read_requests(path, on_error, keep=(FIRST_TOKEN, REASON)).rows


def _stated(reason: object) -> str | None:
    return reason if isinstance(reason, str) else None


def _number(value: object) -> float | None:
    """Returns a time to first token that is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < LONGEST else None


def _slowdown(file: SlowdownFile) -> Slowdown:
    known = file.unit is not None and len(file.step_time) > 0
    unit = file.unit or np.nan
    spread = np.asarray(file.step_time_quartiles, dtype=np.float64).reshape(-1, 2)
    return Slowdown(
        curve=np.asarray(file.slowdown, dtype=np.float64),
        sizes=np.asarray(file.batch_sizes if known else (), dtype=np.float64),
        measured=np.asarray(file.step_time if known else (), dtype=np.float64) / unit,
        quartiles=spread / unit if known else np.empty((0, 2)),
    )


def tables(description: Description) -> tuple[Table, Table]:
    """Returns the facts and the percentiles as tables that fit 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = Text(f"{description.name}: {description.kind}")  # a name's brackets are no markup
    facts = Table(title=title, show_header=False, box=box.SIMPLE)
    facts.add_column(overflow="fold")
    facts.add_column(justify="right", overflow="fold")
    for label, value in description.facts:
        facts.add_row(Text(label), Text(value))

    columns = ("mean", "CV", *(f"p{q}" for q in PERCENTILES), "max")
    percentiles = Table(box=box.SIMPLE, padding=(0, 0, 0, 1), pad_edge=False)
    percentiles.add_column("per request", overflow="fold")
    for column in columns:
        percentiles.add_column(column, justify="right", no_wrap=True)
    for quantity in description.quantities:
        if quantity.values.size:
            percentiles.add_row(quantity.title, *_summary(quantity))
    return facts, percentiles


def _summary(quantity: Quantity) -> Iterable[str]:
    values = quantity.values
    numbers = (
        quantity.mean,
        quantity.variation,
        *np.percentile(values, PERCENTILES),
        values.max(),
    )
    return map(shown, numbers)
