"""What a dataset or a workload trace holds, in numbers."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from data_tools.describing.quantities import Arrivals, Quantity, Slowdown, shown
from edgecloud_gym.arrivals.trace_files import FORMATS
from edgecloud_gym.arrivals.traces import read_trace
from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.dataset.files import bundled_datasets, locate
from edgecloud_gym.dataset.rows import OnError

if TYPE_CHECKING:
    from rich.table import Table

PERCENTILES = (5, 50, 95, 99)
WINDOWS = (1.0, 10.0, 60.0)  # s, for counts of arrivals


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


def describe(source: str | os.PathLike[str], *, on_error: OnError = "raise") -> Description:
    """Describe a dataset or a workload trace.

    Args:
        source: What `edgecloud_gym.load_dataset` or `edgecloud_gym.arrivals.read_trace` reads.
        on_error: "raise" at a malformed row of a dataset, or "skip" it.

    Raises:
        ValueError: If it is neither, or malformed.
        FileNotFoundError: If there is no such file.
    """
    if source not in bundled_datasets() and _looks_like_a_trace(Path(source)):
        return _describe_trace(Path(source))
    return _describe_dataset(source, on_error)


def _looks_like_a_trace(path: Path) -> bool:
    if path.suffix in (".csv", ".gz"):
        return True
    if path.suffix != ".jsonl" or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline()
    return all(f'"{column}"' in first for column in FORMATS["mooncake"].columns)


def _describe_trace(path: Path) -> Description:
    if not path.is_file():
        raise FileNotFoundError(f"trace file {path} does not exist")
    trace = read_trace(path)
    arrivals = Arrivals(trace.times)
    prompts = Quantity.of("Prompt length", "tokens", trace.input_tokens)
    answers = Quantity.of("Answer length", "tokens", trace.output_tokens)
    return Description(
        name=path.name,
        kind=f"workload trace, {trace.format} format",
        facts=tuple(_trace_facts(arrivals)),
        quantities=(Quantity.of("Inter-arrival time", "s", arrivals.gaps), prompts, answers),
        relation=(prompts, answers),
        arrivals=arrivals,
    )


def _trace_facts(arrivals: Arrivals) -> Iterator[tuple[str, str]]:
    yield "Requests", f"{len(arrivals.times):,}"
    yield "Duration", f"{shown(arrivals.duration)} s ({shown(arrivals.duration / 3600)} h)"
    yield "Mean arrival rate", f"{shown(arrivals.rate)} requests/s"
    for window in WINDOWS:
        counts = arrivals.counts(window)
        if len(counts):
            peak = counts.max() / window
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
    records = list(_usable_records(files.requests))
    first_tokens = [record.get("time_to_first_token") for record in records]
    reasons = Counter(record.get("finish_reason") for record in records)
    columns: dict[tuple[str, str], ArrayLike | None] = {
        ("Inference time", "s"): dataset.base_latency,
        ("Time to first token", "s"): [value for value in first_tokens if value is not None],
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
        facts=tuple(_dataset_facts(dataset, reasons)),
        quantities=tuple(known.values()),
        relation=None if answers is None else (answers, known["Inference time"]),
        slowdown=None if files.slowdown is None else _read_slowdown(files.slowdown),
    )


def _dataset_facts(
    dataset: RequestDataset, reasons: Counter[str | None]
) -> Iterator[tuple[str, str]]:
    yield "Requests", f"{len(dataset):,}"
    yield "Rows left out (malformed or failed)", f"{dataset.skipped:,}"
    if dataset.prompts is not None:
        yield "Distinct prompts", f"{len(set(dataset.prompts)):,}"
    yield "Total inference time", f"{shown(dataset.base_latency.sum() / 3600)} h"
    yield "Rate of one slot at full load", f"{shown(1 / dataset.base_latency.mean())} requests/s"
    stated = sum(count for reason, count in reasons.items() if reason is not None)
    if stated:
        yield "Answers cut off by the token limit", f"{reasons['length'] / stated:.1%}"
    if dataset.response_tokens is not None:
        tokens = dataset.response_tokens.sum() / dataset.base_latency.sum()
        yield "Generated tokens per second", shown(float(tokens))
    width = "none" if dataset.embeddings is None else f"{dataset.embeddings.shape[1]}-d"
    yield "Embeddings", width
    if dataset.slowdown is not None:
        last = len(dataset.slowdown)
        yield f"Slowdown of a batch of {last}", f"{shown(float(dataset.slowdown[-1]))} times"


def _usable_records(path: Path) -> Iterator[dict[str, Any]]:
    """The rows with what the profiler adds to the columns that an environment needs."""
    wanted = ("time_to_first_token", "finish_reason", "error")
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        present = pq.read_schema(path).names
        columns = [name for name in wanted if name in present]
        records = pq.read_table(path, columns=columns).to_pylist() if columns else []
    else:
        records = list(_json_objects(path))
    return (record for record in records if record.get("error") is None)


def _json_objects(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:  # load_dataset has reported the line already
                continue
            if isinstance(record, dict):
                yield record


def _read_slowdown(path: Path) -> Slowdown:
    content = json.loads(path.read_bytes())
    curve = np.asarray(content["slowdown"], dtype=np.float64)
    times = np.asarray(content.get("step_time", ()), dtype=np.float64)
    spread = np.asarray(content.get("step_time_quartiles", ()), dtype=np.float64)
    # s(1) = 1 is the fitted step of one sequence.
    unit = content["a"] + content["b"] if "a" in content and "b" in content else np.nan
    known = np.isfinite(unit) and len(times) > 0
    return Slowdown(
        curve=curve,
        sizes=np.asarray(content.get("batch_sizes", ()) if known else (), dtype=np.float64),
        measured=times / unit if known else np.empty(0),
        quartiles=spread / unit if known and spread.shape == (len(times), 2) else np.empty((0, 2)),
    )


def tables(description: Description) -> tuple[Table, Table]:
    """The facts and the percentiles as tables that fit 80 columns."""
    from rich import box
    from rich.table import Table

    facts = Table(
        title=f"{description.name}: {description.kind}", show_header=False, box=box.SIMPLE
    )
    facts.add_column(overflow="fold")
    facts.add_column(justify="right")
    for label, value in description.facts:
        facts.add_row(label, value)

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
        values.mean(),
        quantity.variation,
        *np.percentile(values, PERCENTILES),
        values.max(),
    )
    return map(shown, numbers)
