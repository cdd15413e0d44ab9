"""A server measured under load: a sweep, then open loops, each resumed where it was finished."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from data_tools.backends.base import LimitField, ServerConfiguration
from data_tools.backends.chat import ChatClient
from data_tools.calibration.sweep_file import SweepFile
from data_tools.load.curve import slowdown_of
from data_tools.load.measuring import Loop, is_finished, load_path, measure_loop
from data_tools.load.open_loop import PlannedRequest
from data_tools.load.plan import Recording, arrival_times, plan_prompts, plan_recording
from data_tools.load.server import ServerTraits, warm_up
from data_tools.load.sweep import (
    REPEATS,
    check_levels,
    count_measurements,
    count_missing,
    run_sweep,
)
from data_tools.machine import session_conditions
from data_tools.profiling.profiler import output_path
from data_tools.profiling.run_file import require_same
from data_tools.progress import progress_bar
from edgecloud_gym.checks import check_integer
from edgecloud_gym.dataset import prompts_digest
from edgecloud_gym.dataset.slowdown import slowdown_path
from edgecloud_gym.files import check_writable

PROMPT_LENGTHS = (32, 256, 1024)


@dataclass(frozen=True)
class ServerUnderLoad:
    """What is to be measured of a model behind an OpenAI-compatible server.

    Attributes:
        endpoint: Base URL such as `http://127.0.0.1:8000/v1`.
        model: The model's name on the server.
        name: Name for the files.
        output_dir: Where they go.
        prompts: What open loops without a recording ask.
        concurrencies: Of the sweep; none without one.
        prompt_lengths: Of the sweep, tokens.
        rates: Of the open loops, requests/s.
        recording: What is played; at each rate, or as it was if there is none.
        duration: For how long requests arrive in an open loop, s.
        most_requests: Of an open loop.
        most_in_flight: Unanswered requests at a time.
        max_new_tokens: Cap on an answer's length.
        seed: Of arrivals, prompts and orders.
        api_key, limit_field, timeout: As of `ChatClient`.
        repeats: Of the sweep.

    Raises:
        TypeError, ValueError: If a setting is out of range.
    """

    endpoint: str
    model: str
    name: str
    output_dir: Path
    prompts: Sequence[str] = ()
    concurrencies: Sequence[int] = ()
    prompt_lengths: Sequence[int] = PROMPT_LENGTHS
    rates: Sequence[float] = ()
    recording: Recording | None = None
    duration: float = 60.0
    most_requests: int = 100_000
    most_in_flight: int = 1024
    max_new_tokens: int = 512
    seed: int = 0
    api_key: str | None = None
    limit_field: LimitField = "max_tokens"
    timeout: float = 300.0
    repeats: int = REPEATS

    def __post_init__(self) -> None:
        check_integer("max_new_tokens", self.max_new_tokens, least=1)
        check_integer("max_in_flight", self.most_in_flight, least=1)
        check_integer("seed", self.seed, least=0)
        check_integer("repeats", self.repeats, least=1)
        if self.concurrencies:
            check_levels("concurrency", self.concurrencies)
            check_levels("prompt_lengths", self.prompt_lengths)
        if self.rates and self.recording is None and not self.prompts:
            raise ValueError("prompts: an open loop needs at least one, or a recording")
        self.loops()  # checks the rates

    @property
    def sweep_path(self) -> Path:
        """The file of the sweep."""
        return load_path(self.output_dir, self.name, "sweep").with_suffix(".json")

    def client(self) -> ChatClient:
        """Returns a client; open it where an event loop runs."""
        return ChatClient(
            self.endpoint,
            self.model,
            api_key=self.api_key,
            limit_field=self.limit_field,
            timeout=self.timeout,
        )

    def configuration(self) -> dict[str, Any]:
        """Returns what all of the measurements depend on."""
        usual = self.limit_field == "max_tokens"
        return ServerConfiguration(
            model=self.name,
            served_model=self.model,
            endpoint=self.client().url,
            limit_field=None if usual else self.limit_field,
        ).to_json()

    def loops(self) -> list[Loop]:
        """Returns the open loops in order."""
        rates: Sequence[float | None] = self.rates or ((None,) if self.recording else ())
        return [self._loop(rate) for rate in rates]

    def _loop(self, rate: float | None) -> Loop:
        times = arrival_times(rate, self.duration, self.most_requests, self.seed, self.recording)
        title = "as recorded" if rate is None else f"rate {rate:g}"
        if self.recording is not None:
            title += f", {self.recording.name}"
        asked = {
            "rate": rate,
            "duration": self.duration,
            "requests": len(times),
            "max_new_tokens": self.max_new_tokens,
            "most_in_flight": self.most_in_flight,
            "seed": self.seed,
            "trace": None if self.recording is None else self.recording.name,
            "prompts": None if self.recording else prompts_digest(self.prompts),
        }

        def plan(traits: ServerTraits) -> Sequence[PlannedRequest]:
            if self.recording is None:
                return plan_prompts(times, self.prompts, self.max_new_tokens, self.seed)
            if traits.scale is None:
                raise ValueError("a recording is played in tokens, and the server counts none")
            return plan_recording(
                times, self.recording, traits.scale, self.max_new_tokens, self.seed
            )

        return Loop(
            title=title,
            path=load_path(self.output_dir, self.name, title),
            configuration=self.configuration()
            | {key: value for key, value in asked.items() if value is not None},
            plan=plan,
            forces_length=self.recording is not None,
        )


def measure_server(asked: ServerUnderLoad, *, show_progress: bool = True) -> list[Path]:
    """Measures what is not measured yet, and leaves the files.

    A sweep also leaves the batch slowdown curve where `profile` puts that of a local model, beside
    the answers measured one at a time: a dataset made of these has it.

    Returns:
        The files of the open loops.

    Raises:
        EndpointStoppedError: If the server does not answer as it must.
        ServerGoneError: If it cannot be reached any more.
        ConfigurationChangedError: If a file was measured under another configuration.
        OSError: If nothing can be written.
    """
    check_writable(asked.output_dir, folder=True)
    sweep = _sweep_so_far(asked)
    loops = asked.loops()
    lacking = [loop for loop in loops if not is_finished(loop)]
    if lacking or (sweep is not None and count_missing(sweep) > 0):
        asyncio.run(_measure(asked, sweep, lacking, show_progress))
    if sweep is not None:
        curve = slowdown_of(SweepFile.read(asked.sweep_path))
        if curve is not None:
            curve.write(slowdown_path(output_path(asked.output_dir, asked.name)))
    return [loop.path for loop in loops]


async def _measure(
    asked: ServerUnderLoad, sweep: SweepFile | None, loops: Sequence[Loop], show_progress: bool
) -> None:
    async with asked.client() as client:
        traits = await warm_up(client, asked.seed)
        if sweep is not None and count_missing(sweep) > 0:
            with progress_bar(show_progress) as bar:
                total = count_measurements(sweep)
                done = total - count_missing(sweep)
                task = bar.add_task("Sweep", total=total, completed=done, rate="")
                await run_sweep(
                    client,
                    traits,
                    sweep,
                    save=partial(_save, asked.sweep_path),
                    advance=lambda what: bar.update(task, advance=1, rate=what),
                    seed=asked.seed,
                )
        for loop in loops:
            await measure_loop(
                client,
                traits,
                loop,
                most_in_flight=asked.most_in_flight,
                show_progress=show_progress,
            )


def _save(path: Path, file: SweepFile) -> None:
    file.write(path)


def _sweep_so_far(asked: ServerUnderLoad) -> SweepFile | None:
    """Returns the sweep with what earlier sessions measured of it; None if none is asked for."""
    if not asked.concurrencies:
        return None
    configuration = asked.configuration()
    fresh = SweepFile(
        concurrencies=check_levels("concurrency", asked.concurrencies),
        prompt_lengths=check_levels("prompt_lengths", asked.prompt_lengths),
        repeats=asked.repeats,
        configuration=configuration,
    )
    path = asked.sweep_path
    if not path.exists():
        return fresh.begun(session_conditions())
    earlier = SweepFile.read(path)
    # Rounds are over the shortest prompts, so that these may not change.
    kept = {"shortest_prompt": min(earlier.prompt_lengths), **earlier.configuration}
    require_same(path, kept, {"shortest_prompt": min(fresh.prompt_lengths), **configuration})
    return earlier.widened(fresh).begun(session_conditions())
