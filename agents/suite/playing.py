"""Playing the suite into a folder: what is there is not played again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agents.experiments.executors.processes import do_in_processes
from agents.experiments.executors.workers import play_in_processes
from agents.experiments.play import ExperimentProgress, play
from agents.experiments.results.result import ExperimentResult
from agents.experiments.runs.run import Run
from agents.suite.entrants import Stable

Tell = Callable[[str], None]


class PreparationError(RuntimeError):
    """What the suite needs before it can be played could not be made."""


@dataclass(frozen=True)
class Entries:
    """All runs of the suite, by what they are entries of.

    Attributes:
        runs: By cell and agent, one per seed.
    """

    runs: Mapping[tuple[str, str], tuple[Run, ...]]

    @property
    def all(self) -> list[Run]:
        """The runs in the order scenario, agent, seed."""
        return [run for runs in self.runs.values() for run in runs]


def prepare(stable: Stable, workers: int, tell: Tell) -> None:
    """Makes what agents need before they can play: each file once, several at a time.

    Raises:
        PreparationError: If one cannot be made.
    """
    missing = stable.preparations()
    if not missing:
        return
    tell(f"{len(missing)} trainings before")
    stable.folder.mkdir(parents=True, exist_ok=True)
    if workers == 1 or len(missing) == 1:
        for made, path in missing:
            made.play(path)
            tell(f"trained {made.title}")
        return
    for done, error in do_in_processes(iter(missing), min(workers, len(missing))):
        if error is not None:
            raise PreparationError(f"{done.title}: {error.message}")
        tell(f"trained {done.title}")


def entries(stable: Stable, traces: Mapping[str, Path]) -> Entries:
    """Returns all runs, for which `prepare` has made what they need."""
    runs: dict[tuple[str, str], tuple[Run, ...]] = {}
    for cell in stable.suite.cells:
        scenario = cell.scenario(stable.suite.dataset, traces)
        for spec in stable.specs:
            mine = stable.spec(spec, cell)
            runs[cell.name, spec.label] = tuple(Run(scenario, mine, seed) for seed in cell.seeds)
    return Entries(runs)


def play_suite(
    stable: Stable,
    traces: Mapping[str, Path],
    output: Path,
    workers: int,
    *,
    tell: Tell,
    progress: Callable[[ExperimentProgress], None],
    retry_failed: bool = False,
) -> tuple[Entries, ExperimentResult]:
    """Plays what is missing.

    Args:
        stable: Who plays what.
        traces: Files of workload traces.
        output: The folder of raw runs.
        workers: Processes.
        tell: Told what is made before.
        progress: Told what is played.
        retry_failed: Whether to play runs again that failed in an earlier call.

    Raises:
        PreparationError: If what agents need cannot be made.
    """
    prepare(stable, workers, tell)
    planned = entries(stable, traces)
    player = partial(play_in_processes, workers)
    result = play(planned.all, output, player, progress, retry_failed=retry_failed)
    return planned, result
