"""Open loops one after the other, each with a file of its own that appears when it is finished."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_tools.backends.chat import ChatClient
from data_tools.load.open_loop import OpenLoop, PlannedRequest, asking
from data_tools.load.records import RequestRecord, record_of
from data_tools.load.server import ServerTraits
from data_tools.machine import load_average, session_conditions
from data_tools.profiling.run_file import RunMetadata, lock, metadata_path, require_same
from data_tools.progress import progress_bar
from edgecloud_gym.dataset.tables import beside
from edgecloud_gym.files import UnreadableFileError, read_jsonl


@dataclass(frozen=True)
class Loop:
    """One open loop.

    Attributes:
        title: As in "rate 4/s".
        path: Its file.
        configuration: What its numbers depend on; a finished file must have the same.
        plan: What is sent when, or how to make it once the server is known.
        forces_length: Whether answers are to be as long as asked for, if the server can.
    """

    title: str
    path: Path
    configuration: Mapping[str, Any]
    plan: Callable[[ServerTraits], Sequence[PlannedRequest]]
    forces_length: bool = False


def load_path(output_dir: Path, model: str, what: str) -> Path:
    """Returns the file of a loop: ("m", "rate 0.5") -> load_m_rate_0_5.jsonl."""
    return output_dir / f"load_{re.sub(r'[^A-Za-z0-9_-]', '_', f'{model}_{what}')}.jsonl"


def is_finished(loop: Loop) -> bool:
    """Whether a loop's file is there, measured under the configuration of now.

    Raises:
        ConfigurationChangedError: If it was measured under another.
        UnreadableFileError: If the metadata beside it are missing or damaged.
    """
    if not loop.path.exists():
        return False
    about = metadata_path(loop.path)
    if not about.exists():
        raise UnreadableFileError(
            f"{loop.path}: {about.name}, which says how it was measured, is missing; restore it or "
            "choose another output directory"
        )
    require_same(loop.path, RunMetadata.read(about).configuration, loop.configuration)
    return True


async def measure_loop(
    client: ChatClient,
    traits: ServerTraits,
    loop: Loop,
    *,
    most_in_flight: int,
    show_progress: bool = True,
) -> None:
    """Runs one open loop and writes its file.

    Rows go to ``x.partial.jsonl`` as requests end; the file takes its name when all have ended.
    What an interrupted loop leaves is kept under ``x.interrupted.jsonl``: a loop begins anew, since
    it cannot go on where an earlier one stopped, when the server was busy.

    Raises:
        ServerGoneError: If the server cannot be reached any more.
        BlockingIOError: If another run writes the same file.
    """
    conditions = session_conditions()
    partial = beside(loop.path, ".partial.jsonl")
    plan = loop.plan(traits)
    with _rows(partial, loop.path) as write, progress_bar(show_progress) as bar:
        for exchange in traits.warm_up:
            write(record_of(-1, 0.0, exchange, traits.warm_up[-1].sent, warm_up=True))
        task = bar.add_task(loop.title, total=len(plan), rate="")

        def on_record(record: RequestRecord) -> None:
            write(record)
            bar.update(task, completed=running.handled, rate=_state(running))

        running = OpenLoop(
            asking(client, traits.extra if loop.forces_length else {}),
            plan,
            most_in_flight=most_in_flight,
            on_record=on_record,
        )
        await running.run()
    conditions["load_average_after"] = load_average()
    RunMetadata(dict(loop.configuration), [conditions]).write(metadata_path(loop.path))
    partial.replace(loop.path)


def _state(loop: OpenLoop) -> str:
    failed = f", {loop.failed} failed" if loop.failed else ""
    rate = loop.sent / max(loop.elapsed, 1e-3)
    return f"{rate:.3g}/s, {loop.in_flight} in flight{failed}"


@contextmanager
def _rows(partial: Path, final: Path) -> Iterator[Callable[[RequestRecord], None]]:
    """Opens the file of a running loop, and puts what an earlier one left aside."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("a", encoding="utf-8") as file:
        lock(file, final)
        if partial.stat().st_size > 0:
            left = beside(final, ".interrupted.jsonl")
            left.write_bytes(partial.read_bytes())
            file.truncate(0)

        def write(record: RequestRecord) -> None:
            file.write(json.dumps(record.to_json()) + "\n")
            file.flush()

        yield write


def read_records(path: Path) -> list[RequestRecord]:
    """Reads the rows of a loop.

    Raises:
        UnreadableFileError: If a line is not one of them, naming the line.
    """
    found = []
    for number, row in read_jsonl(path):
        if isinstance(row, ValueError) or not {"request", "planned", "status"} <= row.keys():
            raise UnreadableFileError(f"{path}, line {number}: not a request of an open loop")
        found.append(RequestRecord.from_json(row))
    return found
